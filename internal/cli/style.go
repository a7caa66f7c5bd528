package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// style dresses text for w: plain unless w is a terminal that wants colour
// (https://no-color.org: NO_COLOR present and not empty means none).
func (d *deps) style(w io.Writer) plan.Style {
	if !d.Terminal(w) || d.env("NO_COLOR") != "" || d.env("TERM") == "dumb" {
		return plain
	}
	return coloured
}

func plain(_ plan.Role, s string) string { return s }

func coloured(role plan.Role, s string) string {
	if s == "" || strings.TrimSpace(s) == "" {
		return s
	}
	code := ""
	switch role {
	case plan.Label:
		code = "36"
	case plan.Strong:
		code = "1"
	case plan.Faint:
		code = "2"
	case plan.Warn:
		code = "33"
	case plan.Shout:
		code = "1;31"
	default:
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// cell is one field of a table.
type cell struct {
	text string
	role plan.Role
}

// table prints rows with aligned columns; the last column is not padded.
func table(w io.Writer, style plan.Style, head []string, rows [][]cell) {
	all := [][]cell{{}}
	for _, h := range head {
		all[0] = append(all[0], cell{h, plan.Faint})
	}
	all = append(all, rows...)
	widths := make([]int, len(head))
	for _, row := range all {
		for i := range row {
			row[i].text = bottle.Printable(row[i].text)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	for _, row := range all {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(style(c.role, c.text))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// printJSON prints v for machines: indented, with a line feed.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print json: %w", err)
	}
	return nil
}

// near is the word of words that typed was most likely meant to be, or "".
func near(typed string, words []string) string {
	best, limit := "", 3
	for _, w := range words {
		if n := distance(typed, w); n < limit {
			best, limit = w, n
		}
	}
	return best
}

// distance is the number of single-letter edits between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
