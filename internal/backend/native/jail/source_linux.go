package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// source is a file or folder of the host, held open: what it is cannot change
// any more, whatever happens to its path.
type source struct {
	fd   int
	path string // as the operator knows it
	dir  bool
}

// openSource opens path below root. The operator's side has followed its links,
// decided that it may be shown and written down which inode it is; between then
// and now whoever can write into a folder above may have put another thing in its
// place. So no link is followed here, and only that very inode is shown.
func openSource(root, path string, want plan.Inode) (source, error) {
	if want == (plan.Inode{}) {
		return source{}, fmt.Errorf("show %s: nobody has looked at what it is", path)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, root+path, &how)
	if errors.Is(err, unix.ELOOP) {
		return source{}, swapped(path)
	}
	if err != nil {
		return source{}, fmt.Errorf("open %s: %w", path, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err != nil {
		err = fmt.Errorf("look at %s: %w", path, err)
	} else if (plan.Inode{Dev: st.Dev, Ino: st.Ino}) != want {
		err = swapped(path)
	}
	kind := st.Mode & unix.S_IFMT
	if err == nil && kind != unix.S_IFDIR && kind != unix.S_IFREG {
		err = fmt.Errorf("show %s: it is neither a file nor a folder", path)
	}
	if err != nil {
		unix.Close(fd)
		return source{}, err
	}
	return source{fd: fd, path: path, dir: kind == unix.S_IFDIR}, nil
}

func swapped(path string) error {
	return fmt.Errorf("show %s: something else has taken its place since it was checked", path)
}

func (s source) close() { unix.Close(s.fd) }

// clone is a detached mount of the source; flags may be unix.AT_RECURSIVE, for
// the file systems that are mounted below it.
func (s source) clone(flags uint) (int, error) {
	fd, err := unix.OpenTree(s.fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|flags)
	if errors.Is(err, unix.EINVAL) && flags == 0 {
		return -1, fmt.Errorf("show %s: another file system is mounted inside: %w", s.path, err)
	}
	if err != nil {
		return -1, fmt.Errorf("show %s: open tree: %w", s.path, err)
	}
	return fd, nil
}

// show hangs the source at dst inside the new root, with attributes on all of it.
func (s source) show(dst string, attrs uint64) error {
	dst, err := insideRoot(dst)
	if err != nil {
		return err
	}
	flags := uint(unix.AT_RECURSIVE)
	fd, err := s.clone(flags)
	if err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: attrs, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|flags, &attr); err != nil {
		unix.Close(fd)
		return fmt.Errorf("restrict %s: %w", s.path, err)
	}
	return attach(fd, dst)
}

// showView shows a folder as an overlay without an upper layer. Read-only is not
// enough: connect(2) and open(2) of a unix socket or a pipe ask for no write to
// the file system, and reach the process of the host that serves it. An overlay
// has inodes of its own, behind which nobody listens. at is the number of the
// view, for the plain name that its folder gets: a path with a comma or a colon
// would be read as options.
func (s source) showView(dst string, at int) error {
	dst, err := insideRoot(dst)
	if err != nil {
		return err
	}
	lower := lowers + "/" + strconv.Itoa(at)
	fd, err := s.clone(0)
	if err != nil {
		return err
	}
	if err := attach(fd, lower); err != nil {
		return fmt.Errorf("show %s: %w", s.path, err)
	}
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	return mountView(s.path, lower, dst, ",userxattr")
}

// lowers is where folders get plain names.
const lowers = "/lowers"

// mountView mounts the folder at lower, which the operator knows as path,
// read-only at dst. Overlayfs wants two
// lower layers where there is no upper one; the second is empty.
func mountView(path, lower, dst, more string) error {
	empty := filepath.Join(filepath.Dir(lower), "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return err
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
	var fs unix.Statfs_t
	if err := unix.Statfs(lower, &fs); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", path, err)
	}
	if fs.Flags&unix.ST_NOEXEC != 0 { // a bind mount would keep it
		flags |= unix.MS_NOEXEC
	}
	if err := unix.Mount("overlay", dst, "overlay", flags, "lowerdir="+lower+":"+empty+more); err != nil {
		return fmt.Errorf("show %s: mount view: %w", path, err)
	}
	return nil
}
