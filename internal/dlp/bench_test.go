package dlp

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// source is Go's own source code, all of it.
func source(tb testing.TB) []byte {
	tb.Helper()
	root := filepath.Join(require.GoRoot(tb), "src")
	var all bytes.Buffer
	if err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || all.Len() > 30<<20 {
			return err
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		all.Write(b)
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return all.Bytes()
}

// pass looks at a whole text as a body, whatever is found.
func pass(e *Engine, text []byte) (findings int) {
	b := e.Body()
	for len(text) > 0 {
		n := min(len(text), Window)
		b.Write(text[:n])
		text = text[n:]
		if found := b.Scan(len(text) == 0); found != nil {
			findings += len(found)
			b.Release()
			b = e.Body()
		}
		b.Ready()
	}
	b.Release()
	return findings
}

func benchmark(b *testing.B, e *Engine, text []byte) {
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		e.clean.Forget()
		n = pass(e, text)
	}
	b.ReportMetric(float64(n), "findings")
}

func BenchmarkSource(b *testing.B) { benchmark(b, engine(b), source(b)) }

func BenchmarkProse(b *testing.B) { benchmark(b, engine(b), filler(4<<20, 1)) }

// conversation is what a coding agent sends: messages with code in them.
func conversation(tb testing.TB, size int) []byte {
	tb.Helper()
	src := source(tb)
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var all []message
	for n, i := 0, 0; n < size; i++ {
		part := string(src[i*7919%(len(src)-4096):][:2500])
		all = append(all, message{"user", strings.ToValidUTF8(part, "")})
		n += 2600
	}
	b, err := json.Marshal(map[string]any{"model": "m", "messages": all})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func BenchmarkConversation(b *testing.B) { benchmark(b, engine(b), conversation(b, 1<<20)) }

func BenchmarkConversationAgain(b *testing.B) {
	e, text := engine(b), conversation(b, 1<<20)
	pass(e, text)
	more := append(bytes.Clone(text[:len(text)-2]), filler(2048, 3)...)
	b.SetBytes(int64(len(more)))
	b.ReportAllocs()
	for b.Loop() {
		pass(e, more)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		rules, err := DefaultRules()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := New(Config{Rules: rules}); err != nil {
			b.Fatal(err)
		}
	}
}
