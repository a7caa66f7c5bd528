package inbound

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// source is a megabyte of Go's own source code.
func source(b *testing.B) string {
	var text strings.Builder
	files, err := filepath.Glob(filepath.Join(require.GoRoot(b), "src", "net", "http", "*.go"))
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		part, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = text.Write(part)
	}
	return text.String()[:1<<20]
}

// BenchmarkDLPInbound reads a megabyte of text in which nothing is found, in pieces as an
// answer comes.
func BenchmarkDLPInbound(b *testing.B) {
	d := detector(b)
	prose := "The house stands by the river, and whoever comes to it in the evening hears the water before seeing the lamp. Nobody remembers who built it; the oldest letters mention it as a thing that was always there, with its three chimneys and the long wall. "
	for _, c := range []struct {
		name string
		form Form
		text string
	}{
		{"prose", Plain, prose},
		{"json", JSON, `{"name":"left-pad","version":"1.3.0","dist":{"tarball":"https://registry.example.org/left-pad","shasum":"5b8a3a7765dfe001261dde915589e782f8c94d1e"},"description":"A line\nwith \"quotes\" in it"},`},
		{"markup", Markup, `<p class="a">The <b>house</b> stands &amp; waits &mdash; by <a href="/x">the river</a>.</p>` + "\n"},
		{"source", Plain, source(b)},
		{"german", Plain, "Das Haus steht am Flu\u00df, und wer abends k\u00e4me, h\u00f6rte das Wasser. "},
		{"russian", Plain, "Дом стоит у реки, и кто приходит вечером, слышит воду. "},
		{"chinese", Plain, "房子在河边，晚上来的人先听到水声。"},
		{"hebrew", Plain, "הבית עומד ליד הנהר. "},
	} {
		text := []byte(strings.Repeat(c.text, 1<<20/len(c.text)))
		s := d.Stream(c.form)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				s.Reset(c.form)
				for rest := text; len(rest) > 0; {
					n := min(len(rest), 32<<10)
					if found := s.Next(rest[:n], n == len(rest)); len(found) > 0 {
						b.Fatal(found)
					}
					rest = rest[n:]
				}
			}
		})
	}
}
