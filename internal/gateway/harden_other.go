//go:build !linux

package gateway

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Harden empties the environment and forbids core files; the rest of what it does
// on Linux has no counterpart here.
func Harden() error {
	os.Clearenv()
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// netlinkFile is an error: only Linux has netlink.
func netlinkFile(*os.File) (*os.File, error) { return nil, errors.New("only Linux has netlink") }

// peerUID is the user on the other end of a unix socket.
func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}
