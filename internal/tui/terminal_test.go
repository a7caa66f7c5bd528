package tui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/plan/sight"
	"bottle/test/screen"
)

const attacked = "dashboard-under-attack"

// TestMain is the attacked dashboard, too, which a terminal starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == attacked {
		_, err := Run(context.Background(), Screen{In: os.Stdin, Out: os.Stdout, Style: plain}, hostileHouse{}, "")
		fmt.Println(err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func plain(_ plan.Role, s string) string { return s }

// hostileHouse is one whose agents say whatever they can think of, wherever they are heard.
type hostileHouse struct{}

func (hostileHouse) Look(context.Context, bottle.Identity) Sight {
	out := Sight{Bottles: []Bottle{{Identity: "worker-abc12", Agent: "worker", Bottle: "dev", Backend: "native"}}}
	for i, s := range hostile() {
		p := plan.Proposal{Says: "adds " + s, Diff: "@@ -1 +1 @@\n+- host: " + s + "|\n" + s + "\n+" + s}
		p.ID, p.Kind, p.Why, p.Created = fmt.Sprintf("p2222%c%c", "bcdf"[i/8], "bcdfghjk"[i%8]), bottle.ProposalPush, s, time.Unix(1e9, 0)
		p.Push = &bottle.PushAsk{Repo: "app", Refs: []bottle.PushRef{{Name: "refs/heads/" + s, Old: strings.Repeat("0", 40), New: strings.Repeat("a", 40)}}, Failures: []string{s}, Diff: s}
		out.Proposals = append(out.Proposals, Asking{"worker-abc12", p})
		out.Log = append(out.Log, audit.Record{Time: time.Unix(1e9, 0), Kind: "http", Method: s, Host: s, Path: "/" + s, Verdict: audit.Deny, Reason: s})
	}
	return out
}

func (h hostileHouse) Weigh(ctx context.Context, a Answer) (Weighed, error) {
	for _, p := range h.Look(ctx, "").Proposals {
		if p.ID == a.Proposal {
			return Weighed{Proposal: p.Proposal, Seen: sight.Of(p.Proposal.Proposal, p.Says, p.Diff), File: "/tmp/" + p.Why, Lines: []string{p.Why}}, nil
		}
	}
	return Weighed{}, errors.New("none")
}

func (hostileHouse) Decide(_ context.Context, a Answer) (string, error) {
	return "", errors.New(a.Note + hostile()[0])
}
func (hostileHouse) Fetch(context.Context, Answer, func(string)) (*Brought, error) { return nil, nil }
func (hostileHouse) Stop(context.Context, bottle.Identity) error                   { return errors.New(hostile()[1]) }
func (hostileHouse) Modify(context.Context, Answer) (*bottle.Route, error) {
	return nil, errors.New(hostile()[2])
}
func (hostileHouse) Attach(context.Context, bottle.Identity) (string, error) {
	return hostile()[4], errors.New(hostile()[5])
}
func (hostileHouse) Start(context.Context, bottle.Name) (bottle.Identity, error) {
	return "", errors.New(hostile()[6])
}
func (hostileHouse) Agents() (out []Agent, _ error) {
	for _, s := range hostile() {
		out = append(out, Agent{Name: "worker", Bottle: "dev", About: s})
	}
	return out, nil
}
func (hostileHouse) Edit(context.Context, bottle.Identity) error { return errors.New(hostile()[3]) }

// TestScreenIsNotScrambled: the weakness is that an agent writes what an operator reads.
// Whatever it is, a real terminal shows what the dashboard drew, cell by cell, in the
// overview as in the question; and nothing else.
func TestScreenIsNotScrambled(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 50}, {40, 12}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			real := screen.New(t, size[0], size[1], nil, os.Args[0], attacked)
			m := &model{ctx: t.Context(), house: hostileHouse{}, style: plain, now: time.Now, width: size[0], height: size[1]}
			m.see(looked{"", m.house.Look(t.Context(), "")})
			agree := func() {
				t.Helper()
				want := ""
				real.Until("the screen that was drawn", func(text string) bool {
					want = trimmed(m.View().Content)
					return trimmed(text) == want
				})
			}
			for range hostile() {
				agree()
				w, _ := m.house.Weigh(t.Context(), Answer{Proposal: m.proposal[len("worker-abc12 "):]})
				m.begin("a")
				m.ask(Answer{Bottle: "worker-abc12", Proposal: w.ID}, w)
				real.Keys("a")
				agree()
				for range 3 {
					m.confirm("pgdown")
					real.Keys("PageDown")
					agree()
				}
				m.confirm("n")
				real.Keys("n")
				agree()
				m.browse("j")
				real.Keys("j")
			}
			list, _ := m.house.Agents()
			m.session(agents{list: list})
			real.Keys("s")
			agree()
		})
	}
}

// trimmed is a screen without the spaces at the ends of its lines, and without empty ones at its end.
func trimmed(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}
