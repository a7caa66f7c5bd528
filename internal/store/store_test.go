package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bottle/internal/bottle"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, home string) *Store {
	t.Helper()
	s, err := Open(home)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reserve(t *testing.T, s *Store) *Reservation {
	t.Helper()
	r, err := reserveFor(s, "researcher")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Release() })
	return r
}

// TestInvariant6OpenCreatesNothing: a dry run and a list on a fresh machine.
func TestInvariant6OpenCreatesNothing(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	s := open(t, home)
	list, err := s.List()
	if err != nil || len(list) != 0 {
		t.Errorf("list %v, %v", list, err)
	}
	if err := s.Remove("researcher-abcde"); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
	if _, err := os.Lstat(home); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the home folder was made: %v", err)
	}
}

func TestReserve(t *testing.T) {
	s := open(t, t.TempDir())
	r := reserve(t, s)
	if r.Identity.Agent() != "researcher" {
		t.Errorf("identity %q", r.Identity)
	}
	for path, mode := range map[string]os.FileMode{r.Layout.Dir: 0o700 | os.ModeDir, r.Layout.Lock: 0o600, r.Layout.Upper: 0o700 | os.ModeDir,
		r.Layout.Work: 0o700 | os.ModeDir, s.Root(): 0o700 | os.ModeDir} {
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", path, info, err, mode)
		}
	}
	want := Metadata{Identity: r.Identity, Agent: "researcher", Bottle: "dev", Backend: "native", Started: time.Unix(1700000000, 0).UTC(),
		PID: 42, Workspace: "/w", Version: "1", Status: Running}
	given := want
	given.Identity = "other-zzzzz" // the reservation knows better
	if err := r.Write(given); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if diff := cmp.Diff([]Entry{{Metadata: want, Live: true}}, list); diff != "" || err != nil {
		t.Errorf("live list: %s %v", diff, err)
	}
	if err := s.Remove(r.Identity); !errors.Is(err, ErrLive) {
		t.Errorf("a live bottle was removed: %v", err)
	}
	if err := errors.Join(r.Release(), r.Release()); err != nil {
		t.Error(err)
	}
	if list, err = s.List(); err != nil || len(list) != 1 || list[0].Live {
		t.Errorf("list after release %+v, %v", list, err)
	}
	if err := errors.Join(r.Remove(), r.Remove(), s.Remove(r.Identity)); err != nil {
		t.Error(err)
	}
	if list, err = s.List(); err != nil || len(list) != 0 {
		t.Errorf("list after remove %+v, %v", list, err)
	}
}

// TestReserveRetriesOnClash: the first eight bytes give an identity that exists.
func TestReserveRetriesOnClash(t *testing.T) {
	s := open(t, t.TempDir())
	first, err := reserveFrom(s, "a", bytes.NewReader(make([]byte, 8)))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	second, err := reserveFrom(s, "a", bytes.NewReader(append(make([]byte, 8), 1, 2, 3, 4, 5, 6, 7, 8)))
	if err != nil || second.Identity == first.Identity {
		t.Fatalf("second %+v, %v", second, err)
	}
	defer second.Release()
	if _, err := reserveFrom(s, "a", bytes.NewReader(make([]byte, 8*attempts))); err == nil || !strings.Contains(err.Error(), "were taken") {
		t.Errorf("endless clashes: %v", err)
	}
	if _, err := reserveFor(s, "../up"); err == nil {
		t.Error("a path was taken for a name")
	}
}

