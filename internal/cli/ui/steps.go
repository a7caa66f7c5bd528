package ui

import (
	"fmt"
	"io"
	"strings"

	"bottle/internal/plan"
)

// barWidth is how many cells a bar has.
const barWidth = 20

// maxSteps is more than any recipe has. Who counts them may be a recipe's own command, whose
// words an engine hands on beside its own.
const maxSteps = 100_000

// Steps tells of the steps of something that takes long, a line each, with a bar on a
// terminal of how much is done. What is said of a step is one line, shortened.
func Steps(w io.Writer, style plan.Style, terminal bool) func(step, of int, what string) {
	return func(step, of int, what string) {
		if step < 1 || of < step || of > maxSteps {
			return
		}
		bar := ""
		if terminal {
			done := barWidth * (step - 1) / of
			bar = "[" + strings.Repeat("#", done) + strings.Repeat("-", barWidth-done) + "] "
		}
		fmt.Fprintln(w, style(plan.Faint, fmt.Sprintf("%simage %d/%d  %s", bar, step, of, short(what))))
	}
}

// short cuts a line at 60 characters.
func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}
