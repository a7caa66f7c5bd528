package watch

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"bottle/internal/bottle"
	"bottle/internal/dlp/known"
	"bottle/internal/secret"
)

// Bounds of what is taken out of one file.
const (
	longest   = 16 << 10 // bytes of a value; the largest keys have 6 KiB
	token     = 16       // bytes of what only looks like a secret
	maxValues = 200      // of one file, and as many that are not looked for
	maxName   = 64       // bytes of the name that a file gives a value
	maxNested = 16       // JSON within JSON
)

// Secret is one value that must not leave, and its name for people and records,
// such as `.env:API_KEY`.
type Secret struct {
	Name  string
	Value secret.Value
	Why   string // it is not looked for, such as "plain words"; empty: it is
}

// Parse takes the secrets out of a file's content. file is its path, which tells its
// form and begins the names; it is shown as it is. There are at most 200 of them, and
// as many that are not looked for; no name is given twice.
func Parse(file string, content []byte) []Secret {
	left := MaxAll
	found, _ := parse(file, content, &left)
	return found
}

// parse is Parse with a budget: to judge a value takes a microsecond a byte. A negative
// one means that something was left out for it; full, that there were too many, or one too long.
func parse(file string, content []byte, left *int) (found []Secret, full bool) {
	p := parser{file: bottle.Printable(file), names: map[string]bool{}, left: left}
	base := strings.ToLower(path.Base(file))
	switch {
	case public(base):
	case bytes.Contains(content, []byte("PRIVATE KEY-----")):
		p.take("private key", string(content))
	case base == ".env" || strings.HasPrefix(base, ".env.") || strings.HasSuffix(base, ".env"):
		p.dotenv(string(content))
	case base == ".netrc" || base == "_netrc":
		p.netrc(string(content))
	case utf8.Valid(content) && json.Valid(content): // RFC 8259 §8.1; what is no text would come out as other bytes than stand there
		p.json(content)
	case bytes.Contains(content, []byte("-----BEGIN ")): // certificates and public keys
	case settings(file, base):
		p.settings(string(content))
	case bytes.IndexByte(content, 0) < 0:
		p.settings(string(content))
		p.random(string(content))
	}
	return p.found, p.full
}

// public are the files of SSH that hold no secret.
func public(base string) bool {
	return strings.HasSuffix(base, ".pub") || strings.HasPrefix(base, "known_hosts") || strings.HasPrefix(base, "authorized_keys")
}

// settings are the files whose lines have names, so that the names can tell.
func settings(file, base string) bool {
	for _, end := range []string{".yml", ".yaml", ".toml", ".ini", ".cfg", ".conf", ".properties", ".npmrc"} {
		if strings.HasSuffix(base, end) {
			return true
		}
	}
	return strings.Contains("/"+file, "/.aws/") || strings.Contains("/"+file, "/.ssh/") // credentials, config
}

type parser struct {
	file  string
	found []Secret
	names map[string]bool
	left  *int // bytes that may still be judged
	taken int  // of found, those that are looked for
	full  bool // more values are there, or one that is too long
	guess bool // the file gives them no names: what is no secret is nothing to tell of
}

// take adds a value. What stands for another one, as ${TOKEN}, is none.
func (p *parser) take(name, value string) {
	if value = strings.TrimSpace(value); value == "" || strings.HasPrefix(value, "$") || *p.left < 0 {
		return
	}
	if p.taken == maxValues || len(p.found) == 2*maxValues || len(value) > longest {
		p.full = true
		return
	}
	if *p.left -= len(value); *p.left < 0 {
		return
	}
	name = bottle.Printable(name)
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	full := p.file + ":" + name
	for n := 2; p.names[full]; n++ {
		full = p.file + ":" + name + " " + strconv.Itoa(n)
	}
	why := Why(full, value)
	if why == "" {
		p.taken++
	} else if p.guess {
		return
	}
	p.names[full] = true
	p.found = append(p.found, Secret{full, secret.New([]byte(value)), why})
}

// Why says why a value of that name is not looked for, or "" if it is: production, a
// path and a port are found everywhere, and are no secrets.
func Why(name, value string) string {
	for _, line := range known.New([]known.Secret{{Name: name, Value: []byte(value)}}).Skipped() {
		return strings.TrimPrefix(line, name+": ")
	}
	return ""
}

// dotenv reads NAME=value lines, as shells and the libraries called dotenv do: with
// export in front, quotes, over several lines in quotes, and comments.
func (p *parser) dotenv(text string) {
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "export "))
		if !ok || name == "" || strings.HasPrefix(name, "#") || strings.ContainsAny(name, " \t\"'") {
			text = rest
			continue
		}
		value = strings.TrimLeft(value, " \t")
		if value != "" && strings.IndexByte("\"'`", value[0]) >= 0 {
			from := text[len(line)-len(value):]
			if inner, n, closed := quoted(from); closed {
				p.take(name, inner)
				_, text, _ = strings.Cut(from[n:], "\n")
				continue
			}
			value = value[1:] // nothing closes it: it is this line's
		}
		if at := strings.Index(value, " #"); at >= 0 {
			value = value[:at]
		}
		p.take(name, value)
		text = rest
	}
}

