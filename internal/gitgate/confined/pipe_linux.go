package confined

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is the most that an ordinary user's pipe may hold (pipe(7)), in bytes.
const pipeSize = 1 << 20

// widen lets both ends of a pipe work on their own for longer. Where the user has too
// many large pipes it stays as it is.
func widen(f *os.File) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
}
