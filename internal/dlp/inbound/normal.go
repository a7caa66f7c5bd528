package inbound

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"bottle/internal/dlp/decode/fold"
)

const (
	unicodeEscape = 6  // \u001b, in bytes
	longestRef    = 12 // of what stands between & and ;, in bytes
	longestTag    = 48
	longestColour = 96 // of a control sequence in a word, in bytes
)

// backslash reads an escape of JSON (RFC 8259 section 7), a pair of surrogates as one.
// n is 1 where it is none. more: what follows decides.
func backslash(b []byte) (r rune, n int, more bool) {
	if len(b) < 2 {
		return '\\', 1, true
	}
	switch b[1] {
	case '\\', '"', '/':
		return rune(b[1]), 2, len(b) < 3 // what follows may be escaped twice
	case 'n':
		return '\n', 2, false
	case 't', 'r', 'b', 'f':
		return ' ', 2, false
	case 'u':
	default:
		return '\\', 1, false
	}
	hi, n, more := unit(b)
	if n == 0 {
		return '\\', 1, more
	}
	if hi < 0xd800 || hi > 0xdbff {
		return hi, n, false
	}
	lo, m, more := unit(b[n:])
	if m == 0 || lo < 0xdc00 || lo > 0xdfff {
		return utf8.RuneError, n, more
	}
	return 0x10000 + (hi-0xd800)<<10 + lo - 0xdc00, n + m, false
}

// unit reads \uXXXX. n is 0 where it is none.
func unit(b []byte) (r rune, n int, more bool) {
	for i := range unicodeEscape {
		if i >= len(b) {
			return 0, 0, true
		}
		d := b[i] | 0x20
		switch {
		case i == 0 && b[i] == '\\', i == 1 && b[i] == 'u':
		case i > 1 && b[i] >= '0' && b[i] <= '9':
			r = r<<4 | rune(b[i]-'0')
		case i > 1 && d >= 'a' && d <= 'f':
			r = r<<4 | rune(d-'a'+10)
		default:
			return 0, 0, false
		}
	}
	return r, unicodeEscape, false
}

// scripted reads what JavaScript has beyond the escapes of JSON: \xHH, \u{H} and octal
// (ECMA-262 sections 12.9.4 and B.1.2). n is 1 where it is none. more: what follows decides.
func scripted(b []byte) (r rune, n int, more bool) {
	i, base, most := 1, 8, 3
	switch {
	case b[1] == 'x':
		i, base, most = 2, 16, 2
	case b[1] == 'u':
		if len(b) < 3 {
			return '\\', 1, true
		}
		if b[2] != '{' {
			return '\\', 1, false
		}
		i, base, most = 3, 16, 7
	}
	from := i
	for i < len(b) && i-from < most && digit(b[i], base) {
		i++
	}
	if i == len(b) && i-from < most {
		more = true
	}
	v, err := strconv.ParseUint(string(b[from:i]), base, 32)
	switch {
	case err != nil || v > utf8.MaxRune || base == 8 && v > 0xff || b[1] == 'x' && i-from < 2:
		return '\\', 1, more
	case b[1] != 'u':
		return rune(v), i, more
	case i == len(b):
		return '\\', 1, true
	case b[i] != '}':
		return '\\', 1, false
	}
	return rune(v), i + 1, false
}

func digit(c byte, base int) bool {
	d := c | 0x20
	return c >= '0' && int(c) < '0'+min(base, 10) || base == 16 && d >= 'a' && d <= 'f'
}

// reference reads a character reference of HTML: by number, or by the few names that
// matter here. n is 1 where it is none. more: what follows decides.
func reference(b []byte) (r rune, n int, more bool) {
	i := 1
	for ; i < len(b) && i <= longestRef+1; i++ {
		c := b[i]
		if c == ';' {
			break
		}
		if !letter(rune(c)) && (c < '0' || c > '9') && !(c == '#' && i == 1) {
			return '&', 1, false
		}
	}
	switch {
	case i == len(b):
		return '&', 1, i <= longestRef
	case i > longestRef+1 || i < 3:
		return '&', 1, false
	}
	if b[1] != '#' {
		if r := named(b[1:i]); r > 0 {
			return r, i + 1, false
		}
		return '&', 1, false
	}
	digits, base := b[2:i], 10
	if len(digits) > 0 && digits[0]|0x20 == 'x' {
		digits, base = digits[1:], 16
	}
	v, err := strconv.ParseUint(string(digits), base, 32)
	if err != nil || v == 0 || v > utf8.MaxRune {
		return '&', 1, false
	}
	return rune(v), i + 1, false
}

