package tui

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/plan/sight"
)

// quietHouse keeps what it is told, and answers at once.
type quietHouse struct {
	sight    Sight
	weighed  []Answer
	answered []Answer
	stopped  []bottle.Identity
	attached []bottle.Identity
	started  []bottle.Name
	agents   []Agent
	err      error
	fetch    func(ctx context.Context, say func(string)) (*Brought, error)
}

func (h *quietHouse) Look(context.Context, bottle.Identity) Sight { return h.sight }

func (h *quietHouse) Weigh(_ context.Context, a Answer) (Weighed, error) {
	h.weighed = append(h.weighed, a)
	for _, p := range h.sight.Proposals {
		if p.ID == a.Proposal {
			return Weighed{Proposal: p.Proposal, Seen: "weighed " + p.ID}, h.err
		}
	}
	return Weighed{}, errors.New("there is none")
}

func (h *quietHouse) Decide(_ context.Context, a Answer) (string, error) {
	h.answered = append(h.answered, a)
	return "done", h.err
}

func (h *quietHouse) Fetch(ctx context.Context, _ Answer, say func(string)) (*Brought, error) {
	return h.fetch(ctx, say)
}

func (h *quietHouse) Stop(_ context.Context, id bottle.Identity) error {
	h.stopped = append(h.stopped, id)
	return h.err
}

func (h *quietHouse) Modify(context.Context, Answer) (*bottle.Route, error) { return nil, nil }
func (h *quietHouse) Attach(_ context.Context, id bottle.Identity) (string, error) {
	h.attached = append(h.attached, id)
	return "detached from " + string(id), h.err
}
func (h *quietHouse) Start(_ context.Context, name bottle.Name) (bottle.Identity, error) {
	h.started = append(h.started, name)
	return bottle.Identity(name + "-new12"), h.err
}
func (h *quietHouse) Agents() ([]Agent, error)                    { return h.agents, h.err }
func (h *quietHouse) Edit(context.Context, bottle.Identity) error { return nil }

func asking(id string, lines int) Asking {
	p := plan.Proposal{Says: "adds GET to a.example.com/*", Diff: strings.Repeat("+ x\n", lines)}
	p.ID, p.Kind, p.Route, p.Created = id, bottle.ProposalEgress, &bottle.Route{Host: bottle.Pattern{Host: "a.example.com"}}, time.Unix(1e9, 0)
	return Asking{"worker-abc12", p}
}

// player presses keys, and has the commands run that come of them, but for ticks.
type player struct {
	*testing.T
	*model
	house *quietHouse
	clock time.Time
	sent  []string // what went to the terminal besides the screen
	quit  bool
}

func play(t *testing.T, list ...Asking) *player {
	h := &quietHouse{sight: Sight{Bottles: []Bottle{{Identity: "other-abc12"}, {Identity: "worker-abc12"}}, Proposals: list}}
	p := &player{T: t, house: h, clock: time.Unix(2e9, 0)}
	p.model = &model{ctx: t.Context(), house: h, style: plain, now: func() time.Time { return p.clock }}
	p.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	p.run(p.look())
	return p
}

func (p *player) send(msg tea.Msg) {
	_, cmd := p.Update(msg)
	p.View()
	p.run(cmd)
}

func (p *player) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case tea.BatchMsg:
		for _, c := range msg {
			p.run(c)
		}
	case tea.RawMsg:
		p.sent = append(p.sent, fmt.Sprint(msg.Msg))
	case tea.QuitMsg:
		p.quit = true
	default:
		if msg != nil {
			p.send(msg)
		}
	}
}

func (p *player) press(keys ...string) {
	for _, k := range keys {
		switch k {
		case "enter":
			p.send(tea.KeyPressMsg{Code: tea.KeyEnter})
		case "esc":
			p.send(tea.KeyPressMsg{Code: tea.KeyEscape})
		case "pgdown":
			p.send(tea.KeyPressMsg{Code: tea.KeyPgDown})
		case "tab":
			p.send(tea.KeyPressMsg{Code: tea.KeyTab})
		default:
			p.send(tea.KeyPressMsg{Code: rune(k[0]), Text: k})
		}
	}
}

func (p *player) shows(what string) {
	p.Helper()
	if s := p.View().Content; !strings.Contains(s, what) {
		p.Errorf("%q is not in\n%s", what, s)
	}
}

