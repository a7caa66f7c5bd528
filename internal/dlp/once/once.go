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

// ID names a chunk by its keyed hash.
type ID struct{ hi, lo, size uint64 }

// Memory is the clean chunks of one set of rules. It is safe for many goroutines. A
// nil Memory remembers nothing.
type Memory struct {
	key  [KeySize / 8]uint64
	most int

	mu    sync.Mutex
	at    map[ID]int // of nodes
	nodes []node     // in a ring, the oldest at next
	next  int
}

// node is a chunk, and what is clean behind it, the newest first.
type node struct {
	id    ID
	have  int
	after [followers]follower
}

type follower struct {
	id   ID
	node int   // where it is, if it is still there
	note uint8 // the caller's
}

// New makes a memory with a random key of KeySize bytes that nobody else learns. It
// keeps at most most chunks: about 250 bytes of memory for some 2,500 bytes of text.
func New(key []byte, most int) *Memory {
	m := &Memory{most: max(most, 1), at: map[ID]int{}}
	for i := range m.key {
		m.key[i] = binary.LittleEndian.Uint64(key[8*i:])
	}
	return m
}

// Chunk is a piece of text. The zero Chunk stands before the first.
type Chunk struct {
	ID   ID
	Size int   // in bytes; 0: there is none
	Note uint8 // what Remember was told
	node int   // where it may be
}

// Clean gives the chunk at the start of text, if it is known to be clean behind prev.
func (m *Memory) Clean(prev Chunk, text []byte) Chunk {
	if m == nil {
		return Chunk{}
	}
	m.mu.Lock()
	var after [followers]follower
	have := 0
	if n := m.find(prev); n >= 0 {
		have = m.nodes[n].have
		copy(after[:have], m.nodes[n].after[:have])
	}
	m.mu.Unlock()
	last := uint64(0)
	var id ID
	for _, f := range after[:have] {
		if f.id.size > uint64(len(text)) {
			continue
		}
		if f.id.size != last {
			last, id = f.id.size, m.id(text[:f.id.size])
		}
		if id == f.id {
			return Chunk{id, int(id.size), f.note, f.node}
		}
	}
	return Chunk{}
}

// find gives where the node of a chunk is; -1: nowhere.
func (m *Memory) find(c Chunk) int {
	if c.node < len(m.nodes) && m.nodes[c.node].id == c.ID {
		return c.node
	}
	if n, ok := m.at[c.ID]; ok {
		return n
	}
	return -1
}

// Cut gives the chunk at the start of text, which is not known. It is all of text where
// no boundary is in it; if more may follow (end is not set), that is no chunk yet, and
// its size is 0.
func (m *Memory) Cut(text []byte, end bool) Chunk {
	if m == nil { // nothing to be compared with: any size will do
		if len(text) < Longest && !end {
			return Chunk{}
		}
		return Chunk{Size: min(len(text), Longest)}
	}
	n := boundary(text[:min(len(text), Longest)])
	switch {
	case n > 0:
	case len(text) >= Longest:
		n = Longest
	case end:
		n = len(text)
	default:
		return Chunk{}
	}
	return Chunk{ID: m.id(text[:n]), Size: n}
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

// Remember says that c, behind prev, is clean. note is given back with it.
func (m *Memory) Remember(prev, c Chunk, note uint8) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := follower{c.ID, m.node(c), note}
	n := &m.nodes[m.node(prev)]
	for i := range n.after[:n.have] {
		if n.after[i].id == c.ID {
			n.after[i] = f
			return
		}
	}
	copy(n.after[1:], n.after[:followers-1])
	n.after[0], n.have = f, min(n.have+1, followers)
}

// node finds the node of a chunk, or makes it.
func (m *Memory) node(c Chunk) int {
	if at := m.find(c); at >= 0 {
		return at
	}
	at := m.next
	if len(m.nodes) < m.most {
		at = len(m.nodes)
		m.nodes = append(m.nodes, node{})
	} else {
		delete(m.at, m.nodes[at].id)
		m.next = (at + 1) % m.most
	}
	m.nodes[at] = node{id: c.ID}
	m.at[c.ID] = at
	return at
}

// Forget drops everything, as where the rules or the known secrets have changed.
func (m *Memory) Forget() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.at)
	m.nodes, m.next = nil, 0
}

// id is NH of a chunk of at most Longest bytes, with zeros up to a multiple of 16.
func (m *Memory) id(b []byte) ID {
	var hi, lo, c uint64
	n, i := len(b), 0
	for ; i+128 <= n; i += 128 { // a longer step costs less for each byte
		t, k := (*[128]byte)(b[i:]), (*[16]uint64)(m.key[i/8:])
		h, l := bits.Mul64(binary.LittleEndian.Uint64(t[0:])+k[0], binary.LittleEndian.Uint64(t[8:])+k[1])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
		h, l = bits.Mul64(binary.LittleEndian.Uint64(t[16:])+k[2], binary.LittleEndian.Uint64(t[24:])+k[3])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
		h, l = bits.Mul64(binary.LittleEndian.Uint64(t[32:])+k[4], binary.LittleEndian.Uint64(t[40:])+k[5])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
		h, l = bits.Mul64(binary.LittleEndian.Uint64(t[48:])+k[6], binary.LittleEndian.Uint64(t[56:])+k[7])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
		h, l = bits.Mul64(binary.LittleEndian.Uint64(t[64:])+k[8], binary.LittleEndian.Uint64(t[72:])+k[9])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
		h, l = bits.Mul64(binary.LittleEndian.Uint64(t[80:])+k[10], binary.LittleEndian.Uint64(t[88:])+k[11])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
		h, l = bits.Mul64(binary.LittleEndian.Uint64(t[96:])+k[12], binary.LittleEndian.Uint64(t[104:])+k[13])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
		h, l = bits.Mul64(binary.LittleEndian.Uint64(t[112:])+k[14], binary.LittleEndian.Uint64(t[120:])+k[15])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
	}
	for ; i < n; i += 16 {
		var t [16]byte
		copy(t[:], b[i:])
		h, l := bits.Mul64(binary.LittleEndian.Uint64(t[0:])+m.key[i/8], binary.LittleEndian.Uint64(t[8:])+m.key[i/8+1])
		lo, c = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, c)
	}
	return ID{hi, lo, uint64(n)}
}
