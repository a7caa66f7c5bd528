package boxed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Approved are the lines that the gateway of a bottle wrote down as approved; queue is its
// folder of proposals.
func Approved(queue string) ([]plan.Lines, error) {
	asked, err := store.ReadQueue(queue)
	if err != nil {
		return nil, fmt.Errorf("read what was approved for the image: %w", err)
	}
	return Lines(asked, time.Now()), nil
}

// Lines are what of these proposals holds and goes behind the recipe of an image, in the
// order in which it was approved.
func Lines(asked []bottle.Asked, now time.Time) (out []plan.Lines) {
	var held []bottle.Asked
	for _, a := range asked {
		if a.Grows(now) {
			held = append(held, a)
		}
	}
	slices.SortStableFunc(held, func(a, b bottle.Asked) int { return a.Lease.Since.Compare(b.Lease.Since) })
	for _, a := range held {
		out = append(out, plan.Lines{Proposal: a.ID, Text: a.Image.Lines})
	}
	return out
}

// Proposals are those that the lines are of.
func Proposals(lines []plan.Lines) (ids []string) {
	for _, l := range lines {
		ids = append(ids, l.Proposal)
	}
	return ids
}

// Same reports whether two are the same lines of the same proposals in the same order.
func Same(a, b []plan.Lines) bool {
	return slices.EqualFunc(a, b, func(a, b plan.Lines) bool { return a.Proposal == b.Proposal && slices.Equal(a.Text, b.Text) })
}

// More are the proposals of now that are not in have.
func More(now, have []plan.Lines) (ids []string) {
	for _, id := range Proposals(now) {
		if !slices.Contains(Proposals(have), id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// All stands for every proposal that Without may leave out.
const All = "all"

// Without are the lines of all proposals but those. One that none of the lines is of is an error.
func Without(lines []plan.Lines, proposals []string) (out []plan.Lines, err error) {
	if slices.Contains(proposals, All) {
		return nil, nil
	}
	for _, id := range proposals {
		if !slices.Contains(Proposals(lines), id) {
			return nil, bottle.Problems{{Message: "no lines of " + bottle.Printable(id) + " are approved for the image", Hint: "bottle resume IDENTITY --dry-run shows those that are"}}
		}
	}
	for _, l := range lines {
		if !slices.Contains(proposals, l.Proposal) {
			out = append(out, l)
		}
	}
	return out, nil
}

// Failed is err, where an image with lines does not come up, with how to go on without them.
func Failed(err error, id bottle.Identity, lines []plan.Lines) error {
	if err == nil || len(lines) == 0 {
		return err
	}
	return fmt.Errorf("%w\nto go on without the lines that were approved for its image: %s", err, strings.Replace(without, "IDENTITY", string(id), 1)+", or --without-image-changes=PROPOSAL for those of one")
}

// without is what to type to have none of them.
const without = "bottle resume IDENTITY --without-image-changes"

// behind puts lines behind a recipe. They run as root, whoever was the recipe's last user: the
// agent is not the image's user but the one that the bottle gives it.
func behind(recipe string, lines []plan.Lines) (string, error) {
	if len(lines) == 0 {
		return recipe, nil
	}
	last := strings.TrimRight(recipe, " \t\r\n")
	switch {
	case last == "":
		return "", bottle.Problems{{Message: "there is no recipe any more behind which the approved lines could stand: the image is given", Hint: "leave them out: " + without}}
	case goesOn(last):
		return "", bottle.Problems{{Message: "the recipe's last line goes on, so that approved lines would become a part of it", Hint: "end the Dockerfile with a whole instruction"}}
	}
	var b strings.Builder
	b.WriteString(last + "\nUSER 0\n")
	for _, l := range lines {
		for _, text := range l.Text {
			b.WriteString(text + "\n")
		}
	}
	return b.String(), nil
}

// goesOn tells whether the last instruction of a recipe would take the next line for its own.
// Comments and empty lines do not end it (Dockerfile reference, "Format").
func goesOn(recipe string) bool {
	for recipe != "" {
		at := strings.LastIndexByte(recipe, '\n')
		last := strings.Trim(recipe[at+1:], " \t\r")
		if last != "" && !strings.HasPrefix(last, "#") {
			return strings.HasSuffix(last, `\`) || strings.HasSuffix(last, "`")
		}
		recipe = recipe[:max(at, 0)]
	}
	return false
}

// told says which lines stand in the image, and what they were asked for by.
func told(lines []plan.Lines) (out []string) {
	for _, l := range lines {
		out = append(out, "the image has what its agent asked for and you approved ("+l.Proposal+"):")
		for _, text := range l.Text {
			out = append(out, "+ "+bottle.Said(text))
		}
	}
	return out
}
