package inbound

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"bottle/internal/dlp/decode/fold"
)

// chars follows a text character by character where that is not plain ASCII.
type chars struct {
	s    *Stream
	form Form
	done int    // of the stream's buffer
	odd  []span // where characters stand for others, in the buffer

	prev  rune // the character before; 0 where it was passed over
	term  terminal
	flag  int   // of a flag's tags: 0 outside, 1 behind the flag, and one more for each
	rowAt int64 // where the row of selectors, or of no width, began
	row   int   // of selectors
	stray int   // selectors behind characters that have no forms
	blank int   // of no width
	kinds uint8 // of those
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
				c.passed(rune(text[i-1]))
				continue
			}
			if n := dull(text, i); n > 0 {
				i += n
				c.passed(utf8.RuneError)
				continue
			}
		}
		r, n, coded := c.read(text[i:], end)
		if n == 0 {
			break
		}
		c.suspect(text, i, n, r, coded)
		if coded && !c.counts(text[i]) {
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
		case c == 0xc3: // letters of Latin-1
			j += 2
			continue
		case c == 0xe2 && text[j+1] == 0x80 && text[j+2] >= 0x90 && text[j+2] <= 0xa7: // dashes, quotes, dots
			j += 3
			continue
		case c >= 0xc4 && c <= 0xdf:
		case c >= 0xe3 && c <= 0xee:
			size = 3
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

// passed ends rows.
func (c *chars) passed(last rune) { c.prev, c.row, c.blank, c.kinds = last, 0, 0, 0 }

// counts says whether an escape that begins so is the character, to who reads this form.
func (c *chars) counts(first byte) bool {
	return first == '\\' && c.form == JSON || first == '&' && c.form == Markup
}

// read gives the next character, its length in bytes (0: it is not whole yet), and
// whether it is written as an escape.
func (c *chars) read(b []byte, end bool) (r rune, n int, coded bool) {
	switch {
	case b[0] == '\\':
		r, n, more := backslash(b)
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
	c.prev, c.row, c.blank, c.kinds = r, 0, 0, 0
}

// flagged follows the tags of a flag: the black flag, three to six letters or digits as
// tags, and the end tag (UTS 51, emoji tag sequences). Any other tag is hidden text.
func (c *chars) flagged(r rune, end int64) {
	const flag, least, most, endTag = 0x1f3f4, 3, 6, 0xe007f
	tag := r >= 0xe0000 && r <= 0xe007f
	spec := r >= 0xe0030 && r <= 0xe0039 || r >= 0xe0061 && r <= 0xe007a
	switch {
	case r == flag:
		c.flag = 1
	case c.flag > 0 && spec && c.flag <= most:
		c.flag++
	case c.flag > least && r == endTag:
		c.flag = 0
	case tag || c.flag > 1:
		c.s.tell(hiddenTags, end-4, end)
		c.flag = 0
	default:
		c.flag = 0
	}
}

// Rows that are longer than any text needs. Two selectors stand behind one another in
// broken emoji; characters without width stand alone between words, or in twos.
const (
	mostSelectors = 2
	mostStray     = 2
	mostBlank     = 7  // of several kinds
	mostSame      = 15 // of one kind
)

// hidden takes a character that is not ASCII.
func (c *chars) hidden(r rune, at, end int64) {
	if n := blankKind(r); n >= 0 {
		if c.blank == 0 {
			c.rowAt = at
		}
		c.blank++
		c.kinds |= 1 << n
		if c.blank > mostSame || c.blank > mostBlank && c.kinds&(c.kinds-1) != 0 {
			c.s.tell(hiddenBlank, c.rowAt, end)
		}
	} else {
		c.blank, c.kinds = 0, 0
	}
	if selector(r) {
		if c.row == 0 {
			c.rowAt = at
		}
		if c.row++; letter(c.prev) || r >= 0xe0100 && c.prev < utf8.RuneSelf {
			c.stray++
		}
		if c.row > mostSelectors || c.stray > mostStray {
			c.s.tell(hiddenSelectors, c.rowAt, end)
		}
	} else {
		c.row = 0
	}
	c.bidi(r, at, end)
}

func selector(r rune) bool {
	return r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef || r >= 0x180b && r <= 0x180d || r == 0x180f
}

// blankKind numbers characters without width, or gives -1.
func blankKind(r rune) int {
	switch {
	case r >= 0x200b && r <= 0x200d:
		return int(r - 0x200b)
	case r == 0x2060 || r == 0xfeff || r == 0x180e:
		return 3
	case r >= 0x2061 && r <= 0x2064:
		return int(r-0x2061) + 4
	}
	return -1
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
