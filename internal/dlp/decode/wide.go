package decode

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// minWide is the shortest text in UTF-16 that is looked at, in characters of ASCII.
const minWide = 8

// wideText tells whether two bytes of UTF-16 are text that says something in ASCII:
// ASCII itself, or its fullwidth forms.
func wideText(high, low byte) bool {
	return high == 0 && isText(low) || high == 0xff && low-1 < '~'-' '
}

// hasWide tells whether b holds a row of text in UTF-16, with up to three other
// characters between two letters.
func hasWide(b []byte) bool {
	var rows [4]struct{ count, last int } // for each order of bytes, at even and odd places
	note := func(which, i int) bool {
		r := &rows[which|i&1]
		if i-r.last > 8 {
			r.count = 0
		}
		r.count, r.last = r.count+1, i
		return r.count >= minWide-2
	}
	for i, c := range b {
		if c+1 > 1 { // neither 0 nor 0xff
			continue
		}
		if i > 0 && wideText(c, b[i-1]) && note(0, i-1) || i+1 < len(b) && wideText(c, b[i+1]) && note(2, i) {
			return true
		}
	}
	return false
}

// wide looks for text in UTF-16. ASCII has a zero in every other byte, fullwidth forms
// have 0xff, and eight such characters, or half of them with others between them, fill
// one aligned word at least.
func (f *finder) wide() {
	for _, high := range []byte{0, 0xff} {
		if i := bytes.IndexByte(f.text, high); i >= 0 {
			f.wideFrom(i&^7, high)
		}
	}
}

func (f *finder) wideFrom(i int, high byte) {
	const first, third = 0x000000ff000000ff, 0x00ff000000ff0000
	const all = (first | third) &^ (ones * 0x20) // the invisible characters are U+200B and so on
	text, flip := f.text, ones*uint64(high)
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:]) ^ flip
		at := i // of a character that is ASCII, low byte first
		switch {
		case w == 0:
			continue
		case w&(first<<8) == 0 || w&(third<<8) == 0 || w&(all<<8) == 0:
		case w&first == 0 || w&third == 0 || w&all == 0:
			at++
		default:
			continue
		}
		// The high bytes may belong to the character before or to the one behind: the
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
		if wideText(byte(u>>8), byte(u)) {
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
		if wideText(byte(u>>8), byte(u)) {
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
