package inbound

import "unicode/utf8"

// formOf guesses by the first bytes of a text how that writes what it does not hold as it
// is; false: what follows tells.
func formOf(b []byte) (Form, bool) {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n', 0xef, 0xbb, 0xbf: // a byte order mark, too
			continue
		case '{', '[':
			return JSON, true
		case '<':
			return Markup, true
		}
		return 0, true
	}
	return 0, false
}

// sniffed is how much of a body tells whether it is text, in bytes.
const sniffed = 512

// Textual reports whether what begins so is text: UTF-8, in which no control stands but
// those of lines and terminals. The last character of b may be cut.
func Textual(b []byte) bool {
	b = b[:min(len(b), sniffed)]
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 && utf8.FullRune(b[i:]) {
				return false
			}
			i += n
			continue
		case c < ' ' && (c < '\a' || c > '\r') && c != 0x1b || c == 0x7f:
			return false
		}
		i++
	}
	return true
}
