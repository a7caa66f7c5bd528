package decode

import (
	"encoding/binary"
	"math/bits"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// firstHigh gives the place of the first byte that is not ASCII, or len(b).
func firstHigh(b []byte) int {
	i := 0
	for ; i+32 <= len(b); i += 32 {
		q := b[i : i+32 : i+32]
		if (binary.LittleEndian.Uint64(q)|binary.LittleEndian.Uint64(q[8:])|binary.LittleEndian.Uint64(q[16:])|binary.LittleEndian.Uint64(q[24:]))&tops != 0 {
			break
		}
	}
	for ; i+8 <= len(b); i += 8 {
		if w := binary.LittleEndian.Uint64(b[i:]) & tops; w != 0 {
			return i + bits.TrailingZeros64(w)/8
		}
	}
	for ; i < len(b); i++ {
		if b[i] >= utf8.RuneSelf {
			return i
		}
	}
	return i
}

// fold is what a character means to somebody who reads ASCII.
type fold uint8

const (
	plain  fold = iota // nothing
	gone               // invisible, or a mark on the letter before
	hidden             // invisible, and stands for ASCII or a byte: tags, selectors
	accent             // a letter with a mark
	compat             // a form of a letter or digit: fullwidth, mathematical, in a circle
	looks              // a letter of another script that looks alike
)

// readFold reads one character at the beginning of s, which is not ASCII.
func readFold(s []byte) (value, int) {
	v, n, _ := foldAt(s)
	return v, n
}

// foldAt gives what the character at the beginning of s becomes, the length of what it
// read, and how the two belong together. A character that stays gives n = 0.
func foldAt(s []byte) (v value, n int, how fold) {
	if s[0] == 0xc3 && len(s) > 1 && s[1]>>6 == 2 { // the accents that are most frequent
		if c := latin1[s[1]&0x3f]; c != 0 {
			return value{r: rune(c)}, 2, accent
		}
		return value{}, 0, plain
	}
	r, n := utf8.DecodeRune(s)
	if n == 1 {
		return value{}, 0, plain
	}
	switch {
	case selector(r) >= 0:
		return selectors(s, n)
	case r >= 0xe0020 && r < 0xe007f:
		return value{r: r - 0xe0000}, n, hidden
	case invisible(r) || unicode.Is(unicode.Mn, r):
		return value{r: -1}, n, gone
	}
	if c := lookalike(r); c != 0 {
		return value{r: rune(c)}, n, looks
	}
	return decomposed(s, n)
}

// latin1 gives the letters of U+00C0 to U+00FF without their marks.
const latin1 = "AAAAAA\x00CEEEEIIII\x00NOOOOO\x00\x00UUUUY\x00\x00aaaaaa\x00ceeeeiiii\x00nooooo\x00\x00uuuuy\x00y"

// decomposed folds by the compatibility decomposition of UAX 15, without marks.
func decomposed(s []byte, n int) (v value, _ int, how fold) {
	d := norm.NFKD.Properties(s[:n]).Decomposition()
	if len(d) == 0 || d[0] >= utf8.RuneSelf {
		return value{}, 0, plain
	}
	ascii := 0
	for ascii < len(d) && d[ascii] < utf8.RuneSelf {
		ascii++
	}
	for rest := d[ascii:]; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if !unicode.Is(unicode.Mn, r) {
			return value{}, 0, plain
		}
		rest = rest[size:]
	}
	v = value{r: rune(d[0])}
	switch {
	case ascii > 1:
		v.s = string(d[:ascii])
		how = compat
	case ascii < len(d):
		return v, n, accent
	default:
		how = compat
	}
	if c := d[0]; (c|0x20)-'a' >= 26 && c-'0' >= 10 && s[0] != 0xef { // a space, dots; but all that is fullwidth counts
		how = plain
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
func selectors(s []byte, n int) (value, int, fold) {
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
		return value{r: -1}, n, gone
	}
	return value{r: 0, s: string(bytes)}, n, hidden
}

// invisible tells the characters that are ignored where they are not understood
// (Default_Ignorable_Code_Point of Unicode), and other blanks without width.
func invisible(r rune) bool {
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

// foldsToASCII tells whether a character may stand for one of ASCII. Letters with
// marks do not count: they are common in text that is escaped.
func foldsToASCII(r rune) bool {
	var room [utf8.UTFMax]byte
	if r >= 0xd800 && r < 0xe000 { // half a pair: the other half decides
		return true
	}
	_, _, how := foldAt(utf8.AppendRune(room[:0], r))
	return how == gone && invisible(r) || how == hidden || how == compat || how == looks
}

// unicode looks for characters that hide ASCII, from the first one that is not ASCII.
func (f *finder) unicode(first int) {
	text, from := f.text, 0
	for i := first; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i += firstHigh(text[i:])
			continue
		}
		if n := f.foreign(i, c); n > 0 {
			i += n
			continue
		}
		_, n, how := foldAt(text[i:])
		if how == plain {
			if n == 0 {
				_, n = utf8.DecodeRune(text[i:])
			}
			i += n
			continue
		}
		i = f.disguise(i, from)
		from = i
	}
}

