package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Plain is no colour at all.
func Plain(_ plan.Role, s string) string { return s }

// Coloured is for terminals.
func Coloured(role plan.Role, s string) string {
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

// Cell is one field of a table.
type Cell struct {
	Text string
	Role plan.Role
}

// As is text in a role.
func As(role plan.Role, text string) Cell { return Cell{Text: text, Role: role} }

// Table prints rows with aligned columns; the last column is not padded.
func Table(w io.Writer, style plan.Style, head []string, rows [][]Cell) {
	all := [][]Cell{{}}
	for _, h := range head {
		all[0] = append(all[0], As(plan.Faint, h))
	}
	all = append(all, rows...)
	widths := make([]int, len(head))
	for _, row := range all {
		for i := range row {
			row[i].Text = bottle.Printable(row[i].Text)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].Text))
		}
	}
	for _, row := range all {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(style(c.Role, c.Text))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+2))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// JSON prints v for machines: indented, with a line feed.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print json: %w", err)
	}
	return nil
}

// Near is the word of words that typed was most likely meant to be, or "".
func Near(typed string, words []string) string {
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

// Plural is n and noun: "1 route", "2 routes".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
