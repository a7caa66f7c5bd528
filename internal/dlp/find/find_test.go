package find

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// slow is what Find must give, in the plainest way.
func slow(literals [][]byte, text []byte) []Hit {
	var out []Hit
	for i, l := range literals {
		for at := 0; at+len(l) <= len(text); at++ {
			if bytes.Equal(lower(text[at:at+len(l)]), lower(l)) {
				out = append(out, Hit{i, at, at + len(l)})
			}
		}
	}
	return sorted(out)
}

func sorted(hits []Hit) []Hit {
	slices.SortFunc(hits, func(a, b Hit) int { return cmp.Or(a.Start-b.Start, a.Literal-b.Literal, a.End-b.End) })
	return hits
}

func same(t interface {
	Helper()
	Fatalf(string, ...any)
}, literals [][]byte, text []byte) {
	t.Helper()
	s, err := New(literals, nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if got, want := sorted(s.Find(nil, text)), slow(literals, text); !slices.Equal(got, want) {
		t.Fatalf("%q in %q: %v, want %v", literals, text, got, want)
	}
}

// Every occurrence is found once, at every distance from the start and the end, in
// any case, and nothing else is.
func TestFindIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]string{`[abAB]`, `[a-eA-E@_.{\[]`, `[ -~]`, `[\x00-\xff]`}).Draw(t, "alphabet")
		literals := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []byte {
			return []byte(rapid.StringMatching(alphabet+`{3,9}`).Draw(t, "literal"))
		}), 1, 9).Draw(t, "literals")
		text := []byte(rapid.StringMatching(alphabet+`{0,80}`).Draw(t, "text"))
		if l := rapid.SampledFrom(literals).Draw(t, "planted"); rapid.Bool().Draw(t, "plant") {
			at := rapid.IntRange(0, len(text)).Draw(t, "at")
			text = slices.Concat(text[:at], bytes.ToUpper(l), text[at:])
		}
		for i := range literals {
			literals[i] = literals[i][:min(len(literals[i]), 255)]
		}
		same(t, literals, text)
	})
}

func TestFindAtEachPosition(t *testing.T) {
	for _, l := range []string{"key", "akia", "token", "-----begin", "\xff\x00\x80"} {
		for before := range 40 {
			for after := range 20 {
				same(t, [][]byte{[]byte(l), []byte("other")}, slices.Concat(bytes.Repeat([]byte("."), before), []byte(l), bytes.Repeat([]byte("-"), after)))
			}
		}
	}
}

func TestLiteralsThatCannotBeFound(t *testing.T) {
	for _, bad := range [][][]byte{{[]byte("ab")}, {nil}, {bytes.Repeat([]byte("a"), 256)}, make([][]byte, MostLiterals+1)} {
		if _, err := New(bad, nil); err == nil {
			t.Errorf("%d literals were taken", len(bad))
		}
	}
	var none *Set
	if hits := none.Find(nil, []byte("anything")); hits != nil {
		t.Error(hits)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("akia"), []byte("key"), []byte("an AKIA key"))
	f.Fuzz(func(t *testing.T, one, two, text []byte) {
		if len(one) < Shortest || len(two) < Shortest || len(one) > 255 || len(two) > 255 || len(text) > 4<<10 {
			t.Skip()
		}
		same(t, [][]byte{one, two}, text)
	})
}

// A short literal that counts only with a long run behind it is found wherever it has
// one: in the run, at its start, and across it; and nowhere else.
func TestShortLiteralsBeforeRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var literals [][]byte
		for range rapid.IntRange(1, 6).Draw(t, "literals") {
			literals = append(literals, []byte(rapid.StringMatching(`[ab.:-]{3,4}`).Draw(t, "literal")))
		}
		behind := make([]int, len(literals))
		for i := range behind {
			behind[i] = longRun
		}
		s, err := New(literals, behind)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte(rapid.StringMatching(`([ab.:-]{0,9}[ab-]{0,40}[. ]{0,3}){1,5}`).Draw(t, "text"))
		var want []Hit
		for _, h := range slow(literals, text) {
			if h.End+longRun <= len(text) && !slices.ContainsFunc(text[h.End:h.End+longRun], func(b byte) bool { return !isWord(b) }) {
				want = append(want, h)
			}
		}
		if got := sorted(s.Find(nil, text)); !slices.Equal(got, want) {
			t.Fatalf("%q in %q: %v, want %v", literals, text, got, want)
		}
	})
}

func TestParts(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			w := uint64(c)<<(8*at) | 'a'*0x0101010101010101&^(0xff<<(8*at))
			want := uint64(0)
			if isPart(byte(c)) {
				want = 0x80 << (8 * at)
			}
			if got := parts(w); got != want {
				t.Fatalf("%#x at %d: %x, want %x", c, at, got, want)
			}
		}
	}
}
