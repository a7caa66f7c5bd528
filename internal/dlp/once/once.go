// Package once remembers which pieces of text have been looked at and found clean, so
// that a conversation sent again with one more message costs only what is new.
//
// A text is cut into chunks where its content says so: behind certain bytes that hash to
// a certain value. So the same text is cut in the same places, whatever
// was put in before it. A chunk is remembered as clean in the context of the chunk
// before it: what was scanned was both together, and a secret across their border
// would have been found. Whatever is longer than the shortest chunk can lie over three
// of them: whoever scans must not remember what an unfinished piece of such length
// was in.
//
// Chunks are compared by NH, the universal hash of UMAC (Black, Halevi, Krawczyk,
// Krovetz, Rogaway, CRYPTO 1999), with 64-bit words and a random key: two different
// chunks of one length have the same hash with a chance of at most 2^-64, which holds
// against whoever does not know the key and sees no hash. A fast hash without such a
// proof will not do: in one built of single AES rounds an attacker who may send two
// texts can make them collide once in some dozens of trials.
package once

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync"
)

// Sizes of chunks in bytes. A chunk is shorter only at the end of a text.
const (
	Shortest = 2 << 10
	Longest  = 4 << 10
)

// KeySize is the size of the random key in bytes.
const KeySize = Longest

const (
	followers = 4 // chunks that are remembered behind one
)

// ID names a chunk by its keyed hash. The zero ID stands before a text's first chunk.
type ID struct{ hi, lo, size uint64 }

// Memory is the clean chunks of one set of rules. It is safe for many goroutines. A
// nil Memory remembers nothing.
type Memory struct {
	key  [KeySize / 8]uint64
	most int

	mu    sync.Mutex
	nodes map[ID]*node
	order []ID // in a ring, the oldest at next
	next  int
}

type node struct {
	after [followers]ID // clean behind this one, the newest first
	have  int
}

// New makes a memory with a random key of KeySize bytes that nobody else learns. It
// keeps at most most chunks: about 150 bytes of memory for some 2,500 bytes of text.
func New(key []byte, most int) *Memory {
	m := &Memory{most: max(most, 1), nodes: map[ID]*node{}}
	for i := range m.key {
		m.key[i] = binary.LittleEndian.Uint64(key[8*i:])
	}
	return m
}

// Clean gives the length of the chunk at the start of text and its ID, if it is known
// to be clean behind the chunk prev; else 0.
func (m *Memory) Clean(prev ID, text []byte) (int, ID) {
	if m == nil {
		return 0, ID{}
	}
	m.mu.Lock()
	var after [followers]ID
	have := 0
	if n := m.nodes[prev]; n != nil {
		after, have = n.after, n.have
	}
	m.mu.Unlock()
	last := uint64(0)
	var id ID
	for _, f := range after[:have] {
		if f.size > uint64(len(text)) {
			continue
		}
		if f.size != last {
			last, id = f.size, m.id(text[:f.size])
		}
		if id == f {
			return int(f.size), f
		}
	}
	return 0, ID{}
}

// Cut gives the length of the chunk at the start of text and its ID. It is all of
// text where no boundary is in it; if more may follow (end is not set), that is no
// chunk yet, and the length is 0.
func (m *Memory) Cut(text []byte, end bool) (int, ID) {
	if m == nil { // nothing to be compared with: any size will do
		if len(text) < Longest && !end {
			return 0, ID{}
		}
		return min(len(text), Longest), ID{}
	}
	if n := boundary(text[:min(len(text), Longest)]); n > 0 {
		return n, m.id(text[:n])
	}
	switch {
	case len(text) >= Longest:
		return Longest, m.id(text[:Longest])
	case end:
		return len(text), m.id(text)
	}
	return 0, ID{}
}

