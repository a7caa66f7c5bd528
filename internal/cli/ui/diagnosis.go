package ui

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"bottle/internal/bottle"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
)

// Width is how wide w is, in cells; 0: it is no terminal.
func Width(w io.Writer, terminal bool) int {
	f, ok := w.(*os.File)
	if !ok || !terminal {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Diagnose prints what doctor found on a screen of width cells (0: lines as long
// as they are): what the machine says, what the trial proved, and the verdict last.
func Diagnose(w io.Writer, style plan.Style, width int, r lifecycle.Diagnosis, verbose bool) {
	var rows [][]Cell
	for _, c := range r.Checks {
		state := As(plan.Plain, "can stand")
		switch {
		case !c.OK && c.Needed:
			state = As(plan.Shout, "MISSING")
		case !c.OK:
			state = As(plan.Warn, "without")
		}
		rows = append(rows, []Cell{As(plan.Strong, c.Wall), state, As(plan.Faint, c.Found)})
	}
	Fold(w, style, width, []string{"this machine", "", "how this was found out"}, rows)
	for _, c := range r.Checks {
		if !c.OK && !c.Needed && c.Fix != "" { // the verdict tells the others
			fmt.Fprintf(w, "%s\n  %s %s\n", style(plan.Strong, "to have "+bottle.Printable(c.Wall)), style(plan.Faint, "→"), bottle.Printable(c.Fix))
		}
	}
	fmt.Fprintln(w)
	tellTrial(w, r.Trial, style, width, verbose)
	fmt.Fprintln(w)
	lines := strings.Split(r.Verdict, "\n")
	role := plan.Strong
	if !r.OK {
		role = plan.Shout
	}
	fmt.Fprintln(w, style(role, bottle.Printable(lines[0])))
	for _, l := range lines[1:] {
		l = bottle.Printable(l)
		if strings.HasPrefix(strings.TrimSpace(l), "to mend it: ") { // a command stays whole, to be copied
			fmt.Fprintln(w, l)
			continue
		}
		indent := l[:len(l)-len(strings.TrimLeft(l, " "))]
		for i, part := range Lines(strings.TrimLeft(l, " "), width-len(indent)-2) {
			fmt.Fprintln(w, indent+strings.Repeat(" ", 2*min(i, 1))+part)
		}
	}
}

// tellTrial prints each wall with the probes that tried it, and how long it all took.
func tellTrial(w io.Writer, t lifecycle.Trial, style plan.Style, width int, verbose bool) {
	var rows [][]Cell
	for _, p := range t.Walls {
		state, by := As(plan.Plain, p.State), "nothing: the bottle did not come up"
		if !t.Tried {
			by = "nothing: a bottle cannot be tried on this machine"
		}
		var names, through []string
		for _, r := range p.Probes {
			names = append(names, r.Name)
			if !r.OK {
				through = append(through, r.Name+" ("+r.Detail+")")
			}
		}
		if len(names) > 0 {
			by = strings.Join(names, ", ")
		}
		switch p.State {
		case lifecycle.Breached:
			state, by = As(plan.Shout, "BROKEN"), strings.Join(through, ", ")
		case lifecycle.NotTried:
			state = As(plan.Warn, p.State)
		}
		rows = append(rows, []Cell{As(plan.Strong, p.Wall), state, As(plan.Faint, by)})
	}
	Fold(w, style, width, []string{"a real bottle", "", "proved from inside by"}, rows)
	if !t.Tried {
		return
	}
	took := fmt.Sprintf("up and checked in %.0f ms, gone again after %.0f ms", t.UpMS, t.TookMS)
	if t.UpMS == 0 {
		took = fmt.Sprintf("given up and gone again after %.0f ms", t.TookMS)
	}
	fmt.Fprintln(w, style(plan.Faint, took))
	if !verbose {
		return
	}
	rows = nil
	for _, s := range t.Steps {
		state := As(plan.Plain, "done")
		if !s.OK {
			state = As(plan.Shout, "FAILED")
		}
		rows = append(rows, []Cell{As(plan.Strong, s.Name), state, As(plan.Faint, fmt.Sprintf("%.1f ms", s.TookMS))})
	}
	for _, p := range t.Walls {
		for _, r := range p.Probes {
			rows = append(rows, []Cell{As(plan.Strong, r.Name), As(plan.Plain, held(r.OK)), As(plan.Faint, r.Detail)})
		}
	}
	fmt.Fprintln(w)
	Fold(w, style, width, []string{"step or probe", "", "what came back"}, rows)
}

func held(ok bool) string {
	if ok {
		return lifecycle.Held
	}
	return lifecycle.Breached
}

// Probes prints what the wall check of a start found.
func Probes(w io.Writer, style plan.Style, results []plan.ProbeResult) {
	var rows [][]Cell
	for _, r := range results {
		state := As(plan.Plain, "holds")
		if !r.OK {
			state = As(plan.Shout, "BROKEN")
		}
		rows = append(rows, []Cell{As(plan.Strong, r.Name), state, As(plan.Faint, r.Detail)})
	}
	Table(w, style, []string{"tried from inside", "wall", "what came back"}, rows)
}
