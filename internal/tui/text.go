package tui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"bottle/internal/bottle"
)

// clean is text of anybody's on one line, for a screen: bottle.Said, and what terminals
// draw in different widths is spelled out, too. A terminal that counts otherwise than the
// dashboard would put everything behind it into wrong cells.
func clean(s string) string { return even(bottle.Said(s)) }

// cleanLines is clean for text of several lines, such as a diff.
func cleanLines(s string) []string {
	lines := strings.Split(strings.TrimSuffix(bottle.SaidLines(s), "\n"), "\n")
	for i, l := range lines {
		lines[i] = even(l)
	}
	return lines
}

// even spells out the characters (grapheme clusters, UAX #29) that are of one width as a
// whole and of another as the sum of their parts: terminals do either. The same goes for
// what is drawn as one with what stands beside it.
func even(s string) string {
	if ascii(s) {
		return s
	}
	var b strings.Builder
	s = " " + s // it stands behind a space, to which its beginning must not belong
	for len(s) > 0 {
		c, whole := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		_, parts := ansi.FirstGraphemeCluster(s, ansi.WcWidth)
		s = s[len(c):]
		if whole == parts && whole > 0 && !strings.ContainsFunc(c, joins) {
			b.WriteString(c)
			continue
		}
		for _, r := range c {
			if r < utf8.RuneSelf {
				b.WriteRune(r)
			} else {
				fmt.Fprintf(&b, `\u{%x}`, r)
			}
		}
	}
	return b.String()[1:]
}

// joins reports halves of flags, colours of skin, and the parts of Hangul syllables behind
// the first.
func joins(r rune) bool {
	return r >= 0x1f1e6 && r <= 0x1f1ff || r >= 0x1f3fb && r <= 0x1f3ff || r >= 0x1160 && r <= 0x11ff || r >= 0xd7b0 && r <= 0xd7ff
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// room is how many cells text takes at most, on whatever terminal: some draw Greek letters
// and arrows in two (UAX #11: ambiguous), or marks in a cell of their own.
func room(s string) (n int) {
	for _, r := range s {
		n += cells(r)
	}
	return n
}

// fits is whether text takes at most so many cells. It reads no further than it must.
func fits(s string, width int) bool {
	for _, r := range s {
		if width -= cells(r); width < 0 {
			return false
		}
	}
	return true
}

func cells(r rune) int {
	if r < utf8.RuneSelf || unicode.Is(unicode.M, r) {
		return 1
	}
	return 2
}

// fit shortens clean text to so many cells, and says so by its end. 0: as long as it is.
func fit(s string, width int) string {
	if width <= 0 || fits(s, width) {
		return s
	}
	if width < 4 {
		return strings.Repeat(".", width)
	}
	return head(s, width-3) + "..."
}

// head is as much of clean text as fits; what is drawn as one character stays so.
func head(s string, width int) string {
	n, at := 0, 0
	for at < len(s) {
		c, _ := ansi.FirstGraphemeCluster(s[at:], ansi.GraphemeWidth)
		if n += room(c); n > width {
			break
		}
		at += len(c)
	}
	return s[:at]
}

// wrap breaks clean text into lines of at most so many cells: between words, or within
// one that is longer. 0: it stays one line.
func wrap(s string, width int) (out []string) {
	if width <= 0 || fits(s, width) {
		return []string{s}
	}
	line := ""
	for word := range strings.SplitSeq(s, " ") {
		if line != "" && fits(word, width-1-room(line)) {
			line += " " + word
			continue
		}
		if line != "" {
			out = append(out, line)
		}
		for !fits(word, width) {
			part := head(word, width)
			if part == "" { // a width that holds no character
				return append(out, "")
			}
			out, word = append(out, part), word[len(part):]
		}
		line = word
	}
	return append(out, line)
}

// pad fills clean text up to so many cells, where it is ASCII, and shortens it to them.
func pad(s string, width int) string {
	s = fit(s, width)
	return s + strings.Repeat(" ", max(0, width-room(s)))
}
