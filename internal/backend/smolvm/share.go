package smolvm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"bottle/internal/backend/smolvm/guest"
	"bottle/internal/plan"
)

// share is one folder of the host that the VM sees.
type share struct {
	host, guest string
	readOnly    bool
}

// volume is how smolvm is told of it.
func (s share) volume() string {
	if s.readOnly {
		return s.host + ":" + s.guest + ":ro"
	}
	return s.host + ":" + s.guest
}

// shares prepares all that the VM sees, and what the jail inside is told of it. Each
// source hangs at a plain name in the state folder, since a colon is smolvm's own
// syntax. smolvm opens them by their path, so that they are looked at again once the
// VM runs; see unchanged.
type shares struct {
	dir   string // of our own names, in the state folder
	list  []share
	holds []held
}

// held is a path and what it was when it was allowed.
type held struct {
	path string
	is   plan.Inode
}

func newShares(b plan.Bottle) (*shares, error) {
	s := &shares{dir: filepath.Join(b.State, "share")}
	if strings.Contains(s.dir, ":") {
		return nil, fmt.Errorf("show folders to the VM: smolvm reads the colon in %q as its own; set BOTTLE_HOME to a path without one", s.dir)
	}
	if err := os.RemoveAll(s.dir); err != nil { // of a start that was killed; its machine is gone, and no link is followed
		return nil, fmt.Errorf("show folders to the VM: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("show folders to the VM: %w", err)
	}
	return s, nil
}

// link shows source under a name of ours. It must be what was allowed.
func (s *shares) link(source string, is plan.Inode, to string, readOnly bool) error {
	if err := s.hold(source, is); err != nil {
		return err
	}
	name := filepath.Join(s.dir, strconv.Itoa(len(s.list)))
	if err := os.Symlink(source, name); err != nil {
		return fmt.Errorf("show %s: %w", source, err)
	}
	s.list = append(s.list, share{name, to, readOnly})
	return nil
}

func (s *shares) hold(source string, is plan.Inode) error {
	h := held{source, is}
	if err := h.check(); err != nil {
		return err
	}
	s.holds = append(s.holds, h)
	return nil
}

func (h held) check() error {
	fi, err := os.Lstat(h.path)
	if err != nil {
		return fmt.Errorf("show %s: %w", h.path, err)
	}
	if !same(fi, h.is) {
		return fmt.Errorf("show %s: it is not the file or folder that was allowed", h.path)
	}
	return nil
}

// same tells whether fi is of that inode; the zero Inode is none.
func same(fi os.FileInfo, is plan.Inode) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && is != (plan.Inode{}) && uint64(st.Dev) == is.Dev && st.Ino == is.Ino
}

// unchanged wants every source to be still what was allowed, after smolvm has opened it.
func (s *shares) unchanged() error {
	var errs []error
	for _, h := range s.holds {
		errs = append(errs, h.check())
	}
	return errors.Join(errs...)
}

// sealed are the folders in the VM that it is shown read-only.
func (s *shares) sealed() (out []string) {
	for _, l := range s.list {
		if l.readOnly {
			out = append(out, l.guest)
		}
	}
	return out
}

// fill shows everything of b, and gives b as the jail in the VM is told it.
func (s *shares) fill(b plan.Bottle, program string) (plan.Bottle, error) {
	self := filepath.Join(s.dir, "self")
	if err := place(program, filepath.Join(self, guest.Program), 0o755, nil); err != nil {
		return b, err
	}
	s.list = append(s.list, share{self, guest.Self, true})
	switch w := &b.Workspace; w.Mode {
	case "none":
	case "bind", "overlay":
		if err := s.link(w.Source, w.Is, guest.Work, w.Mode == "overlay"); err != nil {
			return b, err
		}
		if w.Mode == "overlay" {
			s.list = append(s.list, share{filepath.Join(b.State, "overlay"), guest.Layers, false})
		}
		w.Source = guest.Work
	default:
		return b, fmt.Errorf("the workspace mode %q is unknown", w.Mode)
	}
	mounts := make([]plan.Mount, len(b.Mounts))
	for i, m := range b.Mounts {
		var err error
		if mounts[i], err = s.mount(m); err != nil {
			return b, err
		}
	}
	b.Mounts = mounts
	if b.Added != "" {
		s.list = append(s.list, share{b.Added, guest.Added, true})
		b.Added = guest.Added
	}
	b.State = ""
	return b, nil
}

// mount shows one path. A share is a folder: a single file stands in one of its own, as
// a second name where that can be, else, if nothing will be written to it, as a copy.
func (s *shares) mount(m plan.Mount) (plan.Mount, error) {
	at := guest.Shares + "/" + strconv.Itoa(len(s.list))
	fi, err := os.Lstat(m.Source)
	if err != nil {
		return m, fmt.Errorf("show %s: %w", m.Source, err)
	}
	if fi.IsDir() {
		err = s.link(m.Source, m.Is, at, !m.Writable)
		m.Source = at
		return m, err
	}
	if !fi.Mode().IsRegular() {
		return m, fmt.Errorf("show %s: a VM can be shown folders and plain files only", m.Source)
	}
	if err := s.hold(m.Source, m.Is); err != nil {
		return m, err
	}
	dir := filepath.Join(s.dir, strconv.Itoa(len(s.list)))
	name := filepath.Join(dir, guest.File)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return m, fmt.Errorf("show %s: %w", m.Source, err)
	}
	if err := secondName(m, name, fi.Mode().Perm()); err != nil {
		return m, err
	}
	s.list = append(s.list, share{dir, at, !m.Writable})
	m.Source = at + "/" + guest.File
	return m, nil
}

// secondName gives the file of m another name, or copies it. It is looked at again under
// that name: its own may be another file's since it was allowed.
func secondName(m plan.Mount, name string, mode os.FileMode) error {
	if err := os.Link(m.Source, name); err != nil {
		if m.Writable {
			return fmt.Errorf("show %s for writing: a VM is shown folders, and the file can have no second name in one: %w", m.Source, err)
		}
		return place(m.Source, name, mode, &m.Is)
	}
	if err := (held{name, m.Is}).check(); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// place copies a file; with is, no other than that one.
func place(from, to string, mode os.FileMode, is *plan.Inode) error {
	in, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		return fmt.Errorf("show %s: %w", from, err)
	}
	defer in.Close()
	if fi, err := in.Stat(); err != nil || !fi.Mode().IsRegular() || is != nil && !same(fi, *is) {
		return errors.Join(fmt.Errorf("show %s: it is not the file that was allowed", from), err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("show %s: %w", from, err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("show %s: %w", from, err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(mode), out.Close()); err != nil {
		return fmt.Errorf("show %s: %w", from, err)
	}
	return nil
}
