package boxed

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Only what was approved and holds stands behind a recipe, in the order of the approvals.
func TestLines(t *testing.T) {
	now := time.Now()
	asked := func(id string, status bottle.ProposalStatus, lease *bottle.Grant) bottle.Asked {
		return bottle.Asked{Proposal: bottle.Proposal{ID: id, Status: status, Image: &bottle.ImageAsk{Lines: []string{"RUN " + id}}}, Lease: lease}
	}
	since := func(d time.Duration) *bottle.Grant { return &bottle.Grant{Since: now.Add(d)} }
	over := since(-time.Hour)
	over.Ended = now
	route := asked("route", bottle.ProposalApproved, since(0))
	route.Image = nil
	got := Lines([]bottle.Asked{
		asked("second", bottle.ProposalApproved, since(-time.Minute)), asked("first", bottle.ProposalApproved, since(-time.Hour)), route,
		asked("pending", bottle.ProposalPending, nil), asked("rejected", bottle.ProposalRejected, since(0)), asked("none", "", since(0)),
		asked("revoked", bottle.ProposalApproved, over), asked("nothing", bottle.ProposalApproved, nil),
	}, now)
	if !reflect.DeepEqual(Proposals(got), []string{"first", "second"}) {
		t.Errorf("%+v", got)
	}
	text, err := behind("FROM x\nUSER agent\n\n", got)
	if err != nil || text != "FROM x\nUSER agent\nUSER 0\nRUN first\nRUN second\n" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := behind("FROM x \n", nil); err != nil || text != "FROM x \n" {
		t.Errorf("a recipe without lines is another one: %q, %v", text, err)
	}
}

// A recipe that is not there, or whose end would swallow the first line, gets none.
func TestNoRecipeForLines(t *testing.T) {
	lines := []plan.Lines{{Proposal: "p222222", Text: []string{"RUN true"}}}
	for name, recipe := range map[string]string{"none": "", "empty": " \n", "goes on": "FROM x\nRUN y \\", "goes on, with spaces behind": "FROM x\nRUN y \\ \n\n", "goes on behind a comment": "FROM x\nUSER y\nRUN z \\\n  # not its end\n\n#\n", "another escape": "# escape=`\nFROM x\nRUN y `\n"} {
		if text, err := behind(recipe, lines); err == nil || !strings.Contains(err.Error(), "Dockerfile") && !strings.Contains(err.Error(), "without-image-changes") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// Lines are left out by the proposal that they are of; one that has none is not taken for any.
func TestWithoutLines(t *testing.T) {
	lines := []plan.Lines{{Proposal: "p222222", Text: []string{"RUN true"}}, {Proposal: "p333333", Text: []string{"RUN false"}}}
	for left, want := range map[string]string{"": "p222222 p333333", "p333333": "p222222", "p333333 p222222": "", "all": "", "p222222 all": ""} {
		got, err := Without(lines, strings.Fields(left))
		if err != nil || strings.Join(Proposals(got), " ") != want {
			t.Errorf("%q: %v, %v", left, got, err)
		}
	}
	if _, err := Without(lines, []string{"p444444"}); err == nil || !strings.Contains(err.Error(), "--dry-run") {
		t.Error(err)
	}
}

// What a comment ends with is no continuation.
func TestRecipeThatEndsWithAComment(t *testing.T) {
	for _, recipe := range []string{"FROM x\n# the end \\\n", "# syntax\n#\n\nFROM x\n#"} {
		text, err := behind(recipe, []plan.Lines{{Proposal: "p222222", Text: []string{"RUN true"}}})
		if err != nil || !strings.HasSuffix(text, "\nUSER 0\nRUN true\n") {
			t.Errorf("%q: %q, %v", recipe, text, err)
		}
	}
}
