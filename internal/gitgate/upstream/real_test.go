package upstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bottle/test/require"
)

const zero = "0000000000000000000000000000000000000000"

// packOf writes what git makes of the given revisions.
func packOf(t testing.TB, dir, revisions string) func(io.Writer) error {
	program := require.Tool(t, "git")
	return func(w io.Writer) error {
		cmd := exec.Command(program, "pack-objects", "--thin", "--delta-base-offset", "--stdout", "--revs", "-q")
		cmd.Dir, cmd.Stdin, cmd.Stdout = dir, strings.NewReader(revisions), w
		return cmd.Run()
	}
}

func TestRefsOfARealRepository(t *testing.T) {
	each(t, func(t *testing.T, open func(string) *Remote) {
		work, bare := repository(t)
		a, err := open(bare).Refs(context.Background(), UploadPack)
		if err != nil {
			t.Fatal(err)
		}
		head := git(t, work, "rev-parse", "HEAD")
		want := []Ref{
			{Name: "HEAD", ID: head, Target: "refs/heads/main"},
			{Name: "refs/heads/main", ID: head},
			{Name: "refs/tags/v1", ID: git(t, work, "rev-parse", "v1"), Peeled: head},
		}
		if !slices.Equal(a.Refs, want) || a.ObjectFormat != "sha1" {
			t.Errorf("refs %+v, want %+v", a.Refs, want)
		}
	})
}

func TestFetchFromARealRepository(t *testing.T) {
	each(t, func(t *testing.T, open func(string) *Remote) {
		work, bare := repository(t)
		ours := filepath.Join(t.TempDir(), "mirror.git")
		git(t, work, "clone", "-q", "--bare", bare, ours)
		var id string
		for i := range 40 {
			id = commit(t, work, strings.Repeat("x", i+2))
		}
		git(t, work, "push", "-q", bare, "main")
		r := open(bare)
		for _, have := range []Haves{
			nil,
			slices.Values([][]string{{git(t, ours, "rev-parse", "main")}}),
			slices.Values([][]string{{strings.Repeat("12", 20)}, {strings.Repeat("34", 20), git(t, ours, "rev-parse", "main")}, {strings.Repeat("56", 20)}}),
		} {
			var pack bytes.Buffer
			if err := r.Fetch(context.Background(), []string{id}, have, &pack, nil); err != nil {
				t.Fatal(err)
			}
			objects := indexed(t, ours, pack.Bytes(), have != nil)
			// 40 commits, trees and blobs; without have all that was before, too.
			if want := 120; have != nil && objects != want || have == nil && objects != want+3 {
				t.Errorf("the pack has %d objects", objects)
			}
		}
	})
}

// indexed has git check a pack, and gives its number of objects.
func indexed(t testing.TB, dir string, pack []byte, thin bool) int {
	t.Helper()
	if len(pack) < 12 {
		t.Fatalf("a pack of %d bytes", len(pack))
	}
	args := []string{"index-pack", "--stdin", "--strict"}
	if thin {
		args = append(args, "--fix-thin")
	}
	cmd := exec.Command(require.Tool(t, "git"), args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(pack)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("index-pack: %v\n%s", err, out)
	}
	return int(pack[8])<<24 | int(pack[9])<<16 | int(pack[10])<<8 | int(pack[11])
}

func TestPushToARealRepository(t *testing.T) {
	each(t, func(t *testing.T, open func(string) *Remote) {
		work, bare := repository(t)
		old, id := git(t, work, "rev-parse", "HEAD"), commit(t, work, "two")
		r := open(bare)
		report, err := r.Push(context.Background(), Push{
			Commands: []Command{{"refs/heads/main", old, id}, {"refs/heads/new", zero, id}}, Atomic: true, Options: []string{"ci.skip"},
		}, packOf(t, work, id+"\n^"+old+"\n"), io.Discard)
		if err != nil || report.Unpack != "ok" || !report.Refs[0].OK || !report.Refs[1].OK {
			t.Fatalf("%+v %v", report, err)
		}
		if got := git(t, bare, "rev-parse", "main", "new"); got != id+"\n"+id {
			t.Errorf("upstream has %s", got)
		}
		report, err = r.Push(context.Background(), Push{Commands: []Command{{"refs/heads/new", id, zero}}}, nil, nil)
		if err != nil || !report.Refs[0].OK {
			t.Fatalf("delete: %+v %v", report, err)
		}
		if got := git(t, bare, "branch", "--format=%(refname)"); got != "refs/heads/main" {
			t.Errorf("after a delete upstream has %s", got)
		}
	})
}

