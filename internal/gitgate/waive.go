package gitgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/judge"
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

// maxShown is how many commits are shown to the operator.
const maxShown = 200

// diff is what the push's new commits change of protected paths, for the operator: that is
// what he waives, and the agent cannot push it out of sight with other changes. Nothing in
// a repository has a say in how it is shown. What is left out is told on its first line.
func (p *push) diff(ctx context.Context) (string, error) {
	if len(p.news()) == 0 {
		return "", nil
	}
	revs := append(slices.Clone(p.news()), "--not", "--all", "--")
	for _, glob := range p.guarded {
		revs = append(revs, ":(top,icase,glob)"+glob)
	}
	for _, f := range p.failed { // names that only some systems take for a protected one
		if f.File != "" && len(revs) < maxShown {
			revs = append(revs, ":(top,literal)"+f.File)
		}
	}
	count, err := p.q.Lines(ctx, 1<<10, append([]string{"rev-list", "--count"}, revs...)...)
	if err != nil {
		return "", fmt.Errorf("show what the push changes: %w", err)
	}
	args := []string{"-c", "core.quotePath=true", "log", "-p", "--text", "--no-ext-diff", "--no-textconv", "--no-color", "--no-decorate", "--no-notes", "--no-renames", "--no-show-signature",
		"--diff-merges=first-parent", "--format=commit %h", fmt.Sprintf("--max-count=%d", maxShown)}
	out, err := p.q.Git(ctx, append(args, revs...), nil)
	if err != nil {
		return "", fmt.Errorf("show what the push changes: %w", err)
	}
	b, rerr := io.ReadAll(io.LimitReader(out, bottle.MaxDiff+1))
	err = out.Close()
	cut := len(b) > bottle.MaxDiff
	if cut { // git was told so by a pipe that nobody reads
		err = nil
	}
	if err = errors.Join(rerr, err); err != nil {
		return "", fmt.Errorf("show what the push changes: %w", err)
	}
	n, _ := strconv.Atoi(strings.Join(count, ""))
	switch head := fmt.Sprintf("%d commits change protected paths.", n); {
	case cut:
		return fmt.Sprintf("NOT WHOLE: %s Only the first %d KiB are shown: look at them all before you approve.\n", head, bottle.MaxDiff>>10) + string(b), nil
	case n > maxShown:
		return fmt.Sprintf("NOT WHOLE: %s Only the newest %d are shown: look at them all before you approve.\n", head, maxShown) + string(b), nil
	}
	return string(b), nil
}
