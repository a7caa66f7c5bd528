package layer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// errFull ends a scan that found more than a list may have.
var errFull = errors.New("too many changes")

const mountedThere = "something else is mounted there, which the agent did not see"

// Changes lists what the agent changed, by path. What cannot be read or must not
// be taken is in the list, with the reason; an error means that there is no list.
func (v *View) Changes(ctx context.Context) (List, error) {
	if v.upper == nil {
		return List{Changes: []Change{}}, nil
	}
	s := scan{View: v, ctx: ctx}
	err := s.folder("", v.upper, v.lower, s.opaque(v.upper, "."), 0)
	l := List{Changes: append([]Change{}, s.found...), Partial: errors.Is(err, errFull)}
	if err != nil && !l.Partial {
		return List{}, fmt.Errorf("list changes: %w", err)
	}
	slices.SortFunc(l.Changes, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return l, nil
}

// scan is one walk.
type scan struct {
	*View
	ctx   context.Context
	found []Change
}

func (s *scan) add(c Change) error {
	if len(s.found) >= maxChanges {
		return errFull
	}
	c.Runs = Runs(c)
	s.found = append(s.found, c)
	return nil
}

// names are the entries of dir, by name.
func names(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.Readdirnames(maxChanges + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(list) > maxChanges {
		return nil, errFull
	}
	slices.Sort(list)
	return list, nil
}

// opaque reports whether nothing of the folder below shows through name.
func (s *scan) opaque(dir *os.Root, name string) bool {
	y, _ := mark(dir, name, s.prefix+"opaque")
	return y == "y"
}

// whiteout reports whether name says that something was deleted: a device 0/0,
// or an empty file with a mark (kernel 6.7).
func (s *scan) whiteout(dir *os.Root, name string, fi fs.FileInfo) bool {
	if whiteoutDevice(fi) {
		return true
	}
	if !fi.Mode().IsRegular() || fi.Size() > 0 {
		return false
	}
	_, ok := mark(dir, name, s.prefix+"whiteout")
	return ok
}

// folder compares one folder of the view with the one below; low is nil where
// there is none. With opaque, what is only below was deleted, here and in every
// folder inside: those need no mark of their own.
func (s *scan) folder(at string, up, low *os.Root, opaque bool, depth int) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	list, err := names(up)
	if err != nil {
		return err
	}
	var gone []string
	stays := map[string]bool{}
	for _, name := range list {
		fi, err := up.Lstat(name)
		if err != nil {
			return err
		}
		if s.whiteout(up, name, fi) {
			gone = append(gone, name)
			continue
		}
		stays[name] = true
		if err := s.entry(path.Join(at, name), up, low, fi, opaque, depth); err != nil {
			return err
		}
	}
	if low == nil {
		return nil
	}
	if opaque {
		if list, err = names(low); err != nil {
			return err
		}
		gone = slices.DeleteFunc(list, func(n string) bool { return stays[n] })
	}
	for _, name := range gone {
		if err := s.deleted(path.Join(at, name), low, depth); err != nil {
			return err
		}
	}
	return nil
}

// entry compares one thing of the view with what has its name below.
func (s *scan) entry(at string, up, low *os.Root, fi fs.FileInfo, opaque bool, depth int) error {
	name := path.Base(at)
	was, err := lstat(low, name)
	if err != nil {
		return err
	}
	c := Change{Path: at, Op: Added, Kind: kindOf(fi), Was: kindOf(was), Mode: Mode(fi.Mode().Perm()), Content: true, up: fi, low: was}
	if was != nil {
		c.Op, c.Conflict = Modified, s.since(was)
	}
	if c.Was == File || c.Was == Folder {
		c.WasMode = Mode(was.Mode().Perm())
	}
	if c.Kind == File {
		c.Size = fi.Size()
	}
	if c.Was == File {
		c.WasSize = was.Size()
	}
	if s.mounted(was) {
		c.Refused = mountedThere
		return s.add(c)
	}
	if c.Kind == Folder {
		return s.subfolder(c, up, low, opaque || s.opaque(up, name), depth)
	}
	if c.Kind == Link {
		c.Mode = 0
		if c.Target, err = up.Readlink(name); err != nil {
			return err
		}
	}
	if same, err := s.unchanged(&c, up, low); same || err != nil {
		return err
	}
	c.Refused = s.refuse(c, up)
	if err := s.add(c); err != nil {
		return err
	}
	if c.Was == Folder {
		return s.inside(at, low, depth)
	}
	return nil
}

// unchanged reports whether c is no change: an overlay copies a file up as soon as
// it is opened for writing. It tells, too, whether only the mode differs.
func (s *scan) unchanged(c *Change, up, low *os.Root) (bool, error) {
	if c.Kind != c.Was {
		return false, nil
	}
	name := path.Base(c.Path)
	switch c.Kind {
	case Link:
		was, err := low.Readlink(name)
		return was == c.Target, err
	case Other:
		return c.up.Mode() == c.low.Mode(), nil
	}
	if c.Size != c.WasSize {
		return false, nil
	}
	equal, err := s.equal(name, up, low, c)
	if err != nil { // it cannot be read: taking it will say so
		return false, nil
	}
	c.Content = !equal
	return equal && c.up.Mode() == c.low.Mode(), nil
}

// equal compares two plain files of the same size.
func (s *scan) equal(name string, up, low *os.Root, c *Change) (bool, error) {
	a, err := openFile(up, name, c.up)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := openFile(low, name, c.low)
	if err != nil {
		return false, err
	}
	defer b.Close()
	var x, y [64 << 10]byte
	for {
		if err := s.ctx.Err(); err != nil {
			return false, err
		}
		n, errA := io.ReadFull(a, x[:])
		m, errB := io.ReadFull(b, y[:])
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil { // both end here, or one could not be read
			return errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF), nil
		}
	}
}