func named(name []byte) rune {
	switch string(name) {
	case "lt":
		return '<'
	case "gt":
		return '>'
	case "amp":
		return '&'
	case "quot":
		return '"'
	case "NewLine", "Tab":
		return ' '
	case "nbsp":
		return 0xa0
	case "ensp", "emsp", "thinsp":
		return 0x2002
	case "shy":
		return 0xad
	case "zwj":
		return 0x200d
	case "zwnj", "ZeroWidthSpace", "NoBreak":
		return 0x200b
	}
	return 0
}

// normal appends text[from:to] as it is read: in small letters of ASCII where they are
// letters of ASCII in any guise, escapes as what they stand for, without what is not
// seen, words with one blank between them. at gets for each byte where it came from.
func normal(dst []byte, at []int32, text []byte, from, to int) ([]byte, []int32) {
	w := reading{dst: dst, at: at}
	for i := from; i < to; {
		b := text[i:to]
		n := 1
		switch c := b[0]; {
		case c == '\\':
			n = w.slashes(b, i)
		case c == '&':
			var r rune
			r, n, _ = reference(b)
			w.put(r, i)
		case c == '<':
			if n = inlineTag(b); n == 0 {
				w.put('<', i)
				n = 1
			}
		case c == 0x1b:
			n = colour(b)
		case c < utf8.RuneSelf:
			w.ascii(c, i)
		default:
			n = w.folded(b, i)
		}
		i += n
	}
	return w.dst, w.at
}

type reading struct {
	dst []byte
	at  []int32
}

func (w *reading) byte(c byte, from int) {
	w.dst, w.at = append(w.dst, c), append(w.at, int32(from))
}

func (w *reading) ascii(c byte, from int) {
	switch {
	case c >= 'A' && c <= 'Z':
		w.byte(c|0x20, from)
	case c <= ' ' || c == '*' || c == '_' || c == '~' || c == '`' || c == '"' || c == ',' || c == 0x7f:
		if n := len(w.dst); n > 0 && w.dst[n-1] != ' ' {
			w.byte(' ', from)
		}
	default:
		w.byte(c, from)
	}
}

// put puts a character that was written as an escape.
func (w *reading) put(r rune, from int) {
	if r < utf8.RuneSelf {
		w.ascii(byte(r), from)
		return
	}
	var room [utf8.UTFMax]byte
	w.folded(utf8.AppendRune(room[:0], r), from)
}

// folded puts the character at the beginning of b, and gives its length.
func (w *reading) folded(b []byte, from int) int {
	c, n, _ := fold.At(b)
	switch {
	case n == 0:
		_, n = utf8.DecodeRune(b)
		for _, x := range b[:n] {
			w.byte(x, from)
		}
		if r, _ := utf8.DecodeRune(b); r == utf8.RuneError && n == 1 {
			w.dst[len(w.dst)-1] = '?' // an expression of bytes would not go on behind it
		}
	case c.S != "":
		for i := range len(c.S) {
			w.put(min(rune(c.S[i]), utf8.RuneSelf-1), from)
		}
	case c.R >= utf8.RuneSelf:
		for _, x := range string(c.R) {
			w.byte(byte(min(x, utf8.RuneSelf-1)), from)
		}
	case c.R >= 0:
		w.ascii(byte(c.R), from)
	}
	return n
}

// slashes reads a row of backslashes and what they escape, however often that was
// escaped again.
func (w *reading) slashes(b []byte, from int) int {
	k := 1
	for k < len(b) && b[k] == '\\' {
		k++
	}
	r, n, _ := backslash(b[k-1:])
	switch {
	case n > 1:
		w.put(r, from)
	case k < len(b) && b[k] == 'x' && k+2 < len(b):
		if v, err := strconv.ParseUint(string(b[k+1:k+3]), 16, 8); err == nil {
			w.put(rune(v), from)
			n = 4
		}
	}
	return k - 1 + n
}

// colour is the length of a control sequence that may stand in a word, and what it does
// to a word is to colour it.
func colour(b []byte) int {
	if len(b) < 2 || b[1] != '[' {
		return 1
	}
	for i := 2; i < min(len(b), longestColour); i++ {
		if b[i] >= 0x40 {
			return i + 1
		}
	}
	return 1
}

// inlineTag is the length of a tag that changes how words look and parts none; else 0.
func inlineTag(b []byte) int {
	end := bytes.IndexByte(b[:min(len(b), longestTag)], '>')
	if end < 0 {
		return 0
	}
	name := bytes.TrimPrefix(b[1:end], []byte("/"))
	if i := bytes.IndexAny(name, " /"); i >= 0 {
		name = name[:i]
	}
	switch string(bytes.ToLower(name)) {
	case "b", "i", "em", "strong", "span", "u", "a", "font", "wbr", "code", "s", "mark", "small", "sub", "sup":
		return end + 1
	}
	return 0
}
