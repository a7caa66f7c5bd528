package manifest

import (
	"os"
	"regexp"
	"testing"
)

// TestDocumentedExamples: every manifest in docs/manifest.md is read without a
// problem, and the schema accepts it.
func TestDocumentedExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"skills/init-prd/SKILL.md": "x"}
	blocks := regexp.MustCompile("(?s)<!-- (bottle|agent) ([a-z]+) -->\n```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	for _, b := range blocks {
		kind, name := string(b[1]), string(b[2])
		files[kind+"s/"+name+".md"] = string(b[3])
		s := &source{}
		front, _, ok := s.split(b[3])
		if !ok {
			t.Fatalf("%s %s has no frontmatter", kind, name)
		}
		if err := schemaSays(t, kind, string(front)); err != nil {
			t.Errorf("%s %s: %v", kind, name, err)
		}
	}
	if len(blocks) < 8 {
		t.Fatalf("found %d examples, want at least 8", len(blocks))
	}
	tr := tree(files)
	agents, probs := tr.Agents()
	if len(probs) > 0 {
		t.Error(probs)
	}
	bottles, _ := tr.Bottles()
	for _, b := range bottles {
		if probs := tr.Validate(KindBottle, b.Name); len(probs) > 0 {
			t.Error(probs)
		}
	}
	for _, a := range agents {
		if probs := tr.Validate(KindAgent, a.Name); len(probs) > 0 {
			t.Error(probs)
		}
	}
}
