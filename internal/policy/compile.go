package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/bottle/suffix"
)

const (
	tlsIntercept   = "intercept"
	tlsPassthrough = "passthrough"
	dlpBlock       = "block"
)

// Policy is a compiled, immutable set of routes, safe for many goroutines.
// A nil Policy denies everything.
type Policy struct {
	hash     string
	exact    map[bottle.Host]*group
	below    map[bottle.Host]*group // *.host, by host
	ports    []uint16
	literals []netip.Addr
	auths    []*bottle.Route
}

// group is every route of one pattern.
type group struct {
	pattern bottle.Pattern
	ports   []uint16
	doors   []door // by port, in canonical order: one per route and port
	entries []entry
}

// door is one route on one port, for the decision on a connection.
type door struct {
	port  uint16
	route *bottle.Route
}

// entry is one path prefix of one route. Entries are ordered so that the first
// one that fits a request is the most specific one.
type entry struct {
	prefix string // "" is any path
	route  *bottle.Route
}

// Compile checks routes and makes a policy of them. The routes are copied. The
// order in which they come has no influence on any decision: where two of them
// could both claim a request and would treat it differently, Compile refuses.
// An empty tls means intercept and an empty dlp means block, the strict ones.
// The error is a bottle.Problems with every finding.
func Compile(routes []bottle.Route) (*Policy, error) {
	var problems bottle.Problems
	normal := make([]*bottle.Route, 0, len(routes))
	for _, r := range routes {
		n := normalise(r)
		if err := check(n); err != nil {
			problems = append(problems, problem(n, err))
			continue
		}
		normal = append(normal, n)
	}
	keys := order(normal)
	p := &Policy{
		hash:  digest(keys),
		exact: map[bottle.Host]*group{},
		below: map[bottle.Host]*group{},
	}
	for _, r := range normal {
		p.add(r)
	}
	for _, m := range []map[bottle.Host]*group{p.exact, p.below} {
		for _, g := range m {
			g.arrange()
			problems = append(problems, g.conflicts()...)
		}
	}
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b bottle.Problem) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
		})
		return nil, problems
	}
	p.collect(normal)
	return p, nil
}

// normalise returns a deep copy with sets sorted and strict defaults filled in.
func normalise(r bottle.Route) *bottle.Route {
	r.Ports = sortedSet(r.Ports)
	r.Methods = sortedSet(r.Methods)
	r.Paths = sortedSet(r.Paths)
	r.TLS = cmp.Or(r.TLS, tlsIntercept)
	r.DLP = cmp.Or(r.DLP, dlpBlock)
	if r.Auth != nil {
		auth := *r.Auth
		r.Auth = &auth
	}
	if r.Upstream != nil {
		up := *r.Upstream
		r.Upstream = &up
	}
	return &r
}

func sortedSet[T cmp.Ordered](in []T) []T {
	if len(in) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(in)))
}

// order sorts the routes by their canonical JSON without the place where each
// was written, and returns that JSON.
func order(routes []*bottle.Route) []string {
	type keyed struct {
		key   string
		route *bottle.Route
	}
	all := make([]keyed, len(routes))
	for i, r := range routes {
		bare := *r
		bare.Rule = ""
		// Strings and numbers only: this can't fail.
		text, _ := json.Marshal(bare)
		all[i] = keyed{string(text), r}
	}
	slices.SortFunc(all, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.route.Rule, b.route.Rule))
	})
	keys := make([]string, len(all))
	for i, k := range all {
		keys[i], routes[i] = k.key, k.route
	}
	return keys
}

func digest(keys []string) string {
	sum := sha256.Sum256([]byte("[" + strings.Join(slices.Compact(keys), ",") + "]"))
	return hex.EncodeToString(sum[:])
}

// Hash identifies what the policy decides: the SHA-256, in hex, of the canonical
// JSON of its routes, and of its repositories if it has any (WithGit), whatever their order
// and wherever they were written. Without a policy it is the hash of nothing.
func (p *Policy) Hash() string {
	if p == nil {
		sum := sha256.Sum256(nil)
		return hex.EncodeToString(sum[:])
	}
	return p.hash
}

// Ports lists every port that some route lists, in ascending order.
func (p *Policy) Ports() []uint16 {
	if p == nil {
		return nil
	}
	return slices.Clone(p.ports)
}

// Literals lists every address that some route names as its host, in order.
func (p *Policy) Literals() []netip.Addr {
	if p == nil {
		return nil
	}
	return slices.Clone(p.literals)
}

func (p *Policy) add(r *bottle.Route) {
	groups := p.exact
	if r.Host.Sub {
		groups = p.below
	}
	g := groups[r.Host.Host]
	if g == nil {
		g = &group{pattern: r.Host}
		groups[r.Host.Host] = g
	}
	for _, port := range r.Ports {
		g.doors = append(g.doors, door{port, r})
	}
	g.ports = sortedSet(append(g.ports, r.Ports...))
	for _, prefix := range r.Paths {
		g.entries = append(g.entries, entry{prefix, r})
	}
	if len(r.Paths) == 0 {
		g.entries = append(g.entries, entry{"", r})
	}
}

// arrange puts the longest prefix first, and of two equal ones that of the
// route which lists its methods. Stable, so that the rest is canonical order.
func (g *group) arrange() {
	slices.SortStableFunc(g.entries, func(a, b entry) int {
		return cmp.Or(-cmp.Compare(len(a.prefix), len(b.prefix)), cmp.Compare(a.prefix, b.prefix),
			-cmp.Compare(min(len(a.route.Methods), 1), min(len(b.route.Methods), 1)))
	})
}

func (p *Policy) collect(routes []*bottle.Route) {
	for _, r := range routes {
		p.ports = append(p.ports, r.Ports...)
		if a, ok := r.Host.Host.Addr(); ok {
			p.literals = append(p.literals, a)
		}
		if r.Auth != nil {
			p.auths = append(p.auths, r)
		}
	}
	p.ports = sortedSet(p.ports)
	slices.SortFunc(p.literals, netip.Addr.Compare)
	p.literals = slices.Compact(p.literals)
}

// problem says where a finding belongs: Rule is file:line.
func problem(r *bottle.Route, err error) bottle.Problem {
	p := bottle.Problem{File: r.Rule, Message: fmt.Sprintf("route %s: %v", r.Host, err)}
	if i := strings.LastIndexByte(r.Rule, ':'); i > 0 {
		if n, ok := decimal(r.Rule[i+1:]); ok {
			p.File, p.Line = r.Rule[:i], n
		}
	}
	return p
}

func decimal(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > 1<<24 {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != ""
}

// checkHost holds the pattern to its canonical form, because a Route can be made
// by hand, and keeps addresses that are not public behind an explicit upstream.
func checkHost(r *bottle.Route) error {
	parsed, err := bottle.ParsePattern(r.Host.String())
	if err != nil {
		return err
	}
	if parsed != r.Host {
		return fmt.Errorf("the host is not in canonical form: that is %s", parsed)
	}
	if r.Host.Sub {
		return suffix.CheckWildcard(string(r.Host.Host))
	}
	if a, ok := r.Host.Host.Addr(); ok && !hasAddress(r) {
		if c := Classify(a); !c.Public {
			return fmt.Errorf("this address is not on the public internet (%s, %s): only upstream.address in the bottle's manifest leads there", c.Name, c.RFC)
		}
	}
	return nil
}

func hasAddress(r *bottle.Route) bool { return r.Upstream != nil && r.Upstream.Address != "" }
