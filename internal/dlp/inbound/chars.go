package inbound

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"bottle/internal/dlp/decode/fold"
)

// chars follows a text character by character where that is not plain ASCII.
type chars struct {
	s     *Stream
	form  Form
	guess bool   // blanks came so far: the form may not be known yet
	done  int    // of the stream's buffer
	odd   []span // where characters stand for others, in the buffer

	prev rune // the character before; of a text passed over its last byte, or utf8.RuneError
	term terminal
	unseen
	value quoted
	open  int   // bidirectional controls that are not closed on this line
	since int64 // where the first of them stands
	rtl   bool  // there are letters on this line that run from right to left
}

// moved says that the buffer lost n bytes at its front.
func (c *chars) moved(n int) {
	c.done -= n
	kept := c.odd[:0]
	for _, o := range c.odd {
		if o.end > n { // seen again with what follows
			kept = append(kept, span{start: max(o.start-n, 0), end: o.end - n})
		}
	}
	c.odd = kept
	c.value.end -= n
}

// calm says that ASCII can't end anything, so it may be passed over.
func (c *chars) calm() bool {
	return c.term.mode == ground && c.open == 0 && c.flag == 0
}

// feed goes on up to the end of text, or to a character that is not whole.
func (c *chars) feed(text []byte, end bool) {
	i := c.done
	for i < len(text) {
		if c.calm() {
			if n := plainFrom(text[i:]); n > 0 {
				i += n
				c.passed(rune(text[i-1]), n)
				continue
			}
			if n := dull(text, i); n > 0 {
				i += n
				c.passed(utf8.RuneError, n)
				continue
			}
		}
		r, n, coded := c.read(text[i:], end)
		if n == 0 {
			break
		}
		c.suspect(text, i, n, r, coded)
		if coded && !c.counts(text, i, r) {
			r = '?'
		}
		c.step(r, c.s.base+int64(i), n)
		i += n
	}
	c.done = i
	if end {
		c.line(c.s.base + int64(len(text)))
		c.flagged(0, c.s.base+int64(len(text)))
	}
}

// plainFrom is how many bytes at the beginning need no look.
func plainFrom(b []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		e, s, a, q := x^ones*0x1b, x^ones*'\\', x^ones*'&', x^ones*0x05
		m := (x | (e-ones)&^e | (s-ones)&^s | (a-ones)&^a | (q-ones)&^q) & high
		if m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(b) && b[i] < utf8.RuneSelf && b[i] != 0x1b && b[i] != '\\' && b[i] != '&' && b[i] != 0x05; i++ {
	}
	return i
}

// dull is how many bytes from i on are characters of other scripts that mean nothing
// here, alone or beside letters of ASCII.
func dull(text []byte, i int) int {
	j := i
	for j+3 < len(text) {
		size := 2
		switch c := text[j]; {
		case c == 0xc3 && text[j+1]&0xc0 == 0x80: // letters of Latin-1
			j += 2
			continue
		case c == 0xe2 && text[j+1] == 0x80 && text[j+2] >= 0x90 && text[j+2] <= 0xa7: // dashes, quotes, dots
			j += 3
			continue
		case c >= 0xc4 && c <= 0xdf:
			if c == 0xcd && text[j+1] == 0x8f || c == 0xd8 && text[j+1] == 0x9c { // ignorable, as below
				return j - i
			}
		case c >= 0xe3 && c <= 0xee:
			if size = 3; c == 0xe3 && text[j+1] == 0x85 && text[j+2] == 0xa4 {
				return j - i
			}
		default:
			return j - i
		}
		if text[j+1]&0xc0 != 0x80 || text[j+size-1]&0xc0 != 0x80 || letter(rune(text[j+size])) || j > 0 && letter(rune(text[j-1])) {
			return j - i
		}
		j += size
	}
	return j - i
}

// passed ends rows: n bytes that mean nothing.
func (c *chars) passed(last rune, n int) {
	c.prev = last
	c.shown(n)
}

// counts says whether the escape at i is the character r, to who reads this form.
func (c *chars) counts(text []byte, i int, r rune) bool {
	if text[i] == '&' {
		return c.form&Markup != 0
	}
	return c.form&(JSON|Script) != 0 || text[i+1] == 'u' && (r < ' ' || r > '~') && c.value.of(text, i, c.s.base == 0)
}

