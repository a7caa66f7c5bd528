package own

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// goSource is up to limit bytes of the Go source that builds this test.
func goSource(t testing.TB, limit int) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(filepath.Join(runtime.GOROOT(), "src"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || len(all) >= limit {
			return err
		}
		b, err := os.ReadFile(p)
		all = append(all, b...)
		return err
	})
	if err != nil || len(all) == 0 {
		t.Skip("no Go source here:", err)
	}
	return all[:min(limit, len(all))]
}

// prose is text of ordinary words, long enough that no branch predictor learns it.
func prose(n int) []byte {
	words := strings.Fields(`the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you were her
		all she there would their we him been has when who will more no if out so said what up its about into than them can only other new some could time these two
		may then do first any my now such like our over man me even most made after also did many before must through back years where much your way well down should
		because each just those people mr how too little state good very make world still own see men work long here get both between life being under never day same
		another know while last might us great old year off come since against go came right used take three`)
	state := uint64(88172645463325252)
	var b strings.Builder
	for b.Len() < n {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		b.WriteString(words[state>>33%uint64(len(words))%uint64(len(words))])
		switch {
		case state%11 == 0:
			b.WriteString(", ")
		case state%67 == 0:
			b.WriteString(". The ")
		case state%17 == 0:
			b.WriteString("\n")
		default:
			b.WriteString(" ")
		}
	}
	return []byte(b.String())[:n]
}

func BenchmarkScan(b *testing.B) {
	source := goSource(b, 32<<20)
	for name, text := range map[string][]byte{"source": source, "prose": prose(8 << 20)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				Scan(nil, text)
			}
		})
		b.Run(name+"/groups", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				scan().groups(nil, text)
			}
		})
		b.Run(name+"/runs", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				scan().runs(nil, text)
			}
		})
		b.Run(name+"/urls", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				scan().urls(nil, text)
			}
		})
	}
}
