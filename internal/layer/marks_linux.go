package layer

import (
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mark reads one of the overlay's extended attributes of name in dir, at most 4
// bytes of it. The path goes through the folder's descriptor and the name is not
// followed, so it cannot lead elsewhere.
func mark(dir *os.Root, name, attr string) (string, bool) {
	f, err := dir.Open(".")
	if err != nil {
		return "", false
	}
	defer f.Close()
	var b [4]byte
	n, err := unix.Lgetxattr("/proc/self/fd/"+strconv.Itoa(int(f.Fd()))+"/"+name, attr, b[:])
	if err == unix.ERANGE {
		return "", true
	}
	return string(b[:max(n, 0)]), err == nil
}

// whiteoutDevice reports whether fi is how an overlay writes "deleted": a
// character device 0/0 (the kernel's Documentation/filesystems/overlayfs.rst).
// An agent cannot make one: overlayfs refuses that mknod.
func whiteoutDevice(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && fi.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

// changed is the time of the last change of content, mode, owner or name.
func changed(fi fs.FileInfo) time.Time {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fi.ModTime()
	}
	return time.Unix(st.Ctim.Unix())
}