// foreign gives the length of what certainly hides nothing: most of the characters of
// East Asia and India, words of Cyrillic or Greek letters only, and bytes that are no UTF-8.
func (f *finder) foreign(i int, c byte) int {
	text := f.text
	if i+1 == len(text) || text[i+1]>>6 != 2 {
		return 1
	}
	switch {
	case c < 0xc2:
		return 1
	case c == 0xe0 || c > 0xe3 && c < 0xee && c != 0xea, c == 0xe3 && text[i+1] != 0x85 && text[i+1]-0x88 > 7:
		return 3
	case c == 0xe2 && text[i+1] == 0x80 && i+2 < len(text) && text[i+2]-0x93 < 0xa8-0x93: // dashes, quotes, dots
		return 3
	case c == 0xef && text[i+1] == 0xbc && i > 0 && text[i-1] >= utf8.RuneSelf && i+3 < len(text) && text[i+3]-0xe3 < 7:
		return 3 // a comma or the like between characters of East Asia: a row of one
	case c >= 0xd0 && c < 0xd4 || c == 0xce || c == 0xcf:
		j := i
		for j+1 < len(text) && (text[j] >= 0xd0 && text[j] < 0xd4 || text[j] == 0xce || text[j] == 0xcf) && text[j+1]>>6 == 2 {
			j += 2
		}
		if (i == 0 || !isWord(text[i-1])) && (j == len(text) || text[j] < utf8.RuneSelf && !isWord(text[j])) {
			return j - i
		}
	}
	return 0
}

// disguise judges the row of characters around a place, all of which mean ASCII
// and no blank, and returns its end.
func (f *finder) disguise(i, from int) (end int) {
	const (
		before   = 64 // how far it looks back
		shortest = 8  // characters of a row
		accents  = 16 // the same, if it has nothing but letters with marks, and no digit
		secret   = 4  // hidden characters that are a text of their own
	)
	var seen [looks + 1]int
	count, words, digits := 0, 0, 0
	plainly := func(c byte) {
		count++
		if isWord(c) {
			words++
		}
		if c-'0' < 10 {
			digits++
		}
	}
	for j := i; j > from && i-j < before && text(f.text[j-1]); j-- {
		plainly(f.text[j-1])
	}
	for end = i; end < len(f.text); {
		if c := f.text[end]; c < utf8.RuneSelf {
			if !text(c) {
				break
			}
			plainly(c)
			end++
			continue
		}
		v, n, how := foldAt(f.text[end:])
		if how == plain {
			break
		}
		seen[how] += max(1, len(v.s))
		if how != gone {
			count++
		}
		end += n
	}
	switch {
	case seen[hidden] >= secret:
	case count < shortest:
		return end
	case seen[compat] > 0 || seen[looks] > 0 && words > 0:
		f.nearFold(Confusable, i, end)
		return end
	case seen[gone] > 0 && words > 0 && seen[accent] == 0:
	case seen[accent] > 0 && (digits > 0 || count >= accents):
		f.nearFold(Confusable, i, end)
		return end
	default:
		return end
	}
	f.nearFold(Invisible, i, end)
	return end
}

// text tells what may be a character of a secret.
func text(c byte) bool { return c > ' ' && c < 0x7f }

// nearFold is near for the two kinds that are decoded in the same way.
func (f *finder) nearFold(kind Kind, from, to int) {
	if i := len(f.spans) - 1; i >= 0 && f.spans[i].Kind >= Invisible && f.spans[i].Kind <= Confusable {
		kind = max(kind, f.spans[i].Kind)
		if f.spans[i].End >= from-beside {
			f.spans[i].Kind = kind
		}
	}
	f.near(kind, from, to)
}
