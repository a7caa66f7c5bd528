package share

import "golang.org/x/sys/unix"

// peerUID is the user on the other end of a unix socket.
func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}

// become makes the descriptor to another name of from.
func become(from, to int) error { return unix.Dup3(from, to, 0) }
