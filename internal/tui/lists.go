package tui

import (
	"fmt"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

const (
	wide     = 110 // a screen that has room for every column
	mostName = 22  // cells of an identity in a list
)

// listBottles is a head and a line for each bottle. width 0: as wide as they are.
func listBottles(list []Bottle, at bottle.Identity, focus bool, width int, now time.Time) []line {
	all, first := width == 0 || width >= wide, len("bottle")
	for _, b := range list {
		first = max(first, min(len(b.Identity), mostName))
	}
	row := func(mark, id, agent, name, backend, up, requests, denied, bytes, pending string) string {
		out := mark + pad(id, first)
		if all {
			out += " " + pad(agent, 16) + " " + pad(name, 16)
		}
		return fit(strings.TrimRight(out+fmt.Sprintf(" %-8s %7s %8s %7s %9s %7s", backend, up, requests, denied, bytes, pending), " "), width)
	}
	out := []line{{plan.Label, row("  ", "bottle", "agent", "of", "backend", "up", "requests", "denied", "bytes", "waiting")}}
	if len(list) == 0 {
		return append(out, line{plan.Faint, fit("  no bottle runs: s starts one, or bottle start AGENT", width)})
	}
	for _, b := range list {
		up := "-"
		if !b.Started.IsZero() {
			up = lasting(now.Sub(b.Started))
		}
		l := line{plan.Plain, row("  ", string(b.Identity), string(b.Agent), string(b.Bottle), clean(b.Backend), up,
			fmt.Sprint(b.Requests), fmt.Sprint(b.Denied), size(b.Bytes), fmt.Sprint(b.Pending))}
		out = append(out, marked(l, b.Identity == at, focus))
	}
	return out
}

// marked is a line of a list; the one under the cursor is marked: by another sign in the list
// that the arrows do not move in, which a terminal without colours shows, too.
func marked(l line, at, focus bool) line {
	if !at {
		return l
	}
	sign := "-"
	if focus {
		sign, l.role = ">", plan.Strong
	}
	l.text = sign + l.text[1:]
	return l
}

// listProposals is a head and a line for each proposal. What it says stands last.
func listProposals(list []Asking, at string, focus bool, width int) []line {
	name := len("bottle")
	for _, p := range list {
		name = max(name, min(len(p.Identity), mostName))
	}
	out := []line{{plan.Label, fit("  "+pad("proposal", 8)+" "+pad("bottle", name)+" what", width)}}
	if len(list) == 0 {
		return append(out, line{plan.Faint, "  none waits"})
	}
	for _, p := range list {
		l := line{plan.Plain, fit("  "+pad(clean(p.ID), 8)+" "+pad(string(p.Identity), name)+" "+clean(says(p.Proposal)), width)}
		out = append(out, marked(l, key(p) == at, focus))
	}
	return out
}

// tell is everything about one proposal, a line for its name first.
func tell(id bottle.Identity, p plan.Proposal, width int) []line {
	times := ""
	if p.Count > 1 {
		times = fmt.Sprintf(", asked %d times", p.Count)
	}
	out := []line{{plan.Label, fit(fmt.Sprintf("%s of %s, since %s%s", clean(p.ID), id, p.Created.Local().Format("15:04:05"), times), width)}}
	out = append(out, paragraph(plan.Warn, clean(says(p)), width)...)
	if p.Why != "" {
		out = append(out, paragraph(plan.Plain, p.Speaker()+clean(p.Why), width)...)
	}
	if p.Given != nil {
		out = append(out, paragraph(plan.Plain, clean(fmt.Sprintf("given: methods %v, paths %v, ports %v", p.Given.Methods, p.Given.Paths, p.Given.Ports)), width)...)
	}
	if p.Push != nil {
		for _, r := range p.Push.Refs {
			out = append(out, paragraph(plan.Plain, fmt.Sprintf("%s to %s: %s", short(r.Old), short(r.New), clean(r.Name)), width)...)
		}
		for _, f := range p.Push.Failures {
			out = append(out, paragraph(plan.Warn, clean(f), width)...)
		}
		out = append(out, difference(p.Push.Diff, width)...)
	}
	if p.Image != nil { // what is added, as of a difference
		out = append(out, difference("+"+strings.Join(p.Image.Lines, "\n+"), width)...)
	}
	return append(out, difference(p.Diff, width)...)
}

// paragraph is clean text on as many lines as it needs.
func paragraph(role plan.Role, text string, width int) (out []line) {
	for _, l := range wrap(text, width-2) {
		out = append(out, line{role, "  " + l})
	}
	return out
}

// difference is a unified diff; what is opened deserves the second look.
func difference(diff string, width int) (out []line) {
	if diff == "" {
		return nil
	}
	for _, l := range cleanLines(diff) {
		role := plan.Plain
		switch {
		case strings.HasPrefix(l, "+"):
			role = plan.Warn
		case strings.HasPrefix(l, "-"), strings.HasPrefix(l, "@@"):
			role = plan.Faint
		}
		out = append(out, broken(role, l, width)...)
	}
	return out
}

// broken is a clean line that keeps its spaces, broken where the screen ends: nothing of a
// difference is out of sight.
func broken(role plan.Role, text string, width int) (out []line) {
	for width > 8 && !fits(text, width-2) {
		part := head(text, width-4)
		if part == "" {
			break
		}
		out = append(out, line{role, "  " + part + ` \`})
		text = text[len(part):]
	}
	return append(out, line{role, "  " + text})
}
