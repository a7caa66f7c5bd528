package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// Config is what a Dialer is made of.
type Config struct {
	Lookup    Lookup                  // nil: System
	Limit     time.Duration           // to resolve, and to connect, each; to ask a proxy: three times that; 0: 10 s
	Proxy     *bottle.UpstreamProxy   // everything goes onward through it, but for what has an upstream.address; nil: nothing does
	Authorize func(http.Header) error // adds the proxy's credential to a CONNECT; nil: it wants none

	// Interfaces gives this host's addresses; nil: net.InterfaceAddrs. For tests.
	Interfaces func() ([]net.Addr, error)
	// Reach connects to one address, which was judged; nil: by the kernel. For tests.
	Reach func(context.Context, netip.AddrPort) (net.Conn, error)
}

// Dialer is the only thing in the house that opens connections on an agent's
// behalf. It is safe for use by many at once, and runs nothing between its calls.
type Dialer struct {
	limit     time.Duration
	names     *names
	own       *own
	proxy     *bottle.UpstreamProxy
	authorize func(http.Header) error
	reach     func(context.Context, netip.AddrPort) (net.Conn, error)

	mu      sync.Mutex
	avoided []netip.AddrPort
	conf    *tls.Config // see proxyTLS; nil: not made yet
}

// New makes a Dialer. It opens nothing.
func New(cfg Config) *Dialer {
	if cfg.Lookup == nil {
		cfg.Lookup = System
	}
	if cfg.Limit <= 0 {
		cfg.Limit = 10 * time.Second
	}
	if cfg.Interfaces == nil {
		cfg.Interfaces = net.InterfaceAddrs
	}
	if cfg.Reach == nil {
		cfg.Reach = reach
	}
	return &Dialer{limit: cfg.Limit, reach: cfg.Reach, proxy: cfg.Proxy, authorize: cfg.Authorize, names: newNames(cfg.Lookup), own: &own{read: cfg.Interfaces}}
}

// Avoid names a listener of the gateway itself, on this host's own network. It is
// never dialled, whoever wrote its address: the gateway would call itself without end.
func (d *Dialer) Avoid(l netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.avoided = append(d.avoided, netip.AddrPortFrom(l.Addr().Unmap(), l.Port()))
}

func (d *Dialer) avoids(a netip.AddrPort) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.avoided, a)
}

// Target is where a decided request goes. The zero Target is refused.
type Target struct {
	Host   bottle.Host
	Port   uint16
	Route  *bottle.Route  // that decided it
	Policy *policy.Policy // judges the addresses
}

// address is the route's upstream.address; empty: it has none.
func (to Target) address() string {
	if to.Route == nil || to.Route.Upstream == nil {
		return ""
	}
	return to.Route.Upstream.Address
}

// refuse is a denial about the target's route.
func (to Target) refuse(reason policy.Reason, detail string) *Refusal {
	v := policy.Refuse(reason, detail)
	if to.Route != nil {
		v.Rule, v.Route = to.Route.Rule, to.Route
	}
	return &Refusal{v}
}

// Refusal is a denial that only the way to the target could find out.
type Refusal struct{ Verdict policy.Verdict }

func (r *Refusal) Error() string { return "dial upstream: " + string(r.Verdict.Reason) }

// ErrNoAddress is the fault of a name that resolves to nothing.
var ErrNoAddress = errors.New("resolve upstream: no address")

// Dial opens a connection on which the next byte goes to the target. A denial is
// a *Refusal. The name of the target is looked up only here.
func (d *Dialer) Dial(ctx context.Context, to Target) (net.Conn, error) {
	if to.Policy == nil || to.Route == nil || to.Host == "" || to.Port == 0 {
		return nil, to.refuse(policy.NoPolicy, "")
	}
	if to.address() == "" && d.proxy != nil {
		return d.through(ctx, to)
	}
	host, port, err := to.place()
	if err != nil {
		return nil, err
	}
	addrs, err := d.look(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := d.judge(to, host, netip.AddrPortFrom(a, port)); err != nil {
			return nil, err
		}
	}
	c, err := d.connect(ctx, addrs, port)
	if err != nil {
		d.names.forget(host)
		return nil, err
	}
	if to.address() == "" && toItself(c) {
		_ = c.Close()
		return nil, to.refuse(policy.OwnAddress, "")
	}
	return c, nil
}

// place is what is dialled: the upstream.address as the operator wrote it, else
// the decided host.
func (to Target) place() (bottle.Host, uint16, error) {
	address := to.address()
	if address == "" {
		return to.Host, to.Port, nil
	}
	host, port, err := bottle.ParseHostPort(address, 0)
	if err != nil {
		return "", 0, fmt.Errorf("read upstream address: %w", err)
	}
	return host, port, nil
}

// judge decides on one address of an answer. One bad address among many refuses
// them all: it is a rebinding attack, or a mistake, but not a choice.
func (d *Dialer) judge(to Target, host bottle.Host, a netip.AddrPort) error {
	if v := to.Policy.Address(to.Route, a.Addr()); !v.Allowed() {
		return &Refusal{v}
	}
	if to.address() != "" {
		return d.named(to, host, a)
	}
	mine, err := d.own.has(a.Addr())
	switch {
	case err != nil:
		return to.refuse(policy.Internal, "this machine's own addresses can't be read, so nothing is dialled")
	case mine || d.avoids(a):
		return to.refuse(policy.OwnAddress, "the host leads to an address of the machine that the gateway runs on")
	}
	return nil
}

// named judges an address that the operator wrote, or that a name leads to which
// he wrote. It may be private, and this host's own. What it can't be is what no
// server has, or, by way of a name, a metadata service: names change hands.
func (d *Dialer) named(to Target, host bottle.Host, a netip.AddrPort) error {
	_, literal := host.Addr()
	switch {
	case !a.Addr().IsValid() || a.Addr().Zone() != "" || a.Addr().IsUnspecified() || a.Addr().IsMulticast():
		return to.refuse(policy.PrivateAddress, "upstream.address leads to an address that no server can have")
	case d.avoids(a):
		return to.refuse(policy.OwnAddress, "upstream.address is the gateway itself")
	case !literal && policy.Classify(a.Addr()).Reason() == policy.MetadataAddress:
		return to.refuse(policy.MetadataAddress, "the name in upstream.address leads to a cloud's metadata service")
	}
	return nil
}
