package jail

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds one message on the control socket, in bytes.
const maxMessage = 64 << 20

// sendTimeout bounds one Send to a side that does not read.
const sendTimeout = 10 * time.Second

// maxFDs is the most descriptors that travel with one message.
const maxFDs = 8

// Wire carries length-prefixed JSON and descriptors over a unix stream socket.
// A descriptor travels with the length prefix. One reader and many writers.
type Wire struct {
	f  *os.File
	mu sync.Mutex
}

// NewWire takes over f.
func NewWire(f *os.File) *Wire { return &Wire{f: f} }

// Close closes the socket; a blocked Receive returns.
func (w *Wire) Close() error { return w.f.Close() }

// hangUp ends the conversation in both directions.
func (w *Wire) hangUp() error {
	return control(w.f, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }, true)
}

// Send writes v and hands over fds, which the caller still owns.
func (w *Wire) Send(v any, fds ...*os.File) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	var rights []byte
	if len(fds) > 0 {
		nums := make([]int, len(fds))
		for i, f := range fds {
			nums[i] = int(f.Fd())
		}
		rights = unix.UnixRights(nums...)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.f.SetWriteDeadline(time.Now().Add(sendTimeout)) // a descriptor that blocks has none
	if err := control(w.f, func(fd int) error { return unix.Sendmsg(fd, head, rights, nil, unix.MSG_NOSIGNAL) }, true); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	if _, err := w.f.Write(body); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// Receive reads one message into v and returns the descriptors that came with
// it; the caller owns them. io.EOF means that the other side is gone.
func (w *Wire) Receive(v any) ([]*os.File, error) {
	head, oob := make([]byte, 4), make([]byte, unix.CmsgSpace(4*maxFDs))
	var n, oobn int
	err := control(w.f, func(fd int) (err error) {
		n, oobn, _, _, err = unix.Recvmsg(fd, head, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	}, false)
	if err != nil {
		return nil, fmt.Errorf("receive message: %w", err)
	}
	if n == 0 {
		return nil, io.EOF
	}
	files, err := parseRights(oob[:oobn])
	if err != nil {
		return nil, err
	}
	if _, err = io.ReadFull(w.f, head[n:]); err != nil {
		return files, fmt.Errorf("receive message: %w", err)
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxMessage {
		return files, fmt.Errorf("receive message: %d bytes is more than %d", size, maxMessage)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(w.f, body); err != nil {
		return files, fmt.Errorf("receive message: %w", err)
	}
	return files, json.Unmarshal(body, v)
}

// control runs one system call on the socket, waiting for readiness where the
// descriptor is non-blocking.
func control(f *os.File, call func(fd int) error, write bool) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	step := func(fd uintptr) bool {
		callErr = call(int(fd))
		return !errors.Is(callErr, unix.EAGAIN)
	}
	if write {
		err = rc.Write(step)
	} else {
		err = rc.Read(step)
	}
	if err != nil {
		return err
	}
	return callErr
}

func parseRights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	var files []*os.File
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, fmt.Errorf("parse rights: %w", err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}
