package smolvm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"bottle/internal/backend/smolvm/guest"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/plan"
)

// datagramDue is how much longer than the wall check inside the jail a datagram of the
// VM may be on its way to a socket of ours.
const datagramDue = 50 * time.Millisecond

// Verify implements backend.Bottle. First the VM's root tries to get out, outside the
// jail: whether smolvm holds its allow-list is known by a try alone. Then the jail is
// tried as the agent stands in it.
func (x *Box) Verify(ctx context.Context, p plan.Probes) ([]plan.ProbeResult, error) {
	if err := x.stand(ctx); err != nil {
		return nil, err
	}
	ctx, done := x.within(ctx)
	defer done()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("check the machine: %w", err)
	}
	defer udp.Close()
	results, err := x.machine(ctx, p, udp.LocalAddr().String())
	if err != nil {
		return nil, err
	}
	p.Abstract = cmp.Or(p.Abstract, "@bottle-"+p.Identity) // a host without such sockets: the VM's kernel has none of that name either
	inside, err := x.link.Verify(ctx, p)
	if err != nil {
		return nil, err
	}
	// The VM's root reaches every port of the bottle's own address, since smolvm compares
	// addresses alone: what listens on all addresses of the host (0.0.0.0) among them. It
	// is the jail that must keep the agent from it, and it is tried once more for that.
	own, err := deaf(netip.AddrPortFrom(x.addr, 0))
	if err != nil {
		return nil, fmt.Errorf("check the machine: %w", err)
	}
	defer own.stop()
	p.Sentinel = own.address
	again, err := x.link.Verify(ctx, p)
	if err != nil {
		return nil, err
	}
	return proved(slices.Concat(results, []plan.ProbeResult{datagram(udp), own.unheard("host-services", services(again))}, inside)), nil
}

// services is what became of the sentinel on the bottle's own address; a probe that did
// not try it has not held.
func services(results []plan.ProbeResult) plan.ProbeResult {
	for _, r := range results {
		if r.Name == "host-loopback" {
			return plan.ProbeResult{Name: "host-services", OK: r.OK, Detail: r.Detail}
		}
	}
	return plan.ProbeResult{Name: "host-services", Detail: "it was not tried"}
}

// machine has the VM's root try the host's loopback, a neighbour's address and, if
// these are out of reach, addresses of nobody.
func (x *Box) machine(ctx context.Context, p plan.Probes, udp string) ([]plan.ProbeResult, error) {
	if p.Sentinel == "" {
		return nil, errors.New("check the machine: there is no sentinel to try")
	}
	neighbour, err := x.neighbour()
	if err != nil {
		return nil, fmt.Errorf("check the machine: %w", err)
	}
	defer neighbour.stop()
	ask := guest.Reach{
		Own: x.door(), Never: []string{p.Sentinel, neighbour.address}, UDP: []string{udp},
		Outer: []string{"192.0.2.1:53", "192.0.2.1:443", "169.254.169.254:80"}, Closed: x.sealed,
	}
	var reached []plan.ProbeResult
	if err := x.link.Aside(ctx, ask, &reached); err != nil {
		return nil, err
	}
	if err := answered(ask, reached); err != nil {
		return nil, err
	}
	return append(reached, neighbour.unheard("vm-neighbour", plan.ProbeResult{Name: "vm-neighbour", OK: true, Detail: "nobody came to " + neighbour.address})), nil
}

// answered wants a result for all that was asked: what was not tried has not held. The
// outer addresses are left out only where something else was reached.
func answered(ask guest.Reach, results []plan.ProbeResult) error {
	got, all := map[string]bool{}, true
	for _, r := range results {
		got[r.Name] = true
		all = all && r.OK
	}
	want := ask.Never
	if all {
		want = slices.Concat(ask.Never, ask.Outer)
	}
	for _, to := range want {
		if !got["vm-reaches "+to] {
			return fmt.Errorf("check the machine: it does not say whether it reaches %s", to)
		}
	}
	for _, dir := range ask.Closed {
		if !got["vm-writes "+dir] {
			return fmt.Errorf("check the machine: it does not say whether it writes to %s", dir)
		}
	}
	if !got["vm-gateway"] {
		return errors.New("check the machine: it does not say whether it reaches its gateway")
	}
	return nil
}

// datagram tells whether what the VM sent to a socket of the host has come.
func datagram(udp *net.UDPConn) plan.ProbeResult {
	got := plan.ProbeResult{Name: "vm-datagram", OK: true, Detail: "none came to " + udp.LocalAddr().String()}
	_ = udp.SetReadDeadline(time.Now().Add(datagramDue)) // a socket takes one
	if n, from, err := udp.ReadFromUDP(make([]byte, 64)); err == nil {
		got.OK, got.Detail = false, fmt.Sprintf("%d bytes came from %s", n, from)
	}
	return got
}

// neighbour listens on another address of the pool, where another bottle's gateway
// may stand: then its door is what must be out of reach.
func (x *Box) neighbour() (*deafListener, error) {
	for _, a := range x.s.Pool.Range.All() {
		if a == x.addr {
			continue
		}
		if l, err := deaf(netip.AddrPortFrom(a, 0)); err == nil {
			return l, nil // else, on macOS, it is no address of lo0
		}
	}
	// A pool of one: nobody is beside, and 127.0.0.1 is tried in any case.
	return &deafListener{address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), loopback.Port).String(), stop: func() {}}, nil
}

// deafListener hears nobody; to be reached is all that it can be, and it knows whether it
// was. So what the machine says of it need not be believed.
type deafListener struct {
	address string
	stop    func()
	reached atomic.Bool
}

func deaf(at netip.AddrPort) (*deafListener, error) {
	l, err := net.Listen("tcp4", at.String())
	if err != nil {
		return nil, err
	}
	d := &deafListener{address: l.Addr().String()}
	ended := make(chan struct{})
	d.stop = func() { _ = l.Close(); <-ended }
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed by stop
			}
			d.reached.Store(true)
			_ = c.Close()
		}
	}()
	return d, nil
}

// unheard is what was said of it, unless somebody came: that has not held, whatever was
// said.
func (d *deafListener) unheard(name string, said plan.ProbeResult) plan.ProbeResult {
	if d.reached.Load() {
		return plan.ProbeResult{Name: name, Detail: "somebody connected to " + d.address}
	}
	return said
}
