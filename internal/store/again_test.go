package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bottle/internal/bottle"
)

const ended = bottle.Identity("researcher-m3hxd")

// endedBottle is a store with one identity that has ended, and left something everywhere.
func endedBottle(t *testing.T) (*Store, Layout) {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Reserve(ended)
	if err != nil {
		t.Fatal(err)
	}
	lay := s.Layout(ended)
	if err := errors.Join(
		r.Write(Metadata{Agent: "researcher", Status: Stopped, Started: time.Unix(1000, 0), Workspace: "/w"}), r.OpenKept(),
		os.WriteFile(lay.Upper+"/f", []byte("mine"), 0o600), os.MkdirAll(lay.Work+"/work/left", 0o700), os.Chmod(lay.Work+"/work", 0),
		os.WriteFile(lay.Audit, []byte("a line\n"), 0o600), os.WriteFile(lay.Kept+"/talk", []byte("42"), 0o600),
		os.WriteFile(lay.Added+"/program", nil, 0o700), s.MarkTaken(ended), r.Release(),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(lay.Work+"/work", 0o700) }) // an ordinary user could not remove it
	return s, lay
}

// TestAgainKeeps: what a resume goes on with stays, what a start makes is new.
func TestAgainKeeps(t *testing.T) {
	s, lay := endedBottle(t)
	r, m, err := s.Again(ended)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if m.Workspace != "/w" || !s.Live(ended) || !s.Keeps(ended) {
		t.Errorf("%+v", m)
	}
	for path, want := range map[string]string{lay.Upper + "/f": "mine", lay.Audit: "a line\n", lay.Kept + "/talk": "42"} {
		if b, err := os.ReadFile(path); string(b) != want {
			t.Errorf("%s: %q %v", path, b, err)
		}
	}
	for _, dir := range []string{lay.Work, lay.Added, lay.Adding} {
		if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
			t.Errorf("%s: %v %v", dir, list, err)
		}
	}
	if s.Taken(ended) {
		t.Error("what comes now counts as taken")
	}
	if err := s.Remove(ended); !errors.Is(err, ErrLive) {
		t.Error(err)
	}
	if _, err := s.Hold(ended); !errors.Is(err, ErrLive) {
		t.Error(err)
	}
}