// TestYesNeedsAQuestionThatWasRead: typed ahead it is none, nor before the end of what is
// shown; and it carries what was shown.
func TestYesNeedsAQuestionThatWasRead(t *testing.T) {
	p := play(t, asking("p222222", 40))
	p.press("a", "y")
	if len(p.house.weighed) != 1 || p.house.weighed[0].Seen != sight.Of(p.sight.Proposals[0].Proposal.Proposal, p.sight.Proposals[0].Says, p.sight.Proposals[0].Diff) || len(p.house.answered) > 0 {
		t.Fatalf("%+v, %+v", p.house.weighed, p.house.answered)
	}
	for range 100 { // held down
		p.clock = p.clock.Add(30 * time.Millisecond)
		p.press("y")
	}
	if p.mode != yes || strings.Contains(p.View().Content, "there is more to read") {
		t.Fatal("a key that is held down is an answer")
	}
	p.clock = p.clock.Add(settle)
	p.press("y")
	p.shows("there is more to read")
	for range 10 {
		p.press("pgdown")
	}
	p.press("y")
	if len(p.house.answered) != 1 || p.house.answered[0].Seen != "weighed p222222" || p.house.answered[0].Bottle != "worker-abc12" || p.house.answered[0].Reject {
		t.Errorf("%+v", p.house.answered)
	}
	p.shows("done")

	p.press("a", "n", "y", "a", "esc", "y", "a", "q", "y")
	if len(p.house.answered) != 1 || p.quit {
		t.Errorf("%+v", p.house.answered)
	}
	p.press("x", "y")
	if len(p.house.stopped) > 0 {
		t.Error("stopped by what was typed ahead")
	}
	p.clock = p.clock.Add(settle)
	p.press("y")
	if len(p.house.stopped) != 1 || p.house.stopped[0] != "other-abc12" {
		t.Errorf("%q", p.house.stopped)
	}
}

// TestPastedTextIsNoKey: neither a yes nor anything else; where text is typed it is text.
func TestPastedTextIsNoKey(t *testing.T) {
	p := play(t, asking("p222222", 1))
	p.send(tea.PasteMsg{Content: "ay"})
	p.press("a")
	p.clock = p.clock.Add(settle)
	p.send(tea.PasteMsg{Content: "y\n"})
	if len(p.house.weighed) != 1 || len(p.house.answered) > 0 || p.mode != yes {
		t.Errorf("%+v, %+v", p.house.weighed, p.house.answered)
	}
	p.press("n", "r")
	p.send(tea.PasteMsg{Content: "no\x1b[2J\n" + strings.Repeat("é", 1000)})
	p.press("enter")
	if a := p.house.answered; len(a) != 1 || !a[0].Reject || !strings.HasPrefix(a[0].Note, "no [2J é") || len(a[0].Note) > mostTyped {
		t.Errorf("%+v", a)
	}
}

// TestCursorStaysOnItsProposal: whatever comes and goes around it.
func TestCursorStaysOnItsProposal(t *testing.T) {
	one, two, three := asking("p222222", 1), asking("p333333", 1), asking("p444444", 1)
	p := play(t, one, two)
	p.press("j")
	for _, list := range [][]Asking{{three, one, two}, {two}, {three, two, one}} {
		p.house.sight.Proposals = list
		p.run(p.look())
		if got, _ := p.chosen(); got.ID != "p333333" {
			t.Fatalf("the cursor is on %q", got.ID)
		}
	}
	p.house.sight.Proposals = []Asking{three, one}
	p.run(p.look())
	p.press("a", "l", "m", "r")
	if len(p.house.weighed) > 0 || p.mode != browsing {
		t.Errorf("what it stood on is gone, and it went to %+v", p.house.weighed)
	}
	p.run(p.look())
	p.shows("waits no longer")
	p.press("j", "a")
	if len(p.house.weighed) != 1 || p.house.weighed[0].Proposal != "p444444" {
		t.Errorf("%+v", p.house.weighed)
	}

	same := asking("p222222", 1) // another bottle's, with the same id
	same.Identity = "other-abc12"
	p = play(t, one)
	p.house.sight.Proposals = []Asking{same}
	p.run(p.look())
	if got, ok := p.chosen(); ok {
		t.Errorf("the cursor went to the proposal of %s", got.Identity)
	}
}

// TestErrorsStay: until each was put away, and what is left is given back at the end.
func TestErrorsStay(t *testing.T) {
	p := play(t, asking("p222222", 1))
	for i := range 60 {
		p.fail(fmt.Sprintf("error %d\x1b[2J", i/2))
	}
	if len(p.errs) != 30 {
		t.Fatalf("%d", len(p.errs))
	}
	p.shows(`error 0\u{1b}[2J (and 29 more: Esc)`)
	p.press("j", "tab", "?", "q")
	p.shows("error 0")
	p.press("esc")
	p.shows("error 1")
	for i := range 100 {
		p.fail(fmt.Sprint("later ", i))
	}
	if len(p.errs) != mostErrors || !strings.Contains(p.errs[mostErrors-1], "not kept") {
		t.Errorf("%d: %q", len(p.errs), p.errs[len(p.errs)-1])
	}
	p.press("q")
	if !p.quit || len(p.house.stopped) > 0 {
		t.Error("q leaves, and stops nothing")
	}
}

