package desk

import (
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan/sight"
)

func lines(text string) bottle.Proposal {
	return bottle.Proposal{Kind: bottle.ProposalImage, Why: "a test", Image: bottle.SplitImage(text)}
}

// drawn is a desk of a bottle whose image a recipe makes, with lines that wait.
func drawn(t *testing.T, text string) (*office, string) {
	t.Helper()
	o := newOffice(t, listed("a.example.com", "GET"))
	o.recipe = true
	o.start()
	p, err := o.Ask(t.Context(), lines(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	return o, p.ID
}

// TestLinesOfAnImage: what is approved is recorded line by line and changes nothing that runs;
// a resume with the lines keeps the grant, each later one, too, and one without them ends it.
func TestLinesOfAnImage(t *testing.T) {
	o, id := drawn(t, "run apt-get install -y jq\n\n  ENV A=b\n")
	shown, _ := o.Show(id)
	if shown.Says != changes(bottle.ImageAsk{Lines: []string{"", ""}}) || shown.Seen == "" || strings.Join(shown.Image.Lines, "|") != "RUN apt-get install -y jq|ENV A=b" {
		t.Fatalf("%+v", shown)
	}
	other := lines("RUN true")
	other.ID = id
	for want, d := range map[string]Decision{
		"without a time":       {ID: id, Verdict: Approve, For: time.Hour},
		"something else":       {ID: id, Verdict: Approve, Seen: sight.Of(other, shown.Says, "")},
		"only a route":         {ID: id, Verdict: Modify, Route: &bottle.Route{}},
		"is none of approve, ": {ID: id, Verdict: ""},
	} {
		if _, err := o.Decide(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	out, err := o.Decide(Decision{ID: id, Verdict: Approve, Seen: shown.Seen, By: "ann"})
	if err != nil || out.Old != out.New || out.Asked.Lease == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	if r := o.logged(ReasonLine); len(r) != 2 || r[0].Note != "RUN apt-get install -y jq" || r[1].Note != "ENV A=b" {
		t.Errorf("%+v", r)
	}
	if p, err := o.Ask(t.Context(), lines("RUN apt-get install -y jq\nENV A=b"), time.Minute); err != nil || p.ID != id || !p.Approved() {
		t.Errorf("the same once more: %+v, %v", p, err)
	}
	o.anew, o.lines = true, []string{id}
	for n := range 2 {
		o.start()
		if a, _ := o.queue.Get(id); !a.Lease.Holds(time.Now()) || len(o.logged(ReasonResumed)) != n+1 || len(o.logged(ReasonLine)) != 2*(n+2) {
			t.Errorf("resumed with them: %+v", a)
		}
	}
	o.lines = nil
	o.start()
	if a, _ := o.queue.Get(id); a.Lease.Holds(time.Now()) || a.Lease.EndedBy != "the bottle was resumed without its lines" {
		t.Errorf("resumed without them: %+v", a.Lease)
	}
}

// TestLinesThatNobodyGave: an image with lines that were never approved, were taken back, or
// cannot be recorded has no gateway.
func TestLinesThatNobodyGave(t *testing.T) {
	o, id := drawn(t, "RUN true")
	o.anew, o.lines = true, []string{id}
	begins := func(want string) {
		t.Helper()
		if o.begin(); o.failed == nil || !strings.Contains(o.failed.Error(), want) {
			t.Errorf("%s: %v", want, o.failed)
		}
	}
	begins("no grant says so")
	o.anew, o.lines = false, nil
	o.start()
	out, err := o.Decide(Decision{ID: id, Verdict: Approve})
	if err != nil {
		t.Fatal(err)
	}
	o.anew, o.lines, o.full = true, []string{id}, true
	begins("the disk is full")
	o.full = false
	o.start()
	if _, err := o.Revoke(out.Asked.Lease.ID, "ann"); err != nil {
		t.Fatal(err)
	}
	begins("no grant says so")
}

// TestLinesNeedARecipe: where there is none nobody is asked; a queue of another bottle's does
// not help.
func TestLinesNeedARecipe(t *testing.T) {
	o, id := drawn(t, "RUN true")
	o.recipe = false
	o.start()
	if _, err := o.Ask(t.Context(), lines("RUN false"), 0); err == nil || !strings.Contains(err.Error(), "none that a recipe makes") {
		t.Error(err)
	}
	if _, err := o.Decide(Decision{ID: id, Verdict: Approve}); err == nil || !strings.Contains(err.Error(), "none that a recipe makes") {
		t.Error(err)
	}
}

// TestLinesAreBounded, of all grants together; what cannot be recorded is not approved.
func TestLinesAreBounded(t *testing.T) {
	o, _ := drawn(t, "RUN true")
	o.full = true
	a := o.List()[0]
	if _, err := o.Decide(Decision{ID: a.ID, Verdict: Approve}); err == nil || !strings.Contains(err.Error(), "nothing was approved") {
		t.Error(err)
	}
	if a, _ := o.queue.Get(a.ID); a.Settled() {
		t.Errorf("%+v", a)
	}
	o.full = false
	given := 0
	for n := range 9 {
		p, err := o.Ask(t.Context(), lines(strings.Repeat("RUN echo "+strings.Repeat("x", n+1)+"\n", bottle.MaxImageLines)), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = o.Decide(Decision{ID: p.ID, Verdict: Approve}); err == nil {
			given++
		} else if !strings.Contains(err.Error(), "are too many") {
			t.Error(err)
		}
	}
	if given != maxImageLines/bottle.MaxImageLines {
		t.Errorf("%d were given", given)
	}
}
