package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOrdinaryUserRemoves: modes stop an ordinary user, and root's test of the
// same would prove nothing. One thread becomes that user and ends with its work.
func TestOrdinaryUserRemoves(t *testing.T) {
	dir := t.TempDir()
	const nobody = 65534
	done := make(chan struct{})
	deep := filepath.Join(dir, "tree", "work", "deep")
	if err := errors.Join(os.MkdirAll(deep, 0o700), os.WriteFile(filepath.Join(deep, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		for at := deep; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
			if err := os.Chown(at, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(os.Chmod(deep, 0), os.Chmod(filepath.Dir(deep), 0)); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				t.Errorf("become an ordinary user: %v", errno)
				return
			}
		}
		if err := removeTree(filepath.Join(dir, "tree")); err != nil {
			t.Error(err)
		}
	}()
	<-done
	if _, err := os.Lstat(filepath.Join(dir, "tree")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}
