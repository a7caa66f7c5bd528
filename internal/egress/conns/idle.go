package conns

import (
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// Idle is a connection of which it is known when a byte moved last, in either
// direction. It works beside deadlines, which net/http sets for itself.
type Idle struct {
	net.Conn
	limit time.Duration
	last  atomic.Int64 // nanoseconds since start
	start time.Time
	timer *time.Timer
	end   func()
}

// NewIdle calls end when no byte has moved on c for that long, until Stop.
func NewIdle(c net.Conn, limit time.Duration, end func()) *Idle {
	i := &Idle{Conn: c, limit: limit, start: time.Now(), end: end}
	i.timer = time.AfterFunc(limit, i.check)
	return i
}

func (i *Idle) check() {
	quiet := time.Since(i.start) - time.Duration(i.last.Load())
	if quiet >= i.limit {
		i.end()
		return
	}
	i.timer.Reset(i.limit - quiet)
}

func (i *Idle) touch(n int) {
	if n > 0 {
		i.last.Store(int64(time.Since(i.start)))
	}
}

// Read reads from the connection.
func (i *Idle) Read(b []byte) (int, error) {
	n, err := i.Conn.Read(b)
	i.touch(n)
	return n, err
}

// Write writes to the connection.
func (i *Idle) Write(b []byte) (int, error) {
	n, err := i.Conn.Write(b)
	i.touch(n)
	return n, err
}

// Stop ends the watching.
func (i *Idle) Stop() { i.timer.Stop() }

// NetConn is the connection itself.
func (i *Idle) NetConn() net.Conn { return i.Conn }

// CloseWrite ends our half of it.
func (i *Idle) CloseWrite() error { return CloseWrite(i.Conn) }

// Peeked is a connection with what was already read from it put back in front. The
// zero Head is nothing.
type Peeked struct {
	net.Conn
	Head []byte
}

// Read gives the head first.
func (c *Peeked) Read(b []byte) (int, error) {
	if len(c.Head) > 0 {
		n := copy(b, c.Head)
		c.Head = c.Head[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// NetConn is the connection without its head.
func (c *Peeked) NetConn() net.Conn { return c.Conn }

// CloseWrite ends our half of the connection.
func (c *Peeked) CloseWrite() error { return CloseWrite(c.Conn) }

// Peek returns at least the first byte without taking it away.
func (c *Peeked) Peek(limit time.Duration) (byte, error) {
	if len(c.Head) == 0 {
		_ = c.SetReadDeadline(time.Now().Add(limit))
		defer c.SetReadDeadline(time.Time{})
		b := make([]byte, 1024)
		n, err := c.Conn.Read(b)
		if n == 0 {
			return 0, err
		}
		c.Head = b[:n]
	}
	return c.Head[0], nil
}

// Begins reports whether the first bytes are text, reading as many as tell.
func (c *Peeked) Begins(text string, limit time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(limit))
	defer c.SetReadDeadline(time.Time{})
	for len(c.Head) < len(text) && strings.HasPrefix(text, string(c.Head)) {
		b := make([]byte, len(text)-len(c.Head))
		n, err := c.Conn.Read(b)
		c.Head = append(c.Head, b[:n]...)
		if err != nil {
			return false
		}
	}
	return strings.HasPrefix(string(c.Head), text)
}
