package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/measure"
	"bottle/internal/policy"
)

// backOff checks that an answer tells a client when to come again.
func backOff(t *testing.T, res *http.Response) {
	t.Helper()
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || s < 1 || s > 3660 {
		t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
	}
}

// The weakness: an agent that floods an upstream with requests that are allowed.
// This proves that no more go out than the bottle may send, and that a client is
// told to back off.
func TestRequestRateIsBounded(t *testing.T) {
	var reached atomic.Int64
	addr, ca, _ := upstream(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }), apiHost)
	now := time.Now()
	w := newWorld(t, func(c *Config) {
		c.Limits.Requests = 0.01
		c.clock = func() time.Time { return now } // no token comes back
	}, route(apiHost, addr, ca))
	client, went, refused := w.client(), 0, 0
	for range 14 {
		res, err := client.Get("https://" + apiHost + "/")
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == http.StatusOK {
			went++
			_ = res.Body.Close()
			continue
		}
		refused++
		backOff(t, res)
		denied(t, res, http.StatusTooManyRequests, policy.LimitRate)
	}
	if went != 10 || refused != 4 || reached.Load() != 10 {
		t.Errorf("%d went out, %d refused, %d arrived", went, refused, reached.Load())
	}
	if res, err := client.Get("https://evil.example.net/"); err == nil {
		t.Errorf("a refused host got %v", res.Status)
	}
}

// The weakness: what is allowed may be as large as it likes. The attack: a body
// that says how long it is, one that does not, and a head full of data. This
// proves that nothing past the bound arrives as a whole request.
func TestBytesOutAreBounded(t *testing.T) {
	var whole atomic.Int64
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			whole.Add(1)
		}
	}), apiHost)
	for name, send := range map[string]func(c *http.Client) (*http.Response, error){
		"known length": func(c *http.Client) (*http.Response, error) {
			return c.Post("https://"+apiHost+"/", "text/plain", bytes.NewReader(make([]byte, 300<<10)))
		},
		"chunked": func(c *http.Client) (*http.Response, error) {
			return c.Post("https://"+apiHost+"/", "text/plain", io.LimitReader(zeros{}, 300<<10))
		},
		"in headers": func(c *http.Client) (*http.Response, error) {
			for {
				req, _ := http.NewRequest("GET", "https://"+apiHost+"/", nil)
				req.Header.Set("X-Data", strings.Repeat("x", 48<<10))
				res, err := c.Do(req)
				if err != nil || res.StatusCode != http.StatusOK {
					return res, err
				}
				_ = res.Body.Close()
			}
		},
	} {
		for _, h2 := range []bool{false, true} {
			w := newWorld(t, func(c *Config) { c.Limits.HostBytesOut = 200 << 10 }, route(apiHost, addr, ca))
			whole.Store(0)
			client := w.client()
			client.Transport.(*http.Transport).ForceAttemptHTTP2 = h2
			res, err := send(client)
			if err != nil {
				t.Fatalf("%s, HTTP/2 %v: %v", name, h2, err)
			}
			if name != "known length" {
				backOff(t, res)
			} else if later := res.Header.Get("Retry-After"); later != "" {
				t.Errorf("what can never be sent shall be tried again in %s s", later)
			}
			if d := denied(t, res, http.StatusTooManyRequests, policy.LimitBytesOut); !strings.Contains(d.Message, "bytes_out_per_hour") {
				t.Errorf("%s: the key is not named: %s", name, d.Message)
			}
			if n := whole.Load(); n > 0 && name != "in headers" || res.ProtoMajor == 2 != h2 {
				t.Errorf("%s: %d whole requests arrived by HTTP/%d", name, n, res.ProtoMajor)
			}
			rs := w.all()
			if r := rs[len(rs)-1]; r.Reason != string(policy.LimitBytesOut) || r.Verdict != "deny" || r.BytesOut > 200<<10 {
				t.Errorf("%s: record %+v", name, r)
			}
		}
	}
}

// What is passed through unopened counts as well, and is cut where it is too much.
func TestBytesOutOfATunnelAreBounded(t *testing.T) {
	var arrived atomic.Int64
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := io.Copy(io.Discard, c)
			arrived.Add(n)
			_ = c.Close()
		}
	}()
	defer l.Close()
	w := newWorld(t, func(c *Config) { c.Limits.BytesOut = 100 << 10 }, passRoute(l.Addr().String()))
	c := w.connect("pass.example.com:443")
	_, _ = c.Write(clientHello(t, "pass.example.com"))
	_, _ = io.CopyN(c, zeros{}, 1<<20)
	r := w.one(2)
	if r.Kind != KindStreamEnd || r.Verdict != "deny" || r.Reason != string(policy.LimitBytesOut) || r.BytesOut > 100<<10 || r.BytesOut == 0 {
		t.Errorf("record %+v", r)
	}
	if n := arrived.Load(); n > 100<<10 {
		t.Errorf("%d bytes arrived", n)
	}
}

