package known

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"bottle/test/require"

	"pgregory.net/rapid"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func fifty(tb testing.TB) ([]Secret, *Set) {
	tb.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	var secrets []Secret
	for i := 0; len(secrets) < 50; i++ {
		v := shapes(r)
		secrets = append(secrets, Secret{Name: fmt.Sprint("s", len(secrets)), Value: []byte(v[i%len(v)]), Certain: true})
	}
	s := New(secrets)
	if len(s.Skipped()) > 0 {
		tb.Fatal(s.Skipped())
	}
	return secrets, s
}

// cutUp cuts v into pieces of low to high bytes.
func cutUp(r *rand.Rand, v []byte, low, high int) [][]byte {
	var out [][]byte
	for len(v) > 0 {
		n := min(len(v), low+r.IntN(high-low+1))
		if len(v)-n < low {
			n = len(v)
		}
		out, v = append(out, v[:n]), v[n:]
	}
	return out
}

func TestJoinerFindsPiecesOfAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRand(t)
		v := []byte(rapid.SampledFrom(shapes(r)).Draw(t, "value"))
		s := New([]Secret{{Name: "x", Value: v, Certain: true}})
		found := false
		j := NewJoiner(func(text []byte) {
			if len(text) > joinMost {
				t.Fatalf("%d bytes", len(text))
			}
			found = found || len(scan(s, text)) > 0
		})
		noise := func() {
			for range r.IntN(400) {
				j.Add([]byte(random(r, ".~ ", r.IntN(200))))
			}
		}
		noise()
		for _, p := range cutUp(r, v, 1, 15) {
			j.Add(p)
		}
		noise()
		j.Flush()
		if !found {
			t.Fatalf("%q not found", v)
		}
	})
}

func TestJoinerJoinsNothingElse(t *testing.T) {
	v := "ghp_a8Fk39slQp20dkfj38ZqWm47TyRn55BvCx61"
	s := New([]Secret{{Name: "x", Value: []byte(v), Certain: true}})
	count := 0
	j := NewJoiner(func(text []byte) { count += len(scan(s, text)) })
	j.Add([]byte(v[:12]))
	j.Split()
	j.Add([]byte(v[12:24]))
	j.Add(append([]byte(v[24:36]), make([]byte, 100)...))
	j.Add([]byte(v[36:]))
	j.Flush()
	j.Flush()
	long := append([]byte(v[:10]), bytes.Repeat([]byte("x"), 60)...)
	j.Add(append(append(bytes.Repeat([]byte("x"), 22), v[:10]...), v[10:20]...)) // one value: scanned where it stands, and here
	j.Split()
	j.Add(long)
	j.Flush()
	if count != 2 { // 12..36 across two values, 0..20 in one
		t.Errorf("%d matches", count)
	}
}

func TestJoinerLosesNothingWhereItScans(t *testing.T) {
	v := []byte("a8Fk39slQp20dkfj")
	s := New([]Secret{{Name: "x", Value: v, Certain: true}})
	for fill := joinMost - 40; fill <= joinMost; fill++ {
		found, texts := 0, 0
		j := NewJoiner(func(text []byte) { found, texts = found+len(scan(s, text)), texts+1 })
		for n := 0; n < fill; n += 64 {
			j.Add(bytes.Repeat([]byte("~"), min(64, fill-n)))
		}
		for i := range v {
			j.Add(v[i : i+1])
		}
		j.Add([]byte("~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~"))
		j.Flush()
		if found == 0 || texts != 2 {
			t.Fatalf("after %d bytes: found %d times in %d texts", fill, found, texts)
		}
	}
}

