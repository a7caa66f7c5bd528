package gitgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/judge"
)

// Ask has an operator waive the rules that he may waive for one push, its very refs and
// ids, once. says is what the agent is told where he did not, or not yet; empty: nobody can
// be asked.
type Ask func(ctx context.Context, p bottle.Proposal) (approved bool, id, says string, err error)

// waived reports whether an operator let this push through. He is asked only when nothing
// is wrong that he may not waive.
func (p *push) waived(ctx context.Context) bool {
	if p.dry && !slices.ContainsFunc(p.failed, func(f judge.Failure) bool { return !f.Ask }) {
		p.says = "he is asked when you push without -o " + dryRun
	}
	// An approval is used up by the answer: what would stop the push all the same comes first.
	if p.dry || p.r.gate.cfg.Open() != nil || p.r.gate.cfg.Fits(p.r.host, p.out) != nil {
		return false
	}
	if p.r.gate.cfg.Ask == nil || slices.ContainsFunc(p.failed, func(f judge.Failure) bool { return !f.Ask }) {
		return false
	}
	ask := bottle.PushAsk{Repo: p.r.Name}
	for _, c := range p.asked.Commands {
		ask.Refs = append(ask.Refs, bottle.PushRef{Name: c.Ref, Old: c.Old, New: c.New})
	}
	for _, f := range p.failed {
		ask.Failures = append(ask.Failures, f.String())
	}
	diff, err := p.diff(ctx)
	if err != nil { // what he can't be shown he is not asked about; the failures tell the rest
		p.says = err.Error()
		return false
	}
	ask.Diff = diff
	approved, id, says, err := p.r.gate.cfg.Ask(ctx, bottle.Proposal{Push: &ask})
	if err != nil {
		p.says = err.Error()
		return false
	}
	if p.says = says; approved {
		p.waiver, p.failed = id, nil
	}
	return approved
}

// diff is what the push's new commits change of protected paths, for the operator: that is
// what he waives, and the agent cannot push it out of sight with other changes. Nothing in
// a repository has a say in how it is shown.
func (p *push) diff(ctx context.Context) (string, error) {
	args := []string{"-c", "core.quotePath=true", "log", "-p", "--text", "--no-ext-diff", "--no-textconv", "--no-color", "--no-decorate", "--no-notes", "--no-renames", "--no-show-signature",
		"--diff-merges=first-parent", "--format=commit %h", "--max-count=200"}
	args = append(args, p.news()...)
	args = append(args, "--not", "--all", "--")
	for _, glob := range p.guarded {
		args = append(args, ":(top,icase,glob)"+glob)
	}
	if len(p.news()) == 0 {
		return "", nil
	}
	out, err := p.q.Git(ctx, args, nil)
	if err != nil {
		return "", fmt.Errorf("show what the push changes: %w", err)
	}
	b, rerr := io.ReadAll(io.LimitReader(out, bottle.MaxDiff+1))
	err = out.Close()
	if len(b) > bottle.MaxDiff { // it was cut: git was told so by a pipe that nobody reads
		err = nil
	}
	if err = errors.Join(rerr, err); err != nil {
		return "", fmt.Errorf("show what the push changes: %w", err)
	}
	return string(b), nil
}
