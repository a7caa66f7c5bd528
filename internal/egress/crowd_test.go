package egress

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"bottle/internal/policy"
	"bottle/test/require"
)

// blocked is an upstream whose answer to /wait comes when release is called.
func blocked(t *testing.T) (addr, ca string, asked chan struct{}, release func()) {
	t.Helper()
	gone := make(chan struct{})
	asked = make(chan struct{}, 16)
	addr, ca, _ = upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			asked <- struct{}{}
			<-gone
		}
		fmt.Fprint(w, "answered")
	}), apiHost)
	release = sync.OnceFunc(func() { close(gone) })
	t.Cleanup(release) // before the server's own, which waits
	return addr, ca, asked, release
}

const askWait = "GET /wait HTTP/1.1\r\nHost: api.example.com\r\n\r\n"

// arrives waits until the upstream has a request.
func arrives(t *testing.T, asked <-chan struct{}) {
	t.Helper()
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Fatal("the request does not arrive")
	}
}

// ended waits for the end of a connection to which nothing more is said.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := c.Read(make([]byte, 1))
	var ne net.Error
	if err == nil || errors.As(err, &ne) && ne.Timeout() {
		t.Fatalf("it goes on: %v", err)
	}
}

func TestTooManyRequestsAtOnceAreResetAndNoneIsThrownOut(t *testing.T) {
	addr, ca, asked, release := blocked(t)
	w := newWorld(t, func(c *Config) { c.Limits.Conns, c.Limits.Tunnels = 2, 2 }, route(apiHost, addr, ca))
	busy := []net.Conn{w.tunnel(apiHost+":443", apiHost), w.tunnel(apiHost+":443", apiHost)}
	for _, c := range busy {
		_, _ = io.WriteString(c, askWait)
		arrives(t, asked)
	}
	for range 3 {
		if c, err := net.Dial("tcp", w.addr); err == nil {
			ended(t, c)
			_ = c.Close()
		}
	}
	if r := w.one(1); r.Reason != string(policy.LimitConnections) { // one for all three
		t.Errorf("record %+v", r)
	}
	release()
	for _, c := range busy {
		if res := answered(t, c); res.StatusCode != http.StatusOK {
			t.Errorf("a request in progress: %s", res.Status)
		}
		_ = c.Close()
	}
	require.Eventually(t, 5*time.Second, "room again", func() bool { return w.p.crowd.Inside() == 0 })
	_ = w.connect(apiHost + ":443")
}

