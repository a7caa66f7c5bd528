//go:build !linux

package share

import "golang.org/x/sys/unix"

// peerUID is the user on the other end of a unix socket.
func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}

// become makes the descriptor to another name of from.
func become(from, to int) error { return unix.Dup2(from, to) }
