package desk

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
)

// shop is a shelf in memory, as it would be on a disk: a new gateway finds it as it was.
type shop struct {
	ready, shown []string
	broken       bool
}

func (s *shop) Take(stage, id string) error {
	if stage != id+"-x" {
		return errors.New("no such stage")
	}
	s.ready = append(s.ready, id)
	return nil
}

func (s *shop) Drop(id string) {
	s.ready = slices.DeleteFunc(s.ready, func(o string) bool { return o == id })
}

func (s *shop) Show(ids []string) (missing []string, err error) {
	if s.broken && len(ids) > 0 {
		s.shown = ids // it came half way
		return nil, errors.New("the disk is full")
	}
	var shown []string
	for _, id := range ids {
		if !slices.Contains(s.shown, id) && !slices.Contains(s.ready, id) {
			missing = append(missing, id)
			continue
		}
		s.Drop(id)
		shown = append(shown, id)
	}
	s.shown = shown
	return missing, nil
}

func programs(names ...string) bottle.Proposal {
	return bottle.Proposal{Kind: bottle.ProposalCapability, Why: "a test", Capability: &bottle.CapabilityAsk{Packages: names}}
}

func approves(id string) Decision {
	return Decision{ID: id, Verdict: Approve, By: "ann", Stage: id + "-x", Bill: &bottle.Bill{Programs: []string{"jq"}, Unpacked: 10,
		Items: []bottle.BillItem{{Ecosystem: "deb", Name: "jq", Version: "1", Hash: "sha256:" + strings.Repeat("a", 64), Size: 5, From: "http://deb.example.com/jq.deb"}}}}
}

func packed(t *testing.T) (*office, *shop, string) {
	t.Helper()
	o := newOffice(t, listed("a.example.com", "GET"))
	s := &shop{}
	o.shelf = s
	o.start()
	p, err := o.Ask(t.Context(), programs("deb:jq"), 0)
	if err != nil {
		t.Fatal(err)
	}
	return o, s, p.ID
}

