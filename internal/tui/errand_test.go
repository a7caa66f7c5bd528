package tui

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

func packages(id string) Asking {
	p := plan.Proposal{Says: "brings packages into the bottle: npm:x"}
	p.ID, p.Kind, p.Capability, p.Created = id, bottle.ProposalCapability, &bottle.CapabilityAsk{Packages: []string{"npm:x"}}, time.Unix(1e9, 0)
	return Asking{"worker-abc12", p}
}

// fetcher is a house that fetches as long as it is not told to end.
type fetcher struct {
	over   chan error // how it ends
	begun  chan bool
	closed atomic.Int32
}

func (f *fetcher) fetch(ctx context.Context, say func(string)) (*Brought, error) {
	say("npm looks up \x1b[2J1 package")
	f.begun <- true
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-f.over:
		if err != nil {
			return nil, err
		}
	}
	return &Brought{Bill: bottle.Bill{Programs: []string{"x"}}, Stage: "p222222-stage", Close: func() { f.closed.Add(1) },
		Lines: []Line{{plan.Strong, "  npm:x 1.2.3  4 KiB"}, {plan.Faint, "    sha512:0a0b \x1b]0;"}}}, nil
}

// send begins the errand of p222222, and gives what comes of it.
func (p *player) sendFor(f *fetcher) (result tea.Cmd) {
	p.Helper()
	p.house.fetch = f.fetch
	p.press("a")
	p.shows("Look them up and fetch them (nothing of theirs is run), for p222222")
	p.clock = p.clock.Add(time.Second)
	_, result = p.Update(tea.KeyPressMsg{Code: 'y', Text: "y"})
	<-f.begun
	return result
}

func newFetcher() *fetcher { return &fetcher{over: make(chan error, 1), begun: make(chan bool, 1)} }

// TestPackagesAreAskedAboutTwice: the first yes fetches, and the dashboard goes on meanwhile;
// then what was fetched is shown, by its hashes, and the second yes puts in exactly that.
func TestPackagesAreAskedAboutTwice(t *testing.T) {
	p, f := play(t, packages("p222222"), asking("p333333", 2)), newFetcher()
	result := p.sendFor(f)
	if len(p.house.answered) > 0 {
		t.Fatal("the first yes approved it")
	}
	p.shows("being fetched for 0s: npm looks up \\u{1b}[2J1 package")
	p.press("a")
	p.shows("it is being fetched")
	p.press("j", "a")
	p.shows("Approve p333333")
	p.press("n", "k")
	f.over <- nil
	p.send(result())
	p.shows("Put into the bottle what was fetched for p222222")
	p.shows("npm:x 1.2.3  4 KiB")
	p.shows("sha512:0a0b")
	if strings.Contains(p.View().Content, "\x1b]0;") {
		t.Error("a registry writes to the terminal")
	}
	p.press("y")
	if len(p.house.answered) > 0 {
		t.Error("a yes that was typed ahead puts it in")
	}
	p.clock = p.clock.Add(time.Second)
	p.press("y")
	if a := p.house.answered; len(a) != 1 || a[0].Bill == nil || a[0].Bill.Programs[0] != "x" || a[0].Stage != "p222222-stage" || a[0].Seen == "" {
		t.Errorf("%+v", a)
	}
	if p.drop(); f.closed.Load() != 1 || len(p.errands) != 0 {
		t.Errorf("%d stages are closed", f.closed.Load())
	}
}

// TestFetchedWhileTheOperatorIsElsewhere: nothing is put before him; the key a does.
func TestFetchedWhileTheOperatorIsElsewhere(t *testing.T) {
	p, f := play(t, packages("p222222"), asking("p333333", 2)), newFetcher()
	result := p.sendFor(f)
	p.press("j")
	f.over <- nil
	p.send(result())
	p.shows("p222222 is fetched: the key a shows what it is")
	if len(p.sent) != 1 || !strings.Contains(p.sent[0], "\a") {
		t.Errorf("%q", p.sent)
	}
	p.press("k", "l", "1")
	p.shows("Put into the bottle what was fetched for p222222 of worker-abc12, for 15m?")
	p.press("n")
	p.shows("nothing was decided, and what was fetched is removed")
	if p.drop(); f.closed.Load() != 1 || len(p.house.answered) > 0 {
		t.Errorf("%d stages are closed, %+v", f.closed.Load(), p.house.answered)
	}
}

