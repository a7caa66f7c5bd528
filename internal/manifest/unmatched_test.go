package manifest

import (
	"strings"
	"testing"

	"bottle/internal/bottle"
)

// TestUnmatched: what an unlisted host does is said by the bottle, or its parent; without
// a word it is denied and nothing else.
func TestUnmatched(t *testing.T) {
	tr := tree(map[string]string{
		"bottles/quiet.md": "---\n---\n",
		"bottles/ask.md":   "---\negress: {unmatched: ask}\n---\n",
		"bottles/child.md": "---\nextends: ask\n---\n",
		"bottles/shut.md":  "---\nextends: ask\negress: {unmatched: deny}\n---\n",
		"bottles/bad.md":   "---\negress: {unmatched: allow}\n---\n",
		"bottles/worse.md": "---\negress: {unmatched: true}\n---\n",
	})
	for name, want := range map[string]string{"quiet": "", "ask": "ask", "child": "ask", "shut": "deny"} {
		if spec, probs := tr.Bottle(bottle.Name(name)); probs.Fatal() || spec.Unmatched != want {
			t.Errorf("%s: %q, %v", name, spec.Unmatched, probs)
		}
	}
	for _, name := range []string{"bad", "worse"} {
		if spec, probs := tr.Bottle(bottle.Name(name)); !probs.Fatal() || !strings.Contains(probs.Error(), "write deny or ask") {
			t.Errorf("%s: %q, %v", name, spec.Unmatched, probs)
		}
	}
}
