package inside

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Bundle binds the socket on which the bottle's sockets will come, and becomes the
// gateway with it as descriptor 3. The one message of a helper is all that it ever
// takes: the gateway closes it then.
func Bundle(identity string) error {
	if err := os.Remove(meetPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear the meeting place: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: meetPath}); err != nil {
		return fmt.Errorf("bind %s: %w", meetPath, err)
	}
	// The helper is root without any power over files of others.
	if err := os.Chmod(meetPath, 0o666); err != nil {
		return fmt.Errorf("open %s to the helper: %w", meetPath, err)
	}
	const handover = 3 // where the gateway looks
	if fd != handover {
		if err := unix.Dup3(fd, handover, 0); err != nil {
			return fmt.Errorf("hand the socket on: %w", err)
		}
		unix.Close(fd)
	}
	err = unix.Exec(BundleGateway, []string{"bottle-gateway", "serve", "--identity", identity}, []string{})
	return fmt.Errorf("start %s: %w", BundleGateway, err)
}
