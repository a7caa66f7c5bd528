package learn

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/audit"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// looker is a Desk with a house of its own and one session.
type looker struct {
	Desk
	out, err bytes.Buffer
	home     string
	answer   bool
	question string
}

const identity = "worker-abc12"

func newLooker(t testing.TB, text string) *looker {
	t.Helper()
	l := &looker{home: t.TempDir()}
	for _, dir := range []string{"bottles", "state/" + identity} {
		if err := os.MkdirAll(filepath.Join(l.home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l.file(t, "bottles/dev.md", text)
	l.file(t, "state/"+identity+"/metadata.json", `{"identity":"`+identity+`","agent":"worker","bottle":"dev","backend":"native","started":"2026-01-02T10:00:00Z","status":"stopped"}`)
	l.Desk = Desk{Out: &l.out, Err: &l.err, Style: func(io.Writer) plan.Style { return ui.Plain }, Terminal: func(any) bool { return false },
		Confirm: func(q string, yes bool) (bool, error) { l.question = q; return yes || l.answer, nil },
		Store:   func() (*store.Store, error) { return store.Open(l.home) },
		Tree:    func() (manifest.Tree, error) { return manifest.Tree{Home: os.DirFS(l.home), HomeDir: l.home}, nil },
		Names:   cobra.NoFileCompletions, Tilde: func(p string) string { return p }}
	return l
}

func (l *looker) file(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.home, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// log writes the session's decision log, without the chain and past the bound of a gateway's.
func (l *looker) log(t testing.TB, n int, record func(i int) audit.Record) {
	t.Helper()
	f, err := os.Create(filepath.Join(l.home, "state", identity, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		r := record(i)
		r.Seq, r.Prev = uint64(i+1), strings.Repeat("0", 64)
		if _, err := w.Write(append(r.JSON(), '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func (l *looker) run(args ...string) error {
	l.out.Reset()
	l.err.Reset()
	root := &cobra.Command{Use: "bottle", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(l.Commands()...)
	root.SetArgs(args)
	return root.ExecuteContext(context.Background())
}

const benched = "---\negress:\n  routes:\n    - host: api.example.com\n      methods: [GET, POST]\n      path_allowlist: [/v1]\n    - {host: registry.npmjs.org, methods: [GET]}\n---\n"

// million is a session's record: most are let through, some denied in many ways.
func million(i int) audit.Record {
	r := audit.Record{Time: time.Unix(1_767_000_000, int64(i)*1e6), Kind: "http", Method: "GET", Host: "api.example.com", Port: 443, Path: fmt.Sprintf("/v1/items/%d", i), Verdict: audit.Allow,
		Rule: "bottles/dev.md:4", Reason: "listed", Policy: strings.Repeat("0a", 32), Status: 200, BytesOut: 120, BytesIn: 4000, Micros: 51_000}
	switch {
	case i%10 == 3:
		r.Path, r.Verdict, r.Reason = fmt.Sprintf("/users/%d/posts", i), audit.Deny, "path_not_listed"
	case i%10 == 4:
		r.Host, r.Path = "registry.npmjs.org", fmt.Sprintf("/package-%d", i%1000)
	case i%50 == 5:
		r.Kind, r.Method, r.Path, r.Host, r.Verdict, r.Reason = "connect", "CONNECT", "", fmt.Sprintf("host%d.example.org", i%7), audit.Deny, "host_not_listed"
	case i%1000 == 6:
		r.Kind, r.Method, r.Path, r.Host, r.Verdict, r.Reason = "connect", "CONNECT", "", fmt.Sprintf("host%d.example.net", i), audit.Deny, "host_not_listed"
	}
	return r
}

// BenchmarkMillion looks back at a session of a million records: what is reported is the
// time for all of them, and the most memory that the heap took.
func BenchmarkMillion(b *testing.B) {
	l := newLooker(b, benched)
	const n = 1_000_000
	l.log(b, n, million)
	for _, args := range [][]string{{"learn", identity}, {"replay", identity}} {
		b.Run(args[0], func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				if err := l.run(args...); err != nil && ui.Code(err) != ui.CodeNo {
					b.Fatal(err)
				}
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapSys)/(1<<20), "MiB-heap")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
		})
	}
}
