package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

func inode(t *testing.T, path string) plan.Inode {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return plan.Inode{Dev: uint64(st.Dev), Ino: st.Ino}
}

// TestOpenShowsWhatWasChecked. The weakness: a folder is allowed by its
// path, and shown by its path later. The attack: whoever can write above it puts
// a link to the operator's keys, or another folder, there meanwhile. What this
// proves: nothing but the inode that was looked at is ever opened.
func TestOpenShowsWhatWasChecked(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host := func(name string) string { return "/" + name } // as the operator knows it, below base
	for _, d := range []string{"tools", "keys", "a/tools", "b/tools"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	is, deep := inode(t, base+"/tools"), inode(t, base+"/a/tools")
	src, err := Open(base, host("tools"), is)
	if err != nil || !src.Dir {
		t.Fatalf("what was checked is refused: %+v %v", src, err)
	}
	src.Close()
	swap := func(name, to string) {
		t.Helper()
		if err := os.Rename(base+"/"+name, base+"/"+name+".old"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, base+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(name string, is plan.Inode, why string) {
		t.Helper()
		src, err := Open(base, host(name), is)
		if err == nil {
			src.Close()
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("keys", is, "taken its place")
	refused("tools", plan.Inode{}, "nobody has looked")
	swap("tools", "keys")
	refused("tools", is, "taken its place")
	swap("a", "b") // a link above it
	refused("a/tools", deep, "taken its place")
	refused("a/tools", inode(t, base+"/b/tools"), "taken its place") // even to the right one
	if err := unix.Mkfifo(base+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	refused("fifo", inode(t, base+"/fifo"), "neither a file nor a folder")
}
