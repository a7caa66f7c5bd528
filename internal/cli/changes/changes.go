// Package changes tells a person, or a machine, what an agent changed in its
// private view, and what became of it. Names, targets and lines are the agent's:
// none of them reaches a terminal as it is.
package changes

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/layer"
	"bottle/internal/plan"
)

// maxDiff bounds all diffs of one list together, in bytes.
const maxDiff = 16 << 20

// maxColumn is how wide the column of paths grows, in cells.
const maxColumn = 60

// manyRuns is how many paths are named for one reason, before "and more".
const manyRuns = 8

// Report is a list with its sums.
type Report struct {
	Identity  bottle.Identity `json:"identity"`
	Workspace string          `json:"workspace"`
	layer.List
	Added    int               `json:"added"`
	Modified int               `json:"modified"`
	Deleted  int               `json:"deleted"`
	Bytes    int64             `json:"bytes"` // of the files that taking it would write
	Taken    int               `json:"taken"`
	Left     int               `json:"left"` // not taken, or not to be taken
	Diffs    map[string]string `json:"diffs,omitempty"`
}

// Sum makes the report of a list.
func Sum(id bottle.Identity, workspace string, l layer.List) Report {
	r := Report{Identity: id, Workspace: workspace, List: l}
	for _, c := range l.Changes {
		switch c.Op {
		case layer.Added:
			r.Added++
		case layer.Modified:
			r.Modified++
		case layer.Deleted:
			r.Deleted++
		}
		switch {
		case c.Taken:
			r.Taken++
		case c.Refused != "" || c.Conflict != "" || c.Failed != "":
			r.Left++
		}
		if c.Op != layer.Deleted && c.Refused == "" {
			r.Bytes += c.Size
		}
	}
	return r
}

// Diff reads the diffs of a report, up to a bound, or to the end of ctx.
func (r *Report) Diff(ctx context.Context, v *layer.View) error {
	r.Diffs = map[string]string{}
	total := 0
	for _, c := range r.Changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if total > maxDiff {
			r.Diffs[c.Path] = "[not shown: the diffs before it have 16 MiB]\n"
			continue
		}
		if d := v.Diff(c); d != "" {
			r.Diffs[c.Path] = d
			total += len(d)
		}
	}
	return nil
}

// JSON prints the report for machines. What a terminal could obey is spelt \uXXXX.
func (r Report) JSON(w io.Writer) error {
	return ui.JSON(w, r)
}

// Text prints the list, diffs if there are any, the sums, and what runs later.
func (r Report) Text(w io.Writer, style plan.Style) {
	width := 0
	for _, c := range r.Changes {
		if n := utf8.RuneCountInString(name(c)); n <= maxColumn { // one endless name must not push the others off the screen
			width = max(width, n)
		}
	}
	for _, c := range r.Changes {
		letter, role := "A", plan.Label
		switch c.Op {
		case layer.Deleted:
			letter, role = "D", plan.Warn
		case layer.Modified:
			letter, role = "M", plan.Plain
		}
		line := style(role, letter) + "  " + style(plan.Strong, name(c))
		more := about(c)
		why, shade := verdict(c)
		if more != "" || why != "" {
			line += strings.Repeat(" ", max(width-utf8.RuneCountInString(name(c)), 0)+2)
		}
		if more != "" && why != "" {
			more += "  "
		}
		fmt.Fprintln(w, line+style(plan.Faint, more)+style(shade, bottle.Printable(why)))
	}
	r.diffs(w, style)
	sums := fmt.Sprintf("%d added, %d modified, %d deleted; %s to write", r.Added, r.Modified, r.Deleted, size(r.Bytes))
	if r.Partial {
		sums = "more than can be listed; of these, " + sums
	}
	fmt.Fprintf(w, "\n%s\n", style(plan.Strong, sums))
	r.warn(w, style)
}

func name(c layer.Change) string {
	s := bottle.Printable(c.Path)
	if c.Kind == layer.Folder {
		s += "/"
	}
	return s
}

// about is what else there is to say of a change.
func about(c layer.Change) string {
	var parts []string
	if c.Was != layer.None && c.Was != c.Kind {
		parts = append(parts, "was a "+string(c.Was))
	}
	switch {
	case c.Kind == layer.Link && c.Op != layer.Deleted:
		parts = append(parts, "→ "+bottle.Printable(c.Target))
	case c.Kind == layer.File && c.Op == layer.Deleted:
		parts = append(parts, size(c.WasSize))
	case c.Kind == layer.File && c.Op == layer.Modified && c.Was == layer.File && c.Content:
		parts = append(parts, size(c.WasSize)+" → "+size(c.Size))
	case c.Kind == layer.File && c.Content:
		parts = append(parts, size(c.Size))
	}
	if c.Op == layer.Modified && c.Kind == c.Was && c.Mode != c.WasMode {
		parts = append(parts, "mode "+c.WasMode.String()+" → "+c.Mode.String())
	}
	return strings.Join(parts, ", ")
}

