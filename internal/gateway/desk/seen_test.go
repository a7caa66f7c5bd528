package desk

import (
	"encoding/json"
	"strings"
	"testing"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan/sight"
	"bottle/internal/policy"
)

// TestOnlyWhatWasSeenIsApproved: the weakness is that an approval opens what the routes make
// of it, and these may change between the reading and the yes. With what the operator saw in
// its hand the desk gives that or nothing; a check says what it would be, and gives nothing.
func TestOnlyWhatWasSeenIsApproved(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "GET"))
	first := o.must(o.Ask(t.Context(), wants("a.example.com", "POST"), 0))
	second := o.must(o.Ask(t.Context(), wants("a.example.com", "PUT"), 0))
	read := func(id string) string {
		p, _ := o.Show(id)
		return sight.Of(p.Proposal, p.Says, p.Diff)
	}
	seen := read(second.ID)
	before := o.force.Hash()
	out, err := o.Decide(Decision{ID: first.ID, Verdict: Approve, Seen: read(first.ID), Check: true})
	if err != nil || !strings.Contains(out.Says, "POST") || out.Diff == "" || out.Asked.Settled() || o.force.Hash() != before || len(o.logged("proposal_approved")) > 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	o.must(o.Ask(t.Context(), wants("a.example.com", "PUT"), 0)) // asking again keeps nobody from deciding
	if read(second.ID) != seen {
		t.Error("the agent changes what was seen by asking again")
	}
	if _, err := o.Decide(Decision{ID: first.ID, Verdict: Approve, Seen: read(first.ID)}); err != nil {
		t.Fatal(err)
	}
	for _, check := range []bool{true, false} {
		if _, err := o.Decide(Decision{ID: second.ID, Verdict: Approve, Seen: seen, Check: check}); err == nil || !strings.Contains(err.Error(), "something else than what you were shown") {
			t.Errorf("%v", err)
		}
	}
	if o.lets("PUT", "a.example.com", "/") {
		t.Fatal("it is in force all the same")
	}
	if _, err := o.Decide(Decision{ID: second.ID, Verdict: Approve, Seen: read(second.ID)}); err != nil || !o.lets("PUT", "a.example.com", "/") {
		t.Errorf("%v", err)
	}

	third := o.must(o.Ask(t.Context(), wants("b.example.com"), 0))
	less := wants("b.example.com", "GET").Route
	out, err = o.Decide(Decision{ID: third.ID, Verdict: Modify, Route: less, Check: true})
	if err != nil || out.Asked.Given == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	seen = sight.Of(out.Asked.Proposal, out.Says, out.Diff)
	if _, err := o.Decide(Decision{ID: third.ID, Verdict: Approve, Seen: seen}); err == nil {
		t.Error("all of it was given where a part of it was seen")
	}
	if _, err := o.Decide(Decision{ID: third.ID, Verdict: Modify, Route: less, Seen: seen}); err != nil || o.lets("POST", "b.example.com", "/") {
		t.Error(err)
	}
	if now, _ := o.Proposal(third.ID); now.Status != bottle.ProposalModified {
		t.Errorf("%+v", now)
	}
}

