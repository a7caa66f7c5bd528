package bottle

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may stand on one character: languages need no more.
const maxMarks = 4

// Said is an agent's text on one line, for an operator who decides by it. It is stricter
// than Printable: what fills no place though it counts as a letter or a mark, what looks
// empty, and heaps of combining marks are spelt out, too, and any run of spaces is one. An
// escape cannot be told from an agent that wrote the escape itself; both do no harm.
func Said(s string) string { return said(s, false) }

// SaidLines is Said for a text of several lines, such as a diff: line feeds, spaces and
// tabs stay. A tab is four spaces.
func SaidLines(s string) string { return said(s, true) }

func said(s string, lines bool) string {
	if plainly(s) {
		return s
	}
	var b strings.Builder
	marks, gap := 0, false
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if lines && r == '\t' {
			b.WriteString("    ")
			continue
		}
		if lines && (r == '\n' || r == ' ') {
			b.WriteRune(r)
			marks = 0
			continue
		}
		if !lines && (r == ' ' || r == '\t' || r == '\n' || r == '\r') {
			gap = true
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte(' ')
		}
		gap = false
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i-1])
		case !unicode.IsPrint(r) || unseen(r) || marks > maxMarks:
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plainly reports whether s is printable ASCII without double or outer spaces: most is.
func plainly(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f || s[i] == ' ' && (i == 0 || i == len(s)-1 || s[i-1] == ' ') {
			return false
		}
	}
	return true
}

// unseen reports characters that unicode.IsPrint calls printable and that fill no place,
// or look like a space: Default_Ignorable_Code_Point (UAX #44) of the classes L and M, and
// the blank pattern of Braille.
func unseen(r rune) bool {
	switch {
	case r < 0x34f:
		return false
	case r == 0x34f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r >= 0x180b && r <= 0x180f,
		r == 0x2800, r == 0x3164, r >= 0xfe00 && r <= 0xfe0f, r == 0xffa0, r >= 0xe0000 && r <= 0xe0fff:
		return true
	}
	return false
}

// cut shortens s to at most limit bytes, and says so at its end.
func cut(s string, limit int) string {
	const mark = "…"
	if len(s) <= limit {
		return s
	}
	keep := limit - len(mark)
	for keep > 0 && !utf8.RuneStart(s[keep]) {
		keep--
	}
	return strings.TrimRight(s[:keep], " ") + mark
}
