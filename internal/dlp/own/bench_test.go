package own

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// goSource is up to limit bytes of the Go source that builds this test.
func goSource(t testing.TB, limit int) []byte {
	return files(t, filepath.Join(require.GoRoot(t), "src"), ".go", limit)
}

// files is what lies below a folder with names that end so.
func files(t testing.TB, folder, suffix string, limit int) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, suffix) || len(all) >= limit {
			return err
		}
		b, err := os.ReadFile(p)
		all = append(all, b...)
		return err
	})
	if err != nil || len(all) == 0 {
		t.Skip("no text below "+folder, err)
	}
	return all[:min(limit, len(all))]
}

// prose is up to limit bytes of what people wrote beside the modules of others.
func prose(t testing.TB, limit int) []byte {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Skip(err)
	}
	return files(t, filepath.Join(home, "go", "pkg", "mod"), ".md", limit)
}

func BenchmarkScan(b *testing.B) {
	source := goSource(b, 32<<20)
	for name, text := range map[string][]byte{"source": source, "prose": prose(b, 8<<20)} {
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
