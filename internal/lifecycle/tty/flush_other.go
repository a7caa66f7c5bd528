//go:build !linux

package tty

import "golang.org/x/sys/unix"

// flushInput drops what came in and nobody has read (tcflush(3)): 1 is FREAD.
func flushInput(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCFLUSH, 1) }
