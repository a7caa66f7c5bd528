// Package shown makes what an operator reads before he waives a rule for a push: all that
// the push changes of the paths that only he may let through.
package shown

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// Push is what is shown of one.
type Push struct {
	Git   func(ctx context.Context, args []string, in io.Reader) (io.ReadCloser, error) // runs git where its objects are
	Lines func(ctx context.Context, most int, args ...string) ([]string, error)         // the same, for a short answer
	New   []string                                                                      // the commits that its refs go to
	Paths []string                                                                      // as they are written in the repository
	Gives []Given
}

// Given is a ref that gives up what was changed of those paths.
type Given struct {
	Ref, Old string
	New      string   // empty: it is deleted
	Keep     []string // of one that is deleted: ids that stay
}

// Diff is for a terminal, at most bottle.MaxDiff bytes; what is left out is told on the
// first line, with a sum of all commits that were to be shown: an approval is for those, and
// where more of them are new it is another Diff. The agent cannot push anything out of sight with other changes. Every new
// commit is held against each of its parents, since a walk along one path leaves out the
// merge that gives up what stands there, and its dates are the agent's. What a ref gives
// up comes behind. Nothing in a repository has a say in how it is shown, and what is the
// same is shown the same: ids are whole.
func (p Push) Diff(ctx context.Context) (string, error) {
	if len(p.Paths) == 0 {
		return "", nil
	}
	var b strings.Builder
	err, all, commits := error(nil), sha256.New(), 0
	show := func(head string, revs ...string) {
		ids, text := revs[:1], ""
		if err == nil && !strings.Contains(revs[0], "..") {
			ids, err = p.Lines(ctx, 64<<20, append([]string{"rev-list", "--topo-order"}, revs...)...)
			commits += len(ids)
		}
		_, _ = io.WriteString(all, head+strings.Join(ids, "\n")+"\n")
		if err != nil || len(ids) == 0 || b.Len() > bottle.MaxDiff {
			return
		}
		if text, err = p.changes(ctx, ids); text != "" {
			b.WriteString(head + text)
		}
	}
	if len(p.New) > 0 {
		show("", append(slices.Clone(p.New), "--not", "--all")...)
	}
	for _, g := range p.Gives {
		if g.New == "" {
			show("given up with "+bottle.Said(g.Ref)+":\n", append([]string{g.Old, "--not"}, g.Keep...)...)
		} else {
			show("set back on "+bottle.Said(g.Ref)+":\n", g.Old+".."+g.New)
		}
	}
	if err != nil {
		return "", fmt.Errorf("show what the push changes: %w", err)
	}
	text := b.String()
	if len(text) <= bottle.MaxDiff {
		return text, nil
	}
	head := fmt.Sprintf(bottle.NotWhole+"only the first %d KiB of what it changes there are shown, of %d new commits (together %.8x). In smaller pushes each is shown as a whole.\n", bottle.MaxDiff>>10, commits, all.Sum(nil))
	return head + strings.ToValidUTF8(text[:bottle.MaxDiff-len(head)], ""), nil
}

// changes are those of commits, or from one to another where that is old..new: a little
// more than is shown, at most.
func (p Push) changes(ctx context.Context, ids []string) (string, error) {
	args := []string{"--literal-pathspecs", "-c", "core.quotePath=true", "diff-tree", "-p", "-r", "-m", "--root", "--full-index", "--text", "--no-ext-diff", "--no-textconv",
		"--no-color", "--no-renames", "--ignore-submodules=none", "--submodule=short"}
	var in io.Reader
	if old, next, ok := strings.Cut(ids[0], ".."); ok {
		args = append(args, old, next, "--")
	} else {
		args, in = append(args, "--stdin", "--format=commit %H", "--"), strings.NewReader(strings.Join(ids, "\n")+"\n")
	}
	out, err := p.Git(ctx, append(args, p.Paths...), in)
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
