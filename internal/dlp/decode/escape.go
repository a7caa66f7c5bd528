package decode

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"bottle/internal/dlp/decode/alphabet"
	"bottle/internal/dlp/decode/charref"
)

// escapes looks for escapes with a backslash that may hide something. Those that
// fill any text in JSON (\n \t \r \" \\) do not count: they stand where a secret ends.
// Each backslash counts, also one that is escaped itself, so that what was escaped
// twice is found as well.
func (f *finder) escapes() {
	text := f.text
	for i := 0; i < len(text); {
		j := bytes.IndexByte(text[i:], '\\')
		if j < 0 {
			return
		}
		i = f.backslashes(i + j)
	}
}

// backslashes looks at the backslash at i and at those behind it, word by word, until
// a few words have none, and returns the place.
func (f *finder) backslashes(i int) int {
	const patience = 8
	text, done := f.text, i
	for quiet := 0; i+9 <= len(text) && quiet < patience; i += 8 {
		m := equalTops(binary.LittleEndian.Uint64(text[i:]), '\\')
		if quiet++; m != 0 {
			quiet = 0
		}
		for m &= mayHideTops(binary.LittleEndian.Uint64(text[i+1:])); m != 0; m &= m - 1 {
			if p := i + bits.TrailingZeros64(m)/8; mayHide(text[p+1]) && p >= done {
				done = f.escapeAt(p)
			}
		}
	}
	if i+9 > len(text) {
		for ; i+1 < len(text); i++ {
			if text[i] == '\\' && mayHide(text[i+1]) && i >= done {
				done = f.escapeAt(i)
			}
		}
		return len(text)
	}
	return i
}

// equalTops sets the top bit of each of eight bytes that is c, which is ASCII.
func equalTops(w uint64, c byte) uint64 {
	w ^= ones * uint64(c)
	return tops &^ (w&(ones*0x7f) + ones*0x7f | w)
}

// mayHideTops sets the top bit of each of eight bytes for which mayHide holds, and of some
// others; not of those that most often stand behind a backslash, which are n, t, r, a
// quote and a backslash.
func mayHideTops(w uint64) uint64 {
	low := w &^ tops
	control := ^(low + (0x80-' ')*ones)
	middle := (low + (0x80-'+')*ones) &^ (low + (0x80-'\\')*ones) // also 'U'
	under := ^((low ^ '_'*ones) + 0x7f*ones)
	return (control | middle | under | (low + (0x80-'u')*ones)) & tops
}

// mayHide tells by the character behind a backslash whether the escape is to be read.
func mayHide(c byte) bool {
	const (
		low  = 0xff<<'0' | 1<<'-' | 1<<'/' | 1<<'+' | 1<<'=' | 1<<'\n' | 1<<'\r'
		high = 1<<('u'-64) | 1<<('x'-64) | 1<<('U'-64) | 1<<('_'-64)
	)
	return c < 64 && low>>c&1 != 0 || c >= 64 && c < 128 && high>>(c-64)&1 != 0
}

// escapeAt adds a span if the escape at i may hide something, and returns its end.
func (f *finder) escapeAt(i int) int {
	n := f.escape(i)
	if n > 0 {
		f.near(Escape, i, i+n)
	}
	return i + n
}

// escape gives the length of the escape at i if it may hide something, else 0.
func (f *finder) escape(i int) int {
	text := f.text
	v, n := readEscape(text[i:])
	if n == 0 || !v.hides() {
		return 0
	}
	switch c := text[i+1]; {
	case c == 'u' && (v.r == '<' || v.r == '>' || v.r == '&' && !charref.Follows(text[i+n:])): // Go writes all JSON so; a secret ends there
	case c == 'u' || c == 'x' || c == 'U':
		return n
	case c-'0' < 8:
		if n > 2 { // \1 alone refers to a group
			return n
		}
	case c != '\n' && c != '\r':
		return n
	default:
		if i > 0 && isWord(text[i-1]) && i+n < len(text) && isWord(text[i+n]) {
			return n
		}
	}
	return 0
}

// readEscape reads one escape of JSON, JavaScript, C or Markdown.
func readEscape(s []byte) (value, int) {
	if len(s) < 2 {
		return value{}, 0
	}
	switch c := s[1]; c {
	case 'u':
		return readUnicode(s)
	case 'U':
		if v, ok := hexValue(s[2:], 8); ok && v >= 0 && v <= utf8.MaxRune {
			return value{r: v}, 10
		}
	case 'x':
		if v, ok := hexValue(s[2:], 2); ok {
			return value{r: v, byte: true}, 4
		}
	case 'n':
		return value{r: '\n', byte: true}, 2
	case 'r':
		return value{r: '\r', byte: true}, 2
	case 't':
		return value{r: '\t', byte: true}, 2
	case 'b':
		return value{r: '\b', byte: true}, 2
	case 'f':
		return value{r: '\f', byte: true}, 2
	case 'v':
		return value{r: '\v', byte: true}, 2
	case 'a':
		return value{r: '\a', byte: true}, 2
	case '\n':
		return value{r: -1}, 2
	case '\r':
		if len(s) > 2 && s[2] == '\n' {
			return value{r: -1}, 3
		}
	default:
		if c-'0' < 8 {
			return readOctal(s)
		}
		if c > ' ' && c < 0x7f && (c|0x20)-'a' >= 26 && c-'0' >= 10 { // punctuation
			return value{r: rune(c), byte: true}, 2
		}
	}
	return value{}, 0
}

// readUnicode reads \u0041, a pair of surrogates, or \u{41}.
func readUnicode(s []byte) (value, int) {
	if v, ok := hexValue(s[2:], 4); ok {
		return wideValue(s, v, 6, '\\')
	}
	if len(s) < 5 || s[2] != '{' {
		return value{}, 0
	}
	var v rune
	for i := 3; i < len(s) && i < 16; i++ {
		if s[i] == '}' && i > 3 {
			return value{r: v}, i + 1
		}
		d := alphabet.Hex[s[i]]
		if d > 15 {
			break
		}
		if v = v<<4 | rune(d); v > utf8.MaxRune {
			break
		}
	}
	return value{}, 0
}

// readOctal reads up to three digits, the value of one byte.
func readOctal(s []byte) (value, int) {
	v, i := rune(0), 1
	for ; i < len(s) && i < 4 && s[i]-'0' < 8 && v < 32; i++ {
		v = v<<3 | rune(s[i]-'0')
	}
	return value{r: v, byte: true}, i
}
