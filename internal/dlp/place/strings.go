package place

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// special gives the index of the first quote or backslash in b, or len(b). It looks
// at eight bytes at once: a byte x is zero if x-1 borrows into its high bit, which
// was not set before. Above the first zero byte that may lie; the first is right.
func special(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		q, s := x^(ones*'"'), x^(ones*'\\')
		if m := ((q-ones)&^q | (s-ones)&^s) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(b); i++ {
		if b[i] == '"' || b[i] == '\\' {
			return i
		}
	}
	return i
}

// stringEnd gives the index of the quote that ends a JSON string whose content goes on
// at b[i]. It gives len(b) if none does, and len(b)+1 if moreover the last byte is a
// backslash that escapes what comes next. Short strings, as most are, it ends by
// special; in a long one it looks for quotes only, as most escapes in it are others.
func stringEnd(b []byte, i int) int {
	const short = 32
	i += special(b[i:min(i+short, len(b))])
	if i < len(b) && b[i] == '"' {
		return i
	}
	for from := i; ; { // what stands at from is not escaped
		i += until(b[i:], '"')
		n := i
		for n > from && b[n-1] == '\\' {
			n--
		}
		odd := (i - n) & 1
		if i == len(b) {
			return i + odd
		}
		if odd == 0 {
			return i
		}
		i++
	}
}

// Strings calls each with every string of a JSON text, in order, until each gives
// false. raw is what stands between the quotes, still escaped, a slice of b; key says
// that a colon follows. A string that b cuts off is given as far as it goes. Nothing
// is validated: of a text that is no JSON it gives what stands between quotes.
func Strings(b []byte, each func(raw []byte, key bool) bool) {
	for i := 0; ; {
		start := i + indexQuote(b[i:]) + 1
		if start > len(b) {
			return
		}
		end := min(stringEnd(b, start), len(b))
		i = min(end+1, len(b))
		for i < len(b) && space(b[i]) {
			i++
		}
		if !each(b[start:end], i < len(b) && b[i] == ':') {
			return
		}
	}
}

// Quoting is whether a place of a JSON text is within a string. The zero value is not.
type Quoting uint8

const (
	inString  Quoting = iota + 1
	atEscaped         // and the next byte is escaped
)

// Follow gives what holds behind b, if q holds before it.
func (q Quoting) Follow(b []byte) Quoting {
	rest := q.Skip(b)
	if q != 0 && rest == nil {
		return q.cut(b)
	}
	for i := len(b) - len(rest); ; {
		i += indexQuote(b[i:]) + 1
		if i > len(b) {
			return 0
		}
		end := stringEnd(b, i)
		if end >= len(b) {
			return inString + Quoting(end-len(b))
		}
		i = end + 1
	}
}

// Skip gives what of b is behind the string that q says it begins in; nil: nothing.
func (q Quoting) Skip(b []byte) []byte {
	if q == 0 {
		return b
	}
	start := min(int(q-inString), len(b))
	end := stringEnd(b, start)
	if end >= len(b) {
		return nil
	}
	return b[end+1:]
}

// cut is Follow where no string ends in b.
func (q Quoting) cut(b []byte) Quoting {
	start := int(q - inString)
	if start > len(b) {
		return q
	}
	return inString + Quoting(stringEnd(b, start)-len(b))
}

// indexQuote gives the index of the first quote, or len(b). What stands between two
// strings is mostly short: calling bytes.IndexByte would take longer.
func indexQuote(b []byte) int {
	for i, c := range b {
		if c == '"' {
			return i
		}
	}
	return len(b)
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// Unescape appends to dst what raw, the inside of a JSON string, means (RFC 8259,
// section 7). An escape that means nothing, and half of a surrogate pair, are kept as
// they are. dst must not share memory with raw.
func Unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			n := until(raw[i:], '\\')
			dst = append(dst, raw[i:i+n]...)
			i += n
			continue
		}
		r, n := escape(raw[i:])
		if r < 0 {
			dst = append(dst, raw[i:i+n]...)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		i += n
	}
	return dst
}

// escape reads the escape that b begins with: its meaning, or -1 if it has none, and
// its length, of a surrogate pair that of both. b begins with a backslash.
func escape(b []byte) (rune, int) {
	if len(b) < 2 {
		return -1, len(b)
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		return unicodeEscape(b)
	}
	return -1, 2
}

func unicodeEscape(b []byte) (rune, int) {
	r := hex4(b)
	switch {
	case r < 0:
		return -1, 2
	case !utf16.IsSurrogate(r):
		return r, 6
	}
	if pair := utf16.DecodeRune(r, hex4(b[6:])); pair != utf8.RuneError {
		return pair, 12
	}
	return -1, 6
}

// hex4 reads `\uXXXX` at the start of b, or gives -1.
func hex4(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		d := unhex(c)
		if d < 0 {
			return -1
		}
		r = r<<4 | rune(d)
	}
	return r
}

// unhex gives the value of a hex digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
