package gitgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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

// diff is what the push changes of the paths that only an operator may let through, for
// him: that is what he waives, and the agent cannot push it out of sight with other
// changes. Every new commit is held against each of its parents, since a walk along one
// path leaves out the merge that gives up what stands there, and its dates are the agent's.
// What a ref gives up comes behind. Nothing in a repository has a say in how it is shown.
// What is left out is told on the first line.
func (p *push) diff(ctx context.Context) (string, error) {
	var b strings.Builder
	show := func(head string, revs ...string) error {
		if b.Len() > bottle.MaxDiff {
			return nil
		}
		text, err := p.shown(ctx, revs...)
		if text != "" {
			b.WriteString(head + text)
		}
		return err
	}
	if len(p.asks) == 0 {
		return "", nil
	}
	err := error(nil)
	if len(p.news()) > 0 {
		err = show("", append(slices.Clone(p.news()), "--not", "--all")...)
	}
	for _, u := range p.gives {
		if err == nil && u.Deleted() {
			err = show("given up with "+bottle.Said(u.Ref)+":\n", append([]string{u.Old, "--not"}, p.stays(p.r.mirror.Refs())...)...)
		} else if err == nil {
			err = show("set back on "+bottle.Said(u.Ref)+":\n", u.Old+".."+u.New)
		}
	}
	if err != nil {
		return "", fmt.Errorf("show what the push changes: %w", err)
	}
	text := b.String()
	if len(text) <= bottle.MaxDiff {
		return text, nil
	}
	head := fmt.Sprintf("NOT WHOLE: only the first %d KiB of what it changes there are shown. Look at all of it before you approve.\n", bottle.MaxDiff>>10)
	return head + strings.ToValidUTF8(text[:bottle.MaxDiff-len(head)], ""), nil
}

// shown are the changes of commits, or from one to another where that is old..new, as an
// operator reads them: a little more than he is shown, at most.
func (p *push) shown(ctx context.Context, revs ...string) (string, error) {
	args := []string{"--literal-pathspecs", "-c", "core.quotePath=true", "diff-tree", "-p", "-r", "-m", "--root", "--text", "--no-ext-diff", "--no-textconv",
		"--no-color", "--no-renames", "--ignore-submodules=none", "--submodule=short"}
	var in io.Reader
	if old, next, ok := strings.Cut(revs[0], ".."); ok {
		args = append(args, old, next, "--")
	} else {
		ids, err := p.q.Lines(ctx, 64<<20, append([]string{"rev-list", "--topo-order"}, revs...)...)
		if err != nil || len(ids) == 0 {
			return "", err
		}
		args, in = append(args, "--stdin", "--format=commit %h", "--"), strings.NewReader(strings.Join(ids, "\n")+"\n")
	}
	out, err := p.q.Git(ctx, append(args, p.asks...), in)
	if err != nil {
		return "", err
	}
	raw, rerr := io.ReadAll(io.LimitReader(out, bottle.MaxDiff+1))
	err = out.Close()
	if len(raw) > bottle.MaxDiff { // git was told so by a pipe that nobody reads
		rerr, err = nil, nil
	}
	return bottle.SaidLines(string(raw)), errors.Join(rerr, err)
}
