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

// TestArrowsMoveWhereSomethingIs: while no proposal waits they move among the bottles, without
// a Tab first, and go back to the proposals when one comes.
func TestArrowsMoveWhereSomethingIs(t *testing.T) {
	p := play(t)
	p.shows("> other-abc12")
	p.press("j")
	p.shows("> worker-abc12")
	p.house.sight.Proposals = []Asking{asking("p111111", 1)}
	p.run(p.look())
	p.shows("- worker-abc12")
	p.press("j")
	p.shows("> p111111")
}
