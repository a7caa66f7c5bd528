// Package gitconfig writes the settings of git inside a bottle.
package gitconfig

import (
	"fmt"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// noSSH is what git runs instead of ssh: there is none that leads out. git hands it to a
// shell, with the host behind it.
const noSSH = "echo 'bottle: there is no ssh in here, and this address is none of the repositories of this bottle: curl http://" + policy.GitHost + "/' >&2; exit 128; :"

// Text writes the identity for commits, and the rules that lead each repository's
// own URL, however it is spelled, to the git gate. Empty: there is nothing to say.
func Text(u bottle.GitUser, repos []bottle.Repo) []byte {
	var out []byte
	for _, kv := range [][2]string{{"name", u.Name}, {"email", u.Email}} {
		if kv[1] == "" {
			continue
		}
		if len(out) == 0 {
			out = append(out, "[user]\n"...)
		}
		out = fmt.Appendf(out, "\t%s = %s\n", kv[0], quote(kv[1]))
	}
	if len(repos) > 0 { // else git says "Could not resolve hostname". The variant is named: git asks ssh for it first, and hides what that says
		out = fmt.Appendf(out, "[core]\n\tsshCommand = %s\n[ssh]\n\tvariant = ssh\n", quote(noSSH))
	}
	for _, r := range repos {
		out = fmt.Appendf(out, "[url %s]\n", quote("http://"+policy.GitHost+"/"+r.Name+".git"))
		for _, s := range policy.Spellings(r.Upstream) {
			out = fmt.Appendf(out, "\tinsteadOf = %s\n", quote(s))
		}
	}
	return out
}

// quote quotes a value as git reads it (git-config(1), "Syntax"): these four
// escapes and no other. A repository's agent may set the name, so a line break
// must not begin a section of its own; other control characters are left out.
func quote(s string) string {
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
