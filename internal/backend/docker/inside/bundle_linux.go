package inside

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// Bundle binds the socket on which the bottle's sockets will come, and becomes the
// gateway with it as descriptor 3. The one message of a helper is all that it ever
// takes: the gateway closes it then.
func Bundle(identity string) error {
	if err := os.Remove(MeetPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear the meeting place: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: MeetPath}); err != nil {
		return fmt.Errorf("bind %s: %w", MeetPath, err)
	}
	// The helper is root without any power over files of others.
	if err := os.Chmod(MeetPath, 0o666); err != nil {
		return fmt.Errorf("open %s to the helper: %w", MeetPath, err)
	}
	return become(fd, identity)
}

// Door listens where the container's port is published, and becomes the gateway that
// finds that listener on descriptor 3, as it finds a bottle's sockets.
func Door(identity string) error {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(l, &unix.SockaddrInet4{Port: plan.DoorPort}) // every address of the container
	}
	if err == nil {
		err = unix.Listen(l, unix.SOMAXCONN)
	}
	if err != nil {
		return fmt.Errorf("open the door: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the door: %w", err)
	}
	if err := unix.Sendmsg(pair[0], []byte(plan.SocketEgress), unix.UnixRights(l), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("hand the door on: %w", err)
	}
	return become(pair[1], identity)
}

// become is the gateway in this process, with fd where it looks for its sockets.
func become(fd int, identity string) error {
	const handover = 3
	err := unix.Dup3(fd, handover, 0)
	if fd == handover {
		_, err = unix.FcntlInt(handover, unix.F_SETFD, 0)
	}
	if err != nil {
		return fmt.Errorf("hand the socket on: %w", err)
	}
	if fd != handover {
		unix.Close(fd)
	}
	err = unix.Exec(BundleGateway, []string{"bottle-gateway", "serve", "--identity", identity}, []string{})
	return fmt.Errorf("start %s: %w", BundleGateway, err)
}
