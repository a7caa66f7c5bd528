package lifecycle

import (
	"context"
	"errors"
	"strings"

	"bottle/internal/lifecycle/boxed"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// choose is what the agent will run in, where that is an image: the template's recipe or the
// manifest's, and behind it what was approved.
func (h *House) choose(ctx context.Context, req Request, recipe string) (plan.Container, error) {
	lines, err := h.lines(req)
	if err != nil {
		return plan.Container{}, err
	}
	return boxed.Choose(ctx, h.Backend, plan.Container{Runtime: req.Spec.Runtime, Recipe: recipe, Lines: lines, Gateway: req.Spec.Gateway}, boxed.Own{File: req.Spec.Provider.Dockerfile, Root: h.Root, Refuse: h.RefuseCopy})
}

// build makes the image. Which line failed is in what the engine says.
func (s *starting) build(ctx context.Context) error {
	return s.without(boxed.Build(ctx, s.house.Backend, s.prep.container, s.house.Building))
}

// without says how to go on where an image with lines does not come up.
func (s *starting) without(err error) error {
	return boxed.Failed(err, s.prep.identity, s.prep.container.Lines)
}

// lines are what was approved for the image of a bottle that is resumed. Nobody decides about
// one that has ended, so they stay what they are until its gateway runs.
func (h *House) lines(req Request) ([]plan.Lines, error) {
	if req.Resume == nil {
		return nil, nil
	}
	lines, err := boxed.Approved(h.Store.Layout(req.Resume.Identity).Asked)
	if err != nil {
		return nil, err
	}
	return boxed.Without(lines, req.Without)
}

// unchanged refuses an image with other lines than are approved now that the identity is
// ours: another resume may have begun and ended since the operator looked.
func (s *starting) unchanged() error {
	lines, err := s.house.lines(s.prep.req)
	if err != nil {
		return err
	}
	if !boxed.Same(lines, s.prep.container.Lines) {
		return errors.New("resume " + string(s.prep.identity) + ": it was resumed in another terminal meanwhile, and other lines are approved for its image; look again: bottle resume " + string(s.prep.identity))
	}
	return nil
}

// approved leaves a bottle for a resume for whose image lines were approved while it ran.
func (s *starting) approved() error {
	if !s.ran || s.prep.container.Recipe == "" {
		return nil
	}
	lines, err := boxed.Approved(s.res.Layout.Asked)
	if err != nil {
		return err
	}
	more := boxed.More(lines, s.prep.container.Lines)
	if len(more) == 0 {
		return nil
	}
	s.note("lines for the image of this bottle were approved (" + strings.Join(more, ", ") + "): bottle resume " + string(s.prep.identity) + " makes it with them")
	return s.house.Store.MarkPreserved(s.prep.identity, store.LinesApproved)
}
