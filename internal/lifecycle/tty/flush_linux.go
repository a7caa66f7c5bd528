package tty

import "golang.org/x/sys/unix"

// flushInput drops what came in and nobody has read (tcflush(3), TCIFLUSH).
func flushInput(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }
