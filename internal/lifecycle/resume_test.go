package lifecycle_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"bottle/internal/store"
)

// ran is a fixture whose bottle has run and ended, as its metadata says.
func ran(t *testing.T, args ...string) (*fixture, store.Metadata) {
	t.Helper()
	f := newFixture(t)
	f.req.ExtraArgs = args
	if _, err := f.start(); err != nil {
		t.Fatal(err)
	}
	list, err := f.house.Store.List()
	if err != nil || len(list) != 1 || list[0].Problem != "" {
		t.Fatalf("%+v, %v", list, err)
	}
	return f, list[0].Metadata
}

// The weakness: what the operator typed made the metadata longer than what is read of it, and
// nothing could stop, list or resume that bottle.
func TestMetadataCanBeReadAgain(t *testing.T) {
	for arg, kept := range map[string]bool{"short": true, strings.Repeat("x", 100_000): false, strings.Repeat("<", 12_000): false, "no\xfftext": false} {
		if _, m := ran(t, arg); (len(m.Args) == 1) != kept {
			t.Errorf("of %d bytes, kept are %d words", len(arg), len(m.Args))
		}
	}
}

// The weakness: somebody who may write beside the folder (another bottle) puts a link in its
// place, and a resume shows, or lets change, what that leads to.
func TestResumeShowsNoOtherFolder(t *testing.T) {
	for _, mode := range []string{"bind", "overlay"} {
		f, m := ran(t)
		f.req.Spec.Workspace, f.req.Resume = mode, &m
		other := t.TempDir()
		if err := errors.Join(os.Remove(m.Workspace), os.Symlink(other, m.Workspace)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.house.Prepare(t.Context(), f.req); err == nil || !strings.Contains(err.Error(), other) {
			t.Errorf("%s: %v", mode, err)
		}
		if err := errors.Join(os.Remove(m.Workspace), os.Mkdir(m.Workspace, 0o700)); err != nil {
			t.Fatal(err)
		}
		p := f.prepare()
		r, now, err := f.house.Store.Again(m.Identity) // between the look and the lock it was another's
		if err != nil {
			t.Fatal(err)
		}
		now.Workspace = other
		if err := errors.Join(r.Write(now), r.Release()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.house.Start(t.Context(), p, pipes()); err == nil || !strings.Contains(err.Error(), other) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
