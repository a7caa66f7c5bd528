package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/frames"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

// Box is pid 1 of the agent's container: the jail's init on one end of a socket pair, and on
// the other what stands outside on native, here over one stream. It serves that until the
// agent ends or the stream does, and returns the agent's exit code.
func Box(identity string, in io.Reader, out io.Writer) (int, error) {
	if os.Getpid() != 1 {
		return 0, errors.New("bottle-jail box is for pid 1 of a container; run `bottle start`")
	}
	b := frames.NewInner(frames.NewConn(in, out, frames.MaxIn))
	req, err := request(b.Conn)
	if err != nil {
		return 0, err
	}
	if req.Spec == nil || req.Spec.Bottle.Identity != identity {
		return 0, fmt.Errorf("read spec: it is not for %s", identity)
	}
	if err := shown(req.Spec.Bottle); err != nil {
		_ = b.Conn.SendJSON(frames.Control, jail.Reply{Error: err.Error()}) // the start may be gone
		return 0, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make socket pair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that its close ends a read, and with it the bottle
		return 0, fmt.Errorf("make socket pair: %w", err)
	}
	b.Mute = req.Spec.Bottle.Container.Runtime == plan.GVisor
	b.Wire = jail.NewWire(os.NewFile(uintptr(fds[0]), "near"))
	// Whoever the agent left behind holds its pipes, and ends with the bottle. None left is no error.
	b.Ended = func() { _ = unix.Kill(-1, unix.SIGKILL) }
	told := make(chan struct{})
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		b.Hear()
	}()
	go func() {
		defer close(told)
		b.Tell()
	}()
	code, err := jail.Serve(req.Spec, os.NewFile(uintptr(fds[1]), "far"))
	<-told
	// Podman drops what it has yet to pass on when it can't pass on what still comes in, so
	// this end is not the first to go.
	select {
	case <-heard:
	case <-time.After(farewell):
	}
	return code, err
}

// farewell is how long the start may take to hang up when it has been told of the end.
const farewell = 2 * time.Second

// request reads the next Control frame, which must be the next frame.
func request(conn *frames.Conn) (jail.Request, error) {
	var req jail.Request
	kind, body, err := conn.Receive()
	if err == nil && kind != frames.Control {
		err = errors.New("a request is due")
	}
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil {
		return req, fmt.Errorf("read spec: %w", err)
	}
	return req, nil
}
