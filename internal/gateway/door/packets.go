package door

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Packets gives what the kernel inside refused, as if it came from that kernel's own
// socket: a file of which each read is one message. It ends with ctx; then it has been
// closed. A reader that is slow loses messages, as with a kernel's socket.
func (d *Door) Packets(ctx context.Context) (*os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket for what is refused: %w", err)
	}
	var ends [2]*os.File
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		err = errors.Join(err, syscall.SetNonblock(fd, true))
		ends[i] = os.NewFile(uintptr(fd), "refused")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a socket for what is refused: %w", err), ends[0].Close(), ends[1].Close())
	}
	go func() {
		defer ends[1].Close()
		var wg sync.WaitGroup
		defer wg.Wait()
		lane, _ := d.Refused.Listener() // a lane has no error
		stop := context.AfterFunc(ctx, func() { _ = lane.Close() })
		defer stop()
		for {
			c, err := lane.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				defer stop()
				pass(c, ends[1])
			})
		}
	}()
	return ends[0], nil
}

// pass copies messages from one relay. 64 KiB is what a message can have at most.
func pass(from net.Conn, to *os.File) {
	raw, err := to.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 1<<16)
	for {
		if _, err := io.ReadFull(from, buf[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(buf))
		if _, err := io.ReadFull(from, buf[:n]); err != nil {
			return
		}
		_ = raw.Write(func(fd uintptr) bool {
			_, _ = syscall.Write(int(fd), buf[:n]) // full or gone: it is lost, and the next may not be
			return true
		})
	}
}
