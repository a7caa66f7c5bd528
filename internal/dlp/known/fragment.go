package known

import (
	"encoding/binary"
	"math/bits"
)

// Piece is a fragment of a secret in a text.
type Piece struct {
	Secret     int  // index into the slice given to New
	From, To   int  // in the secret run that Memory counts by, not in the value
	Start, End int  // in the text
	Strong     bool // it counts in any order; others only in order
	seg        int32
}

const (
	gram     = 4
	maxPiece = 64 // longer ones are found by the literals
	maxChain = 16 // places of one gram
)

// grams finds the 4-grams of all segments of which fragments count.
type grams struct {
	bits  *[1 << 12]uint64 // a filter of 32 KiB: the grams' hashes; nil: there are none
	table []int32          // open addressing, by hash: index of a node, plus 1
	nodes []gramNode
}

type gramNode struct {
	gram     uint32
	seg, pos int32
	next     int32 // another place of the same gram: an index, plus 1
}

func hash(g uint32) uint32 { return g * 0x9e3779b1 }

// may returns 1 if a gram may be there, of whose letters the case is not known yet. The
// high bits of the hash choose.
func (g *grams) may(v uint32) uint64 {
	h := hash(v | 0x20202020) // folds letters, and some marks that only the filter takes for others
	return g.bits[h>>20] >> (h >> 14 & 63) & 1
}

func newGrams(segs []segment) grams {
	total := 0
	for i := range segs {
		if segs[i].pieces {
			total += len(segs[i].text)
		}
	}
	if total == 0 {
		return grams{}
	}
	g := grams{bits: new([1 << 12]uint64), table: make([]int32, 1<<bits.Len(uint(total*2)))}
	g.nodes = make([]gramNode, 0, total)
	for i := range segs {
		if !segs[i].pieces {
			continue
		}
		text := segs[i].text
		for p := range len(text) - gram + 1 {
			g.put(binary.LittleEndian.Uint32(text[p:]), int32(i), int32(p))
		}
	}
	return g
}

func (g *grams) put(v uint32, seg, pos int32) {
	h := hash(v | 0x20202020)
	g.bits[h>>20] |= 1 << (h >> 14 & 63)
	mask := uint32(len(g.table) - 1)
	slot := hash(v) & mask
	for g.table[slot] != 0 && g.nodes[g.table[slot]-1].gram != v {
		slot = (slot + 1) & mask
	}
	n := 0
	for i := g.table[slot]; i != 0; i = g.nodes[i-1].next {
		n++
	}
	if n < maxChain {
		g.nodes = append(g.nodes, gramNode{gram: v, seg: seg, pos: pos, next: g.table[slot]})
		g.table[slot] = int32(len(g.nodes))
	}
}

// first returns the first node of a gram, plus 1; 0: there is none.
func (g *grams) first(v uint32) int32 {
	mask := uint32(len(g.table) - 1)
	for slot := hash(v) & mask; g.table[slot] != 0; slot = (slot + 1) & mask {
		if g.nodes[g.table[slot]-1].gram == v {
			return g.table[slot]
		}
	}
	return 0
}

// Pieces appends the fragments of secrets in a text: the longest stretches, of 4 to 64
// bytes, that are not there by chance. Of a text larger than 16 KiB it gives those of 8
// bytes and more: they hold a gram at every fifth place, and shorter ones would be there
// by chance. Its time is linear. Secrets that do not look random have no pieces, for
// their parts are words. It allocates only to grow dst.
//
// What counts: a byte tells 3.25 bits in a piece of digits, 4 in one of hex, 6 in any
// other if the case agrees and 5 if not. A piece of 40 bits is strong wherever it
// stands. A piece of 32 bits is strong if it stands alone, that is, if the letters and
// digits right beside it are no more than the piece has bytes. A piece of 24 bits (four
// letters in their case, six hex digits) that stands alone is weak. Words never count.
//
// Chance: with 50 secrets (2,000 places) a gigabyte of random base64 has one or two
// strong pieces of 40 bits, about one of 32 bits that stands alone (a run of base64 is
// seldom that short; a run of hex never), and 700 weak ones. See [Memory.Saw] for what
// becomes of them.
func (s *Set) Pieces(dst []Piece, text []byte) []Piece {
	g := &s.grams
	if g.bits == nil {
		return dst
	}
	if len(text) > small {
		return s.longPieces(dst, text)
	}
	i := 0
	for ; i+8 <= len(text); i += 5 {
		// Five grams at once: one branch for all of them, which is seldom taken.
		x := binary.LittleEndian.Uint64(text[i:])
		hits := g.may(uint32(x)) | g.may(uint32(x>>8))<<1 | g.may(uint32(x>>16))<<2 | g.may(uint32(x>>24))<<3 | g.may(uint32(x>>32))<<4
		for ; hits != 0; hits &= hits - 1 {
			k := bits.TrailingZeros64(hits)
			dst = s.piecesAt(dst, text, i+k, uint32(fold8(x)>>(8*k)))
		}
	}
	for ; i+gram <= len(text); i++ {
		var v uint32
		for k := range gram {
			v |= uint32(lower(text[i+k])) << (8 * k)
		}
		dst = s.piecesAt(dst, text, i, v)
	}
	return dst
}