func TestPiecesStandAlone(t *testing.T) {
	v := "ghp_a8Fk39slQp20dkfj38ZqWm47TyRn55BvCx61"
	s := New([]Secret{{Name: "x", Value: []byte(v), Certain: true}})
	for _, c := range []struct {
		text         string
		strong, weak int
	}{
		{v[4:8], 0, 1},
		{"xx" + v[4:8] + "yy", 0, 1},
		{"xx" + v[4:8] + "yyy", 0, 0}, // as a run of base64 would have it by chance
		{"xxx-" + v[4:8] + "-yyy", 0, 1},
		{strings.ToLower(v[4:8]), 0, 0},
		{v[4:10], 1, 0},
		{"xxxx" + v[4:10] + "yyy", 0, 0},
		{"xxxxxxxxx" + v[4:12] + "yyyyyyyyy", 1, 0},
		{"xxxxxxxxx" + strings.ToLower(v[4:12]) + "yyyyyyyyy", 1, 0},
		{"xxxxxxxxx" + strings.ToLower(v[4:11]) + "yyyyyyyyy", 0, 0},
		{v[4:8] + "," + v[8:12] + "," + v[4:7], 0, 2},
	} {
		strong, weak := 0, 0
		for _, p := range s.Pieces(nil, []byte(c.text)) {
			if p.Strong {
				strong++
			} else {
				weak++
			}
		}
		if strong != c.strong || weak != c.weak {
			t.Errorf("%s: %d strong, %d weak; want %d, %d", c.text, strong, weak, c.strong, c.weak)
		}
	}
	words := New([]Secret{{Name: "TOKEN", Value: []byte("correct horse battery staple")}})
	if p := words.Pieces(nil, []byte("correct horse battery")); len(p) != 0 {
		t.Errorf("words: %+v", p)
	}
}

func TestPiecesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRand(t)
		v := []byte("ghp_" + random(r, alnum, 36))
		s := New([]Secret{{Name: "x", Value: v, Certain: true}})
		size := rapid.IntRange(4, 15).Draw(t, "size")
		from := rapid.IntRange(0, len(v)-size).Draw(t, "from")
		part := v[from : from+size]
		if _, prose := readsAsWords(part); prose || classOf(part) != mixed {
			t.Skip("a word, or digits that tell less")
		}
		text := []byte(random(r, ".~ ", r.IntN(40)) + "=")
		start := len(text)
		text = append(append(text, part...), "&"...)
		text = append(text, random(r, ".~ ", r.IntN(40))...)
		for _, p := range s.Pieces(nil, text) {
			if p.From <= from && p.To >= from+size && p.Start <= start && p.Strong == (size >= 6) {
				return
			}
		}
		t.Fatalf("%q in %q: %+v", part, text, s.Pieces(nil, text))
	})
}

func TestMemoryFindsPiecesOverRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRand(t)
		v := []byte("ghp_" + random(r, alnum, 36))
		s := New([]Secret{{Name: "x", Value: v, Certain: true}})
		m := NewMemory(s, 4, 0)
		parts := cutUp(r, v, 6, 11)
		for _, p := range parts {
			if _, prose := readsAsWords(p); prose || classOf(p) != mixed {
				t.Skip("a word, or digits that tell less")
			}
		}
		r.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
		clock := now
		for _, p := range parts {
			clock = clock.Add(time.Minute)
			m.Saw("other.example", s.Pieces(nil, []byte("/v1/items?q=hello")), clock)
			if got := m.Saw("a.example", s.Pieces(nil, []byte("/get?q="+string(p))), clock); len(got) > 0 {
				if got[0].Name != "x" || got[0].To-got[0].From < partial {
					t.Fatalf("%+v", got)
				}
				return
			}
		}
		t.Fatalf("%q not found in %q", v, parts)
	})
}

func TestMemoryFindsSmallPiecesInOrder(t *testing.T) {
	v := "ghp_a8Fk39slQp20dkfj38ZqWm47TyRn55BvCx61"
	s := New([]Secret{{Name: "x", Value: []byte(v), Certain: true}})
	send := func(m *Memory, dest string, order ...int) (found int) {
		for _, i := range order {
			if got := m.Saw(dest, s.Pieces(nil, []byte("/x/"+v[i:i+4]+"?y")), now); len(got) > 0 {
				found++
			}
		}
		return found
	}
	if send(NewMemory(s, 9, 0), "d", 4, 8, 12, 12, 16) != 1 {
		t.Error("not found in order, with one request sent again")
	}
	if send(NewMemory(s, 9, 0), "d", 16, 12, 8, 4, 20, 28, 32, 24) != 0 {
		t.Error("found out of order")
	}
	m := NewMemory(s, 9, 0)
	if send(m, "d", 4, 8)+send(m, "e", 12, 16) != 0 {
		t.Error("two destinations were put together")
	}
}