// Who has waited longest without asking for anything makes room, first of all who
// was never answered.
func TestWhoAsksForNothingMakesRoom(t *testing.T) {
	addr, ca, asked, release := blocked(t)
	w := newWorld(t, func(c *Config) { c.Limits.Conns, c.Limits.Tunnels = 3, 3 }, route(apiHost, addr, ca))
	idle, busy := w.tunnel(apiHost+":443", apiHost), w.tunnel(apiHost+":443", apiHost)
	if res := ask200(t, idle, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	_, _ = io.WriteString(busy, askWait)
	arrives(t, asked)
	half := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(half, "GET / HTTP/1.1\r\n")
	opened := w.connect(apiHost + ":443") // half goes
	ended(t, half)
	if r := w.one(2); r.Reason != string(policy.LimitConnections) || r.Verdict != "deny" || r.Host != apiHost {
		t.Errorf("record of the half request: %+v", r)
	}
	silent := w.raw(w.addr, "") // opened goes
	ended(t, opened)
	if r := w.one(3); r.Reason != string(policy.LimitConnections) || r.Kind != KindConnect || r.Host != apiHost {
		t.Errorf("record of the unused tunnel: %+v", r)
	}
	third := w.tunnel(apiHost+":443", apiHost) // silent goes
	ended(t, silent)
	if r := w.one(4); r.Reason != string(policy.LimitConnections) || r.Kind != KindTCP {
		t.Errorf("record of the silent connection: %+v", r)
	}
	_, _ = io.WriteString(third, askWait)
	arrives(t, asked)
	last := w.tunnel(apiHost+":443", apiHost) // nobody is left but the idle one
	ended(t, idle)
	if res := ask200(t, last, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	release()
	for _, c := range []net.Conn{busy, third} {
		if res := answered(t, c); res.StatusCode != http.StatusOK {
			t.Errorf("a request in progress: %s", res.Status)
		}
	}
	w.one(7) // the idle one was answered, and its end is nobody's decision
}

// slow are the ways to hold a connection and never finish.
func (w *world) slow(kind int) (net.Conn, error) {
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	say := func(to io.Writer, text string) {
		if err == nil {
			_, err = io.WriteString(to, text)
		}
	}
	inside := func() *tls.Conn {
		say(c, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")
		line := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
		if err == nil {
			_, err = io.ReadFull(c, line)
		}
		tc := tls.Client(c, &tls.Config{ServerName: apiHost, RootCAs: w.roots()})
		if err == nil {
			err = tc.Handshake()
		}
		return tc
	}
	switch kind {
	case 0: // silent
	case 1: // drips a header
		say(c, "GET http://api.example.com/ HTTP/1.1\r\nX")
	case 2: // stalls in the handshake
		say(c, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n\x16\x03\x01\x02\x00\x01")
	case 3: // drips a header inside
		tc := inside()
		say(tc, "GET / HTTP/1.1\r\nHost: api")
		return tc, err
	case 4: // stalls in the body
		tc := inside()
		say(tc, "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 2\r\n\r\n1")
		return tc, err
	}
	return c, err
}

// TestSlowLorisLeavesRoom: 2,000 connections that never finish, and a client that
// does gets its answers among them. No deadline helps it: they are longer than the
// test. Requests that have begun are all finished, however slow.
func TestSlowLorisLeavesRoom(t *testing.T) {
	const crowd, uploads, good = 2000, 300, 25
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %s", body)
	}), apiHost)
	w := newWorld(t, func(c *Config) { c.Limits.HeaderTime, c.Limits.HelloTime = time.Minute, time.Minute }, route(apiHost, addr, ca))
	slow := make([]net.Conn, crowd)
	errs := make([]error, crowd)
	kind := func(i int) int {
		if i < uploads {
			return 4
		}
		return i % 4
	}
	together(16, crowd, func(i int) { slow[i], errs[i] = w.slow(kind(i)) })
	for i, err := range errs {
		if err != nil && kind(i) == 4 {
			t.Fatalf("upload %d: %v", i, err)
		}
	}
	inside := w.p.crowd.Inside()
	if inside > w.p.limits.Conns || inside < w.p.limits.Tunnels {
		t.Errorf("%d connections inside, and there is room for %d", inside, w.p.limits.Conns)
	}
	client := w.client()
	client.Transport.(*http.Transport).DisableKeepAlives = true
	for i := range good {
		for j := uploads; j < crowd; j += 4 { // they are still at it
			if kind(j) == 1 && slow[j] != nil {
				_, _ = io.WriteString(slow[j], "x")
			}
		}
		res, err := client.Get(fmt.Sprintf("https://api.example.com/good/%d", i))
		if s := text(t, res, err); s != "got " {
			t.Fatalf("the good client: %q", s)
		}
	}
	finished := 0
	for i := range uploads {
		_, _ = io.WriteString(slow[i], "2")
		if res, err := http.ReadResponse(bufio.NewReader(slow[i]), nil); err == nil && res.StatusCode == http.StatusOK {
			finished++
		}
	}
	if finished != uploads {
		t.Errorf("%d of %d uploads finished", finished, uploads)
	}
	for _, c := range slow {
		if c != nil {
			_ = c.Close()
		}
	}
	require.Eventually(t, 10*time.Second, "everybody is out", func() bool { return w.p.crowd.Inside() == 0 })
	w.stop()
	var allowed, limited int
	for _, r := range w.all() {
		switch n := max(r.Count, 1); {
		case r.Verdict == "allow":
			allowed += n
		case r.Reason == string(policy.LimitConnections):
			limited += n
		}
	}
	if allowed != uploads+good {
		t.Errorf("%d allowed, want %d", allowed, uploads+good)
	}
	// The good client needs room too, each time at most for its connection and its tunnel.
	if least := crowd - inside; limited < least || limited > least+2*good {
		t.Errorf("%d made room, want %d or a few more", limited, least)
	}
}

// together calls f(0) to f(n-1), some at a time.
func together(atOnce, n int, f func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
