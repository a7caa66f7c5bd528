package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Screen is how a demo looks to a person.
type Screen struct {
	Out   io.Writer
	Style plan.Style
	Width int    // columns; 0: lines are never cut
	Live  bool   // a terminal: the line of what is under way is written over
	Typed string // how the program was called, for the command that it suggests
}

// column is where the second column of the story begins.
const column = 32

// Tell shows one event.
func (s *Screen) Tell(e Event) {
	switch e.Kind {
	case Made:
		fmt.Fprintf(s.Out, "%s\n\n", s.Style(plan.Strong, "A scripted agent tries to get out of a bottle."))
		s.label("bottle", e.Report.Bottle)
		s.label("agent", e.Report.Agent)
		s.label("script", e.Report.Script)
	case Step:
		s.under(e.Text)
	case Up:
		s.clear()
		s.label("walls", fmt.Sprintf("%d tried from inside, all hold", e.Walls))
		fmt.Fprintf(s.Out, "\n%s\n", s.pair(plan.Faint, "the agent tries", plan.Faint, "and gets"))
	case Trying:
		s.under(e.Attempt)
	case Got:
		s.clear()
		fmt.Fprintln(s.Out, s.pair(plan.Plain, e.Attempt, plan.Plain, e.Text))
	}
}

// under shows what is under way, on a terminal.
func (s *Screen) under(what string) {
	if s.Live {
		fmt.Fprint(s.Out, "\r\x1b[K"+s.Style(plan.Faint, "  "+s.cut(what, 4)+" …"))
	}
}

func (s *Screen) clear() {
	if s.Live {
		fmt.Fprint(s.Out, "\r\x1b[K")
	}
}

func (s *Screen) label(name, value string) {
	s.clear()
	fmt.Fprintln(s.Out, "  "+s.Style(plan.Label, fmt.Sprintf("%-11s", name))+bottle.Printable(value))
}

func (s *Screen) pair(left plan.Role, what string, right plan.Role, got string) string {
	pad := strings.Repeat(" ", max(1, column-utf8.RuneCountInString(what)))
	return "  " + s.Style(left, what) + pad + s.Style(right, s.cut(bottle.Printable(got), 2+column))
}

// cut shortens text so that it fits behind used columns.
func (s *Screen) cut(text string, used int) string {
	room := s.Width - used
	if s.Width <= 0 || utf8.RuneCountInString(text) <= room {
		return text
	}
	return string([]rune(text)[:max(room-1, 0)]) + "…"
}

// End shows the table and where everything is.
func (s *Screen) End(r Report) {
	s.clear()
	s.table(r.Attempts)
	good := 0
	for _, a := range r.Attempts {
		if a.OK {
			good++
		}
	}
	fmt.Fprintln(s.Out)
	name, where := "", ""
	if r.Removed {
		name, where = "audit log", ", and removed now"
	} else {
		s.label("audit log", r.Audit.Path)
	}
	chain := plural(int64(r.Audit.Records), "record") + ", the chain is intact"
	if !r.Audit.Whole {
		chain = "the chain is BROKEN: " + r.Audit.Problem
	}
	s.label(name, chain+where)
	if r.Changed != "" && !r.Removed {
		s.label("its work", r.Changed)
	}
	s.label("start", fmt.Sprintf("%.0f ms to the agent's first instruction, %.2f s in all", r.Up, r.Took/1000))
	if !r.Removed {
		s.command("read it", "BOTTLE_HOME="+r.Home, s.Typed+" audit "+r.Identity)
		s.label("remove it", "rm -r "+r.Folder)
	}
	fmt.Fprintln(s.Out)
	if r.OK {
		fmt.Fprintln(s.Out, s.Style(plan.Strong, fmt.Sprintf("The bottle held: all %d attempts ended as they should.", good)))
		return
	}
	fmt.Fprintln(s.Out, s.Style(plan.Shout, fmt.Sprintf("The bottle did NOT hold: %d of %d attempts ended as they should.", good, len(r.Attempts))))
}

// command shows something to type, on two lines where one would be too wide.
func (s *Screen) command(name, setting, words string) {
	if s.Width > 0 && 2+11+len(setting)+1+len(words) > s.Width {
		s.label(name, setting+` \`)
		s.label("", words)
		return
	}
	s.label(name, setting+" "+words)
}

// table is the verdicts, with what is wrong below the one that it is about.
func (s *Screen) table(results []Result) {
	head := [4]string{"judged from outside", "outcome", "why", "rule"}
	var width [4]int
	rows := [][4]string{head}
	for _, r := range results {
		why := r.Why
		if r.Credential != "" {
			why += ", real token"
		}
		rows = append(rows, [4]string{r.Attempt, r.Outcome, why, r.Rule})
	}
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Fprintln(s.Out)
	for n, row := range rows {
		roles := [4]plan.Role{plan.Faint, plan.Faint, plan.Faint, plan.Faint}
		mark, ok := " ", true
		if n > 0 {
			ok = results[n-1].OK
			mark, roles = "✓", [4]plan.Role{plan.Plain, plan.Label, plan.Plain, plan.Faint}
			if !ok {
				mark, roles[1] = "✗", plan.Shout
			}
		}
		line := s.Style(roles[1], mark)
		for i, cell := range row {
			pad := width[i] - utf8.RuneCountInString(cell)
			line += " " + s.Style(roles[i], bottle.Printable(cell)) + strings.Repeat(" ", pad+1)
		}
		fmt.Fprintln(s.Out, strings.TrimRight(line, " "))
		if !ok {
			for _, p := range results[n-1].Problems {
				fmt.Fprintln(s.Out, "    "+s.Style(plan.Shout, s.cut(bottle.Printable(p), 4)))
			}
		}
	}
}
