package learn

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/policy/learn"
)

// show tells a person what a session comes to. Hosts, paths and methods are the agent's:
// each is shown harmlessly.
func (d Desk) show(s session, out *lesson) {
	style, width := d.Style(d.Out), ui.Width(d.Out, d.Terminal(d.Out))
	line := func(indent int, role plan.Role, format string, v ...any) {
		text := strings.Repeat(" ", indent) + bottle.Said(fmt.Sprintf(format, v...))
		fmt.Fprintln(d.Out, style(role, ui.Hang(text, width, indent+2)))
	}
	c := out.Counts
	line(0, plan.Plain, "%s, bottle %s: %s, %d denied", s.id, out.Bottle, ui.Plural(int(c.Records), "record"), c.Denied)
	if len(out.Lessons) > 0 {
		fmt.Fprintln(d.Out, style(plan.Label, "proposed, the most doubtful first"))
	} else {
		fmt.Fprintln(d.Out, "nothing to propose")
	}
	for _, l := range out.Lessons {
		line(2, plan.Strong, "%s", said(l.Route))
		for _, k := range l.Looks {
			role := plan.Warn
			if k.Code == "resembles" || k.Code == "foreign_letters" || k.Code == "made_up_name" {
				role = plan.Shout
			}
			line(6, role, "look: %s", k.Text)
		}
		line(6, plan.Faint, "%s", evidence(l.Sight, l.Methods))
		for i, p := range l.Paths {
			if len(l.Paths) == 1 {
				break
			}
			if i == mostPaths {
				line(8, plan.Faint, "and %d more paths; --format json has them", len(l.Paths)-i)
				break
			}
			line(8, plan.Faint, "%s: %s", short(p.Prefix), evidence(p.Sight, nil))
		}
	}
	if len(out.Withheld) > 0 {
		fmt.Fprintln(d.Out, style(plan.Label, "not proposed"))
	}
	for _, w := range out.Withheld {
		line(2, plan.Plain, "%s", strings.TrimSuffix(at(w.Host, w.Port)+": "+w.What, ": "))
		line(6, plan.Warn, "%s", w.Why)
		if w.Count > 0 {
			line(6, plan.Faint, "%s", evidence(w.Sight, nil))
		}
		if w.Hint != "" {
			line(6, plan.Faint, "→ %s", w.Hint)
		}
	}
	if out.More > 0 {
		line(2, plan.Plain, "and %d more", out.More)
	}
	d.showUnused(out, line)
	for _, o := range others(c) {
		line(0, plan.Faint, "%s", o)
	}
	d.showDiff(s, out)
}

// others are records that nothing was learnt from, in words.
func others(c learn.Counts) (out []string) {
	for _, o := range []struct {
		n    uint64
		what string
	}{
		{c.Listed, "let through by the manifest as it is now"},
		{c.Other, "denied for what no route decides (a secret, a limit, a host that cannot be reached)"},
		{c.Secrets, "left out: something that must not leave was found in it"},
		{c.Odd, "left out: the host, method or path is not in canonical form"},
		{c.Nowhere, "left out: an address, a name of the gateway's own, or one that leads nowhere in public"},
		{c.Git, "left out: git goes through the git gate"},
		{c.Excess, "left out: more different ones than are kept; --host looks at one host alone"},
	} {
		if o.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", o.n, o.what))
		}
	}
	return out
}

func (d Desk) showUnused(out *lesson, line func(int, plan.Role, string, ...any)) {
	switch {
	case out.Pruned && out.Idle:
		line(0, plan.Plain, "nothing of the manifest was used, so nothing of it is taken out")
	case len(out.Unused) > 0:
		line(0, plan.Label, "not used by this session")
	}
	for _, l := range out.Unused {
		what := "the whole route"
		if !l.Whole {
			var parts []string
			if len(l.Methods) > 0 {
				parts = append(parts, "methods "+strings.Join(l.Methods, ", "))
			}
			if len(l.Paths) > 0 {
				parts = append(parts, "paths "+strings.Join(l.Paths, ", "))
			}
			what = strings.Join(parts, "; ")
		}
		line(2, plan.Plain, "%s  %s: %s", l.Route.Rule, l.Route.Host, what)
	}
	if len(out.Unused) > 0 && !out.Pruned {
		line(6, plan.Faint, "one session is little evidence; --prune takes it out")
	}
}

