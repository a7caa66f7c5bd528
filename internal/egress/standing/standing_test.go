package standing

import (
	"sync"
	"sync/atomic"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

func compile(t testing.TB, routes ...bottle.Route) *policy.Policy {
	t.Helper()
	p, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pass(host bottle.Host, rule string) bottle.Route {
	return bottle.Route{Host: bottle.Pattern{Host: host}, Ports: []uint16{443}, TLS: "passthrough", DLP: "off", Rule: rule}
}

func tunnelTo(t testing.TB, p *policy.Policy, host bottle.Host, cut func()) Stream {
	t.Helper()
	v := p.Connect(host, 443)
	if !v.Passthrough() {
		t.Fatalf("%s: %+v", host, v)
	}
	return Stream{Request: policy.Request{Host: host, Port: 443}, Route: v.Route, Cut: cut}
}

// TestReviewCutsWhatIsNoLongerAllowed: a tunnel ends when its route goes away, or
// would now lead elsewhere, and stands when only the route's place in a file changed.
func TestReviewCutsWhatIsNoLongerAllowed(t *testing.T) {
	opened := pass("a.example.com", "dev.md:1")
	elsewhere := opened
	elsewhere.Upstream = &bottle.Upstream{Address: "192.0.2.1:443"}
	seen := opened
	seen.TLS = "intercept"
	for name, c := range map[string]struct {
		routes []bottle.Route
		cut    int
	}{
		"the same":             {[]bottle.Route{opened}, 0},
		"from another line":    {[]bottle.Route{pass("a.example.com", "dev.md:9"), pass("b.example.com", "dev.md:1")}, 0},
		"none":                 {nil, 1},
		"of another host":      {[]bottle.Route{pass("b.example.com", "dev.md:1")}, 1},
		"that leads elsewhere": {[]bottle.Route{elsewhere}, 1},
		"that intercepts":      {[]bottle.Route{seen}, 1},
	} {
		var r Registry
		calls := 0
		remove := r.Add(tunnelTo(t, compile(t, opened), "a.example.com", func() { calls++ }))
		p := compile(t, c.routes...)
		if n := r.Review(p); n != c.cut || calls != c.cut {
			t.Errorf("a route %s: %d cut, %d calls", name, n, calls)
		}
		if n := r.Review(p); n != 0 || calls != c.cut {
			t.Errorf("a route %s, again: %d cut, %d calls", name, n, calls)
		}
		if was := remove(); was != (c.cut == 1) || len(r.open) != 0 {
			t.Errorf("a route %s: cut %v, %d left", name, was, len(r.open))
		}
	}
}

// TestWebSocketIsDecidedLikeItsRequest: by method and path, and with the same
// credential.
func TestWebSocketIsDecidedLikeItsRequest(t *testing.T) {
	route := bottle.Route{Host: bottle.Pattern{Host: "a.example.com"}, Ports: []uint16{443}, TLS: "intercept", DLP: "block",
		Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "ONE"}}
	req := policy.Request{Scheme: "https", Host: "a.example.com", Port: 443, Method: "GET", Path: "/live"}
	narrow, other, wide := route, route, route
	narrow.Paths = []string{"/rest"}
	other.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: "TWO"}
	wide.Methods, wide.Paths = []string{"GET"}, []string{"/live"}
	for name, c := range map[string]struct {
		route bottle.Route
		cut   int
	}{"the same": {route, 0}, "one that still fits": {wide, 0}, "another path": {narrow, 1}, "another credential": {other, 1}} {
		var r Registry
		v := compile(t, route).Decide(req)
		calls := 0
		r.Add(Stream{Request: req, Route: v.Route, Cut: func() { calls++ }})
		if n := r.Review(compile(t, c.route)); n != c.cut || calls != c.cut {
			t.Errorf("%s: %d cut, %d calls", name, n, calls)
		}
	}
}

// TestNoStreamSlipsIn: the weakness is the moment between a decision and Add. A
// stream that was decided under the old policy and comes in after the review is cut.
func TestNoStreamSlipsIn(t *testing.T) {
	before, after := compile(t, pass("a.example.com", "dev.md:1")), compile(t)
	var r Registry
	var cut atomic.Int64
	var wg sync.WaitGroup
	const n = 64
	for range n {
		s := tunnelTo(t, before, "a.example.com", func() { cut.Add(1) })
		wg.Go(func() { r.Add(s) })
	}
	wg.Go(func() { r.Review(after) })
	wg.Wait()
	if cut.Load() != n {
		t.Errorf("%d of %d streams were cut", cut.Load(), n)
	}
	if remove := r.Add(tunnelTo(t, before, "a.example.com", func() {})); !remove() {
		t.Error("a stream of an old policy slipped in")
	}
}