// TestWhatEndsAnErrand: its own error, which stays; the end of its proposal; the dashboard's
// end. Nothing of it is left.
func TestWhatEndsAnErrand(t *testing.T) {
	t.Run("an error", func(t *testing.T) {
		p, f := play(t, packages("p222222")), newFetcher()
		result := p.sendFor(f)
		f.over <- errors.New("the registry is gone; nothing was brought in")
		p.send(result())
		p.shows("the registry is gone; nothing was brought in")
		if len(p.errands) > 0 {
			t.Error("it can't be tried again")
		}
		p.drop()
	})
	t.Run("another operator", func(t *testing.T) {
		p, f := play(t, packages("p222222")), newFetcher()
		result := p.sendFor(f)
		p.house.sight.Problems = []string{"worker-abc12 does not tell"}
		p.house.sight.Proposals = nil
		p.run(p.look())
		if len(p.errands) != 1 {
			t.Error("not seen is not gone")
		}
		p.house.sight.Problems = nil
		p.run(p.look())
		p.send(result())
		if p.drop(); len(p.errands) > 0 || len(p.errs) != 1 {
			t.Errorf("%d errands, %q", len(p.errands), p.errs)
		}
	})
	for _, when := range []string{"on its way", "here", "asked about"} {
		t.Run("the dashboard's end, "+when, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			p, f := play(t, packages("p222222"), asking("p333333", 1)), newFetcher()
			p.ctx = ctx
			result := p.sendFor(f)
			want := int32(1)
			switch when {
			case "on its way":
				want = 0
			case "here":
				p.press("j")
				f.over <- nil
				p.send(result())
			case "asked about":
				f.over <- nil
				p.send(result())
			}
			cancel()
			if p.drop(); f.closed.Load() != want || len(p.house.answered) > 0 {
				t.Errorf("%d stages are closed", f.closed.Load())
			}
		})
	}
}

// TestErrandsAreBounded: an agent's asks, all of them said yes to, do not fill the disk.
func TestErrandsAreBounded(t *testing.T) {
	p, f := play(t, packages("p222222")), newFetcher()
	p.errands = map[string]*errand{}
	for _, k := range []string{"a", "b", "c", "d"} {
		e := &errand{cancel: func() {}, over: make(chan struct{})}
		close(e.over)
		p.errands[k] = e
	}
	p.house.fetch = f.fetch
	p.house.sight.Problems = []string{"so that none is recalled"}
	p.press("a")
	p.clock = p.clock.Add(time.Second)
	p.press("y")
	p.shows("4 proposals' packages are being fetched")
}

// TestPushThatIsNotWhole: y does not approve what nobody saw the end of; words do.
func TestPushThatIsNotWhole(t *testing.T) {
	push := asking("p222222", 0)
	push.Route, push.Kind, push.Push = nil, bottle.ProposalPush, &bottle.PushAsk{Repo: "app", Diff: bottle.NotWhole + "only the first 64 KiB\n+x\n"}
	p := play(t, push)
	p.press("a")
	p.clock = p.clock.Add(time.Second)
	p.press("y")
	p.shows("type not whole: _")
	p.send(tea.PasteMsg{Content: "not whole"})
	p.press("enter")
	p.shows("nothing was decided; r rejects it")
	if len(p.house.answered) > 0 {
		t.Fatalf("%+v", p.house.answered)
	}
	p.press("a")
	p.clock = p.clock.Add(time.Second)
	p.press("y", "n", "o", "t", " ", "w", "h", "o", "l", "e", "enter")
	if a := p.house.answered; len(a) != 1 || a[0].Reject || a[0].Seen == "" {
		t.Errorf("%+v", a)
	}
}
