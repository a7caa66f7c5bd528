package decode

import (
	"slices"
	"unicode/utf8"

	"bottle/internal/dlp/decode/alphabet"
	"bottle/internal/dlp/decode/magic"
)

// grow gives dst room for what n digits may hold, but not for more than limit.
func grow(dst []byte, n, limit int) []byte { return slices.Grow(dst, min(n, limit)) }

// appendBase64 appends what src encodes, at most limit bytes. It passes over line
// breaks, and ends at what is neither. full is false if the limit was reached.
func appendBase64(dst, src []byte, limit int) (out []byte, full bool) {
	dst = grow(dst, len(src)/4*3+3, limit)
	var acc uint32
	n := 0 // digits in acc
	for i := 0; i < len(src); {
		if n == 0 {
			i, dst, limit = quads(dst, src, i, limit)
			if i == len(src) {
				break
			}
		}
		v := alphabet.Base64[src[i]]
		if v > 63 {
			next := skipBreak(src, i)
			if next == i {
				break
			}
			i = next
			continue
		}
		if limit == 0 {
			return dst, false
		}
		i++
		acc, n = acc<<6|uint32(v), n+1
		if n > 1 { // the digits after the first end one byte each
			dst, limit = append(dst, byte(acc>>(6-2*(n-1)))), limit-1
		}
		if n == 4 {
			n = 0
		}
	}
	return dst, true
}

// quads decodes whole groups of four digits in a row.
func quads(dst, src []byte, i, limit int) (int, []byte, int) {
	for i+4 <= len(src) && limit >= 3 {
		q := src[i : i+4 : i+4]
		a, b, c, d := alphabet.Base64[q[0]], alphabet.Base64[q[1]], alphabet.Base64[q[2]], alphabet.Base64[q[3]]
		if a|b|c|d > 63 {
			break
		}
		dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|d)
		i, limit = i+4, limit-3
	}
	return i, dst, limit
}

// appendBase32 is to base32 what appendBase64 is to base64. A digit of base64 that is
// none of base32 stands for zero, so that what is glued to a run does not hide the rest.
func appendBase32(dst, src []byte, limit int) (out []byte, full bool) {
	dst = grow(dst, len(src)/8*5+5, limit)
	var acc uint32
	n := 0 // bits in acc
	for i := 0; i < len(src); {
		v := alphabet.Base32[src[i]]
		if v > 31 {
			v = 0
			if alphabet.Base64[src[i]] > 63 {
				next := skipBreak(src, i)
				if next == i {
					break
				}
				i = next
				continue
			}
		}
		if limit == 0 {
			return dst, false
		}
		i++
		acc, n = acc<<5|uint32(v), n+5
		if n >= 8 {
			n -= 8
			dst, limit = append(dst, byte(acc>>n)), limit-1
		}
	}
	return dst, true
}

// appendHex appends what pairs of digits encode: in a row, in groups with anything
// else between them, and after 0x, where one digit is enough.
func appendHex(dst, src []byte, limit int) (out []byte, full bool) {
	dst = grow(dst, len(src)/2+1, limit)
	for i := 0; i < len(src); {
		v := alphabet.Hex[src[i]]
		if next := skipBreak(src, i); next > i {
			i = next
			continue
		}
		if v > 15 {
			i++
			continue
		}
		if limit == 0 {
			return dst, false
		}
		i++
		if v == 0 && i < len(src) && src[i]|0x20 == 'x' {
			i++
			if i+1 < len(src) && alphabet.Hex[src[i]] < 16 && alphabet.Hex[src[i+1]] > 15 {
				dst, limit = append(dst, alphabet.Hex[src[i]]), limit-1
				i++
			}
			continue
		}
		if i < len(src) && alphabet.Hex[src[i]] < 16 {
			dst, limit = append(dst, v<<4|alphabet.Hex[src[i]]), limit-1
			i++
		}
	}
	return dst, true
}

// minText is the shortest row of text, in bytes, for which decoded bytes are looked
// at. Random bytes hold one every 100 KB or so.
const minText = 12

// telling tells whether decoded bytes are worth a look: whether they hold a row of
// text, in UTF-8 or UTF-16, or compressed data.
func telling(b []byte) bool {
	return hasText(b) || hasWide(b) || magic.Marked(b)
}

func hasText(b []byte) bool {
	row := 0
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case isText(c):
			row, i = row+1, i+1
		case c < utf8.RuneSelf:
			row, i = 0, i+1
		default:
			if r, n := utf8.DecodeRune(b[i:]); n > 1 && r > 0x9f {
				row, i = row+n, i+n
			} else {
				row, i = 0, i+1
			}
		}
		if row >= minText {
			return true
		}
	}
	return false
}

// hexRun looks at the digits of hex from an offset on, and at the lines that follow,
// and returns their end.
func (f *finder) hexRun(start int) (end int) {
	digits, from, before, p := 0, start, start, start
	for {
		for p < len(f.text) && alphabet.Hex[f.text[p]] < 16 {
			p++
		}
		digits += p - from
		if p-from < minLine {
			break
		}
		next := skipBreak(f.text, p)
		if next == p || next >= len(f.text) || alphabet.Hex[f.text[next]] > 15 {
			break
		}
		before, p, from = p, next, next
	}
	if digits < minHex {
		return p
	}
	for odd := range 2 {
		if f.tells(f.text[start+odd : p]) {
			f.add(Hex, start+odd, p)
			if before > start && p-from < minLine { // the last line may stand below by chance
				f.add(Hex, start+odd, before)
			}
		}
	}
	return p
}

// tells decodes hex piece by piece until a piece is telling.
func (f *finder) tells(src []byte) bool {
	var room [256]byte
	const step = 2 * (len(room) - minText)
	for {
		out, _ := appendHex(room[:0], src[:min(len(src), 2*len(room))], len(room))
		if telling(out) {
			return true
		}
		if len(src) <= step {
			return false
		}
		src = src[step:]
	}
}
