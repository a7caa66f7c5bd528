package policy

import (
	"fmt"
	"strings"

	"bottle/internal/bottle"
)

// maxCompared bounds the lines of one side that are held against each other.
const maxCompared = 600

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
		for _, line := range lineDiff(x, y) {
			b.WriteString(bottle.Printable(line) + "\n")
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
		out = append(out, "  upstream: {address: "+r.Upstream.Address+", ca_file: "+r.Upstream.CAFile+"}")
	}
	return out
}

// lineDiff is the shortest edit of x to y by whole lines: each begins with a space, a - or
// a +. What is too long to compare is taken out and put in as a whole.
func lineDiff(x, y []string) (out []string) {
	if len(x) > maxCompared || len(y) > maxCompared {
		for _, l := range x {
			out = append(out, "-"+l)
		}
		for _, l := range y {
			out = append(out, "+"+l)
		}
		return out
	}
	long := make([][]int, len(x)+1) // long[i][j]: of the longest common part of x[i:] and y[j:]
	for i := range long {
		long[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if long[i][j] = max(long[i+1][j], long[i][j+1]); x[i] == y[j] {
				long[i][j] = long[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			out = append(out, " "+x[i])
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && long[i+1][j] >= long[i][j+1]:
			out = append(out, "-"+x[i])
			i++
		default:
			out = append(out, "+"+y[j])
			j++
		}
	}
	return out
}
