package tui

import (
	"testing"

	"bottle/internal/plan"
)

// TestOneListHasTheArrows: on a terminal without colours the cursor of the other list looked
// the same, and the arrows seemed dead.
func TestOneListHasTheArrows(t *testing.T) {
	l := line{plan.Plain, "  worker-abc12"}
	if got := marked(l, true, true).text; got != "> worker-abc12" {
		t.Error(got)
	}
	if got := marked(l, true, false).text; got != "- worker-abc12" {
		t.Error(got)
	}
	if got := marked(l, false, true).text; got != l.text {
		t.Error(got)
	}
}