// quoted reads a quoted text, which begins with its quote. n is behind the closing
// one. Backslashes mean something in double quotes alone.
func quoted(s string) (inner string, n int, closed bool) {
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == q:
			return b.String(), i + 1, true
		case c == '\\' && q == '"' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}

// netrc reads the passwords of .netrc (inetutils' netrc(5), curl's quotes).
func (p *parser) netrc(text string) {
	host := "default"
	for {
		word, rest := netrcWord(text)
		if word == "" && rest == "" {
			return
		}
		text = rest
		switch word {
		case "machine":
			host, text = netrcWord(text)
		case "default":
			host = "default"
		case "password", "passwd", "account":
			word, text = netrcWord(text)
			p.take("password "+host, word)
		case "login":
			_, text = netrcWord(text)
		case "macdef": // up to an empty line
			_, text, _ = strings.Cut(text, "\n\n")
		}
	}
}

func netrcWord(text string) (word, rest string) {
	text = strings.TrimLeft(text, " \t\r\n")
	if strings.HasPrefix(text, "#") {
		_, rest, _ = strings.Cut(text, "\n")
		return "", rest
	}
	if strings.HasPrefix(text, `"`) {
		if inner, n, closed := quoted(text); closed {
			return inner, text[n:]
		}
	}
	end := strings.IndexAny(text, " \t\r\n")
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// settings reads name = value and name: value lines whose name says that the value
// is a secret: INI, YAML of one line each, .npmrc. A section's name goes in front.
func (p *parser) settings(text string) {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimLeft(line, " \t-")
		if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
			continue
		}
		if s, ok := strings.CutPrefix(trimmed, "["); ok {
			section, _, _ = strings.Cut(s, "]")
			continue
		}
		name, value, ok := setting(trimmed)
		if s, head := strings.CutSuffix(line, ":"); head && s == strings.TrimLeft(s, " \t") {
			section = s
		}
		if !ok || !says(name) {
			continue
		}
		if section != "" {
			name = section + "." + name
		}
		if strings.IndexByte("\"'", value[0]) >= 0 {
			if inner, _, closed := quoted(value); closed {
				value = inner
			}
		}
		p.take(name, value)
	}
}

// setting cuts a line at its = or at its colon, whichever comes first; .npmrc has
// colons in its names.
func setting(line string) (name, value string, ok bool) {
	at, size := strings.IndexByte(line, '='), 1
	if colon := strings.Index(line, ": "); colon >= 0 && (at < 0 || colon < at) {
		at, size = colon, 2
	}
	if at < 1 {
		return "", "", false
	}
	name, value = strings.TrimSpace(line[:at]), strings.TrimSpace(line[at+size:])
	return strings.Trim(name, `"'`), value, value != ""
}

// says reports whether a name says that its value is a secret.
func says(name string) bool {
	name = strings.ToLower(name)
	for word := range strings.FieldsSeq("token secret passw pwd credential private bearer dsn _key apikey api-key accesskey _auth") {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// json takes the texts whose names say that they are secrets, and what Docker keeps
// as user:password in base64.
func (p *parser) json(content []byte) {
	var v any
	if json.Unmarshal(content, &v) == nil {
		p.walk("", "", v, 0)
	}
}

func (p *parser) walk(within, name string, v any, depth int) {
	if depth > maxNested {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) { // the same names each time
			p.walk(strings.TrimPrefix(within+"."+name, "."), k, v[k], depth+1)
		}
	case []any:
		for _, e := range v {
			p.walk(within, name, e, depth+1)
		}
	case string:
		at := strings.TrimPrefix(within+"."+name, ".")
		if plain, err := base64.StdEncoding.DecodeString(v); name == "auth" && err == nil {
			p.take(cmp.Or(within, "auth")+" password in base64", v)
			_, password, _ := strings.Cut(string(plain), ":")
			p.take(cmp.Or(within, "auth")+" password", password)
		} else if says(name) || strings.HasSuffix(strings.ToLower(name), "key") {
			p.take(at, v)
		}
	}
}

// random takes each word of letters, digits and the marks of base64 that looks random.
func (p *parser) random(text string) {
	number := 0
	p.guess = true
	for line := range strings.Lines(text) {
		number++
		for word := range strings.FieldsFuncSeq(line, func(r rune) bool {
			return r > 'z' || !(r >= 'a' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+/_-.=~", r))
		}) {
			_, value, named := strings.Cut(word, "=") // NAME=value
			if word = strings.Trim(word, "=.-/"); named && value != "" && strings.Trim(value, "=") != "" {
				word = value
			}
			if len(word) >= token && strings.ContainsAny(word, "0123456789") && entropy(word) >= 3.2 {
				p.take("line "+strconv.Itoa(number), word)
			}
		}
	}
}

// entropy is Shannon's, in bits a byte.
func entropy(s string) float64 {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			share := float64(n) / float64(len(s))
			bits -= share * math.Log2(share)
		}
	}
	return bits
}
