// Package fold tells what a character that is not ASCII means to somebody who reads
// ASCII: nothing, a letter without its mark, a plain form of it, or the letter that it
// looks like.
package fold

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// How is the way in which a character belongs to ASCII.
type How uint8

// The ways.
const (
	Stays  How = iota // it does not, or it is a blank or a dot
	Gone              // invisible, or a mark on the letter before
	Hidden            // invisible, and stands for ASCII or a byte: tags, selectors
	Accent            // a letter with a mark
	Compat            // a form of a letter or digit: fullwidth, mathematical, in a circle
	Looks             // a letter of another script that looks alike
	Ways              // how many there are
)

// Char is what a character becomes: S, if it is not empty, else R. An R below 0 is
// nothing at all.
type Char struct {
	R rune
	S string
}

// At gives what the character at the beginning of s becomes, the length of what was
// read in bytes, and how the two belong together. s is not empty and begins with a byte
// that is not ASCII. A character that stays as it is, or what is no UTF-8, gives n = 0;
// a blank or a dot of another form Stays too, but gives what it becomes.
func At(s []byte) (c Char, n int, how How) {
	if s[0] == 0xc3 && len(s) > 1 && s[1]>>6 == 2 { // the accents that are most frequent
		if c := latin1[s[1]&0x3f]; c != 0 {
			return Char{R: rune(c)}, 2, Accent
		}
		return Char{}, 0, Stays
	}
	r, n := utf8.DecodeRune(s)
	if n == 1 {
		return Char{}, 0, Stays
	}
	switch {
	case selector(r) >= 0:
		return selectors(s, n)
	case r >= 0xe0020 && r < 0xe007f:
		return Char{R: r - 0xe0000}, n, Hidden
	case Invisible(r) || unicode.Is(unicode.Mn, r):
		return Char{R: -1}, n, Gone
	}
	if c := lookalike(r); c != 0 {
		return Char{R: rune(c)}, n, Looks
	}
	return decomposed(s, n)
}

// latin1 gives the letters of U+00C0 to U+00FF without their marks.
const latin1 = "AAAAAA\x00CEEEEIIII\x00NOOOOO\x00\x00UUUUY\x00\x00aaaaaa\x00ceeeeiiii\x00nooooo\x00\x00uuuuy\x00y"

// decomposed folds by the compatibility decomposition of UAX 15, without marks.
func decomposed(s []byte, n int) (v Char, _ int, how How) {
	d := norm.NFKD.Properties(s[:n]).Decomposition()
	if len(d) == 0 || d[0] >= utf8.RuneSelf {
		return Char{}, 0, Stays
	}
	ascii := 0
	for ascii < len(d) && d[ascii] < utf8.RuneSelf {
		ascii++
	}
	for rest := d[ascii:]; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if !unicode.Is(unicode.Mn, r) {
			return Char{}, 0, Stays
		}
		rest = rest[size:]
	}
	v = Char{R: rune(d[0])}
	switch {
	case ascii > 1:
		v.S = string(d[:ascii])
		how = Compat
	case ascii < len(d):
		return v, n, Accent
	default:
		how = Compat
	}
	if c := d[0]; (c|0x20)-'a' >= 26 && c-'0' >= 10 && s[0] != 0xef { // a space, dots; but all that is fullwidth counts
		how = Stays
	}
	return v, n, how
}

// selector gives the number of a variation selector, or -1. A row of them carries
// bytes that nobody sees.
func selector(r rune) int {
	switch {
	case r >= 0xfe00 && r <= 0xfe0f:
		return int(r - 0xfe00)
	case r >= 0xe0100 && r <= 0xe01ef:
		return int(r-0xe0100) + 16
	}
	return -1
}

// selectors reads a row of variation selectors. One alone selects a form; more are bytes.
func selectors(s []byte, n int) (Char, int, How) {
	r, _ := utf8.DecodeRune(s)
	bytes := []byte{byte(selector(r))}
	for len(bytes) < 64 {
		r, size := utf8.DecodeRune(s[n:])
		v := selector(r)
		if v < 0 {
			break
		}
		bytes, n = append(bytes, byte(v)), n+size
	}
	if len(bytes) == 1 {
		return Char{R: -1}, n, Gone
	}
	return Char{S: string(bytes)}, n, Hidden
}

// Invisible tells the characters that are ignored where they are not understood
// (Default_Ignorable_Code_Point of Unicode), and other blanks without width.
func Invisible(r rune) bool {
	switch {
	case r < 0x2000:
		return r == 0xad || r == 0x34f || r == 0x61c || r == 0x115f || r == 0x1160 || r == 0x17b4 || r == 0x17b5 || r >= 0x180b && r <= 0x180f
	case r < 0x3000:
		return r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0x2800
	case r < 0x10000:
		return r == 0x3164 || r == 0xfeff || r == 0xffa0 || r >= 0xfff0 && r <= 0xfffb
	}
	return r >= 0x1bca0 && r <= 0x1bca3 || r >= 0x1d173 && r <= 0x1d17a || r >= 0xe0000 && r < 0xe1000
}

// ToASCII tells whether a character may stand for one of ASCII. Letters with
// marks do not count: they are common in text that is escaped.
func ToASCII(r rune) bool {
	var room [utf8.UTFMax]byte
	if r >= 0xd800 && r < 0xe000 { // half a pair: the other half decides
		return true
	}
	_, _, how := At(utf8.AppendRune(room[:0], r))
	return how == Gone && Invisible(r) || how == Hidden || how == Compat || how == Looks
}
