// Package kept measures the folder of an agent's conversation, in which the agent can write
// whatever it likes while we look: links, pipes, closed folders, folders in folders without
// end. Nothing in it is followed, opened for reading or waited for, but folders.
package kept

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"bottle/internal/bottle"
)

// Bounds are how much may be kept. The zero Bounds allow nothing.
type Bounds struct {
	Bytes   int64 // of the disk, as the system counts them: a file with holes is as large as what is written in it
	Entries int   // files, folders and all else; one with several names counts for each
	Depth   int   // folders in one another; each takes a descriptor while it is looked into
	// Open lets a folder that is closed to its owner be opened to him: who may look into what
	// is his is not the agent's to say.
	Open bool
}

// Usual is what a conversation may come to: 1 GiB, 65,536 entries, 64 folders deep.
func Usual() Bounds { return Bounds{Bytes: 1 << 30, Entries: 1 << 16, Depth: 64} }

// TooMuch tells the operator of id which bound dir is past, and what to do.
func TooMuch(dir string, id bottle.Identity, past string) error {
	return bottle.Problems{{File: dir, Message: fmt.Sprintf("the conversation of %s has come to its bound: %s; nothing of it was removed", id, bottle.Printable(past)),
		Hint: "bottle changes " + string(id) + " --apply takes what it changed; bottle resume " + string(id) + " goes on once you have removed there what is not needed"}}
}

// Size is what a folder holds. Past the bounds it is what was seen until then.
type Size struct {
	Bytes   int64
	Entries int
	Past    string // which bound it is past, in words; empty: none
	Closed  string // a name in it that could not be looked into; empty: all was seen
}

// Look measures dir. It reads no more than the bounds allow. A folder that is not there is
// empty; one that can't be read is Closed.
func Look(dir string, b Bounds) Size {
	l := look{bounds: b}
	fd, err := l.open(unix.AT_FDCWD, dir)
	switch {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		l.size.Closed = "."
	default:
		l.folder(fd, 1)
	}
	return l.size
}

type look struct {
	bounds Bounds
	size   Size
}

// tries is how often a folder is opened that the agent closes meanwhile.
const tries = 3

// open opens a folder, and no link to one.
func (l *look) open(at int, name string) (fd int, err error) {
	for range tries {
		fd, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if !l.bounds.Open || !errors.Is(err, unix.EACCES) || unix.Fchmodat(at, name, 0o700, unix.AT_SYMLINK_NOFOLLOW) != nil {
			break
		}
	}
	return fd, err
}

// folder looks into one, whose descriptor it closes.
func (l *look) folder(fd, depth int) {
	f := os.NewFile(uintptr(fd), "kept")
	defer f.Close()
	for l.size.Past == "" {
		names, err := f.Readdirnames(256)
		for _, name := range names {
			if l.entry(fd, name, depth); l.size.Past != "" {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.size.Closed = "."
			}
			return
		}
	}
}

func (l *look) entry(at int, name string, depth int) {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if !errors.Is(err, unix.ENOENT) { // gone meanwhile
			l.size.Closed = name
		}
		return
	}
	l.size.Entries++
	l.size.Bytes += int64(st.Blocks) * 512 // stat(2): whatever the file system's blocks are
	switch {
	case l.size.Entries > l.bounds.Entries:
		l.size.Past = fmt.Sprintf("more than %d files and folders", l.bounds.Entries)
	case l.size.Bytes > l.bounds.Bytes:
		l.size.Past = fmt.Sprintf("more than %d MiB", l.bounds.Bytes>>20)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
	case depth >= l.bounds.Depth:
		l.size.Past = fmt.Sprintf("folders in one another, more than %d deep", l.bounds.Depth)
	default:
		fd, err := l.open(at, name)
		if err == nil {
			l.folder(fd, depth+1)
		} else if errors.Is(err, unix.EACCES) && int(st.Uid) == os.Geteuid() { // another user's is none of the agent's
			l.size.Closed = name
		}
	}
}
