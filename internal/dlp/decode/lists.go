package decode

import (
	"encoding/binary"

	"bottle/internal/dlp/decode/alphabet"
	"bottle/internal/dlp/decode/magic"
)

// lists looks for bytes that are written as numbers: "41 42 43", "41:42", "0x41, 0x42",
// "[65, 66, 67]". Twelve of them take 35 characters or more, and in every eight
// of these there is a digit and nothing that stands in no list.
func (f *finder) lists() {
	const stride = 24
	text := f.text
	for i := 0; i+8 <= len(text); i += stride {
		w := binary.LittleEndian.Uint64(text[i:]) ^ ones*'0'
		if (w-ones*10)&^w&tops == 0 { // no digit
			continue
		}
		digits := alphabet.List[text[i]] + alphabet.List[text[i+1]] + alphabet.List[text[i+2]] + alphabet.List[text[i+3]] +
			alphabet.List[text[i+4]] + alphabet.List[text[i+5]] + alphabet.List[text[i+6]] + alphabet.List[text[i+7]]
		if digits < 3 || digits > 7 { // one that is in no list counts for more
			continue
		}
		i = max(i, f.list(i)-stride)
	}
}

// numbers is a row of numbers of one form.
type numbers struct {
	start, end int    // in the text
	row        int    // how many bytes of text are the last ones
	count      int    // so far, up to eight
	last       uint64 // the last eight
	telling    bool
}

// add takes the bytes of one number, the last ones of value.
func (n *numbers) add(start, end int, value uint64, bytes int) {
	if n.end == 0 {
		n.start = start
	}
	n.end = end
	for ; bytes > 0 && !n.telling; bytes-- {
		c := byte(value >> (8 * (bytes - 1)))
		if isText(c) {
			n.row++
		} else {
			n.row = 0
		}
		n.last = n.last<<8 | uint64(c)
		if n.count < 8 {
			if n.count++; n.count == 8 {
				var first [8]byte
				binary.BigEndian.PutUint64(first[:], n.last)
				n.telling = magic.Begins(first[:])
			}
		}
		n.telling = n.telling || n.row >= minText || n.marked(c)
	}
}

// marked reports whether the last bytes are a mark; c is the last one.
func (n *numbers) marked(c byte) bool {
	switch c {
	case magic.Gzip[2]:
		return n.last&0xffffff == 0x1f8b08
	case magic.Zstd[3], magic.Zip[3]:
		return uint32(n.last) == 0x28b52ffd || uint32(n.last) == 0x504b0304
	case magic.Bzip2[5]:
		return n.last&0xffffffffffff == 0x314159265359
	}
	return false
}

// maxGap is how many bytes stand between two numbers: a comma, a line's end and some
// blanks.
const maxGap = 12

// listStart goes back from an offset to where the list around it begins, but not into
// one that was read.
func (f *finder) listStart(i int) int {
	for start := i; start > f.listed && i-start <= maxGap; {
		start--
		switch in := alphabet.List[f.text[start]]; {
		case in >= alphabet.NotInList:
			return i
		case in == 1:
			i = start
		}
	}
	return i
}

// gap returns where what stands between two numbers ends. A line's end may be escaped.
func (f *finder) gap(i int) int {
	for i < len(f.text) && alphabet.List[f.text[i]] == 0 {
		i++
	}
	if i < len(f.text) && f.text[i] == '\\' {
		return skipBreak(f.text, i)
	}
	return i
}

// signed gives the byte that a number is which has a sign, as Java writes bytes: a dash
// behind what is no digit.
func signed(text []byte, i, decimal int) int {
	if i == 0 || text[i-1] != '-' || decimal == 0 || decimal > 128 || i > 1 && alphabet.Hex[text[i-2]] < 16 {
		return decimal
	}
	return 256 - decimal
}

// list reads the numbers around an offset and returns the end of the list.
func (f *finder) list(i int) (end int) {
	i = f.listStart(i)
	var hex, decimal numbers
	for i < len(f.text) {
		if alphabet.Hex[f.text[i]] > 15 {
			next := f.gap(i)
			if next == i || next-i > maxGap {
				break
			}
			i = next
			continue
		}
		t := f.number(i)
		if t.hex {
			hex.add(i, t.end, t.value, t.bytes)
		} else {
			f.flush(Hex, &hex)
		}
		if d := signed(f.text, i, t.decimal); d < 256 {
			start := i
			if d != t.decimal {
				start--
			}
			decimal.add(start, t.end, uint64(d), 1)
		} else {
			f.flush(Bytes, &decimal)
		}
		i = t.end
	}
	f.flush(Hex, &hex)
	f.flush(Bytes, &decimal)
	f.listed = i
	return i
}

func (f *finder) flush(kind Kind, n *numbers) {
	if n.end == 0 {
		return
	}
	if n.telling {
		f.add(kind, n.start, n.end)
	}
	*n = numbers{}
}

// token is one number of a list, read in both ways.
type token struct {
	end     int
	hex     bool   // pairs of digits, or one byte after 0x
	value   uint64 // of hex
	bytes   int    // of value
	decimal int    // more than 255 if it is no decimal number of one byte
}

// number reads the number at i, which begins with a digit of hex.
func (f *finder) number(i int) token {
	const longest = 6
	text := f.text
	if text[i] == '0' && i+1 < len(text) && text[i+1]|0x20 == 'x' {
		t := f.digits(i+2, 2)
		t.hex, t.bytes, t.decimal = t.end > i+2, 1, 256
		return t
	}
	t := f.digits(i, longest)
	n := t.end - i
	t.hex, t.bytes = n%2 == 0, n/2
	if n > 3 {
		t.decimal = 256
	}
	return t
}

// digits reads up to most digits of hex at i.
func (f *finder) digits(i, most int) token {
	t := token{end: i}
	for ; most > 0 && t.end < len(f.text) && alphabet.Hex[f.text[t.end]] < 16; most-- {
		v := alphabet.Hex[f.text[t.end]]
		t.value = t.value<<4 | uint64(v)
		if v > 9 || t.decimal > 255 {
			t.decimal = 256
		} else {
			t.decimal = t.decimal*10 + int(v)
		}
		t.end++
	}
	return t
}

// appendDecimals appends the numbers of a list.
func appendDecimals(dst, src []byte, limit int) (out []byte, full bool) {
	f := finder{text: src}
	for i := 0; i < len(src); {
		if alphabet.Hex[src[i]] > 9 {
			i++
			continue
		}
		t := f.digits(i, 3)
		if t.decimal < 256 {
			if limit == 0 {
				return dst, false
			}
			dst, limit = append(dst, byte(signed(src, i, t.decimal))), limit-1
		}
		i = t.end
	}
	return dst, true
}
