// Package conns is what can be done with connections whatever they carry: find one
// below another, hand one to a server, join two.
package conns

import (
	"context"
	"io"
	"net"
	"sync"
)

// Find looks for a connection of type T among c and those below it.
func Find[T net.Conn](c net.Conn) (found T, ok bool) {
	for c != nil {
		if found, ok = c.(T); ok {
			return found, true
		}
		below, has := c.(interface{ NetConn() net.Conn })
		if !has {
			break
		}
		c = below.NetConn()
	}
	return found, false
}

// CloseWrite ends our half of c; where that can't be, both.
func CloseWrite(c net.Conn) error {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// Reset closes with RST: the peer sees at once that nothing was or will be read.
func Reset(c net.Conn) {
	if tcp, ok := Find[*net.TCPConn](c); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// Handoff is a listener whose connections come from a channel: net/http serves the
// inside of tunnels from it.
type Handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

// NewHandoff makes a Handoff that says it listens on addr.
func NewHandoff(addr net.Addr) *Handoff {
	return &Handoff{conns: make(chan net.Conn), done: make(chan struct{}), addr: addr}
}

// Accept implements net.Listener.
func (h *Handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *Handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *Handoff) Addr() net.Addr { return h.addr }

// Give passes c on, or closes it when nobody serves any more.
func (h *Handoff) Give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		_ = c.Close()
	}
}

// Splice copies both ways until both are done, passing each end of stream on
// (half-close), and reports the bytes each way. An error on one side, and the end
// of ctx, end both.
func Splice(ctx context.Context, agent, upstream io.ReadWriteCloser) (out, in int64) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = agent.Close()
		_ = upstream.Close()
	})
	defer func() {
		if !stop() {
			<-closed // a second Close of TLS does not wait for the first
		}
	}()
	var wg sync.WaitGroup
	oneWay := func(dst, src io.ReadWriteCloser, n *int64) {
		var err error
		*n, err = io.Copy(onlyWriter{dst}, onlyReader{src})
		w, half := dst.(interface{ CloseWrite() error })
		if err != nil || !half || w.CloseWrite() != nil {
			_ = agent.Close()
			_ = upstream.Close()
		}
	}
	wg.Go(func() { oneWay(upstream, agent, &out) })
	oneWay(agent, upstream, &in)
	wg.Wait()
	_ = agent.Close()
	_ = upstream.Close()
	return out, in
}

// These hide ReadFrom and WriteTo, which would go around what wraps a connection.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
