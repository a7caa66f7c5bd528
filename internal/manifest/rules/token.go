package rules

import (
	"fmt"
	"strings"

	"bottle/internal/bottle"
)

// TokenRef reads where a secret is to be found, and gives it in its one spelling, or why
// it is none of the forms, and what to do. expand makes ~ a folder. No word shows the
// text: a secret pasted here by mistake shall not reach a terminal or a log.
func TokenRef(v string, expand func(string) string) (ref, why, hint string) {
	const forms = "write NAME (a variable), file:/path, cmd:command or keyring:service/account"
	kind, rest, ok := strings.Cut(v, ":")
	switch {
	case Pasted(v):
		return "", "looks like a secret itself: it says where the secret is", "take it back where it was made, put a new one into a variable and name that"
	case !ok && EnvName(v):
		return v, "", ""
	case kind == "file" && ok:
		if p := expand(rest); strings.HasPrefix(p, "/") {
			return "file:" + p, "", ""
		}
		return "", "wants an absolute path after file:", "write file:/path or file:~/path"
	case (kind == "cmd" || kind == "keyring") && ok && strings.TrimSpace(rest) == "":
		return "", "has nothing after " + kind + ":", forms
	case kind == "cmd" && ok:
		if _, err := bottle.Words(strings.TrimSpace(rest)); err != nil {
			return "", fmt.Sprintf("has a command that can't be run: %v", err), "write it as you would type it, for one program: cmd:pass show work/key"
		}
		return "cmd:" + strings.TrimSpace(rest), "", ""
	case kind == "keyring" && ok:
		if _, _, whole := bottle.Keyring(strings.TrimSpace(rest)); !whole {
			return "", "names no service and account after keyring:", "write keyring:service/account"
		}
		return "keyring:" + strings.TrimSpace(rest), "", ""
	}
	return "", "is none of the four forms; it is never the secret itself", forms
}
