package standing

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/quota"
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

func tunnelTo(t testing.TB, p *policy.Policy, host bottle.Host, cut func()) Opening {
	t.Helper()
	v := p.Connect(host, 443)
	if !v.Passthrough() {
		t.Fatalf("%s: %+v", host, v)
	}
	return Opening{Request: policy.Request{Host: host, Port: 443}, Verdict: v, Cut: cut, Now: time.Now}
}

// force is one in which p is.
func force(t testing.TB, p *policy.Policy) *Force {
	f := &Force{}
	f.Begin(p, compile(t))
	return f
}

// TestZeroForceDenies: without a policy, everything is denied.
func TestZeroForceDenies(t *testing.T) {
	var f Force
	if v := f.Load().Connect("a.example.com", 443); v.Allowed() {
		t.Errorf("%+v", v)
	}
}

// A WebSocket whose messages a new policy would look into, or no longer, does not stand.
func TestSetCutsWhatIsLookedIntoInAnotherWay(t *testing.T) {
	r := pass("a.example.com", "dev.md:1")
	r.TLS = "intercept"
	heard := r
	heard.Inbound = "block"
	for _, pair := range [][2]bottle.Route{{r, heard}, {heard, r}, {heard, heard}} {
		before := compile(t, pair[0])
		f, calls := force(t, before), 0
		ask := policy.Request{Scheme: "https", Host: "a.example.com", Port: 443, Method: "GET", Path: "/"}
		f.Open(Opening{Request: ask, Verdict: before.Decide(ask), Cut: func() { calls++ }})
		if f.Set(compile(t, pair[1])); (calls == 1) != (pair[0].Inbound != pair[1].Inbound) {
			t.Errorf("from %q to %q: cut %d times", pair[0].Inbound, pair[1].Inbound, calls)
		}
	}
}

// TestSetCutsWhatIsNoLongerAllowed: a tunnel ends when its route goes away, or
// would now lead elsewhere, and stands when only the route's place in a file changed.
func TestSetCutsWhatIsNoLongerAllowed(t *testing.T) {
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
		before := compile(t, opened)
		f, calls := force(t, before), 0
		s := f.Open(tunnelTo(t, before, "a.example.com", func() { calls++ }))
		p := compile(t, c.routes...)
		if n := f.Set(p); n != c.cut || calls != c.cut || f.Load() != p {
			t.Errorf("a route %s: %d cut, %d calls", name, n, calls)
		}
		if n := f.Set(p); n != 0 || calls != c.cut {
			t.Errorf("a route %s, again: %d cut, %d calls", name, n, calls)
		}
		want := policy.Listed
		if c.cut == 1 {
			want = policy.Revoked
		}
		if v := s.Over(); v.Reason != want || v.Rule != "dev.md:1" || len(f.open) != 0 {
			t.Errorf("a route %s: it ends with %+v, %d left", name, v, len(f.open))
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
		before := compile(t, route)
		f, calls := force(t, before), 0
		f.Open(Opening{Request: req, Verdict: before.Decide(req), Cut: func() { calls++ }})
		if n := f.Set(compile(t, c.route)); n != c.cut || calls != c.cut {
			t.Errorf("%s: %d cut, %d calls", name, n, calls)
		}
	}
}

// TestNoStreamSlipsIn: the weakness is the moment between a decision and Open. A
// stream that was decided under the old policy and comes in after the new is cut.
func TestNoStreamSlipsIn(t *testing.T) {
	before, after := compile(t, pass("a.example.com", "dev.md:1")), compile(t)
	f := force(t, before)
	var cut atomic.Int64
	var wg sync.WaitGroup
	const n = 64
	for range n {
		o := tunnelTo(t, before, "a.example.com", func() { cut.Add(1) })
		wg.Go(func() { f.Open(o) })
	}
	wg.Go(func() { f.Set(after) })
	wg.Wait()
	if cut.Load() != n {
		t.Errorf("%d of %d streams were cut", cut.Load(), n)
	}
}

// TestSuspended: nothing is decided by the policy that is set, streams stay, and
// a policy that comes meanwhile decides from the end of it, not before.
func TestSuspended(t *testing.T) {
	first, second := compile(t, pass("a.example.com", "dev.md:1")), compile(t, pass("a.example.com", "dev.md:1"), pass("b.example.com", "dev.md:2"))
	f := force(t, first)
	s := f.Open(tunnelTo(t, first, "a.example.com", func() {}))
	f.Suspend(true)
	if f.Load().Connect("a.example.com", 443).Allowed() {
		t.Error("suspended, and it allows")
	}
	if n := f.Set(second); n != 0 || f.Load().Connect("b.example.com", 443).Allowed() {
		t.Errorf("a new policy ended the suspension, or cut %d", n)
	}
	f.Suspend(false)
	if f.Load() != second {
		t.Error("the new policy does not decide")
	}
	if v := s.Over(); v.Reason != policy.Listed {
		t.Errorf("the stream ended with %+v", v)
	}
}

type agent struct {
	bytes.Reader
	closed bool
}

func (a *agent) Write(b []byte) (int, error) { return len(b), nil }
func (a *agent) Close() error                { a.closed = true; return nil }

