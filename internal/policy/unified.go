package policy

import (
	"fmt"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/udiff"
)

// Unified is the difference of two lists of routes as a unified diff of the manifest's
// spelling, for a person: each host whose routes changed, with all its lines. It is empty
// when both decide alike. Every line is one that a terminal shows and does not obey.
func Unified(old, new []bottle.Route) string {
	before, after := inOrder(old), inOrder(new)
	var hosts []string
	for _, pair := range [][2]side{{before, after}, {after, before}} {
		there := map[string]bool{}
		for _, k := range pair[1].keys {
			there[k] = true
		}
		for i, k := range pair[0].keys {
			if !there[k] {
				hosts = append(hosts, pair[0].routes[i].Host.String())
			}
		}
	}
	if len(hosts) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("--- routes before\n+++ routes after\n")
	for _, h := range sortedSet(hosts) {
		x, y := before.lines(h), after.lines(h)
		fmt.Fprintf(&b, "@@ -%d +%d @@ %s\n", len(x), len(y), bottle.Printable(h))
		for _, e := range udiff.Compare(x, y) {
			b.WriteString(bottle.Printable(string(e.Op)+e.Line) + "\n")
		}
	}
	return b.String()
}

// side is a list of routes in canonical order, each with what it is known by.
type side struct {
	routes []*bottle.Route
	keys   []string
}

func inOrder(routes []bottle.Route) side {
	var s side
	for _, r := range routes {
		s.routes = append(s.routes, normalise(r))
	}
	s.keys = order(s.routes)
	return s
}

// lines are those of all routes of a host.
func (s side) lines(host string) (out []string) {
	for _, r := range s.routes {
		if r.Host.String() == host {
			out = append(out, routeLines(*r)...)
		}
	}
	return out
}

// routeLines spells a normal route as a manifest does.
func routeLines(r bottle.Route) []string {
	out := []string{"- host: " + r.Host.String()}
	if len(r.Ports) != 1 || r.Ports[0] != 443 {
		out = append(out, "  ports: ["+strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Ports), " ", ", "), "[]")+"]")
	}
	if len(r.Methods) > 0 {
		out = append(out, "  methods: ["+strings.Join(r.Methods, ", ")+"]")
	}
	if len(r.Paths) > 0 {
		out = append(out, "  path_allowlist:")
		for _, p := range r.Paths {
			out = append(out, "    - "+p)
		}
	}
	if r.Auth != nil {
		scheme := r.Auth.Scheme
		if r.Auth.Header != "" {
			scheme += ":" + r.Auth.Header
		}
		out = append(out, "  auth: {scheme: "+scheme+", token_ref: "+r.Auth.TokenRef+"}")
	}
	if r.Role != "" {
		out = append(out, "  role: "+r.Role)
	}
	if r.TLS != tlsIntercept {
		out = append(out, "  tls: "+r.TLS)
	}
	if r.DLP != dlpBlock {
		out = append(out, "  dlp: "+r.DLP)
	}
	if r.Inbound != "" {
		out = append(out, "  inbound: "+r.Inbound)
	}
	if r.H2C {
		out = append(out, "  h2c: true")
	}
	if r.Upstream != nil && *r.Upstream != (bottle.Upstream{}) {
		out = append(out, "  upstream: "+dialled(*r.Upstream))
	}
	return out
}

// dialled is a route's upstream as a manifest has it, without the key that is not there.
func dialled(u bottle.Upstream) string {
	var keys []string
	if u.Address != "" {
		keys = append(keys, "address: "+u.Address)
	}
	if u.CAFile != "" {
		keys = append(keys, "ca_file: "+u.CAFile)
	}
	return "{" + strings.Join(keys, ", ") + "}"
}