func TestRefusalOfAHookComesWordForWord(t *testing.T) {
	each(t, func(t *testing.T, open func(string) *Remote) {
		work, bare := repository(t)
		old, id := git(t, work, "rev-parse", "HEAD"), commit(t, work, "two")
		hook := "#!/bin/sh\necho 'Branch main is protected: open a pull request' >&2\nexit 1\n"
		if err := os.WriteFile(filepath.Join(bare, "hooks", "pre-receive"), []byte(hook), 0o755); err != nil {
			t.Fatal(err)
		}
		var progress bytes.Buffer
		report, err := open(bare).Push(context.Background(), Push{Commands: []Command{{"refs/heads/main", old, id}}}, packOf(t, work, id+"\n^"+old+"\n"), &progress)
		if err != nil || report.Refs[0].OK || report.Refs[0].Message != "pre-receive hook declined" {
			t.Errorf("%+v %v", report, err)
		}
		if !strings.Contains(progress.String(), "Branch main is protected: open a pull request") {
			t.Errorf("the hook's words: %q", progress.String())
		}
		if got := git(t, bare, "rev-parse", "main"); got != old {
			t.Errorf("upstream has %s", got)
		}
	})
}

func TestPushWhosePackFailsChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, open func(string) *Remote) {
		work, bare := repository(t)
		old, id := git(t, work, "rev-parse", "HEAD"), commit(t, work, "two")
		broken := errors.New("the pack's own error")
		for _, before := range []int{0, 20, 3 << 20} {
			report, err := open(bare).Push(context.Background(), Push{Commands: []Command{{"refs/heads/main", old, id}}}, func(w io.Writer) error {
				if _, err := w.Write(append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x03"), make([]byte, before)...)); err != nil {
					return err
				}
				return broken
			}, nil)
			refused := err == nil && report.Unpack != "ok" && !report.Refs[0].OK // it saw before us that this is no pack
			if !errors.Is(err, broken) && (!refused || before < 1<<20) {
				t.Errorf("after %d bytes: %+v %v", before, report, err)
			}
		}
		if got := git(t, bare, "rev-parse", "main"); got != old {
			t.Errorf("upstream has %s", got)
		}
	})
}

func TestAbsentRepository(t *testing.T) {
	each(t, func(t *testing.T, open func(string) *Remote) {
		_, bare := repository(t)
		_, err := open(filepath.Join(filepath.Dir(bare), "other.git")).Refs(context.Background(), UploadPack)
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestLargePushIsStreamed(t *testing.T) {
	each(t, func(t *testing.T, open func(string) *Remote) {
		size := 48 << 20
		if strings.HasSuffix(t.Name(), "https") && !require.Race && !testing.Short() {
			size = 200 << 20
		}
		work, bare := repository(t)
		big := make([]byte, size)
		_, _ = rand.Read(big)
		if err := os.WriteFile(filepath.Join(work, "big"), big, 0o644); err != nil {
			t.Fatal(err)
		}
		big = nil
		git(t, work, "config", "core.compression", "0")
		old, id := git(t, work, "rev-parse", "HEAD"), commit(t, work, "big")
		r := open(bare)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		peak := uint64(0)
		pack := packOf(t, work, id+"\n^"+old+"\n")
		report, err := r.Push(context.Background(), Push{Commands: []Command{{"refs/heads/main", old, id}}}, func(w io.Writer) error {
			return pack(&sampler{w: w, peak: &peak})
		}, io.Discard)
		if err != nil || !report.Refs[0].OK {
			t.Fatalf("%+v %v", report, err)
		}
		runtime.ReadMemStats(&after)
		if grown := int64(peak) - int64(before.HeapAlloc); grown > 24<<20 {
			t.Errorf("the heap grew by %d MB", grown>>20)
		}
		var sum counter
		if err := r.Fetch(context.Background(), []string{id}, nil, &sum, nil); err != nil || int(sum) < size {
			t.Errorf("fetched %d bytes: %v", sum, err)
		}
	})
}

// sampler looks at the heap at each 8 MB.
type sampler struct {
	w    io.Writer
	sum  int
	peak *uint64
}

func (s *sampler) Write(p []byte) (int, error) {
	if s.sum/(8<<20) != (s.sum+len(p))/(8<<20) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		*s.peak = max(*s.peak, m.HeapAlloc)
	}
	s.sum += len(p)
	return s.w.Write(p)
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func TestRepositoryOfSHA256(t *testing.T) {
	root := t.TempDir()
	work, bare := filepath.Join(root, "work"), filepath.Join(root, "bare.git")
	git(t, root, "init", "-q", "-b", "main", "--object-format=sha256", work)
	old := commit(t, work, "one")
	git(t, root, "clone", "-q", "--bare", work, bare)
	git(t, bare, "config", "http.receivepack", "true")
	id := commit(t, work, "two")
	for name, r := range map[string]*Remote{"https": overHTTPS(t, bare), "ssh": overSSH(t, bare)} {
		ref := "refs/heads/" + name
		report, err := r.Push(context.Background(), Push{Commands: []Command{{ref, strings.Repeat("0", 64), id}}}, packOf(t, work, id+"\n^"+old+"\n"), nil)
		if err != nil || !report.Refs[0].OK || git(t, bare, "rev-parse", ref) != id {
			t.Errorf("%s: %+v %v", name, report, err)
		}
		var sum counter
		if err := r.Fetch(context.Background(), []string{id}, nil, &sum, nil); err != nil || sum == 0 {
			t.Errorf("%s: fetched %d bytes: %v", name, sum, err)
		}
	}
}
