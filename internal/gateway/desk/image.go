package desk

import (
	"errors"
	"fmt"
	"slices"

	"bottle/internal/audit"
	"bottle/internal/bottle"
)

// The reason of the records of what stands behind the image's recipe, one for each line: when
// it is approved, and when a gateway is started for a bottle with such an image.
const ReasonLine = "image_line"

// maxImageLines is how many lines all grants together may put behind a recipe.
const maxImageLines = 8 * bottle.MaxImageLines

var errNoImage = errors.New("the agent's image cannot be changed here: this bottle has none that a recipe makes; ask for packages, or tell the operator in your answer what is missing")

// changes is what an approval does to the image, in words.
func changes(ask bottle.ImageAsk) string {
	return "puts " + counted(ask) + " behind the recipe of the agent's image, from the next resume on; this runs as root in the engine's build, with the engine's network and not this bottle's"
}

func counted(ask bottle.ImageAsk) string {
	if len(ask.Lines) == 1 {
		return "one line"
	}
	return fmt.Sprintf("%d lines", len(ask.Lines))
}

// weighImage finds out whether lines can be given. A build that is done cannot be undone by
// a clock, so they are given without a time.
func (d *Desk) weighImage(a *bottle.Asked, c Decision) (says string, err error) {
	lines := len(a.Image.Lines)
	for _, other := range d.cfg.Queue.List() {
		if other.Image != nil && other.Lease.Holds(d.now()) && !d.void[other.Lease.ID] {
			lines += len(other.Image.Lines)
		}
	}
	switch {
	case !d.cfg.Recipe:
		return "", errNoImage
	case c.For > 0:
		return "", errors.New("lines of an image are given without a time: bottle revoke takes them back, from the next resume on")
	case lines > maxImageLines:
		return "", fmt.Errorf("with what was approved before these are %d lines, and %d are too many: write them into a dockerfile of the manifest", lines, maxImageLines)
	}
	return changes(*a.Image), nil
}

// recordLines says what goes behind the recipe.
func (d *Desk) recordLines(a bottle.Asked) error {
	if a.Image == nil {
		return nil
	}
	for _, l := range a.Image.Lines {
		if err := d.cfg.Record(d.record(audit.Allow, ReasonLine, a, l)); err != nil {
			return err
		}
	}
	return nil
}

// built says in the log which lines this bottle's image was made with. An image with lines
// that no grant is behind, or that can't be recorded, has no agent in it.
func (d *Desk) built() error {
	for _, id := range d.cfg.Lines {
		a, ok := d.cfg.Queue.Get(id)
		if !ok || a.Image == nil || !a.Lease.Holds(d.now()) {
			return fmt.Errorf("the image has lines of %.20q, and no grant says so", id)
		}
		resumed := d.record(audit.Allow, ReasonResumed, a, fmt.Sprintf("the grant %s is in the agent's image: %s behind its recipe", a.Lease.ID, counted(*a.Image)))
		if err := errors.Join(d.recordLines(a), d.cfg.Record(resumed)); err != nil { // a killed one may not have said it
			return err
		}
	}
	return nil
}

// unsay writes that a grant does not hold. Lines are the one thing that a later start obeys, so
// where a full disk does not take that, their file goes: an agent can fill a disk.
func (d *Desk) unsay(a bottle.Asked) error {
	err := d.cfg.Queue.Put(a)
	if err != nil && a.Image != nil {
		err = errors.Join(err, d.cfg.Queue.Drop(a.ID))
	}
	return err
}

// inImage tells whether a grant's lines are in the image that this bottle was started with.
func (d *Desk) inImage(a bottle.Asked) bool {
	return a.Image != nil && slices.Contains(d.cfg.Lines, a.ID)
}
