package judge

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/detect"

	"bottle/internal/gitgate/object"
)

// history imports commits that each change a few of files files of about size bytes.
func (p *push) history(commits, files, size int) string {
	p.t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("func return if err nil the of value string int for range len make append error context request body config name read write close open file path")
	line := func() string {
		var b strings.Builder
		for range 8 {
			b.WriteString(words[r.IntN(len(words))] + " ")
		}
		return b.String() + fmt.Sprint(r.IntN(1_000_000)) + "\n"
	}
	texts := make([][]string, files)
	var in bytes.Buffer
	for n := range commits {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter A <a@example.com> %d +0000\ndata 6\nchange\n", 1700000000+n)
		if n == 0 {
			fmt.Fprintf(&in, "from %s\n", p.git("rev-parse", "main"))
		}
		for range 2 {
			f := r.IntN(files)
			if texts[f] == nil {
				for got := 0; got < size; got += len(texts[f][len(texts[f])-1]) {
					texts[f] = append(texts[f], line())
				}
			}
			texts[f][r.IntN(len(texts[f]))] = line()
			text := strings.Join(texts[f], "")
			fmt.Fprintf(&in, "M 100644 inline d%d/f%d.go\ndata %d\n%s\n", f%7, f, len(text), text)
		}
	}
	p.run(p.work, &in, "fast-import", "--quiet", "--force")
	return p.git("rev-parse", "main")
}

// BenchmarkPush judges 1,000 commits with 20 MB of new contents; -gitleaks is its library
// on what `git log -p` prints of the same range, as `gitleaks git` does it.
func BenchmarkPush(b *testing.B) {
	p := newPush(b)
	id := p.history(1000, 60, 10_000)
	e := engine(b)
	b.Run("judge", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			w, j := p.quarantine(id), New(Policy{Protected: []string{".github/**"}}, engine(b), nil)
			b.StartTimer()
			if err := w.Run(context.Background(), j); err != nil || len(j.Done()) > 0 {
				b.Fatal(err, j.Done())
			}
		}
	})
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			w, j := p.quarantine(id), New(Policy{}, e, nil)
			b.StartTimer()
			if err := w.Run(context.Background(), j); err != nil || len(j.Done()) > 0 {
				b.Fatal(err, j.Done())
			}
		}
	})
	b.Run("gitleaks", func(b *testing.B) {
		d, err := detect.NewDetectorDefaultConfig()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			c := exec.Command("git", "log", "-p", "-U0", "--full-history", "main")
			c.Dir, c.Env = p.work, environ()
			out, err := c.Output()
			if err != nil {
				b.Fatal(err)
			}
			// a patch of a commit at a time, as it does
			for _, patch := range strings.Split(string(out), "\ncommit ") {
				d.DetectString(patch)
			}
		}
	})
}

// A history of 20,000 commits is judged in memory that does not grow with its contents.
func TestLongHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("20,000 commits")
	}
	p := newPush(t)
	id := p.history(20_000, 40, 500)
	w, j := p.quarantine(id), New(Policy{}, engine(t), nil)
	count := &counter{Judge: j}
	if err := w.Run(context.Background(), count); err != nil || len(j.Done()) > 0 {
		t.Fatal(err, j.Done())
	}
	if count.commits != 20_000 {
		t.Errorf("%d commits were seen", count.commits)
	}
	if count.most > 96<<20 {
		t.Errorf("it took %d MB of memory", count.most>>20)
	}
}

// counter counts commits, and what is in use from time to time.
type counter struct {
	*Judge
	commits int
	most    uint64
}

// Commit implements object.Visitor.
func (c *counter) Commit(id string, raw []byte) error {
	if c.commits++; c.commits%4000 == 0 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c.most = max(c.most, m.HeapAlloc)
	}
	return c.Judge.Commit(id, raw)
}

// Undone implements object.Visitor.
func (c *counter) Undone(object.At) error { return nil }

var _ object.Visitor = (*counter)(nil)

// Files of 200 MB together are judged as they stream.
func TestLargeRepository(t *testing.T) {
	if testing.Short() {
		t.Skip("200 MB")
	}
	p := newPush(t)
	line := "a line of nothing in particular that ends in a number %d\n"
	for f := range 4 {
		var b strings.Builder
		for n := 0; b.Len() < 50<<20; n++ {
			fmt.Fprintf(&b, line, n*4+f)
		}
		if f == 3 {
			b.WriteString("and " + kept + "\n")
		}
		p.write(fmt.Sprintf("f%d", f), b.String())
	}
	p.git("config", "core.compression", "0")
	w, j := p.quarantine(p.commit("large")), New(Policy{}, engine(t), nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if err := w.Run(context.Background(), j); err != nil || len(j.Done()) != 1 {
		t.Fatal(err, j.Done())
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d MB stay", grown>>20)
	}
	if sys := after.HeapSys - min(after.HeapSys, before.HeapSys); sys > 160<<20 {
		t.Errorf("%d MB were needed", sys>>20)
	}
}
