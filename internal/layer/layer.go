// Package layer reads what an agent changed in its private copy-on-write view, the
// upper layer of an overlay, and takes it into the operator's folder.
//
// Everything in the layer is the agent's choice: names, links, modes, sizes. So
// both trees are walked a folder at a time through os.Root, no link is followed in
// either, and what is not a plain file, a folder or a link that stays inside is
// refused. The layer must belong to a bottle that has ended.
package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"
)

// The bounds of what is read and taken.
const (
	maxChanges = 100_000 // paths in one list
	maxDepth   = 200     // folders below one another; each holds two descriptors while it is walked
	maxTake    = 4 << 30 // bytes of one file; a sparse file of any size costs an agent nothing
	maxTarget  = 4096    // bytes of a link's target (PATH_MAX)
)

// Op is what happened to a path.
type Op string

// The operations.
const (
	Added    Op = "added"
	Modified Op = "modified"
	Deleted  Op = "deleted"
)

// Kind is what a path is.
type Kind string

// The kinds. Other is a pipe, a socket or a device.
const (
	None   Kind = ""
	File   Kind = "file"
	Folder Kind = "folder"
	Link   Kind = "symlink"
	Other  Kind = "other"
)

// Change is one path that is not in the view what it is in the folder. All of it
// but the verdicts is the agent's: print it through bottle.Printable.
type Change struct {
	Path     string `json:"path"` // relative, with slashes
	Op       Op     `json:"op"`
	Kind     Kind   `json:"kind"`               // in the view; of what is deleted: in the folder
	Was      Kind   `json:"was,omitempty"`      // in the folder; empty: nothing
	Size     int64  `json:"size"`               // in the view, in bytes; of a plain file
	WasSize  int64  `json:"was_size,omitempty"` // in the folder
	Mode     Mode   `json:"mode,omitempty"`     // in the view
	WasMode  Mode   `json:"was_mode,omitempty"`
	Content  bool   `json:"content"`            // not only the mode differs
	Target   string `json:"target,omitempty"`   // of a link in the view
	Runs     string `json:"runs,omitempty"`     // what may run it later, outside the bottle
	Refused  string `json:"refused,omitempty"`  // why it is never taken
	Conflict string `json:"conflict,omitempty"` // why it is taken only by force
	Taken    bool   `json:"taken,omitempty"`
	Failed   string `json:"failed,omitempty"` // why taking it did not work

	up, low fs.FileInfo // as they were when the list was made
}

// Mode is permission bits that print as chmod takes them.
type Mode fs.FileMode

func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// MarshalText is String.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (m *Mode) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 8, 9)
	if err != nil {
		return fmt.Errorf("read mode: %w", err)
	}
	*m = Mode(n)
	return nil
}

// List is the changes of one bottle, by path.
type List struct {
	Changes []Change `json:"changes"`
	Partial bool     `json:"partial"` // there are more than a list may have; such a list is not taken
}

// Options say how a layer came to be.
type Options struct {
	// Trusted: root mounted the overlay, and its marks are trusted.overlay.*. Else
	// they are user.overlay.*, which an agent can set itself where root mounted.
	Trusted bool
	// Started is when the bottle started: what changed in the folder since is a conflict.
	Started time.Time
}

// View is an upper layer and the folder below it.
type View struct {
	upper, lower *os.Root
	prefix       string // of the overlay's marks
	started      time.Time
	uid, gid     int    // of the folder: the owner of what is taken
	dev          uint64 // of the folder
}

// Open opens the upper layer and the folder. Neither is changed. A layer that is
// not there is one in which nothing changed: a start removes an empty one.
func Open(upper, folder string, o Options) (*View, error) {
	v := &View{prefix: "user.overlay.", started: o.Started}
	if o.Trusted {
		v.prefix = "trusted.overlay."
	}
	info, err := os.Lstat(upper)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	if err == nil {
		v.upper, err = os.OpenRoot(upper)
	}
	if err != nil {
		return nil, fmt.Errorf("open the private view: %w", err)
	}
	if v.lower, err = os.OpenRoot(folder); err == nil {
		info, err = v.lower.Stat(".")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the folder: %w", err), v.Close())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		v.uid, v.gid, v.dev = int(st.Uid), int(st.Gid), device(info)
	}
	return v, nil
}

// Close closes both trees.
func (v *View) Close() error {
	var errs []error
	for _, root := range []*os.Root{v.upper, v.lower} {
		if root != nil {
			errs = append(errs, root.Close())
		}
	}
	return errors.Join(errs...)
}

// mounted reports whether something else is mounted on what is below: an overlay
// shows the folder under the mount, so the agent never saw what we would see.
func (v *View) mounted(low fs.FileInfo) bool { return low != nil && device(low) != v.dev }

func device(fi fs.FileInfo) uint64 {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(st.Dev)
}

// Count is how many files a layer holds, deletions among them; it stops at limit.
// It reads no content and follows no link, and is meant for one line on a screen. A folder
// that cannot be read counts for one: nobody knows that nothing is in it.
func Count(upper string, limit int) int {
	root, err := os.OpenRoot(upper)
	if errors.Is(err, fs.ErrPermission) {
		return min(1, limit)
	}
	if err != nil {
		return 0
	}
	defer root.Close()
	n := 0
	_ = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if d != nil && !d.IsDir() || err != nil {
			n++
		}
		if n >= limit {
			return fs.SkipAll
		}
		if err != nil {
			return fs.SkipDir
		}
		return nil
	})
	return n
}

// kindOf classes a path that was not followed.
func kindOf(fi fs.FileInfo) Kind {
	switch {
	case fi == nil:
		return None
	case fi.Mode().IsRegular():
		return File
	case fi.IsDir():
		return Folder
	case fi.Mode()&fs.ModeSymlink != 0:
		return Link
	}
	return Other
}

// same reports whether two looks at a path saw the same thing, unchanged. Taking
// another name of a file away changes its time, too: a file with several is held
// to all but that.
func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Mode() == b.Mode() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) &&
		(links(a) > 1 || links(b) > 1 || changed(a).Equal(changed(b)))
}

func links(fi fs.FileInfo) int {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return int(st.Nlink)
}

// lstat looks at one name of a folder; nothing there is no error.
func lstat(dir *os.Root, name string) (fs.FileInfo, error) {
	if dir == nil {
		return nil, nil
	}
	fi, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return fi, err
}

// descend opens the folder name of dir and nothing else: os.Root alone would
// follow a link to another folder of the same tree, also one that somebody puts
// there between two looks.
func descend(dir *os.Root, name string) (*os.Root, error) {
	before, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.IsDir() {
		return nil, fmt.Errorf("open %q: it is not a folder", name)
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	after, err := sub.Stat(".")
	if err == nil && !os.SameFile(before, after) {
		err = fmt.Errorf("open %q: it was replaced meanwhile", name)
	}
	if err != nil {
		return nil, errors.Join(err, sub.Close())
	}
	return sub, nil
}

// openFile opens the plain file name of dir, which must still be what was seen.
func openFile(dir *os.Root, name string, seen fs.FileInfo) (*os.File, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // a pipe must not hold us
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && !same(seen, now) {
		err = fmt.Errorf("open %q: it changed meanwhile", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