// TestRingsForNewProposalsOnly: not for those that are there at first, and once for many.
func TestRingsForNewProposalsOnly(t *testing.T) {
	p := play(t, asking("p222222", 1))
	p.run(p.look())
	if len(p.sent) > 0 {
		t.Fatalf("%q", p.sent)
	}
	p.house.sight.Proposals = append(p.house.sight.Proposals, asking("p333333", 1))
	p.run(p.look())
	p.run(p.look())
	if len(p.sent) != 1 || !strings.Contains(p.sent[0], "\x1b]9;bottle: p333333 of worker-abc12 adds GET") {
		t.Fatalf("%q", p.sent)
	}
	for i := range 20 {
		p.house.sight.Proposals = append(p.house.sight.Proposals, asking(fmt.Sprint("p", i), 1))
	}
	p.run(p.look())
	if len(p.sent) != 2 || !strings.Contains(p.sent[1], "bottle: 20 new proposals\a") {
		t.Errorf("%q", p.sent)
	}
}

// TestFilter shows what holds a text, and takes nothing else under the cursor.
func TestFilter(t *testing.T) {
	one, two := asking("p222222", 1), asking("p333333", 1)
	two.Why = "For the NPM mirror"
	p := play(t, one, two)
	p.press("/", "n", "p", "m", "enter")
	if got := p.proposals(); len(got) != 1 || got[0].ID != "p333333" {
		t.Errorf("%+v", got)
	}
	p.shows("filter: npm")
	if got, ok := p.chosen(); ok && got.ID != "p333333" {
		t.Errorf("%q", got.ID)
	}
	p.press("esc", "esc")
	if len(p.proposals()) != 2 || p.filter != "" {
		t.Errorf("%q", p.filter)
	}
}

// TestEveryScreenHasItsSize: no line more, no line wider, whatever there is to show.
func TestEveryScreenHasItsSize(t *testing.T) {
	p := play(t)
	p.house.sight = hostileHouse{}.Look(t.Context(), "")
	for i := range 30 {
		p.house.sight.Bottles = append(p.house.sight.Bottles, Bottle{Identity: bottle.Identity(fmt.Sprintf("a-very-long-name-of-an-agent-%d-abc12", i)), Requests: 1 << 60, Bytes: 1 << 63, Started: time.Unix(1, 0)})
	}
	p.run(p.look())
	p.fail(strings.Repeat("界", 300))
	p.fail("more")
	for _, size := range [][2]int{{80, 24}, {200, 50}, {40, 12}, {41, 13}, {300, 20}, {10, 3}, {1, 1}} {
		p.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for _, keys := range [][]string{nil, {"?"}, {"q"}, {"l"}, {"esc"}, {"/", "界", "x"}, {"esc"}, {"r"}, {"esc"}, {"x"}, {"n"}, {"a"}, {"n"}, {"j"}} {
			p.press(keys...)
			lines := strings.Split(p.View().Content, "\n")
			if size[1] >= leastHeight && len(lines) != size[1] {
				t.Errorf("%v %q: %d lines", size, keys, len(lines))
			}
			for _, l := range lines {
				if room(l) > size[0] {
					t.Errorf("%v %q: %q", size, keys, l)
				}
			}
		}
	}
}

// TestStatusHasItsNextStep: an error is told to its end, where the next step stands, and no
// line of the rest is lost for it. A filter that hides all says so.
func TestStatusHasItsNextStep(t *testing.T) {
	p := play(t, asking("p222222", 1))
	p.fail("the gateway refuses: p222222 is decided already: approved, somebody at 15:04:05; " + strings.Repeat("word ", 4) + "bottle proposals p222222 shows it")
	for _, what := range []string{"shows it", "+ x", "bottle dashboard"} {
		p.shows(what)
	}
	p.press("esc")
	p.said = "approved p222222, as long as the bottle, and written; to take it back: bottle revoke g222222"
	p.shows("revoke g222222")
	p.press("/", "q", "q", "q", "q", "enter")
	p.shows("none with the filter's text")
	if text := p.View().Content; strings.Contains(text, "no bottle runs") || strings.Contains(text, "none waits") {
		t.Error(text)
	}
}

// TestLinesOfAnImageAreReadBeforeAYes: each of them stands above the question, which says when
// they come into force; a yes before the last of them was on the screen approves nothing.
func TestLinesOfAnImageAreReadBeforeAYes(t *testing.T) {
	a := asking("p222222", 1)
	a.Kind, a.Route, a.Image = bottle.ProposalImage, nil, &bottle.ImageAsk{}
	for n := range bottle.MaxImageLines {
		a.Image.Lines = append(a.Image.Lines, fmt.Sprintf("RUN install number-%d", n))
	}
	p := play(t, a)
	p.press("a")
	p.shows("Approve p222222 of worker-abc12, from its next resume on?")
	p.shows("+RUN install number-0")
	p.clock = p.clock.Add(time.Second)
	p.press("y")
	p.shows("there is more to read")
	p.press("pgdown", "pgdown", "pgdown")
	p.shows("+RUN install number-31")
	p.clock = p.clock.Add(time.Second)
	p.press("y")
	if len(p.house.answered) != 1 || p.house.answered[0].Proposal != "p222222" {
		t.Errorf("%+v", p.house.answered)
	}
}
