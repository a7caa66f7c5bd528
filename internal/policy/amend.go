package policy

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// ErrListed is why Amend changes nothing: the routes let through already what is asked for.
var ErrListed = errors.New("the policy lets this through already: send the request again")

// Amend gives routes that also let through what a proposal asks for, and no more, and a sentence that says
// what that is. Of ask only host, ports (none: 443), methods, paths, and the scheme and name of a credential
// count. rule is where a person finds the reason of a route that is new; of one that is widened it stands
// behind the place where that was written.
//
// How requests are dialled, looked into and given a credential is never the proposal's to say: a new path or
// method is treated as what the routes of the same host and port already treat. Where these differ, it is
// refused, and so is a credential that they do not have. An existing route is widened where its paths or its
// methods are the same; else another one stands beside it, since the union of both lists would let through
// what nobody asked for. A host that only a wildcard covers gets copies of the wildcard's routes: the most
// specific pattern alone decides. The outcome compiles when routes do. The error is for an agent to read.
func Amend(routes []bottle.Route, ask bottle.Route, rule string) (next []bottle.Route, sentence string, err error) {
	a, err := weigh(routes, ask, rule)
	if err != nil {
		return nil, "", err
	}
	for _, p := range a.pieces {
		a.place(p)
	}
	return a.next, a.sentence(), nil
}

// Additions are the routes that do the same as Amend when they stand behind the others:
// what to write into a manifest, in which no line of the operator is to change.
func Additions(routes []bottle.Route, ask bottle.Route) ([]bottle.Route, error) {
	a, err := weigh(routes, ask, "")
	if err != nil {
		return nil, err
	}
	for _, p := range a.pieces {
		a.next = append(a.next, *normalise(p))
	}
	return a.next[len(routes):], nil
}

// Treated says how what Amend adds is dialled, looked into and given a credential: a digest of 32 hex digits for
// each way, sorted; none where it adds nothing. An approval can be held to them when routes change.
func Treated(routes []bottle.Route, ask bottle.Route) (ways []string) {
	a, err := weigh(routes, ask, "")
	if err != nil {
		return nil
	}
	for _, p := range a.pieces {
		b, _ := json.Marshal([]any{p.TLS, p.DLP, p.Inbound, p.H2C, p.Auth, dials(&p)}) // plain data: this can't fail
		ways = append(ways, fmt.Sprintf("%.16x", sha256.Sum256(b)))
	}
	return slices.Compact(slices.Sorted(slices.Values(ways)))
}

// Lacking is what of ask routes do not let through: Amend with each of it comes to the same. None: all is let through.
func Lacking(routes []bottle.Route, ask bottle.Route) (out []bottle.Route) {
	a, err := weigh(routes, ask, "")
	if err != nil {
		return nil
	}
	for _, p := range a.pieces {
		out = append(out, bottle.Route{Host: p.Host, Ports: p.Ports, Methods: p.Methods, Paths: p.Paths, Auth: ask.Auth})
	}
	return out
}

// weigh finds out what routes lack of what is asked for.
func weigh(routes []bottle.Route, ask bottle.Route, rule string) (*amending, error) {
	want := normalise(bottle.Route{Host: ask.Host, Ports: ask.Ports, Methods: ask.Methods, Paths: ask.Paths, Auth: ask.Auth, Rule: rule})
	if len(want.Ports) == 0 {
		want.Ports = []uint16{443}
	}
	if err := check(want); err != nil {
		return nil, err
	}
	if name := string(want.Host.Host); name == "bottle" || strings.HasSuffix(name, ".bottle") {
		return nil, errors.New("names below .bottle are the gateway's own")
	}
	a := &amending{want: want}
	for _, r := range routes {
		a.next = append(a.next, *normalise(r))
	}
	a.specialise()
	if err := a.collect(); err != nil {
		return nil, err
	}
	if len(a.pieces) == 0 {
		return nil, ErrListed
	}
	a.join()
	return a, nil
}

// amending is one Amend under way.
type amending struct {
	want   *bottle.Route
	next   []bottle.Route // normal
	pieces []bottle.Route // what is not let through yet; in each, all is treated alike
}

