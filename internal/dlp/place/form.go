package place

import (
	"bytes"
	"unicode/utf8"
)

// Fields follows an application/x-www-form-urlencoded text (WHATWG URL, section 5),
// fed in pieces of any size, and knows the place of the byte that comes next. The
// zero value is ready. It holds 64 bytes of a name.
type Fields struct {
	name    [MaxName]byte // as it is written
	size    int
	key     keyState
	inValue bool
}

// Feed takes the next piece.
func (f *Fields) Feed(b []byte) {
	for len(b) > 0 {
		if f.inValue {
			n := until(b, '&')
			if n == len(b) {
				return
			}
			*f = Fields{}
			b = b[n+1:]
			continue
		}
		n := 0
		for n < len(b) && b[n] != '=' && b[n] != '&' {
			n++
		}
		f.addName(b[:n])
		if n == len(b) {
			return
		}
		if f.inValue = b[n] == '='; !f.inValue {
			*f = Fields{}
		}
		b = b[n+1:]
	}
}

func (f *Fields) addName(b []byte) {
	if f.key == keyNone && f.size+len(b) > MaxName {
		*f = Fields{key: keyLong}
	}
	if f.key == keyNone {
		f.size += copy(f.name[f.size:], b)
	}
}

// Place gives the place of the byte that Feed would take next: `form:name`, or
// `form:<key>` in a name, which then is not shown for its value either.
func (f *Fields) Place() string {
	if !f.inValue {
		f.key = keyHidden
	}
	switch f.key {
	case keyHidden:
		return "form:" + Hidden
	case keyLong:
		return "form:" + Long
	}
	var memory [MaxName]byte
	return "form:" + Name(string(unplus(memory[:0], f.name[:f.size])))
}

// FeedPlaces is Feed, and on the way calls each with the place of each offset of b in
// at, which must ascend.
func (f *Fields) FeedPlaces(b []byte, at []int, each func(offset int, place string)) {
	feedAt(b, at, f, each)
}

// FormValues calls each with every name and value of a form, decoded, until each
// gives false. The slices hold until each returns. scratch is memory to decode into;
// it is given back, perhaps larger, for the next call. A `%` without two hex digits
// stays as it is. A field without `=` has an empty value; empty fields are left out.
func FormValues(scratch, b []byte, each func(name, value []byte) bool) []byte {
	for len(b) > 0 {
		end := until(b, '&')
		field := b[:end]
		b = b[min(end+1, len(b)):]
		if len(field) == 0 {
			continue
		}
		equals := until(field, '=')
		scratch = unplus(scratch[:0], field[:equals])
		n := len(scratch)
		scratch = unplus(scratch, field[min(equals+1, len(field)):])
		if !each(scratch[:n:n], scratch[n:]) {
			break
		}
	}
	return scratch
}

// FormFlow follows the values of a form that comes in pieces of any size. The zero value
// is at its start.
type FormFlow struct {
	value bool   // it is within one
	held  []byte // the beginning of an escape
	room  []byte
}

// Feed takes the next piece and calls each with the values' bytes in it, decoded: once
// without any when a value begins, then with slices that hold until each returns.
func (f *FormFlow) Feed(b []byte, each func(data []byte)) {
	if len(f.held) > 0 {
		b = append(f.held, b...)
		f.held = nil
	}
	for len(b) > 0 {
		if !f.value {
			n := bytes.IndexAny(b, "=&")
			if n < 0 {
				return
			}
			if f.value = b[n] == '='; f.value {
				each(nil)
			}
			b = b[n+1:]
			continue
		}
		end := until(b, '&')
		goes := b[:end]
		if f.value = end == len(b); f.value { // the value may go on
			if n := bytes.LastIndexByte(goes[max(0, end-2):], '%'); n >= 0 {
				n += max(0, end-2)
				f.held, goes = bytes.Clone(goes[n:]), goes[:n]
			}
		}
		if f.room = unplus(f.room[:0], goes); len(f.room) > 0 {
			each(f.room)
		}
		b = b[min(end+1, len(b)):]
	}
}

func until(b []byte, c byte) int {
	if n := bytes.IndexByte(b, c); n >= 0 {
		return n
	}
	return len(b)
}

// unplus appends what b means in a form.
func unplus(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		c, n := percent(b[i:])
		if n == 1 && c == '+' {
			c = ' '
		}
		dst = append(dst, c)
		i += n
	}
	return dst
}

// percent reads one byte, or one %XX, and gives its length too.
func percent(b []byte) (byte, int) {
	if b[0] == '%' && len(b) >= 3 {
		if h, l := unhex(b[1]), unhex(b[2]); h >= 0 && l >= 0 {
			return byte(h<<4 | l), 3
		}
	}
	return b[0], 1
}

// formAtom gives the length of the character that b begins with: one that stands for
// itself, or the several %XX of a character of UTF-8.
func formAtom(b []byte) int {
	var r [utf8.UTFMax]byte
	var ends [utf8.UTFMax]int
	n, end := 0, 0
	for n < len(r) && end < len(b) {
		c, size := percent(b[end:])
		end += size
		r[n], ends[n] = c, end
		n++
	}
	_, size := utf8.DecodeRune(r[:n])
	return ends[size-1]
}

// follower is what follows a text and knows the place of the next byte.
type follower interface {
	Feed([]byte)
	Place() string
}

func feedAt(b []byte, at []int, f follower, each func(int, string)) {
	fed := 0
	for _, o := range at {
		if o < fed || o >= len(b) {
			continue
		}
		f.Feed(b[fed:o])
		fed = o
		each(o, f.Place())
	}
	f.Feed(b[fed:])
}
