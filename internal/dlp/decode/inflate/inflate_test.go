package inflate

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
)

// TestWhatWasBeforeMeansNothing: the library keeps a decompressor's tables, and reads a block
// with an empty tree of codes by those of the body before. So what such a block gave, an end
// or damage, was decided by whoever's body came before. This proves that it is not.
func TestWhatWasBeforeMeansNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, broken := range []string{"$0\x00\x00A", "\x04\x00\x00\x00\xff\xff", "$\x00\x00\x00\x00", "\x0c\x00" + strings.Repeat("\x00", 20)} {
		said := map[string]bool{}
		for range 300 {
			var p Pool
			text := make([]byte, 1+r.IntN(2000))
			for i := range text {
				text[i] = byte(r.IntN(1 + r.IntN(256)))
			}
			var packed bytes.Buffer
			w, _ := flate.NewWriter(&packed, 1+r.IntN(9))
			_, _ = w.Write(text)
			_ = w.Close()
			for _, in := range []string{packed.String(), broken} {
				z := p.Reader(Deflate, strings.NewReader(in))
				out, err := io.ReadAll(z)
				_ = z.Close()
				if in == broken {
					said[fmt.Sprint(len(out), err)] = true
				} else if err != nil || !bytes.Equal(out, text) {
					t.Fatalf("a good text: %v", err)
				}
			}
		}
		if len(said) != 1 {
			t.Errorf("%q: %v", broken, said)
		}
	}
}

// TestKnownTextsAreWhole: each format's is read to its end, sums and all.

// TestKnownTextsAreWhole: each format's is read to its end, sums and all.
func TestKnownTextsAreWhole(t *testing.T) {
	for f := range formats {
		var p Pool
		if text := known(f); text != "" {
			for range 2 {
				u, err := p.Take(f, strings.NewReader(text))
				if err != nil {
					t.Fatal(f, err)
				}
				out, err := io.ReadAll(u)
				if err != nil || !strings.HasPrefix(string(out), "the tables of a decompressor") || len(out) >= len(bath{}.room) {
					t.Errorf("%d: %q, %v", f, out, err)
				}
				p.Give(f, u)
			}
		}
	}
}

func BenchmarkTake(b *testing.B) {
	b.ReportAllocs()
	var p Pool
	var r strings.Reader
	for b.Loop() {
		r.Reset(known(Zlib))
		u, err := p.Take(Zlib, &r)
		if err != nil {
			b.Fatal(err)
		}
		p.Give(Zlib, u)
	}
}