const (
	small = 16 << 10 // bytes of a text in which every place is looked at
	every = 5        // of places in a larger one
)

// longPieces gives the pieces that hold a gram at a place that is looked at.
func (s *Set) longPieces(dst []Piece, text []byte) []Piece {
	g := &s.grams
	for i := 0; i+gram <= len(text); i += every {
		if v := binary.LittleEndian.Uint32(text[i:]); g.may(v) != 0 {
			dst = s.piecesAround(dst, text, i, uint32(fold8(uint64(v))))
		}
	}
	return dst
}

// piecesAround is piecesAt for a gram that may stand within a piece.
func (s *Set) piecesAround(dst []Piece, text []byte, i int, v uint32) []Piece {
	for n := s.grams.first(v); n != 0; n = s.grams.nodes[n-1].next {
		node := s.grams.nodes[n-1]
		seg, back := &s.segs[node.seg], 0
		for back < every && back < i && back < int(node.pos) && lower(text[i-back-1]) == seg.text[int(node.pos)-back-1] {
			back++
		}
		if back < every { // else it was found one place before
			node.pos -= int32(back)
			dst = s.piece(dst, text, i-back, &node)
		}
	}
	return dst
}

// fold8 folds the ASCII letters among eight bytes.
func fold8(x uint64) uint64 {
	const ones = 0x0101010101010101
	low := x & (0x7f * ones)
	upper := (low + (0x80-'A')*ones) &^ (low + (0x7f-'Z')*ones) &^ x & (0x80 * ones)
	return x | upper>>2
}

func (s *Set) piecesAt(dst []Piece, text []byte, i int, v uint32) []Piece {
	for n := s.grams.first(v); n != 0; n = s.grams.nodes[n-1].next {
		node := &s.grams.nodes[n-1]
		if i > 0 && node.pos > 0 && lower(text[i-1]) == s.segs[node.seg].text[node.pos-1] {
			continue // a longer piece began before
		}
		dst = s.piece(dst, text, i, node)
	}
	return dst
}

// piece appends the piece that begins at i with a node's gram, if it counts.
func (s *Set) piece(dst []Piece, text []byte, i int, node *gramNode) []Piece {
	seg, pos := &s.segs[node.seg], int(node.pos)
	size, same := 0, true
	for size < maxPiece && i+size < len(text) && pos+size < len(seg.text) && lower(text[i+size]) == seg.text[pos+size] {
		same = same && text[i+size] == seg.raw[pos+size]
		size++
	}
	if counts, strong := weigh(text, i, i+size, same); counts {
		dst = append(dst, Piece{Secret: seg.secret, From: pos, To: pos + size, Start: i, End: i + size, Strong: strong, seg: node.seg})
	}
	return dst
}

// weigh says whether text[start:end] counts as a piece. The alphabet is the piece's, not
// the secret's: a body of digits holds the digits of any secret.
func weigh(text []byte, start, end int, same bool) (counts, strong bool) {
	size, c := end-start, classOf(text[start:end])
	quarters := size * 20 // of a bit
	switch {
	case c == digits:
		quarters = size * 13
	case c == hexadecimal:
		quarters = size * 16
	case same:
		quarters = size * 24
	}
	if quarters < 24*4 {
		return false, false
	}
	if _, prose := readsAsWords(text[start:end]); prose {
		return false, false
	}
	if quarters >= 40*4 {
		return true, true
	}
	beside := 0
	for i := start - 1; i >= 0 && beside <= size && (isLetter(text[i]) || isDigit(text[i])); i-- {
		beside++
	}
	for i := end; i < len(text) && beside <= size && (isLetter(text[i]) || isDigit(text[i])); i++ {
		beside++
	}
	return beside <= size, quarters >= 32*4
}
