package terminal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Pollable takes the master of a terminal over as one that does not block, so that its
// close ends a read. f is closed.
func Pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// Tell tells the foreground process group, if there is one, of this process's own terminal that
// its size has changed (SIGWINCH). It asks that, since gVisor does not say of a master whose
// terminal is another's.
func Tell() error {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) {
		return nil // it has none, and so nobody looks at its size
	}
	if err != nil {
		return fmt.Errorf("open the terminal: %w", err)
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil {
		return fmt.Errorf("ask the terminal who is in the foreground: %w", err)
	}
	if group > 1 { // 1 and less would be all processes
		_ = unix.Kill(-group, unix.SIGWINCH) // gone is fine
	}
	return nil
}

// Resize tells a terminal its size, in cells.
func Resize(master *os.File, rows, cols uint16) error {
	rc, err := master.SyscallConn()
	if err != nil {
		return fmt.Errorf("resize the terminal: %w", err)
	}
	var ioctlErr error
	err = rc.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if err = errors.Join(err, ioctlErr); err != nil {
		return fmt.Errorf("resize the terminal: %w", err)
	}
	return nil
}