// read gives the next character, its length in bytes (0: it is not whole yet), and
// whether it is written as an escape.
func (c *chars) read(b []byte, end bool) (r rune, n int, coded bool) {
	switch {
	case b[0] == '\\':
		r, n, more := backslash(b)
		if n == 1 && !more && c.form&Script != 0 {
			r, n, more = scripted(b)
		}
		if more && !end {
			return 0, 0, false
		}
		return r, n, n > 1
	case b[0] == '&':
		r, n, more := reference(b)
		if more && !end {
			return 0, 0, false
		}
		return r, n, n > 1
	case b[0] < utf8.RuneSelf:
		return rune(b[0]), 1, false
	case !utf8.FullRune(b) && !end:
		return 0, 0, false
	}
	r, n = utf8.DecodeRune(b)
	return r, n, false
}

// suspect marks where a character stands for another one, so that words are looked for
// there once more.
func (c *chars) suspect(text []byte, at, n int, r rune, coded bool) {
	switch {
	case coded && (letter(r) || r >= utf8.RuneSelf && fold.ToASCII(r)):
	case coded && r == '\\' && at+n < len(text) && text[at+n] == 'u': // an escape of an escape
	case coded || r < utf8.RuneSelf && r != 0x1b:
		return
	case r == 0x1b: // colours in the middle of a word
	case whole(r):
	case !(at > 0 && letter(rune(text[at-1])) || at+n < len(text) && letter(rune(text[at+n]))) || !fold.ToASCII(r):
		return
	}
	if k := len(c.odd); k > 0 && at-c.odd[k-1].end <= 2*around {
		c.odd[k-1].end = at + n
		return
	}
	c.odd = append(c.odd, span{start: at, end: at + n})
}

func letter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }

// whole tells letters in which a whole word may be written that reads as ASCII.
func whole(r rune) bool {
	return r >= 0xff21 && r <= 0xff5a || r >= 0x1d400 && r <= 0x1d7ff || r >= 0x24b6 && r <= 0x24e9 || r >= 0xe0020 && r <= 0xe01ef
}

// step takes one character, which stands at.
func (c *chars) step(r rune, at int64, n int) {
	end := at + int64(n)
	c.term.step(c.s, r, at, end)
	c.flagged(r, end)
	switch {
	case c.open > 0 && r == '\n' || r == 0x2028 || r == 0x2029:
		c.line(end)
	case r >= 0x80:
		c.hidden(r, at, end)
		c.prev = r
		return
	case c.open > 0 && end-c.since > Reach:
		c.line(end)
	}
	c.passed(r, 1)
}

// bidi follows the controls of UAX 9 over one line. An override makes letters run
// against their nature, which no text in any script needs. Embeddings and isolates are
// harmless where they are closed on their line, and in lines with letters that run from
// right to left.
func (c *chars) bidi(r rune, at, end int64) {
	switch {
	case r == 0x202d || r == 0x202e:
		c.s.tell(hiddenBidi, at, end)
	case r == 0x202a || r == 0x202b || r >= 0x2066 && r <= 0x2068:
		if c.open == 0 {
			c.since, c.rtl = at, c.rightBefore(at)
		}
		c.open++
	case r == 0x202c || r == 0x2069:
		c.open = max(c.open-1, 0)
	case leftward(r):
		c.rtl = true
	}
}

// leftward tells letters that run from right to left.
func leftward(r rune) bool {
	return r >= 0x0590 && r <= 0x08ff || r >= 0xfb1d && r <= 0xfdff || r >= 0xfe70 && r <= 0xfefc || r >= 0x10800 && r <= 0x10fff || r >= 0x1e800 && r <= 0x1efff
}

// rightBefore says whether such letters stand on the line shortly before a place.
func (c *chars) rightBefore(at int64) bool {
	text := c.s.buf[:at-c.s.base]
	for n := 0; n < 64 && len(text) > 0; n++ {
		r, size := utf8.DecodeLastRune(text)
		if r == '\n' {
			return false
		}
		if leftward(r) {
			return true
		}
		text = text[:len(text)-size]
	}
	return false
}

// line ends a line.
func (c *chars) line(end int64) {
	if c.open > 0 && !c.rtl {
		c.s.tell(hiddenBidi, c.since, end)
	}
	c.open, c.rtl = 0, false
}
