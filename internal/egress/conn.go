package egress

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/egress/conns"
	"bottle/internal/egress/crowd"
	"bottle/internal/policy"
)

// meter is a connection that ends itself when no byte has moved for a while.
type meter struct {
	*conns.Idle
	once   sync.Once
	guest  *crowd.Guest // nil: it is not the agent's
	down   func()       // takes it out of the numbers; nil: it is in none
	err    error
	unread atomic.Bool // a stream of HTTP/2 began that no handler has seen yet
}

// newMeter makes a meter of c. p counts it among the agent's, where it has yet to
// enter; nil: it is not the agent's.
func newMeter(c net.Conn, idle time.Duration, p *Proxy) *meter {
	m := &meter{}
	if p != nil {
		p.measured.Conns.Up()
		m.guest, m.down = p.crowd.Guest(m.evict), p.measured.Conns.Down
	}
	m.Idle = conns.NewIdle(c, idle, func() { _ = m.Close() })
	return m
}

// Close closes once; the count of connections goes down exactly once.
func (m *meter) Close() error {
	m.once.Do(func() {
		m.Stop()
		m.err = m.Idle.Conn.Close()
		m.guest.Leave()
		if m.down != nil {
			m.down()
		}
	})
	return m.err
}

// evict ends a connection that another one needs the room of. One that was
// answered before is closed as after its time between two requests.
func (m *meter) evict() {
	if m.guest.Served() {
		_ = m.Close()
		return
	}
	conns.Reset(m)
}

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

// tunnelConn is a connection bound to one destination.
type tunnelConn struct {
	conns.Peeked
	t *tunnel
}

func newTunnelConn(c net.Conn, t *tunnel, head []byte) *tunnelConn {
	return &tunnelConn{conns.Peeked{Conn: c, Head: head}, t}
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
