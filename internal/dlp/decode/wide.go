package decode

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// minWide is the shortest text in UTF-16 that is looked at, in characters of ASCII.
const minWide = 8

// hasWide tells whether b holds a row of text in UTF-16.
func hasWide(b []byte) bool {
	row := 0
	for i := 0; i+1 < len(b); {
		if b[i+1] == 0 && isText(b[i]) {
			if row++; row >= minWide-2 {
				return true
			}
			i += 2
			continue
		}
		row, i = 0, i+1
	}
	return false
}

// wide looks for text in UTF-16: ASCII has a zero in every other byte, and eight
// characters of it fill one aligned word at least.
func (f *finder) wide() {
	const low = 0x00ff00ff00ff00ff
	text := f.text
	i := bytes.IndexByte(text, 0)
	if i < 0 {
		return
	}
	for i &^= 7; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		at := i // of a character that is ASCII
		if w&low == 0 {
			at++
		} else if w&^low != 0 {
			continue
		}
		if w == 0 {
			continue
		}
		// The zeros may belong to the character before or to the one behind: the
		// views differ in the first and the last character.
		start, end, ok := f.units(at, false)
		if ok {
			f.add(UTF16LE, start, end)
			i = max(i, end&^7-8)
		}
		if start, end, ok = f.units(at-1, true); ok {
			f.add(UTF16BE, start, end)
			i = max(i, end&^7-8)
		}
	}
}

// unit reads one unit of UTF-16.
func unit(b []byte, big bool) uint16 {
	if big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

// units widens a place in a text of UTF-16 as far as there are characters of ASCII, with
// no more than a few others between them.
func (f *finder) units(i int, big bool) (start, end int, ok bool) {
	const others = 8
	if i < 0 {
		i += 2
	}
	start, end = i, i
	letters := 0
	for p, n := i, 0; p+2 <= len(f.text) && n < others; p += 2 {
		u := unit(f.text[p:], big)
		if u < 0x80 && isText(byte(u)) {
			end, n = p+2, 0
			letters++
			continue
		}
		if u < 0xa0 {
			break
		}
		n++
	}
	for p, n := i-2, 0; p >= 0 && n < others && i-p < 4*minWide; p -= 2 {
		u := unit(f.text[p:], big)
		if u < 0x80 && isText(byte(u)) {
			start, n = p, 0
			letters++
			continue
		}
		if u < 0xa0 {
			break
		}
		n++
	}
	return start, end, letters >= minWide
}

// appendWide appends UTF-16 as UTF-8.
func appendWide(dst, src []byte, big bool, limit int) (out []byte, full bool) {
	dst = grow(dst, len(src)/2*3, limit)
	for i := 0; i+2 <= len(src); i += 2 {
		r := rune(unit(src[i:], big))
		if utf16.IsSurrogate(r) {
			second := rune(0)
			if i+4 <= len(src) {
				second = rune(unit(src[i+2:], big))
			}
			if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
				i += 2
			}
		}
		if limit -= utf8.RuneLen(r); limit < 0 {
			return dst, false
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, true
}