// specialise copies the routes of the most specific wildcard around a host that has none
// of its own.
func (a *amending) specialise() {
	var best bottle.Host
	for _, r := range a.next {
		if r.Host == a.want.Host {
			return
		}
		if r.Host.Sub && r.Host.Matches(a.want.Host.Host) && len(r.Host.Host) > len(best) {
			best = r.Host.Host
		}
	}
	if best == "" {
		return
	}
	for _, r := range slices.Clone(a.next) {
		if r.Host.Sub && r.Host.Host == best {
			r.Host, r.Role = a.want.Host, ""
			a.next = append(a.next, *normalise(r))
		}
	}
}

// collect finds what is not let through yet, and how it is to be treated.
func (a *amending) collect() error {
	paths := a.want.Paths
	if len(paths) == 0 {
		paths = []string{""}
	}
	for _, port := range a.want.Ports {
		for _, path := range paths {
			if a.listed(port, path) {
				continue
			}
			like, err := a.like(port, path)
			if err != nil {
				return err
			}
			a.add(like, port, path)
		}
	}
	return nil
}

// listed reports whether every wanted method is let through already at port and path.
func (a *amending) listed(port uint16, path string) bool {
	missing := slices.Clone(a.want.Methods)
	for i := range a.next {
		r := &a.next[i]
		if r.Host != a.want.Host || !slices.Contains(r.Ports, port) || !within(r.Paths, path) {
			continue
		}
		if len(r.Methods) == 0 {
			return true
		}
		missing = slices.DeleteFunc(missing, func(m string) bool { return slices.Contains(r.Methods, m) })
		if len(a.want.Methods) > 0 && len(missing) == 0 {
			return true
		}
	}
	return false
}

// within reports whether everything below path is below one of prefixes; none is any.
func within(prefixes []string, path string) bool {
	return len(prefixes) == 0 || path != "" && slices.ContainsFunc(prefixes, func(p string) bool { return (&entry{prefix: p}).covers(path) })
}

// like is a route that says how requests at port and path are treated: as those of the
// routes that overlap with it, or else as those of all routes of the host and port.
func (a *amending) like(port uint16, path string) (*bottle.Route, error) {
	var all, near []*bottle.Route
	for i := range a.next {
		r := &a.next[i]
		if r.Host != a.want.Host || !slices.Contains(r.Ports, port) {
			continue
		}
		if r.TLS == tlsPassthrough {
			return nil, ErrListed
		}
		all = append(all, r)
		if within(r.Paths, path) || slices.ContainsFunc(r.Paths, func(p string) bool { return within([]string{path}, p) || path == "" }) {
			near = append(near, r)
		}
	}
	if len(near) == 0 && a.want.Auth != nil && len(all) > 0 { // of several, the one that is asked for
		near = slices.DeleteFunc(slices.Clone(all), func(r *bottle.Route) bool { return !sameAuth(r.Auth, a.want.Auth) })
	}
	if len(near) == 0 {
		near = all
	}
	if len(near) == 0 {
		near = []*bottle.Route{{TLS: tlsIntercept, DLP: dlpBlock}}
	}
	for _, r := range near[1:] {
		if !treated(near[0], r) {
			return nil, fmt.Errorf("the routes to %s differ in their credentials, or in how they are looked into, so nobody can tell which of them this is like: ask the operator to write it into the manifest", a.want.Host)
		}
	}
	if a.want.Auth != nil && !sameAuth(near[0].Auth, a.want.Auth) {
		return nil, fmt.Errorf("no proposal can send the credential %s to %s: only the operator's manifest says which credential goes where; ask without auth", a.want.Auth.TokenRef, a.want.Host)
	}
	return near[0], nil
}

// treated reports whether two routes differ in nothing but what they let through.
func treated(x, y *bottle.Route) bool {
	return x.TLS == y.TLS && x.DLP == y.DLP && x.Inbound == y.Inbound && x.H2C == y.H2C && dials(x) == dials(y) && sameAuth(x.Auth, y.Auth)
}

