package survey_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/survey"
)

func mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// TestResolve: a link is followed once, here; what it leads to is told apart from
// anything that takes its place later.
func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real := mkdir(t, filepath.Join(dir, "real"))
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	path, is, err := survey.Resolve(link)
	if err != nil || path != real || is == (plan.Inode{}) {
		t.Fatalf("%q %v %v", path, is, err)
	}
	if err := os.Rename(real, real+".old"); err != nil {
		t.Fatal(err)
	}
	mkdir(t, real)
	if _, other, err := survey.Resolve(link); err != nil || other == is {
		t.Errorf("another folder at the same path is the same: %v %v", other, err)
	}
}

// TestResolveRefusesDoors: a read-only mount of a socket, a pipe or a device is
// as good as a writable one.
func TestResolveRefusesDoors(t *testing.T) {
	dir := t.TempDir()
	fifo, sock := filepath.Join(dir, "fifo"), filepath.Join(dir, "sock")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{fifo, sock, os.DevNull} {
		var problems bottle.Problems
		if real, _, err := survey.Resolve(path); !errors.As(err, &problems) {
			t.Errorf("%s is shown as %q: %v", path, real, err)
		}
	}
	if _, _, err := survey.Resolve(filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestWalk: what in a folder is a door, and what only looks like one.
func TestWalk(t *testing.T) {
	dir := t.TempDir()
	for path, mode := range map[string]os.FileMode{
		"a/plain": 0o755, "a/root": 0o755 | os.ModeSetuid, "node_modules/x/group": 0o755 | os.ModeSetgid,
		"locking": 0o600 | os.ModeSetgid, // no program: mandatory locks were marked so
	} {
		write(t, filepath.Join(dir, path), mode)
	}
	for _, err := range []error{
		os.Chmod(mkdir(t, filepath.Join(dir, "team")), 0o775|os.ModeSetgid), // files take its group; nothing runs with it
		syscall.Mkfifo(filepath.Join(dir, "a/fifo"), 0o600),
		os.Symlink("/dev/log", filepath.Join(dir, "link")), // leads nowhere inside
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err := survey.Walk(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got.Doors)
	slices.Sort(got.Setuid)
	want := survey.Found{Doors: []string{"a/fifo", "sock"}, Setuid: []string{"a/root", "node_modules/x/group"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if one, err := survey.Walk(filepath.Join(dir, "a/root")); err != nil || len(one.Setuid) != 1 {
		t.Errorf("a file by itself: %+v %v", one, err)
	}
	if _, err := survey.Walk(filepath.Join(dir, "nothing")); err == nil {
		t.Error("nothing was looked through")
	}
}

// TestWalkIsBounded: a tree without end does not hold a start up; it is said that
// the rest is unknown, and the rest is where the least is to be found.
func TestWalkIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		sub := mkdir(t, filepath.Join(dir, "node_modules", fmt.Sprint(i)))
		for j := range survey.MaxEntries/2 + 1 {
			if err := os.Symlink("x", filepath.Join(sub, fmt.Sprint(j))); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(dir, "zz/last"), 0o755|os.ModeSetuid)
	got, err := survey.Walk(dir)
	if err != nil || !got.Partial || strings.Join(got.Setuid, " ") != "zz/last" {
		t.Errorf("%+v %v", got, err)
	}
}
