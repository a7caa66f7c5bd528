// Package survey looks at host folders before a bottle shows them: what a path
// really is, and what in a folder would be a door that no wall can close. It
// changes nothing.
package survey

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Resolve follows the symbolic links of an absolute path to what it is now: the
// path without links, and the file or folder there. What is neither a file nor a
// folder (a socket, a pipe, a device) is refused: it is a door, and a read-only
// mount does not close it.
func Resolve(path string) (real string, is plan.Inode, err error) {
	if real, err = filepath.EvalSymlinks(path); err != nil {
		return "", plan.Inode{}, err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return "", plan.Inode{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || st.Ino == 0:
		return "", plan.Inode{}, fmt.Errorf("look at %s: its file system has no inode numbers", real)
	case !info.IsDir() && !info.Mode().IsRegular():
		return "", plan.Inode{}, bottle.Problems{{Message: fmt.Sprintf("%s is neither a file nor a folder: whoever serves it could be spoken to through it", real),
			Hint: "take it out of `mounts`"}}
	}
	return real, plan.Inode{Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

// Bounds of a walk. What lies behind them was not looked at, and Found says so.
const (
	MaxEntries = 20_000
	MaxTime    = 50 * time.Millisecond
)

// shown is how many names of a kind are kept.
const shown = 5

// Found are the doors in a folder that an agent may write to, as paths below it.
type Found struct {
	Doors   []string // unix sockets and pipes: a process of the host may be behind them
	Setuid  []string // programs that run with their owner's or group's rights
	Partial bool     // a bound was met, or a folder could not be read
}

// Walk looks through the folder at root. Folders that hold many files and
// hardly anything of interest come last: a bound then costs the least. A root
// that is a file is looked at by itself.
func Walk(root string) (Found, error) {
	w := walk{root: root, left: MaxEntries, end: time.Now().Add(MaxTime)}
	info, err := os.Lstat(root)
	if err != nil {
		return Found{}, fmt.Errorf("look through %s: %w", root, err)
	}
	if !info.IsDir() {
		w.judge(".", info.Mode())
		return w.Found, nil
	}
	w.soon = []string{"."}
	for len(w.soon)+len(w.late) > 0 && w.within() {
		if len(w.soon) == 0 {
			w.soon, w.late = w.late, nil
		}
		last := len(w.soon) - 1
		dir := w.soon[last]
		w.soon = w.soon[:last]
		if err := w.folder(dir); err != nil {
			w.Partial = true // closed to this user; the agent is this user too
		}
	}
	return w.Found, nil
}

type walk struct {
	Found
	root       string
	soon, late []string // folders still to be looked at, relative to root
	left       int      // entries
	end        time.Time
}

func (w *walk) within() bool {
	small := w.left > MaxEntries-256 // looked through however busy the machine is
	if w.left <= 0 || !small && time.Now().After(w.end) {
		w.Partial = true
		return false
	}
	return true
}

func (w *walk) folder(dir string) error {
	// A link that took the folder's place meanwhile is not followed.
	f, err := os.OpenFile(filepath.Join(w.root, dir), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for w.within() {
		entries, err := f.ReadDir(min(256, w.left))
		for _, e := range entries {
			w.entry(filepath.Join(dir, e.Name()), e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(path string, e fs.DirEntry) {
	w.left--
	switch {
	case e.IsDir():
		if name := e.Name(); name == "node_modules" || name == "objects" && filepath.Base(filepath.Dir(path)) == ".git" {
			w.late = append(w.late, path)
		} else {
			w.soon = append(w.soon, path)
		}
	case e.Type().IsRegular():
		if info, err := e.Info(); err == nil { // gone is fine
			w.judge(path, info.Mode())
		}
	default:
		w.judge(path, e.Type())
	}
}

func (w *walk) judge(path string, mode fs.FileMode) {
	switch {
	case mode&(fs.ModeSocket|fs.ModeNamedPipe) != 0:
		w.Doors = keep(w.Doors, path)
	case mode.IsRegular() && (mode&fs.ModeSetuid != 0 || mode&fs.ModeSetgid != 0 && mode&0o010 != 0):
		w.Setuid = keep(w.Setuid, path)
	}
}

func keep(list []string, path string) []string {
	if len(list) == shown {
		return list
	}
	return append(list, path)
}