// TestAgainClearsTheControlSocket: of a gateway that was killed, wherever it was.
func TestAgainClearsTheControlSocket(t *testing.T) {
	s, lay := endedBottle(t)
	r, _, err := s.Again(ended)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	for range 2 { // a clean end leaves none
		if err := r.ClearControl(); err != nil {
			t.Error(err)
		}
		if !lay.Ended() {
			t.Error("the socket is still there")
		}
		if err := os.WriteFile(lay.Control, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAgainOnlyOnce: of many at once one has it, and no cleanup gets in between.
func TestAgainOnlyOnce(t *testing.T) {
	for range 20 {
		s, lay := endedBottle(t)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []*Reservation
		removed := false
		for i := range 8 {
			wg.Go(func() {
				if i%4 == 3 {
					err := s.Remove(ended)
					mu.Lock()
					defer mu.Unlock()
					if removed = removed || err == nil; err != nil && !errors.Is(err, ErrLive) {
						t.Error(err)
					}
					return
				}
				r, _, err := s.Again(ended)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, r)
				}
			})
		}
		wg.Wait()
		_, err := os.Lstat(lay.Upper + "/f")
		if len(won) > 1 || len(won) == 1 && (removed || err != nil) || len(won) == 0 && !removed {
			t.Fatalf("%d won, removed %t, %v", len(won), removed, err)
		}
		for _, r := range won {
			r.Release()
		}
	}
}

// TestAgainFollowsNoLink: a link in place of what Reserve made is refused, and what it leads
// to stays as it is.
func TestAgainFollowsNoLink(t *testing.T) {
	for name, at := range map[string]func(Layout) string{
		"folder": func(l Layout) string { return l.Dir }, "lock": func(l Layout) string { return l.Lock }, "upper": func(l Layout) string { return l.Upper },
		"overlay": func(l Layout) string { return filepath.Dir(l.Upper) }, "kept": func(l Layout) string { return l.Kept }, "metadata": func(l Layout) string { return l.Metadata },
	} {
		s, lay := endedBottle(t)
		away := t.TempDir() + "/away"
		if err := errors.Join(os.Chmod(lay.Work+"/work", 0o700), os.Rename(at(lay), away), os.Symlink(away, at(lay))); err != nil {
			t.Fatal(err)
		}
		before := tree(t, away)
		if r, _, err := s.Again(ended); err == nil {
			r.Release()
			t.Errorf("%s: a link was taken", name)
		}
		if after := tree(t, away); after != before {
			t.Errorf("%s: there was %s, now %s", name, before, after)
		}
		if name == "kept" && s.Keeps(ended) {
			t.Error("a link was looked through")
		}
	}
	s, lay := endedBottle(t)
	if err := errors.Join(os.Remove(lay.Lock), syscall.Mkfifo(lay.Lock, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(lay.Metadata); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Again(ended); err == nil { // and it has not waited for the pipe
		t.Error("it was taken without metadata")
	}
	if _, _, err := s.Again("researcher-other"); err == nil {
		t.Error("one that has left nothing was taken")
	}
	if _, _, err := s.Again("../x-abcde"); err == nil {
		t.Error("no identity was taken")
	}
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err == nil {
			out = append(out, path, fi.Mode().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

// TestKeepsLooksAtHostileFolders: links, pipes and closed folders are neither followed nor
// waited for.
func TestKeepsLooksAtHostileFolders(t *testing.T) {
	s, lay := endedBottle(t)
	full := t.TempDir()
	if err := errors.Join(os.WriteFile(full+"/f", nil, 0o600), os.Symlink(full, lay.Kept+"/link"), syscall.Mkfifo(lay.Kept+"/pipe", 0o600),
		os.Mkdir(lay.Kept+"/empty", 0o700), os.MkdirAll(lay.Kept+"/full/p", 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"link": false, "pipe": false, "empty": false, "none": false, "talk": false, "full": true} {
		if got := s.Keeps(ended, name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	r, _, err := s.Again(ended)
	if err != nil {
		t.Fatal(err)
	}
	if !r.ClearKept() {
		t.Error("what is not empty counts for nothing")
	}
	if _, err := os.Lstat(lay.Kept + "/empty"); err == nil {
		t.Error("an empty folder stays")
	}
	if _, err := os.Lstat(full + "/f"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(lay.Kept+"/link"), os.Remove(lay.Kept+"/pipe"), os.Remove(lay.Kept+"/talk"), os.RemoveAll(lay.Kept+"/full")); err != nil {
		t.Fatal(err)
	}
	if r.ClearKept() || s.Keeps(ended) {
		t.Error("nothing is left, and counts")
	}
	r.Release()
}

// TestPreserved: by a mark, or by what a killed start wrote last.
func TestPreserved(t *testing.T) {
	s, lay := endedBottle(t)
	entry := func() Entry {
		list, err := s.List()
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0]
	}
	if why := s.Preserved(entry()); why != "" {
		t.Error(why)
	}
	if err := s.MarkPreserved(ended, "it fell\x1b[2J down"); err != nil {
		t.Fatal(err)
	}
	if why := s.Preserved(entry()); !strings.HasPrefix(why, "it fell") || strings.Contains(why, "\x1b") {
		t.Errorf("%q", why)
	}
	r, m, err := s.Again(ended)
	if err != nil {
		t.Fatal(err)
	}
	if why := s.Preserved(entry()); why != "" {
		t.Errorf("a live one is preserved: %q", why)
	}
	m.Status = Running
	if err := errors.Join(r.Unpreserve(), r.Unpreserve(), r.Write(m), r.Release()); err != nil {
		t.Fatal(err)
	}
	if why := s.Preserved(entry()); why != "its start was killed" {
		t.Error(why)
	}
	away := t.TempDir() + "/away"
	if err := errors.Join(os.WriteFile(away, []byte("text of another file"), 0o600), os.Symlink(away, lay.Preserve)); err != nil {
		t.Fatal(err)
	}
	if why := s.Preserved(entry()); strings.Contains(why, "another") {
		t.Error(why)
	}
}

// TestHold: an identity that is held is not resumed; what has no lock holds up nobody.
func TestHold(t *testing.T) {
	s, _ := endedBottle(t)
	release, err := s.Hold(ended)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Again(ended); !errors.Is(err, ErrLive) {
		t.Error(err)
	}
	release()
	r, _, err := s.Again(ended)
	if err != nil {
		t.Fatal(err)
	}
	r.Release()
	if release, err = s.Hold("researcher-none1"); err != nil {
		t.Fatal(err)
	}
	release()
	if _, err := os.Lstat(filepath.Join(s.Root(), "researcher-none1")); err == nil {
		t.Error("a look made a folder")
	}
}

// TestMetadataIsNeverTooLong: what Load could not read is not written.
func TestMetadataIsNeverTooLong(t *testing.T) {
	s, _ := endedBottle(t)
	r, m, err := s.Again(ended)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	m.Args = []string{strings.Repeat("x", maxMetadata)}
	if err := r.Write(m); err == nil {
		t.Error("it was written")
	}
	if _, err := s.Load(ended); err != nil {
		t.Error(err)
	}
}

// TestLookIsNoOwner: many who look whether a bottle lives keep nobody from resuming it, and
// no cleanup from its work.
func TestLookIsNoOwner(t *testing.T) {
	s, lay := endedBottle(t)
	f, err := os.Open(lay.Lock)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	looked := make(chan error, 1)
	time.AfterFunc(20*time.Millisecond, func() { looked <- syscall.Flock(int(f.Fd()), syscall.LOCK_UN) })
	r, _, err := s.Again(ended)
	if err := <-looked; err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := s.Owner(ended); pid != os.Getpid() || err != nil {
		t.Error(pid, err)
	}
	if err := r.Release(); err != nil {
		t.Fatal(err)
	}
	if pid, err := s.Owner(ended); pid != 0 || err != nil {
		t.Error(pid, err)
	}
}

// TestNothingIsDoneToWhatWasResumed: who has looked at an ended bottle acts on what he saw, or
// not at all.
func TestNothingIsDoneToWhatWasResumed(t *testing.T) {
	s, lay := endedBottle(t)
	list, err := s.List()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	free, err := s.HoldSame(list[0].Metadata)
	if err != nil || !s.Live(ended) {
		t.Fatal(err)
	}
	free()
	r, m, err := s.Again(ended)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.HoldSame(list[0].Metadata); !errors.Is(err, ErrLive) {
		t.Error(err)
	}
	m.Resumed = time.Now()
	if err := errors.Join(r.Write(m), r.Release()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.HoldSame(list[0].Metadata); !errors.Is(err, ErrResumed) || s.Live(ended) {
		t.Error(err)
	}
	if err := s.RemoveSame(list[0]); !errors.Is(err, ErrResumed) {
		t.Error(err)
	}
	if list, err = s.List(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.RemoveSame(list[0]); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(lay.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestProxyIsNotResumed: a gateway without walls leaves a log, and nothing to go on with.
func TestProxyIsNotResumed(t *testing.T) {
	for backend, want := range map[string]bool{"native": true, Proxy: false} {
		e := Entry{Metadata: Metadata{Identity: ended, Backend: backend, Status: Running}}
		s, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if e.Resumable() != want || (s.Preserved(e) != "") != want {
			t.Errorf("%s: resumable %t, preserved %q", backend, e.Resumable(), s.Preserved(e))
		}
		e.Live = true
		if e.Resumable() {
			t.Errorf("%s: one that lives is resumable", backend)
		}
	}
}
