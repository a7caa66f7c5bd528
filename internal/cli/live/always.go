package live

import (
	"errors"
	"fmt"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/cli/rewrite"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/store"
)

// foresee finds out what --for always would write into the bottle's manifest. nil: the
// manifest says it already. What it gives has been read as a manifest, and decides exactly
// as the manifest does with the proposal.
func (d Desk) foresee(meta store.Metadata, r bottle.Route) (*rewrite.Change, error) {
	tree, err := d.Tree()
	if err != nil {
		return nil, err
	}
	spec, problems := tree.Bottle(meta.Bottle)
	if problems.Fatal() {
		return nil, ui.Fail(problems, "nothing was changed; when this is mended, or without --for always, approve it again")
	}
	added, err := policy.Additions(spec.Routes, r)
	if errors.Is(err, policy.ErrListed) {
		return nil, nil
	}
	if err != nil {
		return nil, ui.Fail(fmt.Errorf("write it into the manifest: %w", err), "approve it without --for always, and: bottle edit bottles/"+string(meta.Bottle))
	}
	c, err := rewrite.Propose(tree, meta.Bottle, nil, added, append(added, spec.Routes...))
	switch {
	case errors.Is(err, rewrite.ErrForm):
		return nil, ui.Fail(fmt.Errorf("the manifest of %s has another form than this can add to", meta.Bottle),
			"approve it without --for always; bottle edit bottles/"+string(meta.Bottle)+", and put below egress.routes:\n"+strings.Join(rewrite.Lines(added), ""))
	case err != nil:
		return nil, ui.Fail(err, "approve it without --for always, and: bottle edit bottles/"+string(meta.Bottle))
	}
	return c, nil
}

// showLasting tells what would be written, and where.
func (d Desk) showLasting(c *rewrite.Change) {
	style := d.Style(d.Out)
	fmt.Fprintf(d.Out, "and behind the routes of %s:\n", style(plan.Strong, bottle.Printable(c.Path)))
	for _, l := range c.Added {
		fmt.Fprintln(d.Out, "  "+style(plan.Warn, "+"+bottle.SaidLines(strings.TrimSuffix(l, "\n"))))
	}
}
