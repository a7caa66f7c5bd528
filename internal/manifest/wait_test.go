package manifest

import (
	"fmt"
	"strings"
	"testing"

	"bottle/internal/bottle"
)

// waits is a home folder with bottles of these frontmatters.
func waits(texts map[string]string) Tree {
	files := map[string]string{}
	for name, text := range texts {
		files["bottles/"+name+".md"] = "---\n" + text + "---\n"
	}
	return tree(files)
}

// TestWaitOfAnAsk: how long an ask waits is a number of seconds that clients bear; a child's
// wins, and where there is nothing to ask it is pointed out.
func TestWaitOfAnAsk(t *testing.T) {
	for text, want := range map[string]int{"": 0, "supervise_wait: 1\n": 1, "supervise_wait: 55\n": 55} {
		tree := waits(map[string]string{"base": "supervise_wait: 20\n", "dev": text})
		spec, problems := tree.Bottle("dev")
		if problems.Fatal() || spec.Wait != want {
			t.Errorf("%q: %d, %v", text, spec.Wait, problems)
		}
	}
	tree := waits(map[string]string{"base": "supervise_wait: 20\n", "dev": "extends: base\n", "own": "extends: base\nsupervise_wait: 5\n"})
	for name, want := range map[bottle.Name]int{"dev": 20, "own": 5} {
		if spec, problems := tree.Bottle(name); problems.Fatal() || spec.Wait != want {
			t.Errorf("%s: %d, %v", name, spec.Wait, problems)
		}
	}
	for text, want := range map[string]string{
		"supervise_wait: 0\n": "from 1 to 55", "supervise_wait: 56\n": "from 1 to 55", "supervise_wait: -1\n": "from 1 to 55", "supervise_wait: 30s\n": "number", "supervise_wait: 1.5\n": "number",
		"supervise_wait: 10\nsupervise: false\n": "no meaning",
	} {
		tree := waits(map[string]string{"dev": text})
		problems := tree.Validate(KindBottle, "dev")
		if len(problems) != 1 || !strings.Contains(fmt.Sprint(problems[0]), want) && !strings.Contains(problems[0].Hint, want) {
			t.Errorf("%q: %+v, want %q", text, problems, want)
		}
	}
}
