// Package wish is what an operator reads of a proposal, or of what was held back and he may
// let pass: of hostile words, none of which may
// look like this program's.
package wish

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
)

// Summary is a proposal on one line. What the agent says comes last: nothing behind those
// words is this program's.
func Summary(p plan.Proposal) string {
	what := bottle.Said(cmp.Or(p.Says, p.About()))
	if p.Count > 1 {
		what += fmt.Sprintf(" (asked %d times)", p.Count)
	}
	if p.Note != "" {
		what += " — answered: " + bottle.Said(p.Note)
	}
	if p.Why != "" {
		what += " — " + p.Speaker() + bottle.Said(p.Why)
	}
	return what
}

// Show tells an operator everything about one of a bottle's, for lines of width cells (0: of
// any width). Whatever the agent or the gateway said of it, a terminal shows it and does not
// obey.
func Show(out io.Writer, style plan.Style, width int, id bottle.Identity, p plan.Proposal) {
	line := func(role plan.Role, text string) {
		first, more, _ := strings.Cut(ui.Block(text, width, "      "), "\n")
		fmt.Fprintf(out, "  %s\n", style(role, first))
		for l := range strings.SplitSeq(more, "\n") {
			if more != "" {
				fmt.Fprintln(out, style(role, l))
			}
		}
	}
	times := ""
	if p.Count > 1 {
		times = fmt.Sprintf(", asked %d times", p.Count)
	}
	role, word := plan.Warn, " since "
	if p.Settled() {
		role, word = plan.Plain, ", asked at "
	}
	fmt.Fprintf(out, "%s of %s, %s%s%s%s\n", style(plan.Strong, p.ID), id, p.Status, word, ui.Clock(p.Created), times)
	line(role, bottle.Said(cmp.Or(p.Says, p.About())))
	if p.Why != "" {
		line(plan.Plain, p.Speaker()+bottle.Said(p.Why))
	}
	if p.Push != nil {
		for _, r := range p.Push.Refs {
			line(plan.Plain, fmt.Sprintf("%s: %.12s to %.12s", bottle.Said(r.Name), r.Old, r.New))
		}
		for _, f := range p.Push.Failures {
			line(plan.Warn, bottle.Said(f))
		}
		showDiff(out, style, width, p.Push.Diff)
	}
	showDiff(out, style, width, p.Diff)
	if p.Image != nil { // what is added, as of a difference
		showDiff(out, style, width, "+"+strings.Join(p.Image.Lines, "\n+"))
	}
	if p.Bill != nil {
		for _, text := range p.Bill.Lines() {
			line(plan.Plain, bottle.Said(text))
		}
	}
	if p.Settled() {
		line(plan.Plain, strings.TrimSuffix(fmt.Sprintf("%s at %s by %s: %s", p.Status, ui.Clock(p.Decided), cmp.Or(bottle.Said(p.By), "nobody knows whom"), bottle.Said(p.Note)), ": "))
	}
}

// Question is what an operator is asked about a proposal; long is for how long, in words, and
// timed whether that is by the clock.
func Question(p plan.Proposal, long string, timed bool) (string, error) {
	switch {
	case p.Image == nil:
		return "Approve it " + long + "?", nil
	case timed:
		return "", ui.Usage(errors.New("lines of an image are given without a time: a build that is done cannot be undone by a clock"), "bottle approve "+p.ID+", and bottle revoke takes it back")
	}
	return "Approve it, from the next resume on?", nil
}

// Lasts says how long what was approved holds; there is a lease.
func Lasts(id bottle.Identity, a bottle.Asked) string {
	switch {
	case a.Image != nil:
		return fmt.Sprintf("in force after bottle stop %s && bottle resume %[1]s", id)
	case a.Lease.Until.IsZero():
		return "as long as the bottle"
	}
	return "until " + ui.Clock(a.Lease.Until)
}

func showDiff(out io.Writer, style plan.Style, width int, diff string) {
	if diff == "" {
		return
	}
	for text := range strings.SplitSeq(strings.TrimSuffix(diff, "\n"), "\n") {
		role := plan.Plain
		switch {
		case strings.HasPrefix(text, "+"):
			role = plan.Warn // what is opened deserves the second look
		case strings.HasPrefix(text, "-"), strings.HasPrefix(text, "@@"):
			role = plan.Faint
		}
		for l := range strings.SplitSeq(ui.Block(bottle.SaidLines(text), width-2, "    "), "\n") {
			fmt.Fprintln(out, strings.TrimRight("  "+style(role, l), " "))
		}
	}
}
