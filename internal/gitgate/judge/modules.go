package judge

import (
	"errors"
	"net/url"
	"strings"
)

// module is one key of one submodule, as .gitmodules says it.
type setting struct {
	line             int
	name, key, value string
}

var errConfig = errors.New("the file can't be read as git's configuration")

// settings reads the keys of submodules in .gitmodules (git-config, "Syntax"). What git
// would not read is an error.
func settings(raw []byte) (out []setting, err error) {
	c := config{text: strings.ReplaceAll(strings.TrimPrefix(string(raw), "\ufeff"), "\r\n", "\n"), line: 1}
	for c.space(); c.at < len(c.text); c.space() {
		switch b := c.text[c.at]; {
		case b == '#' || b == ';':
			c.comment()
		case b == '[':
			if !c.section() {
				return out, errConfig
			}
		default:
			line := c.line
			key, value, ok := c.key()
			if !ok {
				return out, errConfig
			}
			if c.module {
				out = append(out, setting{line, c.name, key, value})
			}
		}
	}
	return out, nil
}

// ModuleURLs are the URLs of submodules that a .gitmodules file names, as far as it can
// be read.
func ModuleURLs(raw []byte) (urls []string) {
	list, _ := settings(raw)
	for _, s := range list {
		if s.key == "url" {
			urls = append(urls, s.value)
		}
	}
	return urls
}

// config is the state of reading.
type config struct {
	text   string
	at     int
	line   int
	module bool // in a section of a submodule
	name   string
}

func (c *config) next() (b byte, ok bool) {
	if c.at == len(c.text) {
		return 0, false
	}
	b = c.text[c.at]
	c.at++
	if b == '\n' {
		c.line++
	}
	return b, true
}

func (c *config) space() {
	for c.at < len(c.text) && strings.IndexByte(" \t\n\r\v\f", c.text[c.at]) >= 0 {
		c.next()
	}
}

func (c *config) comment() {
	for b, ok := c.next(); ok && b != '\n'; b, ok = c.next() {
	}
}

// section reads [submodule "name"], or the old [submodule.name].
func (c *config) section() bool {
	c.next()
	end := strings.IndexAny(c.text[c.at:], " \t]\n")
	if end < 0 {
		return false
	}
	word := strings.ToLower(c.text[c.at : c.at+end])
	c.at += end
	c.name, c.module = "", word == "submodule"
	if name, ok := strings.CutPrefix(word, "submodule."); ok {
		c.name, c.module = name, true
	}
	for c.at < len(c.text) && (c.text[c.at] == ' ' || c.text[c.at] == '\t') {
		c.at++
	}
	b, ok := c.next()
	if ok && b == '"' {
		var name strings.Builder
		for {
			b, ok = c.next()
			if ok && b == '\\' {
				if b, ok = c.next(); ok && b != '\n' {
					name.WriteByte(b)
					continue
				}
			}
			if !ok || b == '\n' {
				return false
			}
			if b == '"' {
				break
			}
			name.WriteByte(b)
		}
		c.name = name.String()
		b, ok = c.next()
	}
	return ok && b == ']'
}

// key reads "key = value" to the end of its line. A key alone is true.
func (c *config) key() (key, value string, ok bool) {
	start := c.at
	for c.at < len(c.text) && (c.text[c.at] == '-' || c.text[c.at] >= '0' && c.text[c.at] <= '9' || c.text[c.at]|0x20 >= 'a' && c.text[c.at]|0x20 <= 'z') {
		c.at++
	}
	key = strings.ToLower(c.text[start:c.at])
	for c.at < len(c.text) && (c.text[c.at] == ' ' || c.text[c.at] == '\t') {
		c.at++
	}
	if key == "" {
		return "", "", false
	}
	b, more := c.next()
	if !more || b == '\n' {
		return key, "true", true
	}
	if b != '=' {
		return "", "", false
	}
	value, ok = c.value()
	return key, value, ok
}

