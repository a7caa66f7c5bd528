package magic

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// writer writes bits, the lowest first.
type writer struct {
	out []byte
	n   int
}

func (b *writer) put(v, n int) {
	for i := range n {
		if b.n%8 == 0 {
			b.out = append(b.out, 0)
		}
		b.out[b.n/8] |= byte(v>>i&1) << (b.n % 8)
		b.n++
	}
}

// twoLetters is the beginning of a block of zlib with a code of one bit for each of two
// letters, and none for the block's end; or for one letter and the end.
func twoLetters(end bool) []byte {
	b := &writer{out: []byte{0x78, 0x9c}, n: 16}
	b.put(0, 1)  // not the last block
	b.put(2, 2)  // with a code of its own
	b.put(0, 5)  // 257 lengths of letters
	b.put(0, 5)  // one of distances
	b.put(14, 4) // 18 lengths of the code of lengths
	for _, n := range []int{0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2} {
		b.put(n, 3) // zeros in a row: 0; 0: 10; 1: 11
	}
	zeros := func(n int) { b.put(0, 1); b.put(n-11, 7) }
	zeros(65)
	b.put(3, 2) // A
	if end {
		b.put(1, 2)
	} else {
		b.put(3, 2) // B
	}
	zeros(138)
	if zeros(51); end {
		b.put(3, 2)
	} else {
		b.put(1, 2)
	}
	b.put(3, 2)
	b.put(0x1555, 16)
	return append(b.out, 0xff, 0xff)
}

// Machine code holds what looks like a block that never ends, and costs hundreds of times
// its size to look into. What zlib writes has an end.
func TestBlockWithoutAnEndIsNoZlib(t *testing.T) {
	if Zlib(twoLetters(false)) {
		t.Error("a block without an end is taken for zlib")
	}
	if !Zlib(twoLetters(true)) {
		t.Error("the same with an end is not")
	}
	empty, err := hex.DecodeString("484b250112a048b336ac56e88168b63e1526b7b1f3eafc3b9ea741d3631c774a9bc9e0fdf9cd34b4d3fce16d9c7f5832")
	if err != nil || Zlib(empty) {
		t.Errorf("a block without a letter is taken for zlib, %v", err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 300 {
		var text strings.Builder
		for range 50 + r.IntN(300) {
			fmt.Fprintf(&text, "%x ", r.IntN(1<<r.IntN(30)))
		}
		var b bytes.Buffer
		w, _ := zlib.NewWriterLevel(&b, 1+i%9)
		_, _ = w.Write([]byte(text.String()))
		_ = w.Close()
		for _, n := range []int{12, 40, b.Len()} {
			if !Zlib(b.Bytes()[:n]) {
				t.Fatalf("%d bytes of zlib are not taken for it", n)
			}
		}
	}
}

// TestZstdFrame: whatever a compressor writes is one; the mark in random bytes seldom is.
func TestZstdFrame(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	random := make([]byte, 300<<10)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	for _, size := range []int{0, 1, 100, 255, 256, 70 << 10, 300 << 10} {
		for _, text := range [][]byte{random[:size], bytes.Repeat([]byte("a"), size)} {
			for level := zstd.SpeedFastest; level <= zstd.SpeedBestCompression; level++ {
				for _, single := range []bool{false, true} {
					enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithSingleSegment(single), zstd.WithEncoderCRC(single), zstd.WithZeroFrames(true))
					if err != nil {
						t.Fatal(err)
					}
					packed := enc.EncodeAll(text, nil)
					for n := range packed[:min(len(packed), 20)] {
						if n >= 4 && !ZstdFrame(packed[:n]) {
							t.Errorf("%d bytes, level %v, cut at %d: % x", size, level, n, packed[:n])
						}
					}
					var stream bytes.Buffer
					enc.Reset(&stream)
					_, _ = enc.Write(text)
					_ = enc.Close()
					if !ZstdFrame(packed) || !ZstdFrame(stream.Bytes()) {
						t.Errorf("%d bytes, level %v", size, level)
					}
				}
			}
		}
	}
	n := 0
	for i := range len(random) - 32 {
		b := append([]byte(Zstd), random[i:i+28]...)
		if ZstdFrame(b) {
			n++
		}
	}
	if all := len(random); n > all/30 || n < all/80 {
		t.Errorf("%d of %d", n, all)
	}
}
