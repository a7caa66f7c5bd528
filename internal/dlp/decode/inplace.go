package decode

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"bottle/internal/dlp/decode/alphabet"
	"bottle/internal/dlp/decode/charref"
	"bottle/internal/dlp/decode/fold"
)

// Some encodings replace single characters and leave others as they are. A secret of
// which one character is encoded is a secret still, and the word that tells it may
// stand beside it in plain text. So a span of these kinds is a neighbourhood.

// beside is how many bytes of plain text belong to a span on either side.
const beside = 256

// near adds a span around an encoded place, or widens the last one of the kind.
// Calls for a kind come in the order of the text.
func (f *finder) near(kind Kind, from, to int) {
	if f.room == 0 {
		f.more = true
		return
	}
	start, end, last, floor := max(from-beside, 0), min(to+beside, len(f.text)), len(f.spans)-1, 0
	if last >= 0 && f.spans[last].Kind == kind {
		floor = f.spans[last].End
	}
	if end > floor { // else that has the word's end already
		end = f.wordEnd(end)
	}
	for start > floor && !f.separates(start-1) {
		start--
	}
	if floor > 0 && floor >= start {
		f.spans[last].End = max(end, floor)
		f.spans[last].Cut = !f.final && f.mayGoOn(f.spans[last].End)
		return
	}
	f.add(kind, start, end)
}

// wordEnd gives the end of the word at an offset: what is encoded twice, such as
// compressed data with a few escapes in it, has no blank.
func (f *finder) wordEnd(i int) int {
	for i < len(f.text) && !f.separates(i) {
		i++
	}
	return i
}

// separates tells what parts words that are encoded: blanks and quotes, but for those
// that are escaped.
func (f *finder) separates(i int) bool {
	c := f.text[i]
	return c <= ' ' || c == '"' && (i == 0 || f.text[i-1] != '\\')
}

// escapedToo adds spans of escapes for those in percent and in quoted-printable, from
// number n on, that have escapes right beside an encoded byte: where bytes of
// compressed data or of UTF-16 were written so, those within strings of JSON come first.
func (f *finder) escapedToo(n int) {
	for _, s := range f.spans[n:] {
		if s.Kind == Percent && f.escapeBeside(s, '%') || s.Kind == Quoted && f.escapeBeside(s, '=') {
			f.add(Escape, s.Start, s.End)
		}
	}
}

func (f *finder) escapeBeside(s Span, mark byte) bool {
	const near = 5
	for i := s.Start; i < s.End; i++ {
		j := bytes.IndexByte(f.text[i:s.End], '\\')
		if j < 0 {
			return false
		}
		i += j
		for k := max(s.Start, i-near); k < min(s.End-2, i+near); k++ {
			if f.text[k] == mark && alphabet.Hex[f.text[k+1]]|alphabet.Hex[f.text[k+2]] < 16 {
				return true
			}
		}
	}
	return false
}

// appendInPlace decodes a neighbourhood: every encoded character in it, and the rest
// as it is.
func appendInPlace(dst, src []byte, kind Kind, limit int) (out []byte, full bool) {
	dst = grow(dst, len(src), limit)
	mark, read := byte(0), readFold
	switch kind {
	case Percent:
		mark, read = '%', readPercent
	case Escape:
		mark, read = '\\', readEscape
	case Entity:
		mark, read = '&', readEntity
	case Quoted:
		mark, read = '=', readQuoted
	case Latin1:
		read = readLatin1
	case Invisible, Confusable:
	default:
		return dst, true
	}
	for len(src) > 0 {
		plain := nextMark(src, mark)
		if plain > limit {
			return append(dst, src[:limit]...), false
		}
		dst, limit, src = append(dst, src[:plain]...), limit-plain, src[plain:]
		if len(src) == 0 {
			break
		}
		v, n := read(src)
		if n == 0 { // not encoded: the mark itself
			v, n = value{r: rune(src[0]), byte: true}, 1
		}
		was := len(dst)
		dst = v.append(dst)
		if limit -= len(dst) - was; limit < 0 {
			return dst[:len(dst)+limit], false
		}
		src = src[n:]
	}
	return dst, true
}

// nextMark gives the place of the next mark; mark 0 stands for all that is not ASCII.
func nextMark(src []byte, mark byte) int {
	i := 0
	if mark == 0 {
		i = firstHigh(src)
	} else {
		i = bytes.IndexByte(src, mark)
	}
	if i < 0 {
		return len(src)
	}
	return i
}

// value is what one encoded character stands for.
type value struct {
	r    rune // a byte or a character; less than 0: nothing at all
	byte bool
	s    string // instead of r, if it is not empty
}

func (v value) append(dst []byte) []byte {
	switch {
	case v.s != "":
		return append(dst, v.s...)
	case v.r < 0:
		return dst
	case v.byte:
		return append(dst, byte(v.r))
	}
	return utf8.AppendRune(dst, v.r)
}

// hides tells whether a value may hide a part of a secret: printable ASCII, or what
// will be taken for it, or the first byte of such a character.
func (v value) hides() bool {
	switch {
	case v.r < 0 || v.r >= 0x20 && v.r < 0x7f:
		return true
	case v.r < 0x80:
		return false
	case !v.byte:
		return v.r < 0xa0 || fold.ToASCII(v.r) // a control of C1 is a byte, see latin1
	}
	return leads(byte(v.r))
}

