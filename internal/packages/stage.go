package packages

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// abandoned is how old a stage without a lock must be before it is swept: its command may
// be just about to make one.
const abandoned = time.Hour

// Stage is a folder of this process's own in which one proposal's packages are fetched and
// unpacked.
type Stage struct {
	Name string // below the folder of stages
	ID   string // the proposal's
	dir  string
	lock *os.File
}

// OpenStage makes a stage for the proposal id below adding, and sweeps those whose command
// has ended. Close removes it.
func OpenStage(adding, id string) (*Stage, error) {
	sweep(adding)
	s := &Stage{ID: id, Name: id + "-" + strings.ToLower(rand.Text()[:12])}
	s.dir = filepath.Join(adding, s.Name)
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a place to unpack: %w", err)
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_EXCL|os.O_RDWR|syscall.O_CLOEXEC, 0o600); err == nil {
		err = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	for _, dir := range []string{"work", "tree"} {
		if err == nil {
			err = os.Mkdir(filepath.Join(s.dir, dir), 0o755)
		}
	}
	if err == nil {
		err = os.Chmod(filepath.Join(s.dir, "tree"), 0o755) // whatever the umask is
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("make a place to unpack: %w", err)
	}
	return s, nil
}

func (s *Stage) work(parts ...string) string {
	return filepath.Join(append([]string{s.dir, "work"}, parts...)...)
}

// Close removes what is left of the stage.
func (s *Stage) Close() {
	_ = os.RemoveAll(s.dir) // what stays is swept later
	if s.lock != nil {
		s.lock.Close()
	}
}

// sweep removes what commands that were killed have left.
func sweep(adding string) {
	entries, _ := os.ReadDir(adding) // unreadable: making a stage fails, too
	for _, e := range entries {
		dir := filepath.Join(adding, e.Name())
		if strings.HasSuffix(e.Name(), ".ready") { // the gateway's
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
		if err != nil {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
				_ = os.RemoveAll(dir)
			}
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		f.Close()
	}
}