// boundary gives where the first chunk of text ends by its content; 0: nowhere. It is
// behind a quote, a line's end or a space whose eight bytes hash to zero: those marks
// are found much faster than every place is hashed.
func boundary(text []byte) int {
	for _, m := range [...]struct {
		mark byte
		mask uint64 // so that a mark in so many is a boundary: the rarer marks are, the more
	}{{'"', 3}, {'\n', 3}, {' ', 31}} {
		for at := Shortest - 1; ; at++ {
			n := bytes.IndexByte(text[min(at, len(text)):], m.mark)
			if n < 0 {
				break
			}
			at += n
			if binary.LittleEndian.Uint64(text[at-7:])*0x9e3779b97f4a7c15>>40&m.mask == 0 {
				return at + 1
			}
		}
	}
	return 0
}

// Remember says that id, behind prev, is clean.
func (m *Memory) Remember(prev, id ID) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[prev]
	if n == nil {
		n = m.add(prev)
	}
	for _, f := range n.after[:n.have] {
		if f == id {
			return
		}
	}
	copy(n.after[1:], n.after[:followers-1])
	n.after[0], n.have = id, min(n.have+1, followers)
}

func (m *Memory) add(id ID) *node {
	n := &node{}
	if len(m.order) < m.most {
		m.order = append(m.order, id)
	} else {
		delete(m.nodes, m.order[m.next])
		m.order[m.next] = id
		m.next = (m.next + 1) % m.most
	}
	m.nodes[id] = n
	return n
}

// Forget drops everything, as where the rules or the known secrets have changed.
func (m *Memory) Forget() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.nodes)
	m.order, m.next = nil, 0
}

// id is NH of a chunk of at most Longest bytes, with zeros up to a multiple of 32.
func (m *Memory) id(b []byte) ID {
	var hi, lo, c uint64
	n, k := len(b), m.key[:]
	for ; len(b) >= 64 && len(k) >= 8; b, k = b[64:], k[8:] {
		h0, l0 := bits.Mul64(binary.LittleEndian.Uint64(b)+k[0], binary.LittleEndian.Uint64(b[8:])+k[1])
		h1, l1 := bits.Mul64(binary.LittleEndian.Uint64(b[16:])+k[2], binary.LittleEndian.Uint64(b[24:])+k[3])
		lo, c = bits.Add64(lo, l0, 0)
		hi, _ = bits.Add64(hi, h0, c)
		lo, c = bits.Add64(lo, l1, 0)
		hi, _ = bits.Add64(hi, h1, c)
		h2, l2 := bits.Mul64(binary.LittleEndian.Uint64(b[32:])+k[4], binary.LittleEndian.Uint64(b[40:])+k[5])
		h3, l3 := bits.Mul64(binary.LittleEndian.Uint64(b[48:])+k[6], binary.LittleEndian.Uint64(b[56:])+k[7])
		lo, c = bits.Add64(lo, l2, 0)
		hi, _ = bits.Add64(hi, h2, c)
		lo, c = bits.Add64(lo, l3, 0)
		hi, _ = bits.Add64(hi, h3, c)
	}
	for ; len(b) >= 32 && len(k) >= 4; b, k = b[32:], k[4:] {
		h0, l0 := bits.Mul64(binary.LittleEndian.Uint64(b)+k[0], binary.LittleEndian.Uint64(b[8:])+k[1])
		h1, l1 := bits.Mul64(binary.LittleEndian.Uint64(b[16:])+k[2], binary.LittleEndian.Uint64(b[24:])+k[3])
		lo, c = bits.Add64(lo, l0, 0)
		hi, _ = bits.Add64(hi, h0, c)
		lo, c = bits.Add64(lo, l1, 0)
		hi, _ = bits.Add64(hi, h1, c)
	}
	if len(b) > 0 {
		var rest [32]byte
		copy(rest[:], b)
		for i := 0; i < 32; i += 16 {
			h, l := bits.Mul64(binary.LittleEndian.Uint64(rest[i:])+k[i/8], binary.LittleEndian.Uint64(rest[i+8:])+k[i/8+1])
			var c uint64
			lo, c = bits.Add64(lo, l, 0)
			hi, _ = bits.Add64(hi, h, c)
		}
	}
	return ID{hi, lo, uint64(n)}
}
