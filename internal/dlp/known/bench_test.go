package known

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"bottle/test/require"
)

func BenchmarkNew50(b *testing.B) {
	secrets, _ := fifty(b)
	b.ReportAllocs()
	for b.Loop() {
		New(secrets)
	}
}

func BenchmarkNewKeyFile(b *testing.B) {
	for _, k := range keyFiles(b) {
		b.Run(k.name, func(b *testing.B) {
			for b.Loop() {
				New([]Secret{{Name: "x", Value: k.file}})
			}
		})
	}
}

func BenchmarkAt(b *testing.B) {
	secrets, s := fifty(b)
	lit := -1
	for i, at := range s.sites {
		if s.segs[at[0].seg].secret == 0 && !at[0].reversed {
			lit = i
			break
		}
	}
	hit := s.lits[lit]
	full := []byte("token=" + string(secrets[0].Value) + "&x")
	for name, text := range map[string][]byte{"miss": []byte("some " + string(hit) + " else"), "whole": full} {
		at := bytes.Index(foldAll(text), hit)
		b.Run(name, func(b *testing.B) {
			var dst []Match
			b.ReportAllocs()
			for b.Loop() {
				dst = s.At(dst[:0], text, lit, at, at+len(hit))
			}
			if (len(dst) > 0) != (name == "whole") {
				b.Fatal(dst)
			}
		})
	}
}

func BenchmarkPieces(b *testing.B) {
	_, s := fifty(b)
	texts := map[string][]byte{}
	r := rand.New(rand.NewPCG(13, 14))
	walk(b, filepath.Join(require.GoRoot(b), "src", "net", "http"), func(text []byte) { texts["source"] = append(texts["source"], text...) })
	texts["base64"] = []byte(random(r, alnum+"+/", 1<<20))
	texts["hex"] = []byte(random(r, "0123456789abcdef", 1<<20))
	texts["hostile"] = bytes.Repeat(s.segs[0].raw[8:12], 1<<18) // one gram, again and again
	for name, text := range texts {
		text = text[:min(len(text), 1<<20)]
		b.Run(name, func(b *testing.B) {
			var dst []Piece
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				for i := 0; i < len(text); i += 64 << 10 {
					dst = s.Pieces(dst[:0], text[i:min(len(text), i+64<<10)])
				}
			}
		})
	}
}

func BenchmarkMemory(b *testing.B) {
	_, s := fifty(b)
	pieces := s.Pieces(nil, s.segs[0].raw[8:15])
	b.Run("clean", func(b *testing.B) {
		m := NewMemory(s, 1000, 0)
		b.ReportAllocs()
		for b.Loop() {
			m.Saw("a.example", nil, now)
		}
	})
	b.Run("again", func(b *testing.B) {
		m := NewMemory(s, 1000, 0)
		b.ReportAllocs()
		for b.Loop() {
			m.Saw("a.example", pieces, now)
		}
	})
	b.Run("flood", func(b *testing.B) {
		m := NewMemory(s, 1000, 0)
		names := make([]string, 1<<14)
		for i := range names {
			names[i] = fmt.Sprintf("%d.example", i)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m.Saw(names[i%len(names)], pieces, now)
		}
	})
}

func BenchmarkJoiner(b *testing.B) {
	values := make([][]byte, 1000)
	size := 0
	for i := range values {
		values[i] = bytes.Repeat([]byte("v"), i%100)
		size += len(values[i])
	}
	j := NewJoiner(func([]byte) {})
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, v := range values {
			j.Add(v)
		}
		j.Flush()
	}
}
