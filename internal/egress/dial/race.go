package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// RFC 8305, of which only the racing is done: sections 3 and 4 begin to connect
// while a part of the answer is still missing, and here all of it is judged first.
const (
	headStart     = 250 * time.Millisecond // section 8: Connection Attempt Delay
	maxCandidates = 8
)

var errChanged = errors.New("dial upstream: the address changed on the way")

// connect races the addresses, all of which were judged: each has a head start
// before the next, which begins at once when one has failed. The first
// connection wins; the others are given up and closed before it returns.
func (d *Dialer) connect(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	order := interleave(addrs)
	if len(order) == 1 {
		return d.reach(ctx, netip.AddrPortFrom(order[0], port))
	}
	r := race{ended: make(chan result, len(order)), port: port, reach: d.reach}
	won, err := r.run(ctx, order)
	cancel()
	r.running.Wait()
	close(r.ended)
	for late := range r.ended { // connected in the moment in which another one won
		if late.conn != nil {
			_ = late.conn.Close()
		}
	}
	return won, err
}

type result struct {
	conn net.Conn
	err  error
}

type race struct {
	ended   chan result // has room for all
	running sync.WaitGroup
	port    uint16
	reach   func(context.Context, netip.AddrPort) (net.Conn, error)
}

func (r *race) run(ctx context.Context, order []netip.Addr) (net.Conn, error) {
	next := time.NewTimer(headStart)
	defer next.Stop()
	var errs []error
	begun := 0
	begin := func() {
		to := netip.AddrPortFrom(order[begun], r.port)
		begun++
		r.running.Go(func() {
			c, err := r.reach(ctx, to)
			r.ended <- result{c, err}
		})
		next.Reset(headStart)
	}
	begin()
	for {
		select {
		case got := <-r.ended:
			if got.err == nil {
				return got.conn, nil
			}
			errs = append(errs, got.err)
			if len(errs) == len(order) {
				return nil, errors.Join(errs...)
			}
			if begun < len(order) {
				begin()
			}
		case <-next.C:
			if begun < len(order) {
				begin()
			}
		}
	}
}

// interleave takes from both families in turn, beginning with that of the best
// address (RFC 8305 section 4): the first two tries tell whether a family works.
// What the resolver put first stays first in its family.
func interleave(addrs []netip.Addr) []netip.Addr {
	var first, other, out []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			other = append(other, a)
		}
	}
	for i := 0; len(out) < maxCandidates && (i < len(first) || i < len(other)); i++ {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(other) && len(out) < maxCandidates {
			out = append(out, other[i])
		}
	}
	return out
}

// reach dials one literal. Control looks at what the kernel is about to be
// asked, and afterwards the kernel is asked whom it reached: nothing in between
// can have changed it.
func reach(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	nd := net.Dialer{
		KeepAlive: 30 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			if got, err := netip.ParseAddrPort(address); err != nil || got != to {
				return errChanged
			}
			return nil
		},
	}
	network := "tcp6"
	if to.Addr().Is4() {
		network = "tcp4"
	}
	c, err := nd.DialTCP(ctx, network, netip.AddrPort{}, to)
	if err != nil {
		return nil, err
	}
	if got, ok := c.RemoteAddr().(*net.TCPAddr); !ok || netip.AddrPortFrom(got.AddrPort().Addr().Unmap(), uint16(got.Port)) != to {
		_ = c.Close()
		return nil, errChanged
	}
	return c, nil
}