func verdict(c layer.Change) (string, plan.Role) {
	switch {
	case c.Refused != "":
		return "refused: " + c.Refused, plan.Shout
	case c.Failed != "":
		return "not taken: " + c.Failed, plan.Shout
	case c.Taken:
		return "taken", plan.Faint
	case c.Conflict != "":
		return "conflict: " + c.Conflict, plan.Warn
	}
	return "", plan.Plain
}

// diffs prints each diff; a line of the agent's keeps its tabs and no other
// control character.
func (r Report) diffs(w io.Writer, style plan.Style) {
	for _, c := range r.Changes {
		d := r.Diffs[c.Path]
		if d == "" {
			continue
		}
		old, now := "a/"+bottle.Printable(c.Path), "b/"+bottle.Printable(c.Path)
		if c.Was != layer.File {
			old = "/dev/null"
		}
		if c.Op == layer.Deleted {
			now = "/dev/null"
		}
		fmt.Fprintf(w, "\n%s\n%s\n", style(plan.Strong, "--- "+old), style(plan.Strong, "+++ "+now))
		for line := range strings.SplitSeq(strings.TrimSuffix(d, "\n"), "\n") {
			role := plan.Plain
			switch line[:min(1, len(line))] {
			case "@":
				role = plan.Faint
			case "+":
				role = plan.Label
			case "-":
				role = plan.Warn
			}
			fields := strings.Split(line, "\t")
			for i := range fields {
				fields[i] = bottle.Printable(fields[i])
			}
			fmt.Fprintln(w, style(role, strings.Join(fields, "\t")))
		}
	}
}

// warn tells what runs later, reason by reason; every reason is told.
func (r Report) warn(w io.Writer, style plan.Style) {
	by := map[string][]string{}
	var reasons []string
	for _, c := range r.Changes {
		if c.Runs == "" || c.Refused != "" {
			continue
		}
		if by[c.Runs] == nil {
			reasons = append(reasons, c.Runs)
		}
		by[c.Runs] = append(by[c.Runs], bottle.Printable(c.Path))
	}
	if len(reasons) == 0 {
		return
	}
	slices.Sort(reasons)
	fmt.Fprintf(w, "\n%s\n", style(plan.Shout, "LOOK AT THESE: they run or are obeyed outside the bottle, with your rights:"))
	for _, why := range reasons {
		paths := by[why]
		more := ""
		if n := len(paths); n > manyRuns {
			paths, more = paths[:manyRuns], fmt.Sprintf(" and %d more", n-manyRuns)
		}
		fmt.Fprintf(w, "  %s%s: %s\n", style(plan.Strong, strings.Join(paths, ", ")), more, style(plan.Warn, why))
	}
}

// size is bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		name string
		one  int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.one {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.one), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// Result prints what became of a list that was to be taken: each path that was
// not, and the sums.
func (r Report) Result(w io.Writer, style plan.Style, folder string) {
	for _, c := range r.Changes {
		if why, role := verdict(c); !c.Taken {
			fmt.Fprintf(w, "%s  %s\n", style(plan.Strong, name(c)), style(role, bottle.Printable(why)))
		}
	}
	fmt.Fprintf(w, "took %d of %s into %s\n", r.Taken, ui.Plural(len(r.Changes), "change"), bottle.Printable(folder))
	if slices.ContainsFunc(r.Changes, func(c layer.Change) bool { return !c.Taken && c.Conflict != "" }) {
		fmt.Fprintln(w, "  "+style(plan.Faint, "→")+" --diff shows what differs; --force takes conflicts, too, and what you changed there is then lost")
	}
	fmt.Fprintln(w, "  "+style(plan.Faint, "→")+" bottle cleanup removes the private view, with the decision log, when you need neither")
}

// Tell is the line after a start: how many files the agent changed, and what to
// type. A count of limit stands for more.
func Tell(w io.Writer, style plan.Style, n, limit int, id bottle.Identity) {
	count := ui.Plural(n, "file")
	if n >= limit {
		count = "more than " + count
	}
	fmt.Fprintf(w, "%s bottle changes %s\n", style(plan.Label, count+" changed:"), id)
}
