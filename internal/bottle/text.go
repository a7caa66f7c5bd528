package bottle

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable spells out what a terminal would obey rather than show. A repository
// ships agents: an escape sequence in one could hide a line of the preflight, and
// a format character (Unicode Cf) could reorder it (CVE-2021-42574).
func Printable(s string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if utf8.ValidString(s) && strings.IndexFunc(s, odd) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// SpellSize writes a number of bytes as manifests have it, in the largest unit that
// divides it: 100MiB.
func SpellSize(n int64) string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for i < len(units)-1 && n%1024 == 0 && n > 0 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + units[i]
}
