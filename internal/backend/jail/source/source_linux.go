package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// Source is a file or folder of the host, held open: what it is cannot change
// any more, whatever happens to its path.
type Source struct {
	FD   int
	Path string // as the operator knows it
	Dir  bool
}

// Open opens path below root. The operator's side has followed its links,
// decided that it may be shown and written down which inode it is; between then
// and now whoever can write into a folder above may have put another thing in its
// place. So no link is followed here, and only that very inode is shown.
func Open(root, path string, want plan.Inode) (Source, error) {
	if want == (plan.Inode{}) {
		return Source{}, fmt.Errorf("show %s: nobody has looked at what it is", path)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, root+path, &how)
	if errors.Is(err, unix.ELOOP) {
		return Source{}, swapped(path)
	}
	if err != nil {
		return Source{}, fmt.Errorf("open %s: %w", path, err)
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
		return Source{}, err
	}
	return Source{FD: fd, Path: path, Dir: kind == unix.S_IFDIR}, nil
}

func swapped(path string) error {
	return fmt.Errorf("show %s: something else has taken its place since it was checked", path)
}

// Close lets go of it.
func (s Source) Close() { unix.Close(s.FD) }

// Clone is a detached mount of the source; flags may be unix.AT_RECURSIVE, for
// the file systems that are mounted below it.
func (s Source) Clone(flags uint) (int, error) {
	fd, err := unix.OpenTree(s.FD, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|flags)
	if errors.Is(err, unix.EINVAL) && flags == 0 {
		return -1, fmt.Errorf("show %s: another file system is mounted inside: %w", s.Path, err)
	}
	if err != nil {
		return -1, fmt.Errorf("show %s: open tree: %w", s.Path, err)
	}
	return fd, nil
}

// MountView mounts the folder at lower, which the operator knows as path,
// read-only at dst. Overlayfs wants two
// lower layers where there is no upper one; the second is empty.
func MountView(path, lower, dst, more string) error {
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

// Attach hangs a detached mount at path, which it makes: a folder, or a file.
func Attach(fd int, path string) error {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if err := MakePoint(path, st.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move mount: %w", err)
	}
	return nil
}

// MakePoint makes the thing that a mount will cover.
func MakePoint(path string, dir bool) error {
	if dir {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