// showDiff shows what would be written, or is to be written by hand.
func (d Desk) showDiff(s session, out *lesson) {
	style := d.Style(d.Out)
	if out.Diff != "" {
		fmt.Fprintln(d.Out)
	}
	for text := range strings.SplitSeq(strings.TrimSuffix(out.Diff, "\n"), "\n") {
		role := plan.Plain
		switch {
		case out.Diff == "":
			continue
		case strings.HasPrefix(text, "+"):
			role = plan.Warn // what is opened deserves the second look
		case strings.HasPrefix(text, "-"), strings.HasPrefix(text, "@@"):
			role = plan.Faint
		}
		fmt.Fprintln(d.Out, style(role, bottle.SaidLines(text)))
	}
	if out.ByHand != nil {
		fmt.Fprintf(d.Out, "the manifest has another form than this can change; bottle edit bottles/%s, and put below egress.routes:\n", out.Bottle)
		for _, l := range out.ByHand {
			fmt.Fprintln(d.Out, style(plan.Warn, bottle.SaidLines(strings.TrimSuffix(l, "\n"))))
		}
	}
	if out.Diff != "" {
		fmt.Fprintln(d.Out, style(plan.Faint, "to write it: bottle learn "+string(s.id)+out.flags+" --write"))
	}
}

// mostPaths of a route come with their own evidence; all are in the diff.
const mostPaths = 12

// namedPaths of it stand on its first line.
const namedPaths = 3

// said is a route on one line.
func said(r bottle.Route) string {
	var to []string
	for _, p := range r.Ports {
		host := at(string(r.Host.Host), p)
		for _, path := range r.Paths[:min(len(r.Paths), namedPaths)] {
			to = append(to, host+short(path))
		}
		if len(r.Paths) == 0 {
			to = append(to, host+" (every path)")
		}
		if n := len(r.Paths) - namedPaths; n > 0 {
			to = append(to, fmt.Sprintf("and %d more", n))
		}
	}
	return strings.Join(r.Methods, ", ") + " to " + strings.Join(to, ", ")
}

func at(host string, port uint16) string {
	if port == 0 || port == 443 {
		return host
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// evidence is why something is proposed, or would be.
func evidence(s learn.Sight, methods []learn.Method) string {
	words := []string{fmt.Sprintf("%d times from %s to %s", s.Count, clock(s.First), clock(s.Last))}
	switch {
	case s.Count == 1:
		words[0] = "once, on " + clock(s.First)
	case clock(s.First) == clock(s.Last):
		words[0] = fmt.Sprintf("%d times on %s", s.Count, clock(s.First))
	}
	var ms []string
	for _, m := range slices.Backward(methods) {
		ms = append(ms, fmt.Sprintf("%s %d", m.Name, m.Count))
	}
	slices.Sort(ms)
	if len(ms) > 1 {
		words = append(words, strings.Join(ms, ", "))
	}
	switch {
	case s.FirstPath == "":
	case s.FirstPath == s.LastPath:
		words = append(words, short(s.FirstPath))
	default:
		words = append(words, "first "+short(s.FirstPath)+", last "+short(s.LastPath))
	}
	if len(s.Grants) > 0 {
		words = append(words, "granted in the session: "+strings.Join(s.Grants, ", "))
	}
	return strings.Join(words, "; ")
}

// short is a path that does not fill a screen.
func short(path string) string {
	if len(path) <= 80 {
		return path
	}
	return path[:60] + "…" + path[len(path)-16:]
}

func clock(t time.Time) string { return t.Local().Format("Jan 2 15:04:05") }
