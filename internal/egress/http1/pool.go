package http1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"bottle/internal/egress/conns"
	"bottle/internal/egress/records"
)

const (
	maxIdle      = 256                   // connections that a pool keeps; as many as agents may have at once
	idleTime     = 90 * time.Second      // how long; most servers close at 60 s or more
	continueTime = 5 * time.Second       // for a server that never says 100 Continue
	sendTime     = 50 * time.Millisecond // for the last bytes of a body, when the answer is here
	maxInformed  = 16                    // informational answers before the final one
)

// Pool is the connections to one place. It is safe for use by many at once.
type Pool struct {
	Dial      func(ctx context.Context) (net.Conn, error) // TLS is done when it returns
	MaxHeader int64                                       // bytes of an answer's header
	Memory    *Memory

	mu     sync.Mutex
	idle   []*conn     // the one that has been so for longest is first
	sweep  *time.Timer // nil: none is idle
	closed bool
}

// CloseIdleConnections ends what is idle now, and what is in use when it is done.
func (p *Pool) CloseIdleConnections() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.sweep != nil {
		p.sweep.Stop()
	}
	p.Memory.kept.Add(-int64(len(idle)))
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}

// get gives a connection that has been used before, or a new one.
func (p *Pool) get(ctx context.Context, fresh bool) (*conn, error) {
	for !fresh {
		c := p.pop()
		if c == nil {
			break
		}
		if time.Since(c.since) < idleTime && c.quiet() {
			return c, nil
		}
		_ = c.Close()
	}
	nc, err := p.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, pool: p}
	c.below, _ = conns.Find[*records.Conn](nc)
	if c.below != nil {
		if _, nested := conns.Find[*tls.Conn](c.below.NetConn()); !nested {
			c.stream, _ = nc.(*records.Stream)
		}
	}
	c.socket, _ = conns.Find[*net.TCPConn](nc)
	return c, nil
}

func (p *Pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	p.Memory.kept.Add(-1)
	return c
}

// put keeps a connection for the next exchange.
func (p *Pool) put(c *conn) {
	c.release()
	c.used, c.since = true, time.Now()
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < maxIdle && p.Memory.keep()
	if keep {
		p.idle = append(p.idle, c)
		if p.sweep == nil {
			p.sweep = time.AfterFunc(idleTime, p.reap)
		}
	}
	p.mu.Unlock()
	if !keep {
		_ = c.Close()
	}
}

// reap closes what nobody has wanted for too long: the last one given back is the
// first one taken, and what lies under it would stay.
func (p *Pool) reap() {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].since) >= idleTime {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.Memory.kept.Add(-int64(n))
	p.idle = slices.Delete(p.idle, 0, n)
	p.sweep = nil
	if len(p.idle) > 0 {
		p.sweep = time.AfterFunc(idleTime-time.Since(p.idle[0].since), p.reap)
	}
	p.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// quiet reports whether nothing has come on an idle connection: neither its end,
// nor bytes that somebody would take for the answer to the next request. Those may
// be in the socket, and in any layer above it: the record that ended the last answer
// may have brought more than that.
func (c *conn) quiet() bool {
	return c.socket != nil && c.drained() && empty(c.socket)
}

// drained reports whether no layer above the socket holds anything. A deadline that
// has passed keeps the Read away from the socket; what is above it comes all the same.
func (c *conn) drained() bool {
	switch {
	case c.Conn == net.Conn(c.socket):
		return true
	case c.below != nil && c.below.Buffered():
		return false // perhaps a piece of a record, which the Read would hide
	case c.stream != nil:
		return c.stream.Empty()
	}
	_ = c.SetReadDeadline(time.Unix(1, 0))
	n, err := c.Conn.Read(c.probe[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.SetReadDeadline(time.Time{}) == nil
}

func empty(socket *net.TCPConn) bool {
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	is := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		is = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && is
}

// RoundTrip is Do for who does not care for informational answers.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) { return p.Do(req, nil) }

// Do sends req and gives the answer, whose body the caller closes. Each informational
// answer before it is told to informed, whose error ends the exchange. A body of a
// known, small size is read before anything is sent; a larger one streams while the
// answer may already come; its Close must end a Read of it that waits. The end of
// req's context ends the exchange.
//
// A request without a body that is safe to repeat (RFC 9110 section 9.2.2) is sent
// once more if a kept connection turns out to be dead.
func (p *Pool) Do(req *http.Request, informed func(int, http.Header) error) (*http.Response, error) {
	whole, err := p.readSmall(req)
	if err != nil {
		return nil, err
	}
	for fresh := false; ; fresh = true {
		if err := req.Context().Err(); err != nil { // it may have ended while the body came
			return nil, err
		}
		c, err := p.get(req.Context(), fresh)
		if err != nil {
			return nil, err
		}
		res, err := c.exchange(req, whole, informed)
		if err == nil {
			return res, nil
		}
		_ = c.Close()
		if fresh || !c.used || c.heard || req.Body != nil && req.Body != http.NoBody || !repeatable(req.Method) || req.Context().Err() != nil {
			return nil, err
		}
	}
}

func repeatable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// readSmall puts a small body of known size into memory; false: there is none such.
func (p *Pool) readSmall(req *http.Request) (bool, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return true, nil
	}
	if req.ContentLength < 0 || req.ContentLength > writeSize || expects(req) {
		return false, nil
	}
	b := make([]byte, req.ContentLength)
	if _, err := io.ReadFull(req.Body, b); err != nil {
		return false, err
	}
	_ = req.Body.Close()
	req.Body = io.NopCloser(bytes.NewReader(b)) // net/http knows it, and sends it in one piece with its head
	return true, nil
}

func expects(req *http.Request) bool { return req.Header.Get("Expect") != "" }
