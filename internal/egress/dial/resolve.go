package dial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bottle/internal/bottle"
)

const (
	remember     = 10 * time.Second // how long an answer is used; the resolver does not tell its TTL
	maxNames     = 256              // answers kept; a wildcard route has names without end
	maxAddresses = 64               // of one answer; more is no answer
)

// Lookup gives the addresses of a name, which comes without its root dot, the
// best first.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// System asks the gateway's own resolver, rooted, so that no search list of this
// machine turns the name into another one. The order is that of RFC 6724.
func System(ctx context.Context, host string) ([]netip.Addr, error) {
	return rooted(ctx, &net.Resolver{PreferGo: true}, host)
}

// resolver is what rooted asks: a net.Resolver, but in tests.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

func rooted(ctx context.Context, r resolver, host string) ([]netip.Addr, error) {
	return r.LookupNetIP(ctx, "ip", host+".")
}

// look resolves a name under the limit, or reads a literal without asking anybody.
func (d *Dialer) look(ctx context.Context, host bottle.Host) ([]netip.Addr, error) {
	if a, ok := host.Addr(); ok {
		return []netip.Addr{a.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	addrs, err := d.names.get(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve upstream: %w", err)
	}
	return addrs, nil
}

// names remembers answers for a few seconds and asks once for those who want the
// same at the same time: a bottle that opens fifty connections asks one question.
// What it remembers is judged at each use like a new answer, so it opens no
// window: a name that is rebound in between is seen late, never trusted longer.
// Only answers with addresses are kept, so a name that begins to resolve does so
// at once.
type names struct {
	lookup Lookup
	now    func() time.Time
	mu     sync.Mutex
	known  map[bottle.Host]*answer
}

// answer is what one name resolved to. Its fields are set before done closes.
type answer struct {
	done  chan struct{}
	addrs []netip.Addr
	err   error
	lost  bool // who asked went away before there was an answer
	until time.Time
}

func newNames(lookup Lookup) *names {
	return &names{lookup: lookup, now: time.Now, known: map[bottle.Host]*answer{}}
}

// get gives the addresses of a name: at least one, in a slice of the caller's own.
func (n *names) get(ctx context.Context, host bottle.Host) ([]netip.Addr, error) {
	for {
		a, mine := n.claim(host)
		if mine {
			n.ask(ctx, host, a)
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, &net.DNSError{UnwrapErr: ctx.Err(), Err: ctx.Err().Error(), Name: string(host), IsTimeout: true}
		}
		if a.lost && !mine {
			continue // that was somebody else's end, not ours
		}
		return slices.Clone(a.addrs), a.err
	}
}

// claim gives the answer that is known or on its way; else a new one, which the
// caller must ask for.
func (n *names) claim(host bottle.Host) (a *answer, mine bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.known[host]; a != nil && (a.until.IsZero() || n.now().Before(a.until)) {
		return a, false
	}
	for old := range n.known {
		if len(n.known) < maxNames {
			break
		}
		delete(n.known, old)
	}
	a = &answer{done: make(chan struct{}), err: ErrNoAddress}
	n.known[host] = a
	return a, true
}

// ask fills in an answer that this caller claimed.
func (n *names) ask(ctx context.Context, host bottle.Host, a *answer) {
	defer close(a.done)
	a.addrs, a.err = n.lookup(ctx, string(host))
	a.lost = a.err != nil && ctx.Err() != nil
	switch {
	case a.err != nil:
		a.addrs = nil
	case len(a.addrs) == 0:
		a.err = ErrNoAddress
	case len(a.addrs) > maxAddresses:
		a.addrs, a.err = nil, ErrNoAddress // not one to trust, of that many
	}
	for i := range a.addrs {
		a.addrs[i] = a.addrs[i].Unmap()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	a.until = n.now().Add(remember)
	if a.err != nil && n.known[host] == a {
		delete(n.known, host)
	}
}

// forget drops what is known of a name: none of its addresses answered.
func (n *names) forget(host bottle.Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.known[host]; a != nil && !a.until.IsZero() {
		delete(n.known, host)
	}
}
