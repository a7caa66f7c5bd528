// Package credential is what a bottle injects into its requests: how it is written
// there, where it goes, and what an answer must not bring back of it.
package credential

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"bottle/internal/bottle"
	"bottle/internal/egress/mask"
	"bottle/internal/secret"
)

// mostValues is how many values of one credential are looked for. One that was
// replaced may still come back, from a server that was sent it; after so many
// renewals it has expired.
const mostValues = 32

// Guard knows every credential that a bottle injects, on whatever route, and where
// it goes. What comes back is held against all of them: a server may repeat on one
// path what it was sent on another. It is safe for many goroutines. Make it with New.
type Guard struct {
	lookup   func(tokenRef string) (secret.Value, bool)
	found    func(places int)
	learning sync.Mutex
	known    atomic.Pointer[known]
}

type known struct {
	set    *mask.Set
	wards  []ward
	values map[string][]secret.Value // by token_ref: the present value last, and those before it
}

// ward is one place that a credential is sent to.
type ward struct {
	host    bottle.Pattern
	address string // host of the upstream address; empty: none is written
	auth    bottle.Auth
}

// New makes a guard of the credentials that lookup gives; nil: there are none.
// found is called with how many places were starred.
func New(lookup func(tokenRef string) (secret.Value, bool), found func(places int)) *Guard {
	g := &Guard{lookup: lookup, found: found}
	g.known.Store(&known{values: map[string][]secret.Value{}})
	return g
}

// Value looks a route's secret up. A missing one is an error: a request without its
// credential is another request than the operator allowed.
func (g *Guard) Value(auth *bottle.Auth) (secret.Value, error) {
	if g.lookup == nil {
		return secret.Value{}, errors.New("no credentials here")
	}
	v, ok := g.lookup(auth.TokenRef)
	if !ok || v.Empty() {
		return secret.Value{}, errors.New("no such credential")
	}
	return v, nil
}

// Learn adds the credentials of routes that inject one. No route is ever forgotten:
// it may go away, but a server may still hold what it was sent.
func (g *Guard) Learn(routes []*bottle.Route) {
	g.learning.Lock()
	defer g.learning.Unlock()
	k := g.known.Load()
	wards, values := slices.Clone(k.wards), maps.Clone(k.values)
	for _, r := range routes {
		w := ward{host: r.Host, address: addressHost(r), auth: *r.Auth}
		if slices.Contains(wards, w) {
			continue
		}
		wards = append(wards, w)
		if v, err := g.Value(&w.auth); err == nil {
			values[w.auth.TokenRef] = withValue(values[w.auth.TokenRef], v)
		}
	}
	if len(wards) > len(k.wards) {
		g.know(wards, values)
	}
}

// Relearn makes values known that lookup is about to give, by token_ref. When it has
// returned, every answer is held against them, also one that is on its way, and still
// against the values before.
func (g *Guard) Relearn(fresh map[string]secret.Value) {
	g.learning.Lock()
	defer g.learning.Unlock()
	k := g.known.Load()
	values := maps.Clone(k.values)
	for ref, v := range fresh {
		values[ref] = withValue(values[ref], v)
	}
	g.know(k.wards, values)
}

func withValue(known []secret.Value, v secret.Value) []secret.Value {
	known = slices.DeleteFunc(slices.Clone(known), v.Equal)
	if known = append(known, v); len(known) > mostValues {
		known = known[1:]
	}
	return known
}

func (g *Guard) know(wards []ward, values map[string][]secret.Value) {
	var needles [][]byte
	for _, w := range wards {
		for _, v := range values[w.auth.TokenRef] {
			needles = append(needles, spellings(&w.auth, v)...)
		}
	}
	set := mask.New(needles...)
	set.Found = g.found
	g.known.Store(&known{set: set, wards: wards, values: values})
}

// Masks is the set of this moment; nil before anything is known.
func (g *Guard) Masks() *mask.Set { return g.known.Load().set }

func addressHost(r *bottle.Route) string {
	if r.Upstream == nil || r.Upstream.Address == "" {
		return ""
	}
	host, _, err := bottle.ParseHostPort(r.Upstream.Address, 0)
	if err != nil {
		return r.Upstream.Address
	}
	return string(host)
}

// Near reports whether this host, or the machine that the route leads to, is sent
// a credential on some route. Such answers must come uncoded, or what they repeat
// could not be seen.
func (g *Guard) Near(host bottle.Host, r *bottle.Route) bool {
	address := addressHost(r)
	return slices.ContainsFunc(g.known.Load().wards, func(w ward) bool {
		return w.host.Matches(host) || address != "" && w.address == address
	})
}