// TestStreamSpends: what the bottle sends counts, and no byte past the bound is
// given on.
func TestStreamSpends(t *testing.T) {
	p := compile(t, pass("a.example.com", "dev.md:1"))
	o := tunnelTo(t, p, "a.example.com", func() {})
	a := &agent{}
	a.Reset(make([]byte, 100))
	o.Agent, o.Book = a, quota.New(quota.Limits{BytesOut: 50})
	s := force(t, p).Open(o)
	b := make([]byte, 40)
	if n, err := s.Read(b); n != 40 || err != nil {
		t.Fatalf("the first: %d, %v", n, err)
	}
	if n, err := s.Read(b); n != 0 || err == nil {
		t.Errorf("past the bound: %d, %v", n, err)
	}
	if v := s.Over(); v.Reason != policy.LimitBytesOut || v.Allowed() {
		t.Errorf("it ended with %+v", v)
	}
	if err := s.CloseWrite(); err != nil || !a.closed {
		t.Errorf("no half-close, so it closes: %v", err)
	}
}

func asks(path string) policy.Request {
	return policy.Request{Scheme: "https", Host: "a.example.com", Port: 443, Method: "GET", Path: path}
}

func paths(list ...string) bottle.Route {
	r := pass("a.example.com", "dev.md:1")
	r.TLS, r.Paths = "intercept", list
	return r
}

// TestZeroHeldGoesNowhere: one that nobody took in has no context to go out under.
func TestZeroHeldGoesNowhere(t *testing.T) {
	var h Held
	ctx, _ := h.Context(nil, httptest.NewRequest("GET", "/", nil))
	if ctx.Err() == nil || !h.Gone() {
		t.Error("it goes out")
	}
	h.Leave()
	h.Over()
}

// TestNoRequestSlipsIn: the weakness is the moments between a decision, the taking in and the
// sending. A request that the policy of any of them does not let through does not go out; its
// body is closed, so that nobody waits for the rest; and what ends leaves the others held.
func TestNoRequestSlipsIn(t *testing.T) {
	both, one := compile(t, paths("/a", "/b")), compile(t, paths("/b"))
	f := force(t, one)
	var late Held
	if v := both.Decide(asks("/a")); late.Hold(f, both, asks("/a"), v) || !late.Gone() {
		t.Error("decided by an old policy, and taken in")
	}
	closed := make(chan bool, 1)
	r := httptest.NewRequest("POST", "/", nil)
	r.Body = closer(closed)
	ctx, _ := late.Context(nil, r)
	if late.Over(); ctx.Err() == nil || len(closed) != 1 {
		t.Error("it goes out all the same")
	}
	f.Set(both)
	var held [9]Held
	var ctxs [9]context.Context
	for i := range held {
		path := []string{"/a", "/b", "/b"}[i%3]
		if !held[i].Hold(f, both, asks(path), both.Decide(asks(path))) {
			t.Fatal("it is not taken in")
		}
		if i < 6 { // the others have not been sent yet
			ctxs[i], _ = held[i].Context(nil, httptest.NewRequest("GET", "/", nil))
		}
	}
	for _, i := range []int{4, 8, 1} { // one in the middle, the first and one more
		held[i].Over()
		held[i].Over()
	}
	if n := f.Set(one); n != 3 || f.Set(one) != 0 {
		t.Errorf("%d are cut", n)
	}
	for i := range held {
		if ctxs[i] == nil {
			ctxs[i], _ = held[i].Context(nil, httptest.NewRequest("GET", "/", nil))
		}
		over := i == 4 || i == 8 || i == 1
		if cut := i%3 == 0; held[i].Gone() != cut || ctxs[i].Err() != nil != (cut || over && i != 8) {
			t.Errorf("%d: gone %t, %v", i, held[i].Gone(), ctxs[i].Err())
		}
	}
	for i := range held {
		held[i].Over()
	}
	if f.held != nil {
		t.Error("some are held for ever")
	}
}

type closer chan bool

func (c closer) Read([]byte) (int, error) { return 0, io.EOF }
func (c closer) Close() error             { c <- true; return nil }

// TestHeldRaces: requests come, go and are cut by many at once, and none that goes on is one
// that the last policy does not let through.
func TestHeldRaces(t *testing.T) {
	both, one := compile(t, paths("/a", "/b")), compile(t, paths("/b"))
	f := force(t, both)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 300 {
				var h Held
				p := f.Load()
				if v := p.Decide(asks("/a")); v.Allowed() && h.Hold(f, p, asks("/a"), v) {
					ctx, _ := h.Context(nil, httptest.NewRequest("GET", "/", nil))
					f.mu.Lock()
					if f.set == one && (!h.Gone() || ctx.Err() == nil) {
						t.Error("it goes on")
					}
					f.mu.Unlock()
				}
				h.Over()
			}
		})
	}
	for i := range 400 {
		f.Set([]*policy.Policy{both, one}[i%2])
	}
	work.Wait()
	if f.held != nil {
		t.Error("some are held for ever")
	}
}

func BenchmarkHeld(b *testing.B) {
	p := compile(b, paths("/a"))
	f := force(b, p)
	v, r := p.Decide(asks("/a")), httptest.NewRequest("GET", "/", nil)
	ctx, cancel := context.WithCancel(b.Context()) // as a server's
	defer cancel()
	r = r.WithContext(ctx)
	b.ReportAllocs()
	for b.Loop() {
		var h Held
		h.Hold(f, p, asks("/a"), v)
		_, _ = h.Context(nil, r)
		h.Over()
	}
}