// Tunnels have a bound of their own, explicit and redirected ones together. It
// holds for those in use: one of which nothing is asked makes room.
func TestTunnelsAreBounded(t *testing.T) {
	addr, ca, asked, release := blocked(t)
	w := newWorld(t, func(c *Config) { c.Limits.Tunnels = 2 }, route(apiHost, addr, ca))
	explicit := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(explicit, askWait)
	arrives(t, asked)
	w.heading(w.named(apiHost) + ":443")
	_, _ = io.WriteString(w.shake(w.raw(w.direct, ""), apiHost), askWait)
	arrives(t, asked)
	if third, err := net.Dial("tcp", w.direct); err == nil {
		_ = third.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := third.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a third tunnel, redirected: %v", err)
		}
		_ = third.Close()
	}
	w.mu.Lock()
	w.origin = netip.AddrPort{} // no more redirected ones
	w.mu.Unlock()
	c := w.raw(w.addr, "CONNECT "+apiHost+":443 HTTP/1.1\r\nHost: "+apiHost+":443\r\n\r\n")
	denied(t, answered(t, c), http.StatusForbidden, policy.LimitTunnels)
	if r := w.one(2); r.Reason != string(policy.LimitTunnels) || r.Kind != KindConnect {
		t.Errorf("record %+v", r)
	}
	release()
	w.one(4)
	first := w.connect(apiHost + ":443")
	for range 2 {
		_ = w.connect(apiHost + ":443")
	}
	ended(t, first)
	if n := w.p.measured.Tunnels.Open(); n != 2 {
		t.Errorf("%d tunnels", n)
	}
}

// A passed-through tunnel and a WebSocket end when a new policy takes their route
// away, and their records say why. One whose route stays is not touched.
func TestRevokedStreamsAreCut(t *testing.T) {
	l := listen(t)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	other := passRoute(l.Addr().String())
	other.Host = bottle.Pattern{Host: "other.example.com"}
	w := newWorld(t, nil, passRoute(l.Addr().String()), other)
	open := func(host string) net.Conn {
		c := w.connect(host + ":443")
		hello := clientHello(t, host)
		_, _ = c.Write(hello)
		if _, err := io.ReadFull(c, make([]byte, len(hello))); err != nil {
			t.Fatal(err)
		}
		return c
	}
	gone, stays := open("pass.example.com"), open("other.example.com")
	w.one(2)
	cut, err := w.p.SetPolicy(compile(t, other))
	if err != nil || cut != 1 {
		t.Fatalf("%d cut, %v", cut, err)
	}
	if _, err := gone.Read(make([]byte, 1)); err == nil {
		t.Error("a revoked tunnel lives on")
	}
	if r := w.one(3); r.Kind != KindStreamEnd || r.Reason != string(policy.Revoked) || r.Verdict != "deny" || r.Host != "pass.example.com" {
		t.Errorf("record %+v", r)
	}
	_, _ = stays.Write([]byte("still"))
	if _, err := io.ReadFull(stays, make([]byte, 5)); err != nil {
		t.Errorf("a tunnel that is still allowed: %v", err)
	}
}

// A WebSocket is decided like the request that opened it, and cut like a tunnel.
func TestRevokedWebSocketIsCut(t *testing.T) {
	addr, ca := socketServer(t, func(c io.ReadWriter, _ *http.Request) { _, _ = io.Copy(io.Discard, c) })
	open, narrow := route(apiHost, addr, ca), route(apiHost, addr, ca)
	w := newWorld(t, nil, open)
	c, br := w.socket(wsAsk)
	defer c.Close()
	for w.one(1); w.p.measured.Streams.Open() == 0; {
		time.Sleep(time.Millisecond)
	}
	narrow.Rule = "bottle.md:9"
	if cut, err := w.p.SetPolicy(compile(t, narrow)); cut != 0 || err != nil {
		t.Errorf("a route that only moved: %d cut, %v", cut, err)
	}
	narrow.Paths = []string{"/elsewhere"}
	if cut, err := w.p.SetPolicy(compile(t, narrow)); cut != 1 || err != nil {
		t.Errorf("a route that no longer fits: %d cut, %v", cut, err)
	}
	_, _ = io.Copy(io.Discard, br) // ends
	if r := w.one(2); r.Kind != KindStreamEnd || r.Verdict != "deny" || r.Reason != string(policy.Revoked) || w.p.measured.Revoked.Load() != 1 {
		t.Errorf("record %+v", r)
	}
}

