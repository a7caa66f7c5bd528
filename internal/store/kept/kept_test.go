package kept

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestLook: all is counted, in bytes of the disk and in names; what is not there is empty.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	if got := Look(dir+"/none", Usual()); got != (Size{}) {
		t.Errorf("nothing: %+v", got)
	}
	large := make([]byte, 1<<20)
	sparse, err := os.Create(dir + "/sparse")
	if err == nil {
		err = errors.Join(sparse.Truncate(1<<40), sparse.Close())
	}
	if err = errors.Join(err, os.MkdirAll(dir+"/a/b", 0o700), os.WriteFile(dir+"/a/b/f", large, 0o600), os.Link(dir+"/a/b/f", dir+"/again")); err != nil {
		t.Fatal(err)
	}
	got := Look(dir, Usual())
	if got.Entries != 5 || got.Bytes < 2<<20 || got.Bytes > 3<<20 || got.Past != "" || got.Closed != "" {
		t.Errorf("%+v", got)
	}
	for name, c := range map[string]struct {
		b    Bounds
		past string
	}{
		"bytes":   {Bounds{Bytes: 1<<20 + 1, Entries: 100, Depth: 10}, "more than 1 MiB"},
		"entries": {Bounds{Bytes: 1 << 30, Entries: 4, Depth: 10}, "more than 4 files"},
		"depth":   {Bounds{Bytes: 1 << 30, Entries: 100, Depth: 2}, "more than 2 deep"},
		"zero":    {Bounds{}, "more than 0 files"},
	} {
		if got := Look(dir, c.b); !strings.Contains(got.Past, c.past) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The weakness: the agent writes there what it likes. The attack: links out of it, pipes that
// nobody writes to, sockets, names of control bytes, folders in folders without end, a folder
// with too many names. This proves that a look follows and awaits nothing, and ends.
func TestLookAtAHostileFolder(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "p")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	huge := t.TempDir()
	for i := range 50 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", huge, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(huge, at+"/out"), os.Symlink(at, at+"/loop"), os.Symlink("/nowhere", at+"/dangles"), unix.Mkfifo(at+"/pipe", 0o600),
		os.WriteFile(at+"/\x1b]0;title\x07\r\n\xff", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	done := make(chan Size, 1)
	go func() { done <- Look(dir, Bounds{Bytes: 1 << 30, Entries: 6, Depth: 10}) }()
	select {
	case got := <-done:
		if got.Entries != 6 || got.Past != "" || got.Closed != "" {
			t.Errorf("%+v", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for a pipe")
	}
	deep, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 { // far longer than any path may be
		if err := unix.Mkdirat(int(deep.Fd()), "d", 0o700); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Openat(int(deep.Fd()), "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		deep.Close()
		deep = os.NewFile(uintptr(fd), "d")
	}
	deep.Close()
	if got := Look(dir, Usual()); !strings.Contains(got.Past, "deep") {
		t.Errorf("without end: %+v", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// TestLookIntoAClosedFolder: what is closed to its owner is opened to him where that is
// wanted, and else it is said; the target of a link that takes its place is left alone.
func TestLookIntoAClosedFolder(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/p/q", 0o700), os.WriteFile(dir+"/p/q/f", nil, 0o600), os.Chmod(dir+"/p/q", 0), os.Chmod(dir+"/p", 0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(os.Chmod(dir+"/p", 0o700), os.Chmod(dir+"/p/q", 0o700)) })
	b := Usual()
	if got := Look(dir, b); os.Geteuid() != 0 && (got.Closed != "p" || got.Entries != 1) {
		t.Errorf("closed: %+v", got)
	}
	b.Open = true
	if got := Look(dir, b); got.Closed != "" || got.Entries != 3 {
		t.Errorf("opened: %+v", got)
	}
}

// TestWatch: it ends what keeps too much, or closes a folder again and again, and says why; who
// ended before that is only told of, and who keeps little hears nothing.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := Bounds{Bytes: 1 << 30, Entries: 2, Depth: 9}
		run, ask := Watch(t.Context(), dir, b)
		time.Sleep(time.Minute)
		if ended, past := ask(); ended != "" || past != "" {
			t.Errorf("nothing is kept: %q, %q", ended, past)
		}
		if run.Err() == nil {
			t.Error("it goes on")
		}
		run, ask = Watch(t.Context(), dir, b)
		for i := range 3 {
			if err := os.WriteFile(fmt.Sprint(dir, "/", i), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(Every + time.Second)
		if run.Err() == nil {
			t.Error("it was not ended")
		}
		if ended, past := ask(); ended != "more than 2 files and folders" || past != ended {
			t.Errorf("%q, %q", ended, past)
		}
		_, ask = Watch(t.Context(), dir, b)
		if ended, past := ask(); ended != "" || past != "more than 2 files and folders" {
			t.Errorf("who ended by himself: %q, %q", ended, past)
		}
	})
}