// leads tells the bytes with which UTF-8 of characters begins that fold to ASCII;
// not those of letters with marks, nor those of most of East Asia's.
func leads(c byte) bool {
	switch c {
	case 0xc2, 0xe1, 0xe2, 0xe3, 0xea, 0xef, 0xf0, 0xf3:
		return true
	}
	return c > 0xc5 && c < 0xe0
}

// hexValue reads exactly n digits at the beginning of s.
func hexValue(s []byte, n int) (v rune, ok bool) {
	if len(s) < n {
		return 0, false
	}
	for _, c := range s[:n] {
		d := alphabet.Hex[c]
		if d > 15 {
			return 0, false
		}
		v = v<<4 | rune(d)
	}
	return v, true
}

// each calls read at every mark of the text and makes spans of the places that
// may hide something.
func (f *finder) each(kind Kind, mark byte, read func([]byte) (value, int)) {
	for i := 0; i < len(f.text); {
		if f.text[i] != mark {
			j := bytes.IndexByte(f.text[i:], mark)
			if j < 0 {
				return
			}
			i += j
		}
		v, n := read(f.text[i:])
		if n > 0 && v.hides() {
			f.near(kind, i, i+n)
		}
		i += max(n, 1)
	}
}

func (f *finder) percents() { f.each(Percent, '%', readPercent) }
func (f *finder) entities() { f.each(Entity, '&', readEntity) }

// readPercent reads %41 or %u0041.
func readPercent(s []byte) (value, int) {
	if v, ok := hexValue(s[1:min(len(s), 3)], 2); ok {
		return value{r: v, byte: true}, 3
	}
	if len(s) > 5 && s[1]|0x20 == 'u' {
		if v, ok := hexValue(s[2:], 4); ok {
			return wideValue(s, v, 6, '%')
		}
	}
	return value{}, 0
}

// wideValue completes a character that was read as one unit of UTF-16 in n bytes,
// from the second unit that follows a high surrogate.
func wideValue(s []byte, v rune, n int, mark byte) (value, int) {
	if utf16.IsSurrogate(v) && len(s) >= n+6 && s[n] == mark && s[n+1]|0x20 == 'u' {
		if low, ok := hexValue(s[n+2:], 4); ok {
			if r := utf16.DecodeRune(v, low); r != utf8.RuneError {
				return value{r: r}, n + 6
			}
		}
	}
	return value{r: v}, n
}

// quoted looks for =41 and for soft line breaks within a word.
func (f *finder) quoted() {
	text, row := f.text, 0 // row: one encoded place ends there, and the next may follow
	for i := 0; i+2 < len(text); i++ {
		if text[i] != '=' {
			j := bytes.IndexByte(text[i:len(text)-2], '=')
			if j < 0 {
				return
			}
			i += j
		}
		if alphabet.Hex[text[i+1]]|alphabet.Hex[text[i+2]] > 15 && (i == 0 || i != row && !isWord(text[i-1])) {
			continue
		}
		if v, n := readQuoted(text[i:]); n > 0 && v.hides() {
			f.near(Quoted, i, i+n)
			row = i + n
			i = row - 1
		}
	}
}

func isWord(c byte) bool { return alphabet.Base64[c] < 64 }

// readQuoted reads =41, or a soft line break, behind which there may be blanks.
func readQuoted(s []byte) (value, int) {
	if v, ok := hexValue(s[1:], min(2, max(len(s)-1, 1))); ok && len(s) > 2 {
		return value{r: v, byte: true}, 3
	}
	for i := 1; i < len(s) && i < 16; i++ {
		switch s[i] {
		case '\n':
			return value{r: -1}, i + 1
		case ' ', '\t', '\r':
		case '\\':
			if n := escapedBreak(s[i:]); n > 0 {
				return value{r: -1}, i + n
			}
			return value{}, 0
		default:
			return value{}, 0
		}
	}
	return value{}, 0
}

// escapedBreak gives the length of \n or \r\n at the beginning of s, escaped once or
// more often, as a string of JSON has it; 0 if there is none.
func escapedBreak(s []byte) int {
	const most = 16 // backslashes
	for i := 0; ; {
		from := i
		for i < len(s) && s[i] == '\\' && i-from < most {
			i++
		}
		if i == from || i == len(s) || s[i] != 'n' && (s[i] != 'r' || from > 0) {
			return 0
		}
		if i++; s[i-1] == 'n' {
			return i
		}
	}
}

// readEntity reads a character reference. Readers of HTML do without the semicolon
// of numbers, and of a few names.
func readEntity(s []byte) (value, int) {
	if len(s) > 2 && s[1] == '#' {
		return readNumeric(s)
	}
	const longest = 20
	n := 1
	for n < len(s) && n < longest && (s[n]|0x20)-'a' < 26 {
		n++
	}
	if n < 3 {
		return value{}, 0
	}
	ended := n < len(s) && s[n] == ';'
	r, text, bare := charref.Named(s[1:n])
	if r == 0 || !ended && !bare {
		return value{}, 0
	}
	if ended {
		n++
	}
	return value{r: r, s: text}, n
}

func readNumeric(s []byte) (value, int) {
	i, base := 2, rune(10)
	if s[2]|0x20 == 'x' {
		i, base = 3, 16
	}
	from, v := i, rune(0)
	for ; i < len(s) && rune(alphabet.Hex[s[i]]) < base; i++ {
		if v = v*base + rune(alphabet.Hex[s[i]]); v > utf8.MaxRune || i > 32 {
			return value{}, 0
		}
	}
	if i == from {
		return value{}, 0
	}
	if i < len(s) && s[i] == ';' {
		i++
	}
	return value{r: v}, i
}
