package policy

import (
	"net/netip"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// Request is what is known of a request when it is decided on.
type Request struct {
	Scheme string // "http" or "https"
	Host   bottle.Host
	Port   uint16
	Method string
	Path   string // escaped, as received, without the query; empty means "/"
	HTTP2  bool   // it came by HTTP/2, which without TLS a route must list
}

// Connect decides whether a connection to h and port may exist at all. It needs
// no DNS, so a denied name never leaves as a query. An allowing verdict's Route
// tells how TLS is to be handled, and which upstream is dialled when TLS passes
// through; all else about a request is for Decide, which may pick another route.
func (p *Policy) Connect(h bottle.Host, port uint16) Verdict {
	g, v := p.find(h)
	if g == nil {
		return v
	}
	if port == 0 {
		return Refuse(BadPort, "")
	}
	for i := range g.doors {
		if g.doors[i].port == port {
			return allow(g.doors[i].route)
		}
	}
	return g.wrongPort(h, port)
}

// ClearHTTP2 decides whether HTTP/2 may be spoken without TLS to h and port at all,
// before a request is read.
func (p *Policy) ClearHTTP2(h bottle.Host, port uint16) Verdict {
	v := p.Connect(h, port)
	if !v.Allowed() {
		return v
	}
	g, _ := p.find(h)
	for _, d := range g.doors {
		if d.port == port && d.route.H2C {
			return allow(d.route)
		}
	}
	return about(v.Route, H2CNotListed)
}

// Decide decides on one request. Of the routes whose pattern is the most
// specific for the host (exact before wildcard, longer before shorter) every
// one counts; the one with the longest matching path prefix that lists the
// method is the verdict's Route, and its credential is the one to inject.
func (p *Policy) Decide(r Request) Verdict {
	if r.Scheme != "https" && r.Scheme != "http" {
		return Refuse(BadScheme, "")
	}
	g, v := p.find(r.Host)
	if g == nil {
		return v
	}
	switch {
	case r.Port == 0:
		return Refuse(BadPort, "")
	case !token(r.Method):
		return Refuse(BadMethod, "")
	case forbidden(r.Method):
		return Refuse(MethodForbidden, "the method "+r.Method+" is never let through")
	case !slices.Contains(g.ports, r.Port):
		return g.wrongPort(r.Host, r.Port)
	}
	if r.Path == "" {
		r.Path = "/" // RFC 9110 section 4.2.3
	}
	path, err := bottle.ReadPath(r.Path)
	if err != nil {
		return Refuse(BadPath, "")
	}
	route, reason := g.pick(r, path.Text)
	for _, other := range path.Variants() {
		if also, _ := g.pick(r, other); also != route {
			return Refuse(AmbiguousPath, "")
		}
	}
	if route == nil {
		return g.refuse(reason, r)
	}
	if route.TLS == tlsPassthrough {
		return about(route, PassthroughOnly)
	}
	if r.HTTP2 && r.Scheme == "http" && !route.H2C {
		return about(route, H2CNotListed)
	}
	if r.Scheme == "http" && route.Auth != nil && !cleartext(route, r.Port) {
		return about(route, CleartextAuth)
	}
	return allow(route)
}

// cleartext reports whether the operator plainly wrote that a credential goes out
// without TLS: http's own port in the route, an upstream address, and no CA for
// it. The agent chooses the scheme, so any other port means TLS: else it could
// have the credential sent in the clear, to a server that nobody verified.
func cleartext(route *bottle.Route, port uint16) bool {
	return port == 80 && hasAddress(route) && route.Upstream.CAFile == ""
}

// AuthRoutes lists the routes that inject a credential, in canonical order. They
// are shared and not to be changed.
func (p *Policy) AuthRoutes() []*bottle.Route {
	if p == nil {
		return nil
	}
	return slices.Clone(p.auths)
}

// Name decides whether the bottle's DNS may answer for h.
func (p *Policy) Name(h bottle.Host) Verdict {
	g, v := p.find(h)
	switch {
	case g == nil && v.Reason == HostNotListed:
		v.Reason = NameNotListed
		return v
	case g == nil:
		return v
	}
	if _, literal := h.Addr(); literal {
		return Refuse(AddressLiteral, "an address is not a name to resolve")
	}
	return allow(g.doors[0].route)
}

// Address decides whether a may be dialled for route, which a verdict of
// Connect or Decide gave, after h was resolved to it. A route with an upstream
// address is the operator's explicit word and may reach any.
func (p *Policy) Address(route *bottle.Route, a netip.Addr) Verdict {
	if p == nil || route == nil {
		return Refuse(NoPolicy, "")
	}
	if hasAddress(route) {
		return allow(route)
	}
	if c := Classify(a); !c.Public {
		v := about(route, c.Reason())
		// The address itself stays unsaid: it would map the inner network for the agent.
		v.Message = "the host leads to an address that is not on the public internet (" + c.Name + ")"
		return v
	}
	return allow(route)
}

// find returns the group of the most specific pattern for h, or why there is none.
func (p *Policy) find(h bottle.Host) (*group, Verdict) {
	switch {
	case p == nil:
		return nil, Refuse(NoPolicy, "")
	case !h.Valid():
		return nil, Refuse(BadHost, "")
	}
	if g := p.exact[h]; g != nil {
		return g, Verdict{}
	}
	if a, ok := h.Addr(); ok {
		return nil, refuseLiteral(a)
	}
	for rest := string(h); ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return nil, Refuse(HostNotListed, p.hint(h))
		}
		if g := p.below[bottle.Host(after)]; g != nil {
			return g, Verdict{}
		}
		rest = after
	}
}

// pick returns the first, so the most specific, route that fits the request
// with this canonical path; or nil and what the nearest ones lacked.
func (g *group) pick(r Request, path string) (*bottle.Route, Reason) {
	var method, prefix bool
	for i := range g.entries {
		e := &g.entries[i]
		if !slices.Contains(e.route.Ports, r.Port) {
			continue
		}
		m := len(e.route.Methods) == 0 || slices.Contains(e.route.Methods, r.Method)
		under := e.covers(path)
		if m && under {
			return e.route, Listed
		}
		method, prefix = method || m, prefix || under
	}
	if method && !prefix {
		return nil, PathNotListed
	}
	return nil, MethodNotListed
}

// covers matches on whole segments: /v1 covers /v1 and /v1/x, never /v10;
// /v1/ covers what is below it.
func (e *entry) covers(path string) bool {
	n := len(e.prefix)
	switch {
	case n == 0:
		return true
	case !strings.HasPrefix(path, e.prefix):
		return false
	}
	return len(path) == n || e.prefix[n-1] == '/' || path[n] == '/'
}

func allow(r *bottle.Route) Verdict {
	return Verdict{Action: Allow, Reason: Listed, Rule: r.Rule, Message: Listed.Text(), Route: r}
}

// about is a denial that a certain route is the reason of.
func about(r *bottle.Route, reason Reason) Verdict {
	return Verdict{Reason: reason, Rule: r.Rule, Message: reason.Text(), Route: r}
}
