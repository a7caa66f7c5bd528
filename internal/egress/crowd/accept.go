package crowd

import (
	"errors"
	"net"
	"sync"
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

// Patient is l whose Accept is this one, until it is closed.
func Patient(l net.Listener) net.Listener { return &patient{Listener: l, done: make(chan struct{})} }

type patient struct {
	net.Listener
	done chan struct{}
	once sync.Once
}

func (p *patient) Accept() (net.Conn, error) { return Accept(p.Listener, p.done) }

func (p *patient) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.Listener.Close()
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
