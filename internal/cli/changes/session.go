package changes

import (
	"context"
	"errors"
	"fmt"
	"io"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/layer"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Session is one look at the view of one bottle that has ended.
type Session struct {
	Metadata store.Metadata
	Folder   string // the operator's, for people
	View     *layer.View
	Out      io.Writer
	Style    plan.Style
	JSON     bool
	Diff     bool
}

// list reads the changes and, if they are wanted, the diffs.
func (s Session) list(ctx context.Context) (Report, error) {
	l, err := s.View.Changes(ctx)
	if err != nil {
		return Report{}, err
	}
	r := Sum(s.Metadata.Identity, s.Metadata.Workspace, l)
	if s.Diff {
		err = r.Diff(ctx, s.View)
	}
	return r, err
}

// Show prints what the agent changed.
func (s Session) Show(ctx context.Context) error {
	r, err := s.list(ctx)
	if err != nil {
		return err
	}
	return s.print(r)
}

func (s Session) print(r Report) error {
	if s.JSON {
		return r.JSON(s.Out)
	}
	if len(r.Changes) == 0 {
		fmt.Fprintf(s.Out, "In %s nothing of %s is changed.\n", r.Identity, bottle.Printable(s.Folder))
		return nil
	}
	r.Text(s.Out, s.Style)
	return nil
}

// Apply prints what the agent changed, asks, and takes it. The exit code is 1
// when it was not taken, or not all of it.
func (s Session) Apply(ctx context.Context, force bool, confirm func(question string) (bool, error)) error {
	r, err := s.list(ctx)
	if err != nil {
		return err
	}
	if r.Partial {
		return ui.Fail(layer.ErrPartial, "copy what you want by hand; bottle changes shows the first of them")
	}
	if !s.JSON || len(r.Changes) == 0 {
		if err := s.print(r); err != nil || len(r.Changes) == 0 {
			return err
		}
	}
	ok, err := confirm("Write these into " + bottle.Printable(s.Folder) + "?")
	if err != nil {
		return err
	}
	if !ok {
		return ui.Exit(ui.CodeNo)
	}
	l, err := s.View.Apply(ctx, r.List, force)
	if err != nil {
		return fmt.Errorf("take the changes: %w", err)
	}
	diffs := r.Diffs
	r = Sum(r.Identity, r.Workspace, l)
	if s.JSON {
		r.Diffs = diffs
		err = r.JSON(s.Out)
	} else {
		r.Result(s.Out, s.Style, s.Folder)
	}
	if r.Taken < len(r.Changes) {
		err = errors.Join(err, ui.Exit(ui.CodeNo))
	}
	return err
}