func (c *config) value() (string, bool) {
	var out strings.Builder
	quoted, keep := false, 0 // spaces at the end count only within quotes
	for {
		b, ok := c.next()
		switch {
		case !ok, b == '\n':
			return strings.TrimLeft(out.String()[:keep], " \t"), !quoted
		case b == '\\':
			if b, ok = c.next(); !ok {
				return "", false
			}
			if b == '\n' {
				continue
			}
			i := strings.IndexByte(`"\ntb`, b)
			if i < 0 {
				return "", false
			}
			out.WriteByte("\"\\\n\t\b"[i])
			keep = out.Len()
		case b == '"':
			quoted = !quoted
			keep = out.Len()
		case !quoted && (b == '#' || b == ';'):
			c.comment()
			return strings.TrimLeft(out.String()[:keep], " \t"), true
		default:
			out.WriteByte(b)
			if quoted || b != ' ' && b != '\t' {
				keep = out.Len()
			}
		}
	}
}

// unsafe says what a submodule must not say, or nothing.
func (s setting) unsafe() string {
	switch {
	case s.name == "" || unsafeModule(s.name):
		return "the submodule's name leads out of its folder" // CVE-2018-11235
	case strings.ContainsFunc(s.value, control):
		return "a setting of the submodule holds a control character" // CVE-2025-48384, CVE-2020-5260
	}
	switch s.key {
	case "path":
		if strings.HasPrefix(s.value, "-") || unsafePath(strings.TrimSuffix(s.value, "/")) != "" { // CVE-2018-17456
			return "the submodule's path is not safe"
		}
	case "update":
		if strings.HasPrefix(s.value, "!") { // CVE-2019-19604
			return "the submodule would run a command when it is updated"
		}
	case "url":
		return unsafeURL(s.value)
	}
	return ""
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func unsafeModule(name string) bool {
	for _, part := range strings.FieldsFunc(name, slash) {
		if part == ".." || strings.TrimRight(part, ". ") == "" {
			return true
		}
	}
	return slash(rune(name[0])) || drive(name) || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, control)
}

// unsafeURL allows what git fetches over a network, and URLs relative to upstream's own.
func unsafeURL(s string) string {
	if plain, err := url.PathUnescape(s); err == nil && strings.ContainsFunc(plain, control) {
		return "the submodule's URL holds a control character" // CVE-2020-5260, CVE-2020-11008
	}
	switch {
	case s == "" || s[0] == '-': // CVE-2018-17456
		return "the submodule's URL would be taken for an option"
	case strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../"):
		return relativeURL(s)
	case strings.Contains(s, "::"):
		return "the submodule's URL names a remote helper, which may run a command"
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok { // user@host:path
		host, path, ok := strings.Cut(s, ":")
		host = host[strings.IndexByte(host, '@')+1:]
		if !ok || host == "" || strings.HasPrefix(host, "-") || strings.HasPrefix(path, "-") || strings.ContainsAny(host, `/\`) || drive(s) {
			return "the submodule's URL is a path on the machine that clones it"
		}
		return ""
	}
	switch strings.ToLower(scheme) {
	case "https", "http", "ssh", "git", "git+ssh", "ssh+git":
	default:
		return "the submodule's URL is not one that is fetched over a network"
	}
	authority, _, _ := strings.Cut(rest, "/")
	user, host, ok := strings.Cut(authority, "@")
	if !ok {
		user, host = "", authority
	}
	if host == "" || host[0] == '-' || user != "" && user[0] == '-' { // CVE-2017-1000117
		return "the submodule's URL has no host that can be one"
	}
	if strings.Contains(user, ":") {
		return "the submodule's URL holds a password"
	}
	return ""
}

// relativeURL refuses URLs that climb, and then name a host or a helper of their own
// (CVE-2020-11008).
func relativeURL(s string) string {
	for _, c := range s {
		if c == ':' || c == '\\' {
			return "the submodule's relative URL holds a colon or a backslash"
		}
	}
	return ""
}
