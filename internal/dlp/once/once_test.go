package once

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func key() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	k := make([]byte, KeySize)
	for i := range k {
		k[i] = byte(r.Uint32())
	}
	return k
}

func text(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, `{"role":"user","content":"line %d of a conversation, and %d more"},`, r.IntN(1000), r.Uint32())
	}
	return b.Bytes()[:n]
}

// chunks walks a text as a scanner does, remembers all of it, and gives how many bytes
// were known before.
func chunks(t interface{ Fatal(...any) }, m *Memory, b []byte, remember bool) (known int) {
	var prev Chunk
	for len(b) > 0 {
		c := m.Clean(prev, b)
		if c.Size > 0 {
			known += c.Size
		} else {
			c = m.Cut(b, true)
			if c.Size <= 0 || c.Size > Longest || c.Size < Shortest && c.Size != len(b) {
				t.Fatal("a chunk of ", c.Size)
			}
			if remember {
				m.Remember(prev, c, uint8(c.Size))
			}
		}
		prev, b = c, b[c.Size:]
	}
	return known
}

// What was sent before is known when it is sent again with more behind it, with
// something put in before it, and with a change in the middle, but for the chunks
// about the change.
func TestOnlyWhatIsNewIsUnknown(t *testing.T) {
	m := New(key(), 4096)
	first := text(1<<20, 1)
	if n := chunks(t, m, first, true); n != 0 {
		t.Fatalf("%d bytes of something new are known", n)
	}
	if n := chunks(t, m, first, false); n != len(first) {
		t.Errorf("%d of %d are known again", n, len(first))
	}
	longer := append(bytes.Clone(first), text(2048, 2)...)
	if n := chunks(t, m, longer, false); n < len(first)-Longest {
		t.Errorf("%d of %d are known with more behind", n, len(first))
	}
	for _, other := range [][]byte{append([]byte("something else first "), first...), append(append(bytes.Clone(first[:500000]), "changed"...), first[500000:]...)} {
		if n := chunks(t, m, other, false); n < len(first)-6*Longest {
			t.Errorf("%d of %d are known with something put in", n, len(first))
		}
	}
}

// One changed byte anywhere makes its chunk unknown, as does another chunk before it.
func TestAChangedByteIsNew(t *testing.T) {
	b := text(100<<10, 4)
	m := New(key(), 4096)
	chunks(t, m, b, true)
	rapid.Check(t, func(t *rapid.T) {
		c := bytes.Clone(b)
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		c[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		var prev Chunk
		for rest, off := c, 0; len(rest) > 0; {
			next := m.Clean(prev, rest)
			if next.Size > 0 && off <= at && at < off+next.Size {
				t.Fatalf("the chunk [%d,%d) is known although byte %d changed", off, off+next.Size, at)
			}
			if next.Size > 0 && next.Note != uint8(next.Size) {
				t.Fatalf("the note %d came back for %d bytes", next.Note, next.Size)
			}
			if next.Size == 0 {
				next = m.Cut(rest, true)
			}
			prev, rest, off = next, rest[next.Size:], off+next.Size
		}
	})
	one := m.Cut(b, true)
	two := m.Cut(b[one.Size:], true)
	if c := m.Clean(Chunk{}, b[one.Size:]); c.Size != 0 {
		t.Error("the second chunk is known as a first one")
	}
	if c := m.Clean(one, b[one.Size:]); c.Size != two.Size || c.ID != two.ID {
		t.Error("the second chunk is not known behind the first")
	}
	m.Forget()
	if c := m.Clean(Chunk{}, b); c.Size != 0 {
		t.Error("something is known after all was forgotten")
	}
}

// The hash is NH: the sum of products of 64-bit words and key words, mod 2^128.
func TestHashIsNH(t *testing.T) {
	k := key()
	m := New(k, 1)
	for _, n := range []int{1, 15, 16, 17, 31, 32, 33, 2048, 4095, Longest} {
		b := text(n, uint64(n))
		padded := append(bytes.Clone(b), make([]byte, 16)...)[:(n+15)/16*16]
		sum := new(big.Int)
		for i := 0; i < len(padded); i += 16 {
			x := binary.LittleEndian.Uint64(padded[i:]) + binary.LittleEndian.Uint64(k[i:])
			y := binary.LittleEndian.Uint64(padded[i+8:]) + binary.LittleEndian.Uint64(k[i+8:])
			sum.Add(sum, new(big.Int).Mul(new(big.Int).SetUint64(x), new(big.Int).SetUint64(y)))
		}
		sum.And(sum, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
		id := m.id(b)
		got := new(big.Int).Or(new(big.Int).Lsh(new(big.Int).SetUint64(id.hi), 64), new(big.Int).SetUint64(id.lo))
		if got.Cmp(sum) != 0 || id.size != uint64(n) {
			t.Errorf("%d bytes: %x, want %x", n, got, sum)
		}
	}
}

// The memory does not grow beyond its bound, and what it forgets is the oldest.
func TestMemoryIsBounded(t *testing.T) {
	m := New(key(), 100)
	for i := range 50 {
		chunks(t, m, text(100<<10, uint64(i+10)), true)
	}
	if len(m.nodes) > 100 || len(m.at) > 100 {
		t.Errorf("%d nodes, %d in order", len(m.nodes), len(m.at))
	}
	last := text(100<<10, 59)
	if n := chunks(t, m, last, false); n != len(last) {
		t.Errorf("%d of the last %d bytes are known", n, len(last))
	}
	var none *Memory
	none.Remember(Chunk{}, Chunk{}, 0)
	if c := none.Clean(Chunk{}, text(5000, 1)); c.Size != 0 {
		t.Error("a nil memory knows something")
	}
}

func BenchmarkKnown(b *testing.B) {
	m := New(key(), 4096)
	conversation := text(1<<20, 1)
	chunks(b, m, conversation, true)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if chunks(b, m, conversation, false) != len(conversation) {
			b.Fatal("not known")
		}
	}
}

func BenchmarkCut(b *testing.B) {
	m := New(key(), 4096)
	conversation := text(1<<20, 1)
	b.SetBytes(1 << 20)
	for b.Loop() {
		for rest := conversation; len(rest) > 0; {
			rest = rest[m.Cut(rest, true).Size:]
		}
	}
}
