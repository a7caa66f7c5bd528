package gateway

import (
	"context"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/egress/approval"
	"bottle/internal/gateway/desk"
	"bottle/internal/gateway/shelf"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/store"
)

// openDesk says in the log that a bottle is resumed, if it is, makes what an agent asks at, and puts in force what was granted before.
func (g *gateway) openDesk() error {
	if g.told.Resumed { // before what the desk ends for it
		if err := g.rec.append(audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: audit.ReasonAgain, Policy: g.hash(),
			Note: "the bottle is resumed; what stands before this is of the time before it ended"}); err != nil {
			return err
		}
	}
	if g.told.Asked == "" {
		return nil
	}
	q, aside, err := store.OpenQueue(g.told.Asked)
	if err != nil {
		return err
	}
	g.queue = q
	var added desk.Shelf
	if g.told.Added != "" && g.told.Adding != "" {
		if added, err = shelf.Open(g.told.Added, g.told.Adding); err != nil {
			return err
		}
	}
	examine := func(routes []bottle.Route) (*policy.Policy, bottle.Problems) { return g.examine(routes, g.repos()) }
	g.desk, err = desk.New(desk.Config{
		Lock: &g.reloading, Queue: q, Routes: g.told.Routes, Examine: examine, Force: g.force, Record: g.rec.append, Now: time.Now,
		GitPolicy: g.gitPolicy, Pushes: func(h bottle.Host) bool { return len(policy.ReposAt(g.repos(), h)) > 0 }, Unmatched: g.told.Unmatched == plan.UnmatchedAsk, Shelf: added,
		Admit: func(p desk.Pass) {
			g.proxy.Approved().Add(approval.Approval{Print: p.Print, Host: p.Host, Since: p.Since, Until: p.Until, By: p.By})
		},
		Anew: g.told.Resumed, Recipe: g.told.Recipe, Lines: g.told.Lines,
		Dismiss: func(print string, host bottle.Host) { g.proxy.Approved().Revoke(print, host) },
	}, aside)
	if err == nil {
		g.rec.hear = g.desk.Denied
	}
	return err
}

// gitPolicy is what the git gate lets be pushed to a repository, in words.
func (g *gateway) gitPolicy(repo string) (string, bool) {
	if g.git == nil {
		return "", false
	}
	return g.git.gate.Policy(repo)
}

// askPush has an operator waive what he may of one push. There is a desk.
func (g *gateway) askPush(ctx context.Context, p bottle.Proposal) (approved bool, id, says string, err error) {
	return g.desk.AskPush(ctx, p)
}

const notAsked = "this gateway has no place for proposals: it runs without a bottle, or was started by another version"

// proposals answers with all of them, or with one.
func (g *gateway) proposals(c plan.Control) any {
	if g.desk == nil {
		return refusal{notAsked}
	}
	out := plan.Proposals{List: []plan.Proposal{}}
	for _, a := range g.desk.List() {
		if c.Proposal != "" && a.ID != c.Proposal {
			continue
		}
		p, ok := g.desk.Show(a.ID)
		if !ok {
			continue // it was forgotten in between
		}
		if c.Proposal == "" && p.Push != nil {
			p.Asked = a // without what is long
		}
		out.List = append(out.List, plan.Proposal(p))
	}
	if c.Proposal != "" && len(out.List) == 0 {
		return refusal{"there is no such proposal"}
	}
	return out
}

// pending is how many proposals wait for an operator.
func (g *gateway) pending() (n int) {
	if g.desk == nil {
		return 0
	}
	for _, a := range g.desk.List() {
		if !a.Settled() {
			n++
		}
	}
	return n
}

// decide answers an operator's word on a proposal.
func (g *gateway) decide(c plan.Control) any {
	if g.desk == nil {
		return refusal{notAsked}
	}
	out, err := g.desk.Decide(desk.Decision{ID: c.Proposal, Verdict: c.Verdict, Route: c.Route, For: time.Duration(c.Seconds) * time.Second, Note: c.Note, By: c.By, Seen: c.Seen, Check: c.Check, Bill: c.Bill, Stage: c.Stage, NotWhole: c.NotWhole})
	if err != nil {
		return refusal{err.Error()}
	}
	return plan.Decided{Proposal: plan.Proposal{Asked: out.Asked, Says: out.Says, Diff: out.Diff}, Old: out.Old, New: out.New, Cut: out.Cut}
}

func (g *gateway) grants(plan.Control) any {
	if g.desk == nil {
		return refusal{notAsked}
	}
	return plan.Grants{List: append([]bottle.Grant{}, g.desk.Grants()...)}
}

func (g *gateway) revokeGrant(c plan.Control) any {
	if g.desk == nil {
		return refusal{notAsked}
	}
	out, err := g.desk.Revoke(c.Grant, c.By)
	if err != nil {
		return refusal{err.Error()}
	}
	return plan.Revoked(out)
}
