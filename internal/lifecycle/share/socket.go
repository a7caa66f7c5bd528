package share

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// listen makes the socket that others attach at: in a folder that is the operator's alone,
// for the operator alone.
func listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make the socket to attach at: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make the socket to attach at: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("make the socket to attach at: %w", err), l.Close())
	}
	return l, nil
}

// ours refuses a connection whose other end is another user's. Root is one, too.
func ours(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("look who is there: %w", err)
	}
	uid, uidErr := -1, error(nil)
	err = raw.Control(func(fd uintptr) { uid, uidErr = peerUID(int(fd)) })
	if err = errors.Join(err, uidErr); err != nil {
		return fmt.Errorf("look who is there: %w", err)
	}
	if me := os.Geteuid(); uid != me {
		return fmt.Errorf("the user %d may not have what belongs to the user %d", uid, me)
	}
	return nil
}
