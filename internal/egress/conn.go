package egress

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/egress/conns"
	"bottle/internal/egress/crowd"
	"bottle/internal/policy"
)

// meter is a connection that ends itself when no byte has moved for a while, in
// either direction. It works beside deadlines, which net/http sets for itself.
type meter struct {
	net.Conn
	idle   time.Duration
	last   atomic.Int64 // nanoseconds since start
	start  time.Time
	timer  *time.Timer
	once   sync.Once
	guest  *crowd.Guest // nil: it is not the agent's
	down   func()       // takes it out of the numbers; nil: it is in none
	err    error
	unread atomic.Bool // a stream of HTTP/2 began that no handler has seen yet
}

// newMeter makes a meter of c. p counts it among the agent's, where it has yet to
// enter; nil: it is not the agent's.
func newMeter(c net.Conn, idle time.Duration, p *Proxy) *meter {
	m := &meter{Conn: c, idle: idle, start: time.Now()}
	if p != nil {
		p.measured.Conns.Up()
		m.guest, m.down = p.crowd.Guest(m.evict), p.measured.Conns.Down
	}
	m.timer = time.AfterFunc(idle, m.check)
	return m
}

func (m *meter) check() {
	quiet := time.Since(m.start) - time.Duration(m.last.Load())
	if quiet >= m.idle {
		_ = m.Close()
		return
	}
	m.timer.Reset(m.idle - quiet)
}

func (m *meter) touch(n int) {
	if n > 0 {
		m.last.Store(int64(time.Since(m.start)))
	}
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.touch(n)
	return n, err
}

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.touch(n)
	return n, err
}

// Close closes once; the count of connections goes down exactly once.
func (m *meter) Close() error {
	m.once.Do(func() {
		m.timer.Stop()
		m.err = m.Conn.Close()
		m.guest.Leave()
		if m.down != nil {
			m.down()
		}
	})
	return m.err
}

func (m *meter) NetConn() net.Conn { return m.Conn }

// evict ends a connection that another one needs the room of. One that was
// answered before is closed as after its time between two requests.
func (m *meter) evict() {
	if m.guest.Served() {
		_ = m.Close()
		return
	}
	conns.Reset(m)
}

func (m *meter) CloseWrite() error { return conns.CloseWrite(m.Conn) }

// guestOf finds the place of a connection among the bottle's; nil: it has none.
func guestOf(c net.Conn) *crowd.Guest {
	if m := meterOf(c); m != nil {
		return m.guest
	}
	return nil
}

// meterOf finds the meter below TLS and tunnel; nil: there is none.
func meterOf(c net.Conn) *meter {
	m, _ := conns.Find[*meter](c)
	return m
}

// tunnelConn is a connection bound to one destination, with what was already
// read from it put back in front.
type tunnelConn struct {
	net.Conn
	t    *tunnel
	head []byte
}

func (c *tunnelConn) Read(b []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(b, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *tunnelConn) NetConn() net.Conn { return c.Conn }
func (c *tunnelConn) CloseWrite() error { return conns.CloseWrite(c.Conn) }

// peek returns at least the first byte without taking it away.
func (c *tunnelConn) peek(limit time.Duration) (byte, error) {
	if len(c.head) == 0 {
		_ = c.SetReadDeadline(time.Now().Add(limit))
		defer c.SetReadDeadline(time.Time{})
		b := make([]byte, 1024)
		n, err := c.Conn.Read(b)
		if n == 0 {
			return 0, err
		}
		c.head = b[:n]
	}
	return c.head[0], nil
}

// begins reports whether the first bytes are text, reading as many as tell.
func (c *tunnelConn) begins(text string, limit time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(limit))
	defer c.SetReadDeadline(time.Time{})
	for len(c.head) < len(text) && strings.HasPrefix(text, string(c.head)) {
		b := make([]byte, len(text)-len(c.head))
		n, err := c.Conn.Read(b)
		c.head = append(c.head, b[:n]...)
		if err != nil {
			return false
		}
	}
	return strings.HasPrefix(string(c.head), text)
}

// gate is a listener that makes room for a new connection or, if it can't, resets
// it at once.
type gate struct {
	net.Listener
	p    *Proxy
	done <-chan struct{}
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := crowd.Accept(g.Listener, g.done)
		if err != nil {
			return nil, err
		}
		m := newMeter(c, g.p.limits.Idle, g.p)
		if m.guest.Enter() {
			return m, nil
		}
		conns.Reset(m)
		_ = g.p.gate.Decided(g.p.tooMany())
	}
}

// tooMany is the record of connections over the limit.
func (p *Proxy) tooMany() Record {
	return recordOf(KindTCP, policy.Refuse(policy.LimitConnections, ""), p.policy.Load().Hash())
}

// madeRoom is the verdict on a connection that was evicted before it was answered.
func madeRoom() policy.Verdict {
	return policy.Refuse(policy.LimitConnections, "too many connections, and this one was the slowest to ask for something")
}
