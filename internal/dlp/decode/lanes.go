package decode

import (
	"bottle/internal/dlp/decode/alphabet"
	"bottle/internal/dlp/decode/magic"
)

// A run of digits may start with anything, so that the decoder does not know at which
// digit a group begins. Instead of decoding a run at each of four (base64) or eight
// (base32) places, all of it is looked at once by shift-and (Baeza-Yates and Gonnet,
// 1992): a lane is a row of bits, one for each digit of a pattern, and a pattern is
// what the digits of a few groups must be if they encode text, or the first bytes of
// compressed data. A lane that comes to its end tells the place and the first digit.

// lane is one pattern in the table.
type lane struct {
	kind   Kind
	skip   int  // digits of the first group before it
	length int  // digits
	deep   bool // compressed data begins: what follows is wanted up to the run's end
}

// step is what one character lets pass: bit i of a lane is set if it may be digit i.
// A character that is no digit has no bit at all.
type step struct{ a, b, c, d uint64 }

type lanes struct {
	steps [256]step
	first step // the first bit of each lane
	last  step // the last bit of each lane
	hex   uint64
	at    [256]lane // by the number of the last bit
	used  [4]int    // bits of each word
}

// class is a set of bytes.
type class func(b byte) bool

func isText(b byte) bool     { return b >= 0x20 && b < 0x7f || b == '\n' || b == '\r' || b == '\t' }
func isZero(b byte) bool     { return b == 0 }
func isOnes(b byte) bool     { return b == 0xff }
func isAny(byte) bool        { return true }
func isTail(b byte) bool     { return b>>6 == 2 }             // of a UTF-8 sequence
func leadsTwo(b byte) bool   { return b >= 0xc2 && b < 0xe0 } // a sequence of two bytes
func leadsThree(b byte) bool { return b>>4 == 0xe }           // of three
func leadsFour(b byte) bool  { return b >= 0xf0 && b < 0xf5 } // of four
func isByte(want byte) class { return func(b byte) bool { return b == want } }

// classesOf spells a pattern of bytes: p is text, 0 is zero, f is 0xff, ? is any byte, 2, 3
// and 4 lead a UTF-8 sequence of so many bytes, and c continues it.
func classesOf(pattern string) []class {
	var out []class
	for _, r := range pattern {
		switch r {
		case 'p':
			out = append(out, isText)
		case '0':
			out = append(out, isZero)
		case 'f':
			out = append(out, isOnes)
		case '?':
			out = append(out, isAny)
		case 'c':
			out = append(out, isTail)
		case '2':
			out = append(out, leadsTwo)
		case '3':
			out = append(out, leadsThree)
		case '4':
			out = append(out, leadsFour)
		}
	}
	return out
}

// magicOf spells a pattern of exact bytes after skip bytes of any value.
func magicOf(skip int, magic string) []class {
	out := classesOf("??"[:skip])
	for i := range len(magic) {
		out = append(out, isByte(magic[i]))
	}
	return out
}

