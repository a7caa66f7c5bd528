package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The bounds of one health check. A gateway that is busy answers in milliseconds.
const (
	healthySeconds = 4
	maxStatus      = 64 << 10 // bytes
)

// Healthy asks the gateway whose control socket is at path whether it serves and can record
// what it decides; one that can't denies everything. It is this program and not the gateway's,
// for its weight: it runs over and over beside a gateway that should cost nothing.
func Healthy(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "gateway")
	defer f.Close()
	patience := unix.Timeval{Sec: healthySeconds}
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience)); err != nil {
		return fmt.Errorf("bound the wait: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("reach the gateway: %w", err)
	}
	if _, err := f.WriteString("{\"op\":\"status\"}\n"); err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	var status struct {
		Identity     string `json:"identity"`
		Recording    bool   `json:"recording"`
		NotRecording string `json:"not_recording"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxStatus)).Decode(&status); err != nil {
		return fmt.Errorf("hear the gateway: %w", err)
	}
	switch {
	case status.Identity == "":
		return errors.New("what answers is no gateway of this user's")
	case !status.Recording:
		return fmt.Errorf("the gateway denies everything, since it can't record: %s", status.NotRecording)
	}
	return nil
}