func TestMemoryForgets(t *testing.T) {
	v := "ghp_a8Fk39slQp20dkfj38ZqWm47TyRn55BvCx61"
	s := New([]Secret{{Name: "x", Value: []byte(v), Certain: true}})
	send := func(m *Memory, part string, at time.Time) int {
		return len(m.Saw("d", s.Pieces(nil, []byte("q="+part)), at))
	}
	m := NewMemory(s, 9, time.Hour)
	if send(m, v[:10], now) != 0 || send(m, v[10:20], now.Add(61*time.Minute)) != 0 {
		t.Error("an old piece counted")
	}
	if send(m, v[20:30], now.Add(90*time.Minute)) != 1 {
		t.Error("a fresh piece did not count")
	}
	if send(m, v[20:30], now.Add(91*time.Minute)) != 1 {
		t.Error("what was denied could be sent alone afterwards")
	}
}

func TestMemoryCountsPartsOfTheWhole(t *testing.T) {
	v := "a8Fk39slQp20dkfj38Zq"
	s := New([]Secret{{Name: "x", Value: []byte(v), Certain: true}})
	m := NewMemory(s, 9, 0)
	if got := m.Saw("d", s.Pieces(nil, []byte(v[:7]+" "+v[13:])), now); len(got) != 0 {
		t.Errorf("14 of 20: %+v", got)
	}
	if got := m.Saw("d", s.Pieces(nil, []byte(v[:8]+" "+v[13:])), now); len(got) != 1 || got[0].From != 0 || got[0].To != 20 {
		t.Errorf("15 of 20: %+v", got)
	}
	short := "k3Y9f8Qe7Dz1"
	s = New([]Secret{{Name: "x", Value: []byte(short), Certain: true}})
	m = NewMemory(s, 9, 0)
	if got := m.Saw("d", s.Pieces(nil, []byte(short[:6])), now); len(got) != 0 {
		t.Errorf("half: %+v", got)
	}
	if got := m.Saw("d", s.Pieces(nil, []byte(short[6:])), now); len(got) != 1 || !got[0].Whole {
		t.Errorf("all of a short one: %+v", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	_, s := fifty(t)
	m := NewMemory(s, 1000, 0)
	secret := s.segs[0].raw
	pieces := s.Pieces(nil, secret[8:15])
	if len(pieces) == 0 {
		t.Fatal("no piece")
	}
	for i := range 1_000_000 {
		m.Saw(fmt.Sprintf("%d.example", i), pieces, now)
	}
	if len(m.dests) != 1000 || m.order.Len() != 1000 {
		t.Errorf("%d destinations", len(m.dests))
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 100_000 {
		i := r.IntN(len(s.segs))
		from := r.IntN(len(s.segs[i].text) - 8)
		m.Saw("one", []Piece{{seg: int32(i), From: from, To: from + 4 + r.IntN(4), Strong: true}}, now)
	}
	d := m.dests["one"].Value.(*destination)
	if len(d.stretches) > maxStretches || len(d.chains) > maxStretches || cap(d.stretches) > 2*maxStretches {
		t.Errorf("%d stretches, %d chains", len(d.stretches), len(d.chains))
	}
	var many []Secret
	for i := range 300 {
		many = append(many, Secret{Name: "s", Value: []byte(random(rand.New(rand.NewPCG(uint64(i), 1)), alnum, 20)), Certain: true})
	}
	s = New(many)
	m = NewMemory(s, 1, 0)
	for i := range s.segs {
		m.Saw("one", []Piece{{seg: int32(i), From: 0, To: 6, Strong: true}}, now)
	}
	d = m.dests["one"].Value.(*destination)
	if len(d.stretches) != maxStretches || len(d.chains) != maxStretches {
		t.Errorf("%d stretches, %d chains", len(d.stretches), len(d.chains))
	}
	m.Saw("one", []Piece{{seg: 1 << 20}, {seg: -1}, {From: 5, To: 4}, {From: -1, To: 4}, {From: 0, To: 1 << 20}}, now)
}

// The figures at Pieces and Saw: bodies of 16 KiB, all in one hour to one destination.
func TestRandomTrafficIsNoFinding(t *testing.T) {
	if require.Race {
		t.Skip("there is one goroutine here; it runs without the race detector")
	}
	_, s := fifty(t)
	size := 64 << 20
	for name, alphabet := range map[string]string{"base64": alnum + "+/", "hex": "0123456789abcdef"} {
		r := rand.New(rand.NewPCG(9, 10))
		m := NewMemory(s, 4, 0)
		body := make([]byte, 16<<10)
		var pieces []Piece
		strong, weak := 0, 0
		for range size / len(body) {
			for i := 0; i < len(body); i += 8 {
				x := r.Uint64()
				for k := range 8 {
					body[i+k] = alphabet[int(x>>(8*k)&0xff)%len(alphabet)]
				}
			}
			pieces = s.Pieces(pieces[:0], body)
			for _, p := range pieces {
				if p.Strong {
					strong++
				} else {
					weak++
				}
			}
			if got := m.Saw("d", pieces, now); len(got) != 0 {
				t.Errorf("%s: %+v", name, got)
			}
		}
		t.Logf("%s: %d strong and %d weak pieces in %d MiB", name, strong, weak, size>>20)
		if strong > 4 {
			t.Errorf("%s: %d strong pieces", name, strong)
		}
	}
}

func TestFold8(t *testing.T) {
	for c := range 256 {
		for k := range 8 {
			b := []byte("@AZ[`az{")
			b[k] = byte(c)
			var got [8]byte
			binary.LittleEndian.PutUint64(got[:], fold8(binary.LittleEndian.Uint64(b)))
			if !bytes.Equal(got[:], foldAll(b)) {
				t.Fatalf("%q: %q", b, got)
			}
		}
	}
}

func FuzzPieces(f *testing.F) {
	secrets, s := fifty(f)
	f.Add([]byte("q="), secrets[0].Value, []byte("&"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		text := append(append(append([]byte{}, a...), b...), c...)
		for _, p := range s.Pieces(nil, text) {
			if !bytes.EqualFold(text[p.Start:p.End], s.segs[p.seg].text[p.From:p.To]) || p.End-p.Start < gram {
				t.Errorf("%+v in %q", p, text)
			}
		}
		NewMemory(s, 1, 0).Saw("d", s.Pieces(nil, text), now)
	})
}

// The weakness: the memory of a destination is bounded. The attack: a repository's .env
// holds hundreds of values of which the agent sends pieces between those of a real one.
// This proves that decoys push out decoys.
func TestDecoysDoNotPushOutWhatIsReal(t *testing.T) {
	const real = "ghp_a8Fk39slQp20dkfj38ZqWm47TyRn55BvCx61"
	for _, foreign := range []bool{true, false} {
		list := []Secret{{Name: "real", Value: []byte(real), Certain: true}}
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 4 * maxStretches {
			v := make([]byte, 32)
			for k := range v {
				v[k] = alnum[r.IntN(len(alnum))]
			}
			list = append(list, Secret{Name: fmt.Sprint(".env:TOKEN_", i), Value: v, Foreign: foreign})
		}
		s := New(list)
		m := NewMemory(s, 4, 0)
		found := false
		for at := 0; at+10 <= len(real); at += 10 {
			for _, got := range m.Saw("d", s.Pieces(nil, []byte("q="+real[at:at+10])), now) {
				found = found || got.Name == "real"
			}
			for _, decoy := range list[1:] {
				m.Saw("d", s.Pieces(nil, append([]byte("q="), decoy.Value[4:14]...)), now)
			}
		}
		if found != foreign {
			t.Errorf("decoys that are foreign: %v; the secret was found: %v", foreign, found)
		}
	}
}
