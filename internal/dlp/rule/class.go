package rule

import (
	"math/bits"
	"regexp/syntax"
	"unicode/utf8"
)

// class is a set of bytes, one bit each.
type class [4]uint64

func (c *class) has(b byte) bool { return c[b>>6]>>(b&63)&1 != 0 }

func (c *class) add(b byte) { c[b>>6] |= 1 << (b & 63) }

func (c *class) addRange(lo, hi int) {
	for b := lo; b <= hi; b++ {
		c.add(byte(b))
	}
}

func (c class) or(d class) class {
	for i := range c {
		c[i] |= d[i]
	}
	return c
}

func (c class) not() class {
	for i := range c {
		c[i] = ^c[i]
	}
	return c
}

func (c class) meets(d class) bool {
	return c[0]&d[0]|c[1]&d[1]|c[2]&d[2]|c[3]&d[3] != 0
}

func (c class) size() int {
	n := 0
	for _, w := range c {
		n += bits.OnesCount64(w)
	}
	return n
}

// letter gives the one byte that a class holds, in lower case, if it holds one
// byte or both cases of one letter.
func (c class) letter() (b byte, folded, ok bool) {
	n := c.size()
	if n == 0 || n > 2 {
		return 0, false, false
	}
	for i := range c {
		if c[i] != 0 {
			b = byte(i<<6 + 63 - bits.LeadingZeros64(c[i])) // the higher one: lower case
		}
	}
	if n == 2 {
		return b, true, isLower(b) && c.has(b-'a'+'A')
	}
	if b >= 'A' && b <= 'Z' {
		return b - 'A' + 'a', false, true
	}
	return b, !isLower(b), true
}

func isLower(b byte) bool { return b >= 'a' && b <= 'z' }

// isWord says what \b of RE2 takes for a part of a word.
func isWord(b byte) bool {
	return isLower(b) || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_'
}

// lower folds ASCII letters alone.
func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b - 'A' + 'a'
	}
	return b
}

// The two characters that RE2 folds onto ASCII letters, s and k. No secret has them,
// and a class with them would have bytes of every kind.
const (
	longS  = 'ſ'
	kelvin = '\u212a'
)

// ofClass gives the bytes of which the class' characters are made, and of how many
// at the most. Beyond ASCII it is generous.
func ofClass(ranges []rune) (c class, longest int) {
	longest = 1
	for i := 0; i+1 < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		if lo < utf8.RuneSelf {
			c.addRange(int(lo), int(min(hi, utf8.RuneSelf-1)))
		}
		if hi >= utf8.RuneSelf && !(lo == hi && (lo == longS || lo == kelvin)) {
			c.addRange(utf8.RuneSelf, 255)
			longest = utf8.UTFMax
		}
	}
	return c, longest
}

// ofLiteral gives one class per byte.
func ofLiteral(re *syntax.Regexp) []class {
	var out []class
	for _, r := range re.Rune {
		var buf [utf8.UTFMax]byte
		for _, b := range buf[:utf8.EncodeRune(buf[:], r)] {
			var c class
			c.add(b)
			if re.Flags&syntax.FoldCase != 0 {
				if l := lower(b); isLower(l) {
					c.add(l)
					c.add(l - 'a' + 'A')
				}
			}
			out = append(out, c)
		}
	}
	return out
}
