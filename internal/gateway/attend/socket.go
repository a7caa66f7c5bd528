package attend

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// errOnce is a socket that no second life can have: such a service is given up at once.
var errOnce = errors.New("its socket can't be opened again")

// backlog is how many connections wait for Accept; the kernel takes less where it must.
const backlog = 4096

// Socket is one that each life of a service gets anew: a life closes its own when it ends. It
// stays bound meanwhile, so nobody else can come to listen in its place, and whoever connects
// waits for the next life. A nil Socket gives nil.
type Socket struct {
	first any      // not handed out yet
	file  *os.File // the same socket; nil: there is one life
}

// Keep looks after s, a listener or a packet socket; nil is no socket. After an error s is as
// it was. One that is no socket of the kernel's has one life.
func Keep(s any) (*Socket, error) {
	kernels, ok := s.(interface{ File() (*os.File, error) })
	if !ok {
		return &Socket{first: s}, nil
	}
	f, err := kernels.File()
	if err != nil {
		return nil, fmt.Errorf("keep a socket: %w", err)
	}
	return &Socket{first: s, file: f}, nil
}

// Listener is the socket for the next life.
func (k *Socket) Listener() (net.Listener, error) {
	if k == nil {
		return nil, nil
	}
	if l, ok := k.first.(net.Listener); ok {
		k.first = nil
		return l, nil
	}
	if k.file == nil {
		return nil, errOnce
	}
	// Whatever ended the life before may have ended its listening, too (shutdown(2)).
	raw, err := k.file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("listen again: %w", err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), backlog) }); err != nil || failed != nil {
		return nil, fmt.Errorf("listen again: %w", errors.Join(err, failed))
	}
	return net.FileListener(k.file)
}

// Packets is the socket for the next life.
func (k *Socket) Packets() (net.PacketConn, error) {
	if k == nil {
		return nil, nil
	}
	if c, ok := k.first.(net.PacketConn); ok {
		k.first = nil
		return c, nil
	}
	if k.file == nil {
		return nil, errOnce
	}
	return net.FilePacketConn(k.file)
}

// Close lets go of the socket. What a life still has is its own.
func (k *Socket) Close() {
	if k != nil && k.file != nil {
		_ = k.file.Close() // nothing was written
	}
}