// subfolder lists a folder of the view, and goes on inside.
func (s *scan) subfolder(c Change, up, low *os.Root, opaque bool, depth int) error {
	name := path.Base(c.Path)
	c.Content = c.Was != Folder
	if _, ok := mark(up, name, s.prefix+"redirect"); ok {
		c.Refused = "a renamed folder, which this kernel keeps elsewhere: copy it by hand"
		return s.add(c)
	}
	if depth+1 > maxDepth {
		c.Refused = fmt.Sprintf("more than %d folders deep", maxDepth)
		return s.add(c)
	}
	sub, err := descend(up, name)
	if err == nil {
		defer sub.Close()
		_, err = names(sub)
	}
	if errors.Is(err, fs.ErrPermission) {
		c.Refused = "its mode lets nobody look inside"
		return s.add(c)
	}
	if err != nil {
		return err
	}
	var below *os.Root
	if c.Was == Folder {
		if below, err = descend(low, name); err != nil {
			c.Refused = "the folder's own cannot be read"
			return s.add(c)
		}
		defer below.Close()
	}
	if c.Was != Folder || c.Mode != c.WasMode {
		if err := s.add(c); err != nil {
			return err
		}
	}
	return s.folder(c.Path, sub, below, opaque, depth+1)
}

// deleted lists what the view hides, and all that is inside.
func (s *scan) deleted(at string, low *os.Root, depth int) error {
	was, err := lstat(low, path.Base(at))
	if err != nil || was == nil { // the operator deleted it, too
		return err
	}
	c := Change{Path: at, Op: Deleted, Kind: kindOf(was), Was: kindOf(was), low: was}
	switch {
	case s.mounted(was):
		c.Refused = mountedThere
		return s.add(c)
	case c.Kind == File:
		c.WasSize = was.Size()
	case c.Kind == Other:
		c.Refused = "a pipe, a socket or a device"
	}
	if c.Kind != Folder { // a folder's time changes with what is inside; a new thing inside keeps it
		c.Conflict = s.since(was)
	}
	if err := s.add(c); err != nil || c.Kind != Folder {
		return err
	}
	return s.inside(at, low, depth)
}

// inside lists all below a hidden folder as deleted.
func (s *scan) inside(at string, low *os.Root, depth int) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if depth+1 > maxDepth {
		return nil // what is not listed is not deleted, nor are the folders above it
	}
	sub, err := descend(low, path.Base(at))
	if err != nil {
		return nil // it cannot be read: so it stays, for the same reason
	}
	defer sub.Close()
	list, err := names(sub)
	if err != nil {
		return err
	}
	for _, name := range list {
		if err := s.deleted(path.Join(at, name), sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// since says that the folder's own changed after the bottle started.
func (s *scan) since(was fs.FileInfo) string {
	if was.ModTime().After(s.started) || changed(was).After(s.started) {
		return "changed in the folder since the bottle started"
	}
	return ""
}

// refuse says why c must not be taken.
func (s *scan) refuse(c Change, up *os.Root) string {
	switch {
	case c.Kind == Other:
		return "a pipe, a socket or a device"
	case c.Kind == Link:
		return s.refuseLink(c)
	case c.up.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return "it would run with its owner's rights (setuid or setgid)"
	case c.Size > maxTake:
		return "larger than 4 GiB: copy it by hand"
	}
	if _, ok := mark(up, path.Base(c.Path), s.prefix+"metacopy"); ok {
		return "only its mode is kept here: change it by hand"
	}
	return ""
}

// refuseLink refuses a link that leaves the folder. A ".." behind a name counts
// from where that name leads, which the text does not tell: only leading ones are
// taken. The names may be links of the operator's own, so the folder is asked, too.
func (s *scan) refuseLink(c Change) string {
	const out = "it leads out of the folder"
	if c.Target == "" || len(c.Target) > maxTarget || path.IsAbs(c.Target) {
		return out
	}
	down := false
	for _, part := range strings.Split(c.Target, "/") {
		if part == ".." && down {
			return out
		}
		down = down || part != ".." && part != "." && part != ""
	}
	if to := path.Join(path.Dir(c.Path), c.Target); to == ".." || strings.HasPrefix(to, "../") {
		return out
	}
	_, err := s.lower.Stat(path.Dir(c.Path) + "/" + c.Target)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return "" // inside, or nowhere
	}
	return out
}
