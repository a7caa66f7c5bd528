package inbound

import "bytes"

// quoted tells which escapes stand in a string of JSON that is part of another text: of
// a page, a script or a log. The source of a program has such escapes in its arguments
// and lists of its own, where they are no attack.
type quoted struct {
	end int  // what was asked about last, in the buffer; negative: before it
	is  bool // and the answer
}

const (
	mostBefore = 8   // values that are passed over to the beginning of a list
	mostScalar = 256 // bytes of one
)

// of reports whether the string that at stands in is a value of JSON, by what is before
// its quote; first says that nothing stood before text. It looks back to where it was
// asked about last, so all of it is in proportion to the text.
func (q *quoted) of(text []byte, at int, first bool) bool {
	is := q.is && q.end >= 0
	for i := at; i > max(q.end, 0); i-- {
		if n := quote(text[:i]); n > 0 {
			is = valued(text[:i-n], first)
			break
		}
		c := text[i-1]
		if c == '\n' || (c == 'U' || c == 'x') && i > 2 && text[i-2] == '\\' && text[i-3] != '\\' { // JSON has none of these in a string
			is = false
			break
		}
	}
	q.end, q.is = at, is
	return is
}

// quote is the length of the quote at the end of b, as JSON or as HTML writes it; else 0.
func quote(b []byte) int {
	switch n := len(b); {
	case n == 0:
	case b[n-1] == '"' && (n < 2 || b[n-2] != '\\'):
		return 1
	case b[n-1] == ';':
		for _, ref := range []string{"&quot;", "&#34;"} {
			if bytes.HasSuffix(b, []byte(ref)) {
				return len(ref)
			}
		}
	}
	return 0
}

// valued reports whether a value of JSON may follow b: behind the name of a member, in
// a list that is no index, or as the whole text.
func valued(b []byte, first bool) bool {
	for range mostBefore {
		b = blanksOff(b)
		n := len(b)
		if n == 0 {
			return first
		}
		switch b[n-1] {
		case ':':
			return quote(blanksOff(b[:n-1])) > 0
		case '[':
			return n == 1 || !wordly(b[n-2]) && b[n-2] != ')' && b[n-2] != ']'
		case ',':
			b = scalarOff(blanksOff(b[:n-1]))
		default:
			return false
		}
	}
	return false
}

func blanksOff(b []byte) []byte {
	for n := 0; n < mostScalar && len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] >= '\t' && b[len(b)-1] <= '\r'); n++ {
		b = b[:len(b)-1]
	}
	return b
}

// scalarOff takes the string, number or word off the end of b; nil: there is none.
func scalarOff(b []byte) []byte {
	if n := quote(b); n > 0 {
		b = b[:len(b)-n]
		for k := 0; k < mostScalar && len(b) > 0; k++ {
			if n := quote(b); n > 0 {
				return b[:len(b)-n]
			}
			b = b[:len(b)-1]
		}
		return nil
	}
	i := len(b)
	for i > 0 && len(b)-i < mostScalar && (wordly(b[i-1]) || b[i-1] == '.' || b[i-1] == '-' || b[i-1] == '+') {
		i--
	}
	if i == len(b) {
		return nil
	}
	return b[:i]
}

func wordly(c byte) bool { return letter(rune(c)) || c >= '0' && c <= '9' || c == '_' }
