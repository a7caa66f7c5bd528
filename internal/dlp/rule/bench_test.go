package rule

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// goSource is the Go files of the standard library's net and crypto.
func goSource(t testing.TB) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, dir := range []string{"net", "crypto"} {
		root := filepath.Join(require.GoRoot(t), "src", dir)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			b, err := os.ReadFile(path)
			all.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if all.Len() < 1<<20 {
		t.Fatal("no Go source")
	}
	return all.Bytes()
}

type hit struct{ lit, start, end int }

// hitsOf finds all literals, by their first three bytes.
func hitsOf(s *Set, text []byte) []hit {
	by := map[[3]byte][]int{}
	for n, l := range s.literals {
		k := [3]byte{l[0], l[1], l[2]}
		by[k] = append(by[k], n)
	}
	var out []hit
	for i := 0; i+3 <= len(text); i++ {
		for _, n := range by[[3]byte{lower(text[i]), lower(text[i+1]), lower(text[i+2])}] {
			if l := s.literals[n]; i+len(l) <= len(text) && hasFold(text[i:], l) {
				out = append(out, hit{n, i, i + len(l)})
			}
		}
	}
	return out
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		rules, err := Gitleaks()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Compile(rules); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSource is all that At does for real source code; the search for the
// literals is not measured.
func BenchmarkSource(b *testing.B) {
	s := gitleaksSet(b)
	text := goSource(b)
	hits := hitsOf(s, text)
	var found []Match
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		found = found[:0]
		for _, h := range hits {
			found = s.At(found, text, h.lit, h.start, h.end)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(text)), "ns/byte")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(hits)), "ns/hit")
	b.ReportMetric(float64(len(hits))/float64(len(text))*1e6, "hits/MB")
	effort := Effort * len(hits)
	for _, h := range hits {
		s.AtMost(nil, &effort, text, h.lit, h.start, h.end)
	}
	b.ReportMetric(float64(Effort*len(hits)-effort)/float64(len(text))*1e6, "regexp-bytes/MB")
	b.ReportMetric(float64(len(found)), "found")
}
