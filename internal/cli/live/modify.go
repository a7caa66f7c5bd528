package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/cli/editor"
	"bottle/internal/cli/rewrite"
	"bottle/internal/cli/ui"
	"bottle/internal/store"
	"bottle/internal/tui"
)

// Modify implements tui.House: what is asked for is written as a manifest would have it,
// and what comes back is read as strictly. A text with faults can be mended.
func (h *house) Modify(ctx context.Context, a tui.Answer) (r *bottle.Route, err error) {
	defer func() { err = ui.OneLine(err) }()
	meta, _, p, err := h.whole(ctx, a)
	if err == nil && p.Route == nil {
		err = errors.New("there are no requests to give in part")
	}
	if err != nil {
		return nil, err
	}
	text := draft(*p.Route, p.Says, p.Why)
	f, err := os.CreateTemp("", a.Proposal+"-*.md") // for its owner only
	if err != nil {
		return nil, fmt.Errorf("write what is asked for: %w", err)
	}
	path := f.Name()
	defer os.Remove(path)
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("write what is asked for: %w", err)
	}
	for {
		if err := h.Editor(ctx, path); err != nil {
			return nil, err
		}
		edited, err := editor.Read(path)
		if err != nil {
			return nil, err
		}
		if string(edited) == text || len(strings.TrimSpace(string(edited))) == 0 {
			return nil, nil
		}
		r, err := h.given(meta, edited)
		if err == nil {
			return r, nil
		}
		_ = ui.Report(h.Err, h.Style(h.Err), err)
		if again, _ := h.Confirm("Edit it again?", false); !again { // what cannot be answered is a no
			return nil, err
		}
	}
}

// draft is a route for an operator to edit, as the text of a manifest, with what to know
// of it below: what it would open, and why somebody wants it.
func draft(r bottle.Route, says, why string) string {
	return "---\negress:\n  routes:\n" + strings.Join(rewrite.Lines([]bottle.Route{r}), "") + "---\n\n" +
		"What stands above is given instead of what is asked for, when this is\n" +
		"changed and saved: fewer methods, a path_allowlist, other ports. Nothing\n" +
		"changed, or nothing left: nothing is given.\n\n" +
		ui.Block("Asked for: "+bottle.Said(says), 78, "  ") + "\n\n" + ui.Block("Why: "+bottle.Said(why), 78, "  ") + "\n"
}

// given reads the one route of a text that has the form of a manifest.
func (h *house) given(meta store.Metadata, text []byte) (*bottle.Route, error) {
	tree, err := h.Tree()
	if err != nil {
		return nil, err
	}
	spec, problems := rewrite.Read(tree, meta.Bottle, text)
	if problems.Fatal() {
		return nil, ui.Fail(problems, "nothing was given")
	}
	if len(spec.Routes) != 1 {
		return nil, ui.Fail(fmt.Errorf("it has %s, not the one that is given", ui.Plural(len(spec.Routes), "route")), "nothing was given")
	}
	r := spec.Routes[0]
	r.Rule = ""
	if r.TLS == "intercept" { // what a manifest means where it says nothing
		r.TLS = ""
	}
	if r.DLP == "block" {
		r.DLP = ""
	}
	return &r, nil
}