// TestSeenOfWhatIsNoRoute: a value and a push are what they are, whatever else changes; what
// was read over the wire is the same.
func TestSeenOfWhatIsNoRoute(t *testing.T) {
	o := newOffice(t, listed("a.example.com"))
	print := strings.Repeat("0a", 16)
	o.Denied(denied("POST", "a.example.com", 443, "/v1", policy.SecretFound, audit.Finding{Rule: "known-secret", Fingerprint: print}))
	value := o.must(o.Ask(t.Context(), bottle.Proposal{Kind: bottle.ProposalContent, Content: &bottle.ContentAsk{Host: "a.example.com", Path: "/v1", Print: print}}, 0))
	_, push, _, err := o.AskPush(t.Context(), pushing("a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{value.ID, push} {
		shown, _ := o.Show(id)
		line, err := json.Marshal(shown.Asked)
		if err != nil {
			t.Fatal(err)
		}
		var read bottle.Asked
		if err := json.Unmarshal(line, &read); err != nil {
			t.Fatal(err)
		}
		seen := sight.Of(read.Proposal, shown.Says, shown.Diff)
		if _, err := o.Decide(Decision{ID: id, Verdict: Approve, Seen: strings.Repeat("0", 32)}); err == nil {
			t.Error("something else was seen")
		}
		out, err := o.Decide(Decision{ID: id, Verdict: Approve, Seen: seen, Check: true})
		if err != nil || sight.Of(out.Asked.Proposal, out.Says, out.Diff) != seen {
			t.Errorf("%+v, %v", out, err)
		}
		if out, err := o.Decide(Decision{ID: id, Verdict: Approve, Seen: seen}); err != nil || !out.Asked.Approved() {
			t.Errorf("%+v, %v", out, err)
		}
	}
}

// TestPushThatNobodySawTheRestOf: the weakness is that only those who show a push kept from
// approving one that is too long, and that it may become so after they looked: the same ids
// change more when a ref of upstream's has moved. The gateway gives it to who says so.
func TestPushThatNobodySawTheRestOf(t *testing.T) {
	o := newOffice(t)
	p := pushing("a")
	_, id, _, err := o.AskPush(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	p.Push.Diff = bottle.NotWhole + "only the first 64 KiB\n+x\n"
	if _, again, _, err := o.AskPush(t.Context(), p); err != nil || again != id {
		t.Fatal(again, err)
	}
	if out, err := o.Decide(Decision{ID: id, Verdict: Approve}); err == nil || !strings.Contains(err.Error(), "only a part") {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := o.Decide(Decision{ID: id, Verdict: Approve, Check: true}); err != nil {
		t.Error(err)
	}
	if out, err := o.Decide(Decision{ID: id, Verdict: Approve, NotWhole: true}); err != nil || !out.Asked.Approved() {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestAGrantAddsWhatWasShown. The weakness: what a grant opens was worked out anew from all
// that was asked for. The attack: the agent asks for one path, and then for that one and
// another. The operator gives the first for a minute; of the second he is shown the other path
// alone, since the first is let through by then, and gives it for the session. When the first
// is taken back, the second held its path open. This proves that each adds what was shown of it.
func TestAGrantAddsWhatWasShown(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "GET"))
	ask := func(paths ...string) string {
		p := wants("b.example.com", "POST")
		p.Route.Paths = paths
		return o.must(o.Ask(t.Context(), p, 0)).ID
	}
	one, two, three := ask("/x"), ask("/x", "/y"), ask("/y")
	give := func(id, says string) string {
		t.Helper()
		p, _ := o.Show(id)
		out, err := o.Decide(Decision{ID: id, Verdict: Approve, Seen: p.Seen})
		if err != nil || out.Says != p.Says || !strings.Contains(out.Says, says) || strings.Contains(out.Says, "/x") != strings.Contains(says, "/x") {
			t.Fatalf("%s, %v", out.Says, err)
		}
		return out.Asked.Lease.ID
	}
	first := give(one, "POST to b.example.com/x/*")
	second := give(two, "POST to b.example.com/y/*")
	give(three, "adds nothing")
	lets := func(x, y bool) {
		t.Helper()
		if o.lets("POST", "b.example.com", "/x") != x || o.lets("POST", "b.example.com", "/y") != y {
			t.Errorf("/x: %v, /y: %v", !x, !y)
		}
	}
	before := o.pol.Hash()
	lets(true, true)
	if o.start(); o.pol.Hash() != before {
		t.Error("after a new start of the gateway they come to something else")
	}
	if _, err := o.Revoke(first, "me"); err != nil {
		t.Fatal(err)
	}
	lets(false, true)
	p := wants("b.example.com", "POST")
	p.Route.Paths = []string{"/x", "/y"}
	for range 2 {
		if again := o.must(o.Ask(t.Context(), p, 0)); again.ID == two || again.Status != bottle.ProposalPending {
			t.Errorf("what is shut now is said to be given: %+v", again)
		}
	}
	if _, err := o.Revoke(second, "me"); err != nil {
		t.Fatal(err)
	}
	lets(false, false)
}
