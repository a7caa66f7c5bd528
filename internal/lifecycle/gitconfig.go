package lifecycle

import (
	"fmt"
	"net/url"
	"strings"

	"bottle/internal/bottle"
)

// gitConfig writes the identity for commits, and the rules that lead each repository's
// own URL, however it is spelled, to the git gate. Empty: there is nothing to say.
func gitConfig(u bottle.GitUser, repos []bottle.Repo) []byte {
	var out []byte
	for _, kv := range [][2]string{{"name", u.Name}, {"email", u.Email}} {
		if kv[1] == "" {
			continue
		}
		if len(out) == 0 {
			out = append(out, "[user]\n"...)
		}
		out = fmt.Appendf(out, "\t%s = %s\n", kv[0], gitQuote(kv[1]))
	}
	for _, r := range repos {
		out = fmt.Appendf(out, "[url %s]\n", gitQuote("http://git.bottle/"+r.Name+".git"))
		for _, s := range spellings(r.Upstream) {
			out = fmt.Appendf(out, "\tinsteadOf = %s\n", gitQuote(s))
		}
	}
	return out
}

// spellings are the ways in which people write a repository's URL: by ssh with and
// without the user and the port, in scp's form, by https, each with and without .git.
// git replaces the longest that a URL begins with, so that of app catches app2, too: the
// gate sends its reader on to where app2 is.
func spellings(upstream string) []string {
	u, err := url.Parse(upstream)
	if err != nil || u.Host == "" {
		return []string{upstream}
	}
	path := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	users := []string{"", "git@"}
	if name := u.User.Username(); name != "" && name != "git" {
		users = append(users, name+"@")
	}
	hosts := []string{u.Host}
	if u.Port() == "" {
		hosts = append(hosts, u.Host+map[string]string{"ssh": ":22", "https": ":443"}[u.Scheme])
	}
	var out []string
	add := func(base string) { out = append(out, base+path+".git", base+path) }
	for _, user := range users {
		if u.Scheme == "ssh" {
			for _, h := range hosts {
				add("ssh://" + user + h + "/")
				add("git+ssh://" + user + h + "/")
			}
		} else {
			add("ssh://" + user + u.Hostname() + "/")
			for _, h := range hosts {
				add("https://" + user + h + "/")
			}
		}
		if u.Port() == "" {
			add(user + u.Hostname() + ":")
			add(user + u.Hostname() + ":/")
		}
		if u.Scheme == "ssh" {
			add("https://" + user + u.Hostname() + "/")
		}
	}
	return out
}

// gitQuote quotes a value as git reads it (git-config(1), "Syntax"): these four
// escapes and no other. A repository's agent may set the name, so a line break
// must not begin a section of its own; other control characters are left out.
func gitQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.Write([]byte{'\\', c})
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < 0x20 || c == 0x7f:
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
