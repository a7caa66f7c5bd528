package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
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
	Fold(w, style, 0, head, rows)
}

// minFold is the narrowest last column that is still folded, in cells.
const minFold = 20

// Fold is Table on a screen of width cells: the last column's words go on below
// themselves instead of at the screen's left edge. Width 0: as long as they are.
func Fold(w io.Writer, style plan.Style, width int, head []string, rows [][]Cell) {
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
	indent := 0
	for _, n := range widths[:max(len(widths)-1, 0)] {
		indent += n + 2
	}
	for _, row := range all {
		var b strings.Builder
		for i, c := range row {
			if i < len(row)-1 {
				b.WriteString(style(c.Role, c.Text))
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+2))
				continue
			}
			for j, line := range Lines(c.Text, width-indent) {
				if j > 0 {
					b.WriteString("\n" + strings.Repeat(" ", indent))
				}
				b.WriteString(style(c.Role, line))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// Lines breaks text between words into lines of at most width cells. A longer
// word stays whole: it may be a command or a path. A width too narrow to read
// breaks nothing.
func Lines(text string, width int) []string {
	if width < minFold || wide(text) <= width {
		return []string{text}
	}
	var out []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case wide(line)+1+wide(word) > width:
			out = append(out, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(out, line)
}

// Hang breaks a line that is wider than a screen at its spaces, and indents what goes
// on, in cells. What has no space stays whole. Width 0 breaks nothing.
func Hang(line string, width, indent int) string {
	if width < minFold+indent {
		return line
	}
	var out []string
	left, room := []rune(line), width
	for fits(left, room) < len(left) {
		lead, most := 0, fits(left, room)
		for lead < len(left) && left[lead] == ' ' {
			lead++
		}
		at := most
		for at > lead && left[at] != ' ' {
			at--
		}
		if at <= lead { // one word is wider
			for at = max(lead, most); at < len(left) && left[at] != ' '; {
				at++
			}
		}
		out = append(out, strings.TrimRight(string(left[:at]), " "))
		left, room = []rune(strings.TrimLeft(string(left[at:]), " ")), width-indent
	}
	if len(left) > 0 {
		out = append(out, string(left))
	}
	return strings.Join(out, "\n"+strings.Repeat(" ", indent))
}

// Block breaks text so that no line is wider than a screen of width cells, within a word
// where it must, and puts in front of what goes on: a screen that breaks a line itself goes
// on at its left edge, where whoever wrote the text could write as if he were this program.
// A character outside of ASCII counts as two cells, as some are and some screens show more.
// in is ASCII, and stands in front of the first line already. Width 0 breaks nothing.
func Block(text string, width int, in string) string {
	room := width - len(in)
	if room < minFold {
		return text
	}
	var out strings.Builder
	line, left := []byte(nil), room
	gap, behind := -1, 0 // where the line's last space is, and how many cells stand behind it
	next := func(upTo, from int) {
		out.Write(line[:upTo])
		out.WriteString("\n" + in)
		line, gap = append([]byte(nil), line[from:]...), -1
	}
	for _, r := range text {
		n := cells(r)
		switch {
		case n <= left:
		case r == ' ':
			next(len(line), len(line))
			left, behind = room, 0
			continue
		case gap >= 0 && behind+n <= room:
			next(gap, gap+1)
			left = room - behind
		default:
			next(len(line), len(line))
			left, behind = room, 0
		}
		if r == ' ' {
			gap, behind = len(line), 0
		} else {
			behind += n
		}
		line = utf8.AppendRune(line, r)
		left -= n
	}
	out.Write(line)
	return out.String()
}

// fits is how many characters of a line a screen of width cells surely shows.
func fits(line []rune, width int) int {
	for i, r := range line {
		if width -= cells(r); width < 0 {
			return i
		}
	}
	return len(line)
}

// cells is how wide a character may be.
func cells(r rune) int {
	if r < utf8.RuneSelf {
		return 1
	}
	return 2
}

// Broken puts a space into each word that is wider than most cells, for a column in which
// Fold would leave it whole.
func Broken(text string, most int) string {
	if most < minFold {
		return text
	}
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n += cells(r); r == ' ' {
			n = 0
		} else if n > most {
			b.WriteByte(' ')
			n = cells(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// wide is how many cells text may fill.
func wide(text string) (n int) {
	for _, r := range text {
		n += cells(r)
	}
	return n
}

// JSON prints v for machines: indented, with a line feed. A person may look at it, too, and
// some of it an agent wrote: what does not print is escaped, as a terminal could obey it.
func JSON(w io.Writer, v any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	if err == nil {
		_, err = io.WriteString(w, escaped(b.String()))
	}
	if err != nil {
		return fmt.Errorf("print json: %w", err)
	}
	return nil
}

// escaped is JSON text with each character that does not print as \uXXXX. Outside of its
// strings JSON is ASCII.
func escaped(text string) string {
	bad := func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }
	if !strings.ContainsFunc(text, bad) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !bad(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
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

// Warn gives what tells the operator something on w while a command goes on.
func Warn(w io.Writer, style plan.Style) func(message string) {
	return func(message string) { fmt.Fprintln(w, style(plan.Warn, message)) }
}

// Clock is the time of day where the operator is.
func Clock(t time.Time) string { return t.Local().Format("15:04:05") }

// Lasting is a time as it is typed: 15m, not 15m0s.
func Lasting(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}
