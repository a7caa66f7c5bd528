package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

const maxUpstreams = 256

// upstreams holds one transport per way of dialling. Its key has everything
// that decides whom a connection reaches and whom it trusts, so a kept-alive
// connection is never reused across routes that differ in either.
type upstreams struct {
	mu   sync.Mutex
	made map[upstreamKey]*http.Transport
}

type upstreamKey struct {
	host    bottle.Host
	port    uint16
	address string
	caFile  string
}

func keyOf(host bottle.Host, port uint16, route *bottle.Route) upstreamKey {
	k := upstreamKey{host: host, port: port}
	if route.Upstream != nil {
		k.address, k.caFile = route.Upstream.Address, route.Upstream.CAFile
	}
	return k
}

// transport gives the pool for a decided host and its route.
func (p *Proxy) transport(host bottle.Host, port uint16, route *bottle.Route) (*http.Transport, error) {
	key := keyOf(host, port, route)
	p.upstreams.mu.Lock()
	defer p.upstreams.mu.Unlock()
	if t := p.upstreams.made[key]; t != nil {
		return t, nil
	}
	roots, err := rootsWith(key.caFile)
	if err != nil {
		return nil, err
	}
	d := &dialler{p: p, key: key, route: route}
	t := &http.Transport{
		Proxy:                  nil, // the gateway's own environment decides nothing
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) },
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: string(key.host)},
		TLSHandshakeTimeout:    p.limits.DialTime,
		DisableCompression:     true, // the agent gets the bytes that the upstream sent
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  5 * time.Second,
		MaxResponseHeaderBytes: p.limits.AnswerHeader,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		Protocols:              http1(),
	}
	for old, victim := range p.upstreams.made { // a wildcard route must not grow this without end
		if len(p.upstreams.made) < maxUpstreams {
			break
		}
		victim.CloseIdleConnections()
		delete(p.upstreams.made, old)
	}
	p.upstreams.made[key] = t
	return t, nil
}

// forget drops all pools: what was dialled under an old policy is not reused.
func (u *upstreams) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, t := range u.made {
		t.CloseIdleConnections()
		delete(u.made, k)
	}
}

// rootsWith is the system's roots, and for one route the operator's own too.
func rootsWith(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil // crypto/tls then takes the system's
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read ca_file %s: no certificate in it", caFile)
	}
	return roots, nil
}

// Warm reads the system's certificates, which else the first request over TLS
// would wait for. Process-wide, and only the first call does anything.
func Warm() { _, _ = x509.SystemCertPool() }

func http1() *http.Protocols {
	var ps http.Protocols
	ps.SetHTTP1(true)
	return &ps
}

// dialler is the only thing in the house that opens connections on an agent's
// behalf. It knows one decided host and dials only addresses that it classified.
type dialler struct {
	p     *Proxy
	key   upstreamKey
	route *bottle.Route
}

// refusal is a denial that only resolving could find out.
type refusal struct{ verdict policy.Verdict }

func (r *refusal) Error() string { return "dial upstream: " + string(r.verdict.Reason) }

var errNoAddress = errors.New("resolve upstream: no address")

// dial resolves, classifies and connects, each under the dial limit.
func (d *dialler) dial(ctx context.Context) (net.Conn, error) {
	addrs, port, err := d.resolve(ctx)
	if err != nil {
		return nil, err
	}
	// IPv4 first: a machine without IPv6 often has IPv6 answers all the same, and
	// one without IPv4 says so at once.
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	var errs []error
	for i, a := range addrs[:min(len(addrs), 4)] {
		c, err := d.connect(ctx, netip.AddrPortFrom(a, port), d.p.limits.DialTime/time.Duration(i+1))
		if err == nil {
			return newMeter(c, d.p.limits.Idle, nil), nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// resolve gives the addresses that may be dialled: those of upstream.address as
// the operator wrote it, else those of the decided host, and then every one must
// be public. One private address among many is a rebinding attack, not a choice.
func (d *dialler) resolve(ctx context.Context) ([]netip.Addr, uint16, error) {
	ctx, cancel := context.WithTimeout(ctx, d.p.limits.DialTime)
	defer cancel()
	if d.key.address != "" {
		host, port, err := bottle.ParseHostPort(d.key.address, 0)
		if err != nil {
			return nil, 0, fmt.Errorf("read upstream address: %w", err)
		}
		addrs, err := d.p.look(ctx, host)
		return addrs, port, err
	}
	addrs, err := d.p.look(ctx, d.key.host)
	if err != nil {
		return nil, 0, err
	}
	for _, a := range addrs {
		if v := d.p.policy.Load().Address(d.route, a); !v.Allowed() {
			return nil, 0, &refusal{v}
		}
	}
	return addrs, d.key.port, nil
}

// connect dials one literal address. Control looks at what the kernel is about
// to be asked, so that nothing in between can have changed it.
func (d *dialler) connect(ctx context.Context, to netip.AddrPort, limit time.Duration) (net.Conn, error) {
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
func (p *Proxy) look(ctx context.Context, host bottle.Host) ([]netip.Addr, error) {
	if a, ok := host.Addr(); ok {
		return []netip.Addr{a.Unmap()}, nil
	}
	addrs, err := p.cfg.lookup(ctx, string(host))
	if err != nil {
		return nil, fmt.Errorf("resolve upstream: %w", err)
	}
	if len(addrs) == 0 {
		return nil, errNoAddress
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// systemLookup asks the gateway's own resolver, rooted, so that no search list
// of this machine turns the name into another one.
func systemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	r := net.Resolver{PreferGo: true}
	return r.LookupNetIP(ctx, "ip", host+".")
}