// What a WebSocket carries counts, and it is cut where it is too much.
func TestBytesOutOfAWebSocketAreBounded(t *testing.T) {
	var arrived atomic.Int64
	addr, ca := socketServer(t, func(c io.ReadWriter, _ *http.Request) {
		n, _ := io.Copy(io.Discard, c)
		arrived.Add(n)
	})
	w := newWorld(t, func(c *Config) { c.Limits.HostBytesOut = 100 << 10 }, route(apiHost, addr, ca))
	c, br := w.socket(wsAsk)
	go func() {
		for range 400 {
			if _, err := io.WriteString(c, fromClient(0x82, strings.Repeat("x", 1000))); err != nil {
				return
			}
		}
	}()
	_, _ = io.Copy(io.Discard, br) // ends
	r := w.one(2)
	if r.Kind != KindStreamEnd || r.Verdict != "deny" || r.Reason != string(policy.LimitBytesOut) || r.BytesOut == 0 || r.BytesOut > 100<<10 {
		t.Errorf("record %+v", r)
	}
	w.stop()
	if n := arrived.Load(); n > 100<<10 {
		t.Errorf("%d bytes arrived", n)
	}
}

// TestReloadUnderLoad: while policies are replaced, every request is decided as a
// whole by one that was in force, and its record has that one's hash; or it is cut by a
// later one that does not let it through.
func TestReloadUnderLoad(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	var policies []*policy.Policy
	rules := map[string]map[string]bool{} // hash -> path -> allowed
	for i := range 4 {
		r := route(apiHost, addr, ca)
		r.Paths = []string{fmt.Sprintf("/p%d", i), "/always"}
		p := compile(t, r)
		policies = append(policies, p)
		rules[p.Hash()] = map[string]bool{"/always": true, fmt.Sprintf("/p%d", i): true}
	}
	w := newWorld(t, func(c *Config) { c.Policy = policies[0] })
	ctx, stop := context.WithCancel(t.Context())
	var load, swaps sync.WaitGroup
	swaps.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := w.p.SetPolicy(policies[i%len(policies)]); err != nil {
				t.Error(err)
			}
			if i%7 == 0 {
				w.p.Suspend(true)
				w.p.Suspend(false)
			}
		}
	})
	for n := range 4 {
		load.Go(func() {
			client := w.client()
			for i := range 60 {
				path := []string{"/always", "/p0", "/p1", "/p2", "/p3", "/never"}[(i+n)%6]
				res, err := client.Get("https://" + apiHost + path)
				if err != nil {
					continue // the tunnel was refused while it was suspended
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	load.Wait()
	stop()
	swaps.Wait()
	w.stop()
	nothing := compile(t).Hash()
	used := map[string]bool{}
	for _, r := range w.all() {
		allowed, known := rules[r.Policy]
		if !known && r.Policy != nothing {
			t.Fatalf("a policy that never was in force: %+v", r)
		}
		used[r.Policy] = true
		cut := r.Reason == string(policy.Revoked) && allowed[r.Path] && r.Path != "/always"
		if r.Kind == KindHTTP && r.Verdict == "allow" != allowed[r.Path] && !cut {
			t.Fatalf("not by the policy that it names: %+v", r)
		}
	}
	if len(used) < 2 {
		t.Errorf("only the policies %v decided", used)
	}
}

// Every way of a request is counted, and what is counted holds no secret.
func TestRequestsAreMeasured(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	res, err := w.client().Post("https://"+apiHost+"/v1", "text/plain", strings.NewReader("twelve bytes"))
	mustContain(t, text(t, res, err), "twelve bytes")
	_, _ = w.client().Get("https://evil.example.net/")
	w.one(2)
	w.stop()
	got := map[string]float64{}
	var steps []string
	for _, f := range w.p.Measured().Families(measure.About{}) {
		for _, s := range f.Samples {
			if strings.Contains(fmt.Sprint(s), realKey) {
				t.Errorf("the credential is in %s", f.Name)
			}
			if f.Name == "bottle_step_duration_seconds" && s.Count() > 0 {
				steps = append(steps, s.Labels["step"])
			}
			got[f.Name+s.Labels["reason"]+s.Labels["host"]] += s.Value + float64(s.Count())
		}
	}
	for name, want := range map[string]float64{
		"bottle_decisions_totallisted": 1, "bottle_decisions_totalhost_not_listed": 1, "bottle_records_total": 2,
		"bottle_tunnels_total": 1, "bottle_connections_total": 2, "bottle_credentials_injected_total": 1, "bottle_echoes_masked_total": 1,
		"bottle_host_bytes_out_total" + apiHost: 12, "bottle_host_requests_total" + apiHost: 1, "bottle_request_duration_seconds": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, step := range []string{"handshake", "target", "form", "connect", "decide", "tripwire", "limit", "look_up", "choose", "dial", "first_byte", "relay"} {
		if !slices.Contains(steps, step) {
			t.Errorf("the step %s was not timed: %v", step, steps)
		}
	}
}