// TestPackages: what is approved is recorded with each archive and its hash, then shown,
// then told to the agent, which waits; a second operator is told, and what is revoked is
// taken away.
func TestPackages(t *testing.T) {
	o, s, id := packed(t)
	told := make(chan bottle.Proposal, 1)
	go func() {
		p, _ := o.Ask(t.Context(), programs("deb:jq"), time.Minute)
		told <- p
	}()
	for _, c := range []struct {
		change func(*Decision)
		want   string
	}{
		{func(c *Decision) { c.Bill = nil }, "bottle approve " + id},
		{func(c *Decision) { c.Bill = &bottle.Bill{} }, "has from 1 to"},
		{func(c *Decision) { c.Bill.Items[0].Ecosystem = "npm" }, "nobody can hold to it"},
		{func(c *Decision) { c.Stage = "elsewhere" }, "no such stage"},
	} {
		d := approves(id)
		c.change(&d)
		if _, err := o.Decide(d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
	out, err := o.Decide(approves(id))
	if err != nil || !slices.Equal(s.shown, []string{id}) || len(s.ready) > 0 {
		t.Fatalf("%+v, %v, %+v", out, err, s)
	}
	if p := <-told; !p.Approved() || p.Bill == nil || !slices.Equal(p.Bill.Programs, []string{"jq"}) {
		t.Errorf("the agent is told %+v", p)
	}
	if r := o.logged(ReasonPackage); len(r) != 1 || !strings.Contains(r[0].Note, "deb:jq 1, 5 bytes, sha256:"+strings.Repeat("a", 64)+", from http://deb.example.com/jq.deb") {
		t.Errorf("%+v", r)
	}
	if _, err := o.Decide(approves(id)); err == nil || !strings.Contains(err.Error(), "decided already: approved, ann") {
		t.Errorf("the second operator: %v", err)
	}
	if p, err := o.Ask(t.Context(), programs("deb:jq"), time.Minute); err != nil || p.ID != id || !p.Approved() {
		t.Errorf("the same once more: %+v, %v", p, err)
	}
	o.start() // the gateway is started anew
	if !slices.Equal(s.shown, []string{id}) || len(o.logged("grant_resumed")) != 1 {
		t.Errorf("%+v", s)
	}
	if out, err := o.Revoke(out.Asked.Lease.ID, "ann"); err != nil || !out.Recorded || len(s.shown) > 0 {
		t.Errorf("%+v, %v, %+v", out, err, s)
	}
	o.start()
	if len(s.shown) > 0 {
		t.Errorf("it is there again: %+v", s)
	}
}

// TestWhatCannotBeRecordedIsNotBroughtIn: with a full log, or where it cannot be shown,
// nothing is approved, and a repeat works.
func TestWhatCannotBeRecordedIsNotBroughtIn(t *testing.T) {
	o, s, id := packed(t)
	for what, c := range map[string]func(bool){"the log": func(b bool) { o.full = b }, "the shelf": func(b bool) { s.broken = b }} {
		c(true)
		if _, err := o.Decide(approves(id)); err == nil || !strings.Contains(err.Error(), "nothing was approved") || len(s.shown)+len(s.ready) > 0 {
			t.Errorf("%s: %v, %+v", what, err, s)
		}
		c(false)
		if a, _ := o.queue.Get(id); a.Settled() {
			t.Errorf("%s: %+v", what, a)
		}
		o.start()
		if len(s.shown) > 0 {
			t.Errorf("%s: it is there after a new start: %+v", what, s)
		}
	}
	if _, err := o.Decide(approves(id)); err != nil || len(s.shown) != 1 {
		t.Errorf("a repeat: %v", err)
	}
}

// TestKilledWhilePackagesAreApproved: killed before any step of an approval, the gateway
// that is started next shows all or nothing, and never what is not in the log.
func TestKilledWhilePackagesAreApproved(t *testing.T) {
	for step := 1; ; step++ {
		o, s, id := packed(t)
		n, killed := 0, false
		o.crash = func(string) {
			if n++; n == step {
				killed = true
				panic("killed")
			}
		}
		func() {
			defer func() { _ = recover() }()
			ready := slices.Clone(s.ready)
			defer func() {
				if killed && len(s.ready) == len(ready) { // a killed process drops nothing
					s.ready = append(s.ready, id)
				}
			}()
			_, _ = o.Decide(approves(id))
		}()
		o.crash = nil
		o.start()
		a, _ := o.queue.Get(id)
		if shown := slices.Contains(s.shown, id); shown != a.Lease.Holds(time.Now()) || shown && len(o.logged(ReasonPackage)) == 0 {
			t.Errorf("step %d: shown %v, %+v", step, shown, a)
		}
		if !killed {
			if step < 4 {
				t.Errorf("there were %d steps only", step-1)
			}
			return
		}
	}
}

// TestPackagesEndWithTheirTime, and are not shown by a gateway that has no place for them.
func TestPackagesEndWithTheirTime(t *testing.T) {
	o, s, id := packed(t)
	d := approves(id)
	d.For = time.Minute
	if _, err := o.Decide(d); err != nil {
		t.Fatal(err)
	}
	o.skipped = 2 * time.Minute
	o.sweep()
	if len(s.shown) > 0 {
		t.Errorf("%+v", s)
	}
	s.shown, o.skipped = nil, 0
	o.shelf = nil
	o.start()
	if _, err := o.Ask(t.Context(), programs("deb:x1"), 0); !errors.Is(err, errNoShelf) {
		t.Errorf("%v", err)
	}
	o.recipe = true // lines for the image take their place
	o.start()
	if _, err := o.Ask(t.Context(), programs("deb:x1"), 0); !errors.Is(err, errOnlyLines) {
		t.Errorf("%v", err)
	}
	if n := len(o.List()); n != 1 {
		t.Errorf("%d proposals", n)
	}
}
