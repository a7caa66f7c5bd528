package mask

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

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
		if _, err := io.CopyBuffer(&got, struct{ io.Reader }{Reader(always(s), src)}, make([]byte, size)); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%q became %q, %v; want %q", text, got.String(), err, want)
		}
	})
}

func always(s *Set) func() *Set { return func() *Set { return s } }

// The weakness: a stream that began before a credential was renewed. The attack: its
// server learns the new value from another request and repeats it here. This proves
// that both the old and the new are starred from then on, also where the new set
// came while the beginning of an old needle was held back.
func TestStreamLearnsNewNeedles(t *testing.T) {
	const before, after = "old-secret-0123", "new-secret-4567"
	sets := []*Set{nil, New([]byte(before)), New([]byte(before), []byte(after))}
	parts := []string{after + ".", before + "." + before[:9], before[9:] + after[:5], after[5:] + "." + before}
	stars := strings.Repeat("*", len(before))
	want := after + "." + stars + "." + stars + stars + "." + stars
	var now *Set
	step := 0
	next := func() string {
		now = sets[min(step, len(sets)-1)]
		step++
		return parts[step-1]
	}
	src := readerFunc(func(p []byte) (int, error) {
		if step == len(parts) {
			return 0, io.EOF
		}
		return copy(p, next()), nil
	})
	got, err := io.ReadAll(Reader(func() *Set { return now }, src))
	if err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	step = 0
	pieces := NewPieces(func() *Set { return now })
	var out, waits []byte
	for i := range parts {
		b := append(waits, next()...)
		held := pieces.Next(b, i == 0, i == len(parts)-1)
		out, waits = append(out, b[:len(b)-held]...), bytes.Clone(b[len(b)-held:])
	}
	if string(out) != want {
		t.Errorf("in pieces: %q; want %q", out, want)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestShortAndNoSpellingsFindNothing(t *testing.T) {
	for _, s := range []*Set{nil, New(), New([]byte("short"), nil)} {
		b, h := []byte("a short text of some length"), http.Header{"X-Short": {"a short one"}}
		s.Header(h)
		if !s.Empty() || s.Bytes(b) || string(b) != "a short text of some length" || h.Get("X-Short") != "a short one" {
			t.Errorf("%q %v", b, h)
		}
		if got, err := io.ReadAll(Reader(always(s), iotest.OneByteReader(strings.NewReader("a text")))); string(got) != "a text" || err != nil || NewPieces(always(s)).Next(b, true, false) != 0 {
			t.Errorf("an empty set stands in the way: %q, %v", got, err)
		}
		if s.Contains(b) || s.Longest() != 0 {
			t.Error("it finds something")
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

// Whatever the needles and however the texts are cut into pieces: together these
// are the texts with every needle starred. What waits is less than the longest
// needle, nothing waits at a text's end, and no needle goes on from one into the next.
func TestEveryNeedleIsStarredAcrossPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var needles [][]byte
		longest := 1
		for _, n := range rapid.SliceOfN(rapid.StringMatching(`[ab]{6,12}`), 0, 9).Draw(t, "needles") {
			needles = append(needles, []byte(n))
			longest = max(longest, len(n))
		}
		set := New(needles...)
		p := NewPieces(func() *Set { return set })
		for _, text := range rapid.SliceOfN(rapid.StringMatching(`[abc]{0,60}`), 1, 4).Draw(t, "texts") {
			if len(needles) > 0 {
				text += string(rapid.SampledFrom(needles).Draw(t, "needle")) + rapid.StringMatching(`[ab*]{0,9}`).Draw(t, "after")
			}
			var got, waits []byte
			for left, begin := []byte(text), true; ; begin = false {
				if between := []byte(text); rapid.Bool().Draw(t, "another between") {
					if held := p.Next(between, true, true); held != 0 || !bytes.Equal(between, slowly([]byte(text), needles...)) {
						t.Fatalf("%q between became %q, and %d bytes wait", text, between, held)
					}
				}
				n := min(rapid.IntRange(0, 20).Draw(t, "piece"), len(left))
				b := append(bytes.Clone(waits), left[:n]...)
				left = left[n:]
				end := len(left) == 0
				held := p.Next(b, begin, end)
				if held >= longest || end && held != 0 {
					t.Fatalf("%d bytes wait, of needles of %d", held, longest)
				}
				got, waits = append(got, b[:len(b)-held]...), bytes.Clone(b[len(b)-held:])
				if end {
					break
				}
			}
			if want := slowly([]byte(text), needles...); !bytes.Equal(got, want) {
				t.Fatalf("%q became %q, want %q", text, got, want)
			}
		}
	})
}

// What waits may be a needle's end, starred, and another one's beginning. It stays
// known as it came, also over a text that comes between.
func TestWhatWaitsIsKnownAsItCame(t *testing.T) {
	set := New([]byte("abcdefgh"), []byte("efghijkl"))
	p := NewPieces(func() *Set { return set })
	first, between, last := []byte("xabcdefgh"), []byte("abcdefgh"), []byte("????ijkl")
	if held := p.Next(first, true, false); held != 4 || string(first) != "x********" {
		t.Fatalf("%q, %d wait", first, held)
	}
	if held := p.Next(between, true, true); held != 0 || string(between) != "********" {
		t.Errorf("%q, %d wait", between, held)
	}
	copy(last, first[5:])
	if held := p.Next(last, false, true); held != 0 || string(last) != "********" {
		t.Errorf("%q, %d wait", last, held)
	}
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
					_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, Reader(always(s), struct{ io.Reader }{bytes.NewReader(data)}), buf)
				}
			})
		}
	}
}

// However a text comes in pieces, each place is told of once.
func TestFoundIsToldOnce(t *testing.T) {
	text := "a secret-one, secret-onesecret-two and secret-on"
	for size := 1; size <= len(text); size++ {
		for name, read := range map[string]func(s *Set){
			"reader": func(s *Set) {
				_, _ = io.Copy(io.Discard, Reader(always(s), iotest.OneByteReader(strings.NewReader(text))))
			},
			"larger": func(s *Set) {
				r := Reader(always(s), strings.NewReader(text))
				for b := make([]byte, size); ; {
					if _, err := r.Read(b); err != nil {
						return
					}
				}
			},
			"pieces": func(s *Set) {
				p := NewPieces(func() *Set { return s })
				var b []byte
				for at := 0; at < len(text); at += size {
					b = append(b, text[at:min(at+size, len(text))]...)
					held := p.Next(b, at == 0, at+size >= len(text))
					b = append([]byte{}, b[len(b)-held:]...)
				}
			},
		} {
			told, s := 0, New([]byte("secret-one"), []byte("secret-two"))
			s.Found = func(n int) { told += n }
			if read(s); told != 3 {
				t.Fatalf("%s, %d bytes at a time: %d places", name, size, told)
			}
		}
	}
}