// TestTwoStartsAtOnce: every start gets an identity of its own, also while
// a cleanup removes everything that nobody holds.
func TestTwoStartsAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	done := make(chan struct{})
	var cleaner, starts sync.WaitGroup
	cleaner.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			list, err := s.List()
			if err != nil {
				t.Error(err)
			}
			for _, e := range list {
				if err := s.Remove(e.Metadata.Identity); err != nil && !errors.Is(err, ErrLive) {
					t.Error(err)
				}
			}
		}
	})
	var mu sync.Mutex
	seen := map[bottle.Identity]bool{}
	for range 8 {
		starts.Go(func() {
			for range 10 {
				r, err := reserveFor(s, "a")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[r.Identity] {
					t.Errorf("%s was given twice", r.Identity)
				}
				seen[r.Identity] = true
				mu.Unlock()
				if err := r.Write(Metadata{Status: Running}); err != nil {
					t.Errorf("the folder was taken away: %v", err)
				}
				if err := r.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	starts.Wait()
	close(done)
	cleaner.Wait()
	if len(seen) != 80 {
		t.Errorf("%d identities", len(seen))
	}
}

func TestOpenRefuses(t *testing.T) {
	wants := func(home, message, hint string) {
		t.Helper()
		var ps bottle.Problems
		if _, err := Open(home); !errors.As(err, &ps) || !strings.Contains(ps[0].Message, message) || !strings.Contains(ps[0].Hint, hint) {
			t.Errorf("%s: %v; want %q (%q)", home, err, message, hint)
		}
	}
	wants("relative", "not an absolute path", "BOTTLE_HOME")
	make := func(mode os.FileMode) string {
		home := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(home, "state"), 0o700), os.Chmod(filepath.Join(home, "state"), mode)); err != nil {
			t.Fatal(err)
		}
		return home
	}
	wants(make(0o777), "writable by others", "chmod go-w")
	wants(make(0o720), "writable by others", "chmod go-w")
	wants(make(0o1777), "writable by others", "chmod go-w")
	open := make(0o700)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	wants(open, "writable by others", "chmod go-w")
	file := t.TempDir()
	if err := os.WriteFile(filepath.Join(file, "state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wants(file, "not a folder", "mv ")
	linked := t.TempDir()
	if err := os.Symlink(make(0o777)+"/state", filepath.Join(linked, "state")); err != nil {
		t.Fatal(err)
	}
	wants(linked, "writable by others", "chmod")
	if os.Geteuid() == 0 {
		alien := make(0o700)
		if err := os.Chown(filepath.Join(alien, "state"), 12345, 12345); err != nil {
			t.Fatal(err)
		}
		wants(alien, "another user (uid 12345, you are 0)", "BOTTLE_HOME")
	}
}

// TestReserveLooksAgain: the folder that Reserve makes is held to the same rule.
func TestReserveLooksAgain(t *testing.T) {
	home := t.TempDir()
	s := open(t, home)
	if err := errors.Join(os.Mkdir(s.Root(), 0o700), os.Chmod(s.Root(), 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := reserveFor(s, "a"); err == nil || !strings.Contains(err.Error(), "writable by others") {
		t.Errorf("a folder that appeared after Open: %v", err)
	}
}

// TestUnwritableHome: a clear error and nothing left. A file in the folder's
// place fails for root, too, whom no mode stops.
func TestUnwritableHome(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	s := open(t, home)
	if err := os.WriteFile(home, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := reserveFor(s, "a"); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("reserve: %v", err)
	}
	for _, c := range []struct {
		err  error
		hint string
	}{{syscall.ENOSPC, "free some space"}, {syscall.EDQUOT, "free some space"}, {syscall.EROFS, "read-only"}, {syscall.EACCES, "ls -ld"}} {
		var ps bottle.Problems
		if err := hinted("write", "/x/y", &fs.PathError{Op: "open", Path: "/x/y", Err: c.err}); !errors.As(err, &ps) || !strings.Contains(ps[0].Hint, c.hint) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}

// TestFailedWriteLeavesNothing: the old metadata stays, no temporary file does.
func TestFailedWriteLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	r := reserve(t, s)
	if err := r.Write(Metadata{Status: Starting}); err != nil {
		t.Fatal(err)
	}
	var lim, small syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		t.Fatal(err)
	}
	small = lim
	small.Cur = 16 // bytes; it stands for a full disk
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	err := r.Write(Metadata{Status: Running})
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Fatal("a write to a full disk succeeded")
	}
	if m, err := s.Load(r.Identity); err != nil || m.Status != Starting {
		t.Errorf("the old metadata: %+v, %v", m, err)
	}
	names, err := os.ReadDir(r.Layout.Dir)
	if err != nil || len(names) != 5 { // lock, metadata.json, overlay, added, adding
		t.Errorf("left: %v, %v", names, err)
	}
}

// TestRemoveWhatAnAgentLeft: folders without any mode, links out of the tree.
func TestRemoveWhatAnAgentLeft(t *testing.T) {
	precious := filepath.Join(t.TempDir(), "precious")
	if err := errors.Join(os.Mkdir(precious, 0o700), os.WriteFile(precious+"/file", []byte("x"), 0o600), os.Chmod(precious, 0o500)); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(precious, 0o700)
	s := open(t, t.TempDir())
	r := reserve(t, s)
	deep := filepath.Join(r.Layout.Work, "work", "deep")
	if err := errors.Join(os.MkdirAll(deep, 0o700), os.WriteFile(deep+"/f", nil, 0o600), os.Symlink(precious, r.Layout.Upper+"/link"),
		os.Symlink(precious, deep+"/link"), os.Chmod(deep, 0), os.Chmod(filepath.Dir(deep), 0)); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(r.Layout.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	info, err := os.Stat(precious)
	if b, ferr := os.ReadFile(precious + "/file"); err != nil || ferr != nil || string(b) != "x" || info.Mode().Perm() != 0o500 {
		t.Errorf("what a link led to was touched: %v %v %v", info, err, ferr)
	}
}

// TestTwoWhoLookAtOnce: one who looks at a lock is not taken for its owner by
// another one who looks.
func TestTwoWhoLookAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	r := reserve(t, s)
	if err := r.Release(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(r.Layout.Lock)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if s.Live(r.Identity) {
		t.Error("somebody who looked was taken for the owner")
	}
}

// TestListSurvivesRubbish: what is broken is said, and stays findable.
func TestListSurvivesRubbish(t *testing.T) {
	s := open(t, t.TempDir())
	r := reserve(t, s)
	if err := os.WriteFile(r.Layout.Metadata, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	fake := filepath.Join(s.Root(), "fake-00000")
	if err := errors.Join(os.Mkdir(filepath.Join(s.Root(), "notes"), 0o700), os.Symlink("/etc", filepath.Join(s.Root(), "evil-12345")),
		os.Mkdir(fake, 0o700), os.WriteFile(fake+"/metadata.json", []byte(`{"identity":"other-11111"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("list %+v, %v", list, err)
	}
	for i, want := range []struct {
		id   bottle.Identity
		live bool
		say  string
	}{{"fake-00000", false, `speaks of "other-11111"`}, {r.Identity, true, "read metadata"}} {
		if e := list[i]; e.Metadata.Identity != want.id || e.Live != want.live || !strings.Contains(e.Problem, want.say) {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
}

func TestLayout(t *testing.T) {
	s := open(t, "/home/u/.bot-bottle")
	if got := s.Layout("a-12345").Control; got != "/home/u/.bot-bottle/state/a-12345/control.sock" {
		t.Errorf("control socket at %s", got)
	}
	if got := (s.Layout("../../etc")); got != (Layout{}) {
		t.Errorf("a path was taken for an identity: %+v", got)
	}
	if err := s.Remove("../../etc"); err == nil {
		t.Error("a path was removed")
	}
	long := open(t, "/"+strings.Repeat("x", 90))
	if got := long.Layout("a-12345").Control; got != "" {
		t.Errorf("a path of %d bytes for a socket", len(got))
	}
	long.Runtime = t.TempDir()
	got := long.Layout("a-12345").Control
	if filepath.Dir(got) != long.Runtime || len(got) > maxSocket {
		t.Errorf("control socket at %s", got)
	}
	if other := long.Layout("a-12345").Attach; filepath.Dir(other) != long.Runtime || len(other) > maxSocket || other == got {
		t.Errorf("the socket to attach at is at %s", other)
	}
}

// TestRemoveTakesTheShortSocket: cleanup finds the socket that did not fit.
func TestRemoveTakesTheShortSocket(t *testing.T) {
	s := open(t, t.TempDir())
	s.Runtime = t.TempDir()
	r := reserve(t, s)
	paths := s.runtimeSockets(r.Identity)
	for _, path := range paths {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left: %v", err)
		}
	}
}

func TestMatch(t *testing.T) {
	s := open(t, t.TempDir())
	wrote := func(agent bottle.Name, started int64) *Reservation {
		r, err := reserveFor(s, agent)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(Metadata{Agent: agent, Started: time.Unix(started, 0)}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	wants := func(prefix string, want *Reservation) {
		t.Helper()
		if got, err := s.Match(prefix); err != nil || got != want.Identity {
			t.Errorf("%s: %s, %v, want %s", prefix, got, err, want.Identity)
		}
	}
	old, newer, ops := wrote("dev", 1), wrote("dev", 2), wrote("ops", 3)
	if _, err := s.Match("dev"); err == nil || !strings.Contains(err.Error(), "could be") {
		t.Errorf("two that live: %v", err)
	}
	wants(string(newer.Identity), newer)
	if err := newer.Release(); err != nil {
		t.Fatal(err)
	}
	wants("dev", old) // the one that lives, though it is older
	if err := old.Release(); err != nil {
		t.Fatal(err)
	}
	wants("dev", newer) // none lives: the newest
	wants("ops", ops)
	for prefix, want := range map[string]string{"": "no bottle", "x": "bottle list active"} {
		if got, err := s.Match(prefix); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v", prefix, got, err)
		}
	}
}

func BenchmarkReserve(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := reserveFor(s, "a")
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(r.Write(Metadata{Status: Running}), r.Remove()); err != nil {
			b.Fatal(err)
		}
	}
}

func reserveFor(s *Store, agent bottle.Name) (*Reservation, error) {
	id, err := s.Draw(agent)
	if err != nil {
		return nil, err
	}
	return s.Reserve(id)
}

func reserveFrom(s *Store, agent bottle.Name, entropy io.Reader) (*Reservation, error) {
	id, err := s.draw(agent, entropy)
	if err != nil {
		return nil, err
	}
	return s.Reserve(id)
}

func TestTakenIsRemembered(t *testing.T) {
	s := open(t, t.TempDir())
	r := reserve(t, s)
	if s.Taken(r.Identity) {
		t.Error("taken before anybody took it")
	}
	if err := s.MarkTaken(r.Identity); err != nil || !s.Taken(r.Identity) {
		t.Errorf("%v, taken %v", err, s.Taken(r.Identity))
	}
	if s.Taken("../elsewhere") || s.MarkTaken("../elsewhere") == nil {
		t.Error("a word that is no identity has a mark")
	}
}
