package lifecycle

import (
	"fmt"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/policy"
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
		for _, s := range policy.Spellings(r.Upstream) {
			out = fmt.Appendf(out, "\tinsteadOf = %s\n", gitQuote(s))
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
