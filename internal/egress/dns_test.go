package egress

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/dlp"
	"bottle/internal/egress/responder"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

func TestNamesInsideTheBottle(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""), route("*.example.org", "", ""))
	for name, want := range map[string]responder.Code{
		apiHost:            responder.Found,
		"a.b.example.org":  responder.Found,
		"gateway.bottle":   responder.Found,
		"localhost":        responder.Found,
		"example.org":      responder.Denied,
		"evil.example.net": responder.Denied,
		"x.bottle":         responder.Denied,
		"192.0.2.1":        responder.Denied,
		"a b":              responder.Denied,
		"\xff\x00":         responder.Denied,
	} {
		if got := w.p.resolveInside(name); got.Code != want {
			t.Errorf("%q: %v, want %v", name, got.Code, want)
		}
	}
	if got := w.looked(); len(got) != 0 {
		t.Errorf("the DNS asked somebody: %v", got)
	}
	for _, r := range w.all() {
		if r.Kind != KindDNS || r.Verdict != "deny" || strings.IndexByte(r.Host, 0) >= 0 || strings.IndexByte(r.Host, 0xff) >= 0 {
			t.Errorf("record %+v", r)
		}
	}
	if len(w.all()) != 6 {
		t.Errorf("%d records", len(w.all()))
	}
}

// TestWallCheckMakesNoEngine: making what looks for secrets costs more than all the rest of a
// start, which asks for one denied name before the agent begins.
func TestWallCheckMakesNoEngine(t *testing.T) {
	made := 0
	w := newWorld(t, func(c *Config) { c.DLP = func() *dlp.Engine { made++; return nil } }, route(apiHost, "", ""))
	if got := w.p.resolveInside(plan.ProbeName); got.Code != responder.Denied || made != 0 {
		t.Errorf("%v, and the engine was asked for %d times", got, made)
	}
	w.one(1)
	if w.p.resolveInside("x." + plan.ProbeName); made == 0 {
		t.Error("another denied name was not looked at")
	}
}

func TestFullTableFailsAndIsRecorded(t *testing.T) {
	w := newWorld(t, nil, route("*.example.org", "", ""))
	w.p.names.Max = 1
	if got := w.p.resolveInside("a.example.org"); got.Code != responder.Found {
		t.Error(got)
	}
	if got := w.p.resolveInside("b.example.org"); got.Code != responder.Failure {
		t.Error(got)
	}
	if r := w.one(1); r.Reason != string(policy.Limit) {
		t.Errorf("record %+v", r)
	}
}

// A flood of denied names is one record each and a count, and bounded.
func TestDeniedNamesAreCountedNotRepeated(t *testing.T) {
	now := time.Unix(1e9, 0)
	var mu sync.Mutex
	w := newWorld(t, func(c *Config) { c.clock = func() time.Time { mu.Lock(); defer mu.Unlock(); return now } }, route(apiHost, "", ""))
	for range 100 {
		w.p.resolveInside("evil.example.net")
	}
	if r := w.one(1); r.Host != "evil.example.net" || r.Reason != string(policy.NameNotListed) || r.Count != 0 {
		t.Errorf("record %+v", r)
	}
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	w.p.gate.Flush(0)
	if r := w.one(2); r.Count != 99 {
		t.Errorf("record %+v", r)
	}
	for i := range 5000 {
		w.p.resolveInside(time.Duration(i).String() + ".example.net")
	}
	if n := len(w.all()); n > 300 {
		t.Errorf("%d records", n)
	}
}

// The whole way: a resolver asks over UDP and TCP, connects to what it was
// told, and the connection carries the name.
func TestServeDNS(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.p.ServeDNS(ctx, udp, tcp) }()
	for _, network := range []string{"udp", "tcp"} {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			if network == "tcp" {
				return d.DialContext(ctx, "tcp", tcp.Addr().String())
			}
			return d.DialContext(ctx, "udp", udp.LocalAddr().String())
		}}
		addrs, err := r.LookupNetIP(ctx, "ip", apiHost+".")
		if err != nil || len(addrs) != 1 || !responder.IsSynthetic(addrs[0]) {
			t.Fatalf("%s: %v %v", network, addrs, err)
		}
		if name, _ := w.p.names.Name(addrs[0]); name != apiHost {
			t.Errorf("%v is for %q", addrs[0], name)
		}
		start := time.Now()
		if _, err := r.LookupNetIP(ctx, "ip", "evil.example.net."); err == nil || time.Since(start) > time.Second {
			t.Errorf("a denied name: %v after %v", err, time.Since(start))
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.one(2) // the first at once, the three others as one at the end
}
