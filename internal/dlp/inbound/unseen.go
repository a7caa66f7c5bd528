package inbound

import "unicode/utf8"

// unseen follows characters that nobody sees.
type unseen struct {
	flag  int    // of a flag's tags: 0 outside, 1 behind the flag, and one more for each
	name  uint64 // what they spell
	flags int    // of other regions than those that have one, each unlike the one before
	last  uint64 // of them

	selAt int64 // where the row of selectors began
	row   int   // of selectors
	stray int   // selectors behind characters that have no forms

	blankAt int64 // where the row of characters that nobody sees began, or what they are strewn in
	blank   int   // of them in a row
	only    rune  // the one they all are; 0: there are several
	excess  int   // by how much they outweigh the bytes that are seen
}

// Rows that are longer than any text needs. Two selectors stand behind one another in
// broken emoji; characters without width stand alone between words, or in twos.
const (
	mostSelectors = 2
	mostStray     = 2
	mostFlags     = 2
	mostBlank     = 7  // in a row, of several kinds
	mostExcess    = 30 // each of them weighs two bytes: so 15 in a row
)

// shown says that n bytes of characters that are seen follow.
func (u *unseen) shown(n int) {
	u.row, u.blank, u.excess = 0, 0, max(u.excess-n, 0)
}

// flagged follows the tags of a flag: the black flag, three to six letters or digits as
// tags, and the end tag (UTS 51, emoji tag sequences). Any other tag is hidden text, and
// so are many flags of regions that have none.
func (c *chars) flagged(r rune, end int64) {
	const flag, least, most, endTag = 0x1f3f4, 3, 6, 0xe007f
	tag := r >= 0xe0000 && r <= 0xe007f
	spec := r >= 0xe0030 && r <= 0xe0039 || r >= 0xe0061 && r <= 0xe007a
	switch {
	case r == flag:
		c.flag, c.name = 1, 0
	case c.flag > 0 && spec && c.flag <= most:
		c.flag, c.name = c.flag+1, c.name<<8|uint64(r&0x7f)
	case c.flag > least && r == endTag:
		c.flag = 0
		switch c.name {
		case 'g'<<32 | 'b'<<24 | 'e'<<16 | 'n'<<8 | 'g', 'g'<<32 | 'b'<<24 | 's'<<16 | 'c'<<8 | 't', 'g'<<32 | 'b'<<24 | 'w'<<16 | 'l'<<8 | 's':
			return
		}
		if c.name != c.last {
			c.flags, c.last = c.flags+1, c.name
		}
		if c.flags > mostFlags {
			c.s.tell(hiddenTags, end-4, end)
		}
	case tag || c.flag > 1:
		c.s.tell(hiddenTags, end-4, end)
		c.flag = 0
	default:
		c.flag = 0
	}
}

// hidden takes a character that is not ASCII.
func (c *chars) hidden(r rune, at, end int64) {
	switch {
	case selector(r):
		c.selected(r, at, end)
	case ignorable(r):
		c.row = 0
		if c.excess == 0 {
			c.blankAt = at
		}
		if c.blank == 0 {
			c.only = r
		}
		if c.only != r {
			c.only = 0
		}
		c.blank++
		c.excess += 2
		if c.excess > mostExcess || c.blank > mostBlank && c.only == 0 {
			c.s.tell(hiddenBlank, c.blankAt, end)
		}
	default:
		c.shown(max(utf8.RuneLen(r), 1))
	}
	c.bidi(r, at, end)
}

// selected takes a variation selector. The first of FE00 on choose forms of many
// characters, the others only of ideographs and hieroglyphs.
func (c *chars) selected(r rune, at, end int64) {
	if c.row == 0 {
		c.selAt = at
	}
	c.row++
	p := c.prev
	if p == utf8.RuneError { // it was passed over
		p, _ = utf8.DecodeLastRune(c.s.buf[:at-c.s.base])
	}
	switch {
	case selector(p) && r != p, letter(p), p < utf8.RuneSelf && r >= 0xe0100:
		c.stray++
	case (r >= 0xe0100 || r >= 0xfe02 && r <= 0xfe0d) && !formed(p) && !selector(p):
		c.stray++
	}
	if c.row > mostSelectors || c.stray > mostStray {
		c.s.tell(hiddenSelectors, c.selAt, end)
	}
}

// formed tells characters that have many forms: ideographs, and hieroglyphs.
func formed(r rune) bool {
	return r >= 0x2e80 && r <= 0x9fff || r >= 0xf900 && r <= 0xfaff || r >= 0x13000 && r <= 0x143ff || r >= 0x20000 && r <= 0x3ffff
}

func selector(r rune) bool {
	return r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef || r >= 0x180b && r <= 0x180d || r == 0x180f
}

// ignorable tells Default_Ignorable_Code_Point (Unicode 16, DerivedCoreProperties) but
// selectors and what is a tag, and the marks of annotations, which are not shown either.
func ignorable(r rune) bool {
	switch {
	case r < 0x34f:
		return r == 0xad
	case r < 0x2000:
		return r == 0x34f || r == 0x61c || r == 0x115f || r == 0x1160 || r == 0x17b4 || r == 0x17b5 || r == 0x180e
	case r < 0xfe00:
		return r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0x3164
	case r < 0x1bca0:
		return r == 0xfeff || r == 0xffa0 || r >= 0xfff0 && r <= 0xfffb
	}
	return r <= 0x1bca3 || r >= 0x1d173 && r <= 0x1d17a || r >= 0xe0080 && r <= 0xe0fff
}