// build fills the table. Patterns of UTF-8 are needed only where less than nine bytes
// of ASCII stand in a row: text all of which was replaced by characters that look alike,
// or that has invisible ones between all letters. So are those of UTF-16 in which not
// every other byte is zero.
func (l *lanes) build() {
	l.pattern(Base64, 0, 11, false, classesOf("ppppppppp"))
	l.pattern(Base64, 0, 7, false, classesOf("p0p0p0"))
	for _, p := range []string{"3cc3cc", "c3cc3c", "cc3cc3", "2c2c2c", "p2cp2c", "2cp2cp", "cp2cp2", "p3ccp3", "4ccc4c", "p4cccp", "p0??p0", "0p??0p", "?f?f?f"} {
		l.pattern(Base64, 0, 7, false, classesOf(p))
	}
	l.pattern(Base32, 0, 14, false, classesOf("pppppppppp"))
	for _, p := range []string{"p0p0p", "3cc3c", "cc3cc", "c3cc3", "3ccp3", "2c2c2", "p2cp2", "4ccc4", "p0??p", "0p??0", "?f?f?"} {
		l.pattern(Base32, 0, 7, false, classesOf(p))
	}
	l.pattern(Base32, 0, 5, true, magicOf(0, magic.Gzip+"\x00"))
	l.pattern(Base32, 0, 6, true, magicOf(0, magic.Zstd))
	l.pattern(Base32, 0, 6, true, magicOf(0, magic.Zip))
	l.pattern(Base64, 0, 4, true, magicOf(0, magic.Gzip))
	l.pattern(Base64, 1, 4, true, magicOf(1, magic.Gzip+"\x00\x00"))
	l.pattern(Base64, 2, 4, true, magicOf(2, magic.Gzip+"\x00"))
	l.pattern(Base64, 0, 5, true, magicOf(0, magic.Zstd))
	l.pattern(Base64, 0, 5, true, magicOf(0, magic.Zip))
	l.hexRun()
}

// pattern adds a lane for the digits from skip on, of a group that encodes bytes of
// these classes.
func (l *lanes) pattern(kind Kind, skip, digits int, deep bool, bytes []class) {
	width, table := 6, alphabet.Base64
	if kind == Base32 {
		width, table = 5, alphabet.Base32
	}
	place := l.open(lane{kind: kind, skip: skip, length: digits, deep: deep})
	for i := range digits {
		allowed := valuesOf(bytes, (skip+i)*width, width)
		for c := range 256 {
			if v := table[c]; v < 64 && allowed>>v&1 == 1 {
				l.allow(c, place+i)
			}
		}
	}
}

// hexRun adds the lane of twelve hexadecimal digits.
func (l *lanes) hexRun() {
	const digits = 12
	place := l.open(lane{kind: Hex, length: digits})
	for i := range digits {
		for c := range 256 {
			if alphabet.Hex[c] < 16 {
				l.allow(c, place+i)
			}
		}
	}
	l.hex = 1 << (place + digits - 1 - 192)
}

// open reserves the bits of a lane in one of the four words and gives the first. Hex,
// which is turned off and on, is always in the last word.
func (l *lanes) open(n lane) (place int) {
	word := 0
	for word < 3 && (n.kind == Hex || l.used[word]+n.length > 64) {
		word++
	}
	place = word*64 + l.used[word]
	l.used[word] += n.length
	last := place + n.length - 1
	l.at[last] = n
	l.first.set(place)
	l.last.set(last)
	return place
}

func (l *lanes) allow(c, bit int) { l.steps[c].set(bit) }

func (s *step) set(bit int) {
	switch bit / 64 {
	case 0:
		s.a |= 1 << bit
	case 1:
		s.b |= 1 << (bit - 64)
	case 2:
		s.c |= 1 << (bit - 128)
	default:
		s.d |= 1 << (bit - 192)
	}
}

// valuesOf gives the set of values that width bits have, from a bit on, in a row of
// bytes of these classes. A digit covers a part of one byte or of two.
func valuesOf(bytes []class, from, width int) (set uint64) {
	first, last := from/8, (from+width-1)/8
	if first == last {
		return partsOf(bytes[first], 8-from%8-width, width)
	}
	low := (from + width) % 8 // bits in the second byte
	high := partsOf(bytes[first], 0, width-low)
	second := partsOf(bytes[last], 8-low, low)
	for v := range 1 << width {
		if high>>(v>>low)&1 == 1 && second>>(v&(1<<low-1))&1 == 1 {
			set |= 1 << v
		}
	}
	return set
}

// partsOf gives the set of values that some bits of a byte of a class have.
func partsOf(in class, shift, width int) (set uint64) {
	for b := range 256 {
		if in(byte(b)) {
			set |= 1 << (b >> shift & (1<<width - 1))
		}
	}
	return set
}
