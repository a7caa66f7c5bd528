package gitgate

import (
	"context"
	"slices"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/judge"
	"bottle/internal/gitgate/shown"
)

// Ask has an operator waive the rules that he may waive for one push, its very refs and
// ids, once. says is what the agent is told where he did not, or not yet; empty: nobody can
// be asked.
type Ask func(ctx context.Context, p bottle.Proposal) (approved bool, id, says string, err error)

// waivable reports whether all that is wrong with the push is an operator's to waive, and
// he can be asked.
func (p *push) waivable() bool {
	return p.r.gate.cfg.Ask != nil && !p.dry && !slices.ContainsFunc(p.failed, func(f judge.Failure) bool { return !f.Ask })
}

// waived reports whether an operator let this push through, which is then without failures.
// An approval is used up by the answer: what would stop the push all the same comes first.
func (p *push) waived(ctx context.Context) bool {
	if !p.waivable() {
		return false
	}
	ask := bottle.PushAsk{Repo: p.r.Name}
	for _, c := range p.asked.Commands {
		ask.Refs = append(ask.Refs, bottle.PushRef{Name: c.Ref, Old: c.Old, New: c.New})
	}
	for _, f := range p.failed {
		ask.Failures = append(ask.Failures, f.String())
	}
	approved, id, says, err := false, "", "", error(nil)
	if ask.Diff, err = p.diff(ctx); err == nil { // what he can't be shown he is not asked about
		approved, id, says, err = p.r.gate.cfg.Ask(ctx, bottle.Proposal{Push: &ask})
	}
	if err != nil {
		p.says = err.Error()
		return false
	}
	if p.says = says; approved {
		p.waiver, p.failed = id, nil
	}
	return approved
}

// diff is what the push changes of the paths that only an operator may let through.
func (p *push) diff(ctx context.Context) (string, error) {
	what := shown.Push{Git: p.q.Git, Lines: p.q.Lines, New: p.news(), Paths: p.asks}
	for _, u := range p.gives {
		g := shown.Given{Ref: u.Ref, Old: u.Old, New: u.New}
		if u.Deleted() {
			g.New, g.Keep = "", p.stays(p.r.mirror.Refs())
		}
		what.Gives = append(what.Gives, g)
	}
	return what.Diff(ctx)
}
