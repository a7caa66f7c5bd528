package rewrite

import (
	"encoding/json"
	"fmt"
	"strings"

	"bottle/internal/bottle"
)

// behind is the edit that puts routes behind the last one of a manifest. It knows the form
// that manifests are written in, one `- host:` below the other; where it is another one,
// ok is false. Whoever calls it reads the outcome again: what it means is for the
// manifest's own reader to say.
func behind(lines []string, routes []bottle.Route) (e edit, ok bool) {
	first, last := frontmatter(lines)
	if first < 0 {
		return edit{}, false
	}
	egress := key(lines, first, last, 0, "egress")
	if egress < 0 {
		if anyKey(lines[first:last], "egress") { // in a form that is not known here
			return edit{}, false
		}
		added := append([]string{"egress:\n", "  routes:\n"}, spelled(routes, "    ")...)
		return edit{at: last, add: added}, true
	}
	end := block(lines, egress, last, 0)
	at, deep := -1, 0
	for i := egress + 1; i < end && at < 0; i++ {
		if n := indent(lines[i]); n > 0 {
			at, deep = key(lines, i, end, n, "routes"), n
			break
		}
	}
	if at < 0 {
		if anyKey(lines[egress:end], "routes") || deep == 0 {
			return edit{}, false
		}
		in := strings.Repeat(" ", deep)
		return edit{at: end, add: append([]string{in + "routes:\n"}, spelled(routes, in+"  ")...)}, true
	}
	stop := at + 1
	item := -1
	for ; stop < end; stop++ {
		n := indent(lines[stop])
		if n < 0 {
			continue
		}
		dash := strings.HasPrefix(strings.TrimLeft(lines[stop], " "), "- ")
		if n < deep || n == deep && !dash {
			break
		}
		if item < 0 {
			if !dash {
				return edit{}, false
			}
			item = n
		}
	}
	if item < 0 {
		return edit{}, false
	}
	for stop > at+1 && indent(lines[stop-1]) < 0 { // comments and empty lines belong to what follows
		stop--
	}
	return edit{at: stop, add: spelled(routes, strings.Repeat(" ", item))}, true
}

// frontmatter gives the first line behind the opening --- and the closing one; -1: none.
func frontmatter(lines []string) (first, last int) {
	if len(lines) == 0 || strings.TrimRight(lines[0], " \r\n") != "---" {
		return -1, -1
	}
	for i := 1; i < len(lines); i++ {
		if strings.TrimRight(lines[i], " \r\n") == "---" {
			return 1, i
		}
	}
	return -1, -1
}

// indent is how far a line is indented; -1: it is empty or a comment.
func indent(line string) int {
	text := strings.TrimLeft(line, " ")
	if rest := strings.TrimRight(text, " \r\n"); rest == "" || rest[0] == '#' {
		return -1
	}
	return len(line) - len(text)
}

// key finds `name:` with nothing but a comment behind it, so indented, between two lines.
func key(lines []string, from, to, deep int, name string) int {
	for i := from; i < to; i++ {
		if n := indent(lines[i]); n >= 0 && n < deep {
			return -1
		}
		rest, ok := strings.CutPrefix(lines[i], strings.Repeat(" ", deep)+name+":")
		if rest = strings.TrimSpace(rest); ok && (rest == "" || rest[0] == '#') {
			return i
		}
	}
	return -1
}

func anyKey(lines []string, name string) bool {
	for _, l := range lines {
		if indent(l) >= 0 && strings.Contains(l, name) {
			return true
		}
	}
	return false
}

// block gives the line behind what belongs to the key at a line; comments and empty lines
// at its end do not.
func block(lines []string, at, last, deep int) int {
	end := at + 1
	for i := at + 1; i < last; i++ {
		switch n := indent(lines[i]); {
		case n < 0:
		case n <= deep:
			return end
		default:
			end = i + 1
		}
	}
	return end
}

// spelled are routes as a manifest has them. Every word is in quotes that could be read as
// anything but a word.
func spelled(routes []bottle.Route, in string) (out []string) {
	for _, r := range routes {
		out = append(out, in+"- host: "+quoted(r.Host.String())+"\n")
		add := func(format string, v ...any) { out = append(out, in+"  "+fmt.Sprintf(format, v...)+"\n") }
		if len(r.Ports) != 1 || r.Ports[0] != 443 {
			add("ports: %s", list(r.Ports))
		}
		if len(r.Methods) > 0 {
			add("methods: %s", list(r.Methods))
		}
		if len(r.Paths) > 0 {
			add("path_allowlist: %s", list(r.Paths))
		}
		if a := r.Auth; a != nil {
			scheme := a.Scheme
			if a.Header != "" {
				scheme = "header:" + a.Header
			}
			add("auth: {scheme: %s, token_ref: %s}", quoted(scheme), quoted(a.TokenRef))
		}
		for _, f := range [][2]string{{"tls", r.TLS}, {"dlp", r.DLP}, {"inbound", r.Inbound}} {
			if f[1] != "" && f[1] != "intercept" && f[1] != "block" || f[0] == "inbound" && f[1] != "" {
				add("%s: %s", f[0], quoted(f[1]))
			}
		}
		if r.H2C {
			add("h2c: true")
		}
		if u := r.Upstream; u != nil {
			var parts []string
			if u.Address != "" {
				parts = append(parts, "address: "+quoted(u.Address))
			}
			if u.CAFile != "" {
				parts = append(parts, "ca_file: "+quoted(u.CAFile))
			}
			add("upstream: {%s}", strings.Join(parts, ", "))
		}
	}
	return out
}

// quoted is a word in YAML's double quotes, of which JSON's are a part (YAML 1.2.2, 7.3.1).
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-") == "" && s[0] != '-' && s[0] != '.' && !isWord(s) {
		return s
	}
	b, _ := json.Marshal(s) // a string: this can't fail
	return string(b)
}

// isWord: what YAML reads as no string.
func isWord(s string) bool {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return true
	}
	return false
}

func list[T any](of []T) string {
	var parts []string
	for _, v := range of {
		if s, ok := any(v).(string); ok {
			parts = append(parts, quoted(s))
		} else {
			parts = append(parts, fmt.Sprint(v))
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
