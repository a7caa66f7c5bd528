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

// The weakness: folders in folders without end took a descriptor for each level, and with one
// closed folder at their end a cleanup that never ended, or never succeeded.
func TestDeepTreesAreRemoved(t *testing.T) {
	var had unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &had); err != nil {
		t.Fatal(err)
	}
	few := had
	few.Cur = 200
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &had) }()
	const nobody, levels = 65534, 3000
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chown(dir, nobody, nobody), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				done <- errno
				return
			}
		}
		top := filepath.Join(dir, "tree")
		if err := deepen(top, levels); err != nil {
			done <- err
			return
		}
		done <- removeTree(top)
	}()
	if err := <-done; err != nil {
		t.Errorf("%.200s", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "tree")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

// deepen makes folders in one another, with a file and a link in each, and closes the last.
func deepen(top string, levels int) error {
	if err := os.Mkdir(top, 0o700); err != nil {
		return err
	}
	at, err := unix.Open(top, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for i := 0; i < levels && err == nil; i++ {
		err = errors.Join(unix.Mkdirat(at, "d", 0o700), unix.Symlinkat("/", at, "link"))
		if err == nil && i == levels-1 {
			err = errors.Join(unix.Mkdirat(at, "d/in", 0o700), unix.Fchmodat(at, "d", 0, 0))
			break
		}
		next, openErr := unix.Openat(at, "d", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		err = errors.Join(err, openErr, unix.Close(at))
		at = next
	}
	return errors.Join(err, unix.Close(at))
}

// The weakness: an agent that took the mode of its folder away ended with an error, could not
// be resumed, and lost what it had changed to the next cleanup.
func TestClosedViewIsOpened(t *testing.T) {
	s, lay := endedBottle(t)
	for range 2 {
		if err := os.Chmod(lay.Upper, 0o005); err != nil {
			t.Fatal(err)
		}
		r, _, err := s.Again(ended)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(lay.Upper); err != nil || info.Mode().Perm() != 0o705 {
			t.Error(info.Mode(), err)
		}
		if err := r.Release(); err != nil {
			t.Fatal(err)
		}
	}
}
