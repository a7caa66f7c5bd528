package layer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// ErrPartial is why Apply refuses a list: nobody has seen all of it.
var ErrPartial = errors.New("there are too many changes for one list")

// Apply takes the changes of a list that Changes made into the folder and returns
// the list with what became of each. What is refused stays out; a conflict, too,
// unless force is set. A file is replaced by one rename: whoever is killed
// meanwhile leaves the old one or the new one, and perhaps a file .bottle-*.
// It goes on after a failure, and stops at the end of ctx.
func (v *View) Apply(ctx context.Context, l List, force bool) (List, error) {
	if l.Partial {
		return l, ErrPartial
	}
	l.Changes = slices.Clone(l.Changes)
	do := func(c *Change, take func(*Change) error) {
		switch {
		case c.Refused != "", c.Conflict != "" && !force, c.Failed != "":
		case ctx.Err() != nil:
			c.Failed = "interrupted"
		default:
			if err := take(c); err != nil {
				c.Failed = reason(err)
				return
			}
			c.Taken = true
		}
	}
	// What goes makes room: the deepest first, so that folders are empty.
	for i := len(l.Changes) - 1; i >= 0; i-- {
		if c := &l.Changes[i]; c.Op == Deleted {
			do(c, v.remove)
		}
	}
	for i := range l.Changes { // a folder sorts before what is in it
		if c := &l.Changes[i]; c.Op != Deleted {
			do(c, v.write)
		}
	}
	// A folder's own mode may forbid writing into it, so it comes last.
	for i := len(l.Changes) - 1; i >= 0; i-- {
		if c := &l.Changes[i]; c.Kind == Folder && c.Taken && c.Op != Deleted {
			if err := v.chmodFolder(c.Path, c.Mode); err != nil {
				c.Taken, c.Failed = false, reason(err)
			}
		}
	}
	return l, nil
}

// reason is err without the path, which stands beside it.
func reason(err error) string {
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return "the folder still holds what was not taken"
	}
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err.Error()
	}
	return err.Error()
}

// parent opens the folder that holds p, a folder at a time and through no link.
func parent(root *os.Root, p string) (*os.Root, error) {
	at, err := root.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	dir := path.Dir(p)
	if dir == "." {
		return at, nil
	}
	for _, name := range strings.Split(dir, "/") {
		next, err := descend(at, name)
		if err = errors.Join(err, at.Close()); err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// here opens the folder that c goes into, and makes sure that what is there is
// what the list said.
func (v *View) here(c *Change) (*os.Root, error) {
	dir, err := parent(v.lower, c.Path)
	if err != nil {
		return nil, err
	}
	now, err := lstat(dir, path.Base(c.Path))
	fits := same(now, c.low)
	if c.Was == Folder && now != nil { // its times change with what was taken inside
		fits = now.IsDir() && os.SameFile(now, c.low)
	}
	if err == nil && !fits {
		err = errors.New("changed in the folder since the list was made")
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func (v *View) remove(c *Change) error {
	dir, err := v.here(c)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Remove(path.Base(c.Path))
}

// write takes one file, link or folder.
func (v *View) write(c *Change) error {
	dir, err := v.here(c)
	if err != nil {
		return err
	}
	defer dir.Close()
	name, temp := path.Base(c.Path), ".bottle-"+rand.Text()
	switch c.Kind {
	case Folder:
		return v.folder(dir, name, c)
	case File:
		err = v.copy(dir, temp, c)
	case Link:
		if err = dir.Symlink(c.Target, temp); err == nil && os.Geteuid() == 0 {
			err = dir.Lchown(temp, v.uid, v.gid)
		}
	default:
		return errors.New("not a file, a folder or a link")
	}
	if err == nil && c.Was == Folder {
		err = dir.Remove(name) // empty by now, or it stays
	}
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		_ = dir.Remove(temp) // the first error is the one to tell
	}
	return err
}

// folder makes a folder, or opens an old one for what goes in.
func (v *View) folder(dir *os.Root, name string, c *Change) error {
	if c.Was != Folder {
		if c.Was != None {
			if err := dir.Remove(name); err != nil {
				return err
			}
		}
		if err := dir.Mkdir(name, 0o700); err != nil {
			return err
		}
		if os.Geteuid() == 0 {
			return dir.Lchown(name, v.uid, v.gid)
		}
		return nil
	}
	return v.chmodFolder(c.Path, c.WasMode|0o700)
}

// chmodFolder sets the permission bits of a folder, and leaves its setgid bit alone.
func (v *View) chmodFolder(p string, mode Mode) error {
	dir, err := parent(v.lower, p+"/x")
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Chmod(fi.Mode()&^0o777 | os.FileMode(mode)&0o777)
}

// copy writes the view's file into a new file of dir.
func (v *View) copy(dir *os.Root, temp string, c *Change) (err error) {
	from, err := parent(v.upper, c.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	src, err := openFile(from, path.Base(c.Path), c.up)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	n, err := io.Copy(dst, io.LimitReader(src, c.Size+1))
	if err == nil && n != c.Size {
		err = fmt.Errorf("it has %d bytes, not %d", n, c.Size)
	}
	if err == nil && os.Geteuid() == 0 {
		err = dst.Chown(v.uid, v.gid)
	}
	if err != nil {
		return err
	}
	return dst.Chmod(os.FileMode(c.Mode) & 0o777)
}
