package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// Lookup gives the addresses of a name, without its root dot.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// Config is what a Dialer is made of.
type Config struct {
	Lookup Lookup        // nil: System
	Limit  time.Duration // to resolve, and to connect, each; 0: 10 s
}

// Dialer is the only thing in the house that opens connections on an agent's
// behalf. It is safe for use by many at once.
type Dialer struct {
	lookup Lookup
	limit  time.Duration
}

// New makes a Dialer. It opens nothing.
func New(cfg Config) *Dialer {
	if cfg.Lookup == nil {
		cfg.Lookup = System
	}
	if cfg.Limit <= 0 {
		cfg.Limit = 10 * time.Second
	}
	return &Dialer{lookup: cfg.Lookup, limit: cfg.Limit}
}

// Target is where a decided request goes. Without a policy nothing is dialled.
type Target struct {
	Host   bottle.Host
	Port   uint16
	Route  *bottle.Route  // that decided it
	Policy *policy.Policy // judges the addresses
}

// Refusal is a denial that only resolving could find out.
type Refusal struct{ Verdict policy.Verdict }

func (r *Refusal) Error() string { return "dial upstream: " + string(r.Verdict.Reason) }

// ErrNoAddress is the fault of a name that resolves to nothing.
var ErrNoAddress = errors.New("resolve upstream: no address")

// Dial resolves, classifies and connects, each under the limit.
func (d *Dialer) Dial(ctx context.Context, to Target) (net.Conn, error) {
	addrs, port, err := d.resolve(ctx, to)
	if err != nil {
		return nil, err
	}
	// IPv4 first: a machine without IPv6 often has IPv6 answers all the same, and
	// one without IPv4 says so at once.
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	var errs []error
	for i, a := range addrs[:min(len(addrs), 4)] {
		c, err := connect(ctx, netip.AddrPortFrom(a, port), d.limit/time.Duration(i+1))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// resolve gives the addresses that may be dialled: those of upstream.address as
// the operator wrote it, else those of the decided host, and then every one must
// be public. One private address among many is a rebinding attack, not a choice.
func (d *Dialer) resolve(ctx context.Context, to Target) ([]netip.Addr, uint16, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	if to.Route != nil && to.Route.Upstream != nil && to.Route.Upstream.Address != "" {
		host, port, err := bottle.ParseHostPort(to.Route.Upstream.Address, 0)
		if err != nil {
			return nil, 0, fmt.Errorf("read upstream address: %w", err)
		}
		addrs, err := d.look(ctx, host)
		return addrs, port, err
	}
	addrs, err := d.look(ctx, to.Host)
	if err != nil {
		return nil, 0, err
	}
	for _, a := range addrs {
		if v := to.Policy.Address(to.Route, a); !v.Allowed() {
			return nil, 0, &Refusal{v}
		}
	}
	return addrs, to.Port, nil
}

// connect dials one literal address. Control looks at what the kernel is about
// to be asked, so that nothing in between can have changed it.
func connect(ctx context.Context, to netip.AddrPort, limit time.Duration) (net.Conn, error) {
	nd := net.Dialer{
		Timeout:   limit,
		KeepAlive: 30 * time.Second,
		Control: func(network, address string, _ syscall.RawConn) error {
			got, err := netip.ParseAddrPort(address)
			if err != nil || got.Port() != to.Port() || got.Addr().Unmap() != to.Addr().Unmap() {
				return errors.New("dial upstream: the address changed on the way")
			}
			return nil
		},
	}
	return nd.DialContext(ctx, "tcp", to.String())
}

// look resolves a name, or reads a literal without asking anybody.
func (d *Dialer) look(ctx context.Context, host bottle.Host) ([]netip.Addr, error) {
	if a, ok := host.Addr(); ok {
		return []netip.Addr{a.Unmap()}, nil
	}
	addrs, err := d.lookup(ctx, string(host))
	if err != nil {
		return nil, fmt.Errorf("resolve upstream: %w", err)
	}
	if len(addrs) == 0 {
		return nil, ErrNoAddress
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// System asks the gateway's own resolver, rooted, so that no search list of this
// machine turns the name into another one.
func System(ctx context.Context, host string) ([]netip.Addr, error) {
	r := net.Resolver{PreferGo: true}
	return r.LookupNetIP(ctx, "ip", host+".")
}
