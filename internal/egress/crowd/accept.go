package crowd

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Accept takes the next connection from l. What is not the end (a full table of
// descriptors) it tries again, with growing pauses, until done. Another error is l's.
func Accept(l net.Listener, done <-chan struct{}) (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := l.Accept()
		if err == nil || !temporary(err) {
			return c, err
		}
		if !wait(done, pause) {
			return nil, net.ErrClosed
		}
	}
}

// temporary reports whether accepting may work again soon.
func temporary(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.ECONNREFUSED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wait pauses; false: done came first.
func wait(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}