// add puts port and path into the piece that is treated alike, or begins one.
func (a *amending) add(like *bottle.Route, port uint16, path string) {
	for i := range a.pieces {
		if p := &a.pieces[i]; p.Ports[0] == port && treated(p, like) && path != "" {
			p.Paths = append(p.Paths, path)
			return
		}
	}
	p := bottle.Route{Host: a.want.Host, Ports: []uint16{port}, Methods: a.want.Methods, Auth: like.Auth,
		TLS: like.TLS, DLP: like.DLP, Inbound: like.Inbound, H2C: like.H2C, Upstream: like.Upstream, Rule: a.want.Rule}
	if path != "" {
		p.Paths = []string{path}
	}
	a.pieces = append(a.pieces, p)
}

// join makes one piece of those that differ in their ports alone.
func (a *amending) join() {
	var out []bottle.Route
	for _, p := range a.pieces {
		at := slices.IndexFunc(out, func(o bottle.Route) bool { return treated(&o, &p) && slices.Equal(o.Paths, p.Paths) })
		if at < 0 {
			out = append(out, p)
			continue
		}
		out[at].Ports = append(out[at].Ports, p.Ports...)
	}
	a.pieces = out
}

// place widens the route that differs from the piece in its paths alone or in its methods
// alone; else the piece becomes a route.
func (a *amending) place(p bottle.Route) {
	for i := range a.next {
		r := &a.next[i]
		if r.Host != p.Host || !treated(r, &p) || !slices.Equal(r.Ports, p.Ports) {
			continue
		}
		switch {
		case slices.Equal(r.Methods, p.Methods):
			r.Paths = union(r.Paths, p.Paths)
		case slices.Equal(r.Paths, p.Paths):
			r.Methods = union(r.Methods, p.Methods)
		default:
			continue
		}
		if p.Rule != "" { // whoever reads the records finds both
			r.Rule = strings.TrimPrefix(r.Rule+" + "+p.Rule, " + ")
		}
		return
	}
	a.next = append(a.next, *normalise(p))
}

// union is what is in either set; an empty one is everything.
func union(x, y []string) []string {
	if len(x) == 0 || len(y) == 0 {
		return nil
	}
	return sortedSet(slices.Concat(x, y))
}

// sentence says what the pieces newly let through.
func (a *amending) sentence() string {
	const saidTargets = 6
	var parts []string
	for _, p := range a.pieces {
		parts = append(parts, says(p, saidTargets))
	}
	words := strings.Join(parts, "; ")
	if len(parts) > saidTargets {
		words = strings.Join(parts[:saidTargets], "; ") + fmt.Sprintf("; and %d more, see the diff", len(parts)-saidTargets)
	}
	if a.shadowed() {
		words += ", but not to hosts that have routes of their own"
	}
	return "adds " + words
}

// shadowed reports whether a more specific pattern decides for some host of a wildcard.
func (a *amending) shadowed() bool {
	w := a.want.Host
	return w.Sub && slices.ContainsFunc(a.next, func(r bottle.Route) bool { return r.Host != w && w.Matches(r.Host.Host) })
}

// Says is what a route lets through, and how, as words for a person or a model.
func Says(r bottle.Route) string { return says(*normalise(r), 1<<30) }

// says names at most so many places.
func says(p bottle.Route, most int) string {
	methods := "every method"
	if len(p.Methods) > 0 {
		methods = strings.Join(p.Methods, ", ")
	}
	targets := targets(p)
	if n := len(targets); n > most {
		targets = append(targets[:most], fmt.Sprintf("%d more (see the diff)", n-most))
	}
	words := methods + " to " + strings.Join(targets, ", ")
	credential := " without a credential"
	if p.Auth != nil {
		credential = " with credential " + p.Auth.TokenRef
	}
	words += credential
	if p.TLS != tlsIntercept {
		words += ", tls: " + p.TLS
	}
	if p.DLP != dlpBlock {
		words += ", dlp: " + p.DLP
	}
	if p.Upstream != nil && p.Upstream.Address != "" {
		words += ", dialling " + p.Upstream.Address
	}
	return words
}

// targets are the places that a route leads to, each as host:port/path/*.
func targets(p bottle.Route) (out []string) {
	host := p.Host.String()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	for _, port := range p.Ports {
		to := host
		if port != 443 {
			to += fmt.Sprintf(":%d", port)
		}
		if len(p.Paths) == 0 {
			out = append(out, to+"/*")
		}
		for _, path := range p.Paths {
			out = append(out, to+strings.TrimSuffix(path, "/")+"/*")
		}
	}
	return out
}
