package mask

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// slowly is the same as Bytes, as simply as it can be written.
func slowly(b []byte, needles ...[]byte) []byte {
	out := bytes.Clone(b)
	for _, n := range needles {
		for i := 0; len(n) >= Shortest && i+len(n) <= len(b); i++ {
			if bytes.HasPrefix(b[i:], n) {
				copy(out[i:], strings.Repeat("*", len(n)))
			}
		}
	}
	return out
}

// Whatever the needles, also where they overlap, and however the stream is cut:
// what comes out is the text with every needle starred, and nothing else changed.
func TestEveryNeedleIsStarredAcrossBorders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var needles [][]byte
		for _, n := range rapid.SliceOfN(rapid.StringMatching(`[ab]{6,12}`), 0, 9).Draw(t, "needles") {
			needles = append(needles, []byte(n))
		}
		text := rapid.StringMatching(`[ab]{0,60}`).Draw(t, "before")
		for _, n := range needles {
			text += string(n) + rapid.StringMatching(`[abc]{0,9}`).Draw(t, "between")
		}
		s := New(needles...)
		want := slowly([]byte(text), needles...)
		whole := []byte(text)
		if found := s.Bytes(whole); !bytes.Equal(whole, want) || found != !bytes.Equal(want, []byte(text)) {
			t.Fatalf("Bytes(%q) = %q, %v; want %q", text, whole, found, want)
		}
		var src io.Reader = strings.NewReader(text)
		if rapid.Bool().Draw(t, "byte by byte") {
			src = iotest.OneByteReader(src)
		}
		if rapid.Bool().Draw(t, "error with data") {
			src = iotest.DataErrReader(src)
		}
		size := rapid.IntRange(1, 16).Draw(t, "buffer")
		var got bytes.Buffer
		if _, err := io.CopyBuffer(&got, struct{ io.Reader }{s.Reader(src)}, make([]byte, size)); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%q became %q, %v; want %q", text, got.String(), err, want)
		}
	})
}

func TestShortAndNoSpellingsFindNothing(t *testing.T) {
	for _, s := range []*Set{nil, New(), New([]byte("short"), nil)} {
		b, h := []byte("a short text of some length"), http.Header{"X-Short": {"a short one"}}
		s.Header(h)
		if !s.Empty() || s.Bytes(b) || string(b) != "a short text of some length" || h.Get("X-Short") != "a short one" {
			t.Errorf("%q %v", b, h)
		}
		if src := strings.NewReader(""); s.Reader(src) != io.Reader(src) || s.Frames(src) != io.Reader(src) {
			t.Error("an empty set stands in the way")
		}
	}
}

// A needle in a field's name: names have no case, and net/http changes it.
func TestHeader(t *testing.T) {
	s := New([]byte("the-Real-secret-0123456789"))
	h := http.Header{"X-The-Real-Secret-0123456789-X": {"1"}, "X-Echo": {"Bearer the-Real-secret-0123456789, and more", "fine"}, "Etag": {"the-real"}}
	s.Header(h)
	if len(h) != 2 || h.Get("X-Echo") != "Bearer **************************, and more" || h["X-Echo"][1] != "fine" || h.Get("Etag") != "the-real" {
		t.Errorf("%q", h)
	}
}

// At the end of a WebSocket frame everything goes on, or two peers that wait for
// each other's frames would wait for ever; within one a needle is found however
// the network cuts it.
func TestFramesAreNotHeldBack(t *testing.T) {
	s := New([]byte("secret-0123456789"))
	for _, size := range []int{5, 200, 70000} {
		payload := strings.Repeat("x", size-5) + "secre" // what a needle begins with
		frame := head(size) + payload
		pr, pw := io.Pipe()
		got := make(chan string, 1)
		go func() {
			b := make([]byte, len(frame))
			_, _ = io.ReadFull(s.Frames(pr), b)
			got <- string(b)
		}()
		for part := range slices.Chunk([]byte(frame), 1021) {
			_, _ = pw.Write(part)
		}
		select {
		case text := <-got:
			if text != frame {
				t.Errorf("a frame of %d bytes was changed", size)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("a frame of %d bytes is held back", size)
		}
		_ = pw.Close()
	}
	text := "see secret-0123456789!"
	b, err := io.ReadAll(iotest.OneByteReader(s.Frames(iotest.OneByteReader(strings.NewReader(head(len(text)) + text + head(2) + "ok")))))
	if want := head(len(text)) + "see *****************!" + head(2) + "ok"; err != nil || string(b) != want {
		t.Errorf("%q, %v; want %q", b, err, want)
	}
}

// head is the head of an unmasked text frame.
func head(size int) string {
	switch {
	case size < 126:
		return "\x81" + string([]byte{byte(size)})
	case size < 1<<16:
		return "\x81\x7e" + string([]byte{byte(size >> 8), byte(size)})
	}
	return "\x81\x7f\x00\x00\x00\x00" + string([]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)})
}

// One pass, whatever the number of needles.
func BenchmarkReader(b *testing.B) {
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	text := bytes.Repeat([]byte(`{"name":"left-pad","version":"1.3.0","dist":{"tarball":"https://registry.example.org/left-pad"}},`), 11000)[:1<<20]
	for name, data := range map[string][]byte{"random": random, "json": text, "zeros": make([]byte, 1<<20)} {
		for _, many := range []int{1, 4, 16} {
			var needles [][]byte
			for range many {
				n := []byte("sk-0000000000000000000000000000000000000000")
				for i := range n[3:] {
					n[3+i] = "abcdefghijklmnopqrstuvwxyz0123456789"[rand.IntN(36)]
				}
				needles = append(needles, n)
			}
			s := New(needles...)
			b.Run(name+"/"+strconv.Itoa(many), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				buf := make([]byte, 32<<10)
				for b.Loop() {
					_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, s.Reader(struct{ io.Reader }{bytes.NewReader(data)}), buf)
				}
			})
		}
	}
}
