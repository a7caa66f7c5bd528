package known

import (
	"bytes"
	"slices"
)

// pairs are all two bytes, in lower case, that stand next to each other in a secret, in
// either direction: most texts hold one that is none of them among their first few.
type pairs [1 << 16 / 64]uint64

func newPairs(segs []segment) *pairs {
	p := &pairs{}
	put := func(a, b byte) {
		n := uint16(a)<<8 | uint16(b)
		p[n/64] |= 1 << (n % 64)
	}
	for i := range segs {
		t := segs[i].text
		for k := 1; k < len(t); k++ {
			put(t[k-1], t[k])
			put(t[k], t[k-1])
		}
	}
	return p
}

// Holds reports whether a secret holds piece, in any ASCII case and in either direction,
// however short it is. A piece of more than 128 bytes is none. It costs some nanoseconds
// where piece has two bytes that stand together in no secret, else a look at all of them.
func (s *Set) Holds(piece []byte) bool {
	var room [128]byte
	if len(piece) > len(room) || len(s.segs) == 0 {
		return false
	}
	for i := 1; i < len(piece); i++ {
		n := uint16(lower(piece[i-1]))<<8 | uint16(lower(piece[i]))
		if s.pairs[n/64]>>(n%64)&1 == 0 {
			return false
		}
	}
	text := room[:copy(room[:], piece)]
	for i, c := range text {
		text[i] = lower(c)
	}
	for range 2 {
		if slices.ContainsFunc(s.segs, func(g segment) bool { return bytes.Contains(g.text, text) }) {
			return true
		}
		slices.Reverse(text)
	}
	return false
}
