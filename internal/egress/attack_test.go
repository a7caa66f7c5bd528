package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/egress/denial"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// rawUpstream starts a TLS server that answers by hand.
func rawUpstream(t *testing.T, each func(c *tls.Conn, in *bufio.Reader)) (addr, caFile string) {
	t.Helper()
	ca, err := NewCA("upstream")
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				tc := tls.Server(c, &tls.Config{NextProtos: []string{"http/1.1"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.Leaf(apiHost) }})
				defer tc.Close()
				_ = tc.SetDeadline(time.Now().Add(20 * time.Second))
				each(tc, bufio.NewReader(tc))
			})
		}
	})
	return l.Addr().String(), caFile
}

// headOf reads a request's head and gives it in lower case.
func headOf(in *bufio.Reader) (head string) {
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if head += strings.ToLower(line); err != nil {
			break
		}
	}
	return head
}

// The weakness: net/http's writer reads the map of an informational answer's fields,
// also when a reset has let WriteHeader return; who changes the map meanwhile ends the
// process, and no recover helps. The attack: an upstream that floods 103s with many
// fields, and an agent that resets its stream, or sends a body that is refused.
func TestInformationalFloodEndsNobodyElse(t *testing.T) {
	addr, ca := upstream2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 1500 {
			w.Header().Set(fmt.Sprintf("X-A%d", i), "b")
		}
		for r.Context().Err() == nil {
			w.WriteHeader(103)
		}
	}))
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c := w.client2()
	for n, end := 0, time.Now().Add(3*time.Second); time.Now().Before(end); n++ {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Millisecond+time.Duration(n%97)*100*time.Microsecond)
		var body io.Reader = http.NoBody
		if n%2 == 0 {
			body = io.MultiReader(strings.NewReader("x"), strings.NewReader(heldKey))
		}
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+apiHost+"/", body)
		if res, err := c.Do(req); err == nil {
			_ = res.Body.Close()
		}
		cancel()
	}
}

// The weakness: a connection of HTTP/2 is one to the bottle's limit, and 128 requests
// to an upstream that speaks HTTP/1.1. What this proves: requests under way have the
// same bound as connections.
func TestStreamsAreBoundedTogether(t *testing.T) {
	var open, most atomic.Int64
	release := make(chan struct{})
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			most.Store(max(most.Load(), open.Add(1)))
			<-release
			open.Add(-1)
		}
	}), apiHost)
	w := newWorld(t, func(c *Config) { c.Limits.Conns, c.Limits.Tunnels = 8, 8 }, route(apiHost, addr, ca))
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range 2 {
		c := w.client2()
		res, err := c.Get("https://" + apiHost + "/ok")
		text(t, res, err)
		for range 60 {
			wg.Go(func() {
				res, err := c.Get("https://" + apiHost + "/")
				if err != nil {
					t.Error(err)
					return
				}
				if body, _ := io.ReadAll(res.Body); strings.Contains(string(body), string(policy.LimitConnections)) && refused.Add(1) == 112 {
					close(release)
				}
				_ = res.Body.Close()
			})
		}
	}
	wg.Wait()
	if most.Load() > 8 || refused.Load() != 112 {
		t.Errorf("%d at one time, %d refused", most.Load(), refused.Load())
	}
}

// The attack: over HTTP/2, fields that frame a request for a server which makes
// variables of names, and an expectation that nobody can promise.
func TestHTTP2FramingFields(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	for name, reason := range map[string]policy.Reason{"Transfer_Encoding": policy.BadHeader, "Content_Length": policy.BadHeader, "Expect": policy.BadRequest} {
		w := newWorld(t, nil, route(apiHost, addr, ca))
		req, _ := http.NewRequest(http.MethodPost, "https://"+apiHost+"/", strings.NewReader("x"))
		req.Header[name] = []string{"3"}
		res, err := w.client2().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, denial.Status(reason), reason)
	}
}

// The weakness: what is compressed can't be starred. The attack: ask for compression by
// all the fields that something reads as such a wish.
func TestNoFieldAsksForACodedAnswer(t *testing.T) {
	seen := make(chan http.Header, 1)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }), apiHost)
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	req, _ := http.NewRequest(http.MethodGet, "https://"+apiHost+"/", nil)
	for _, name := range []string{"Accept-Encoding", "Accept_encoding", "Grpc-Accept-Encoding", "Connect-Accept-Encoding", "A-Im"} {
		req.Header[name] = []string{"gzip"}
	}
	res, err := w.client().Do(req)
	text(t, res, err)
	for name, values := range <-seen {
		if strings.Contains(strings.Join(values, ","), "gzip") {
			t.Errorf("%s: %v went on", name, values)
		}
	}
}

// The attack: an account of the agent's own, and where it is, behind the body, in
// trailers of the names that the gateway fills or takes away.
func TestTrailersBringNoCredential(t *testing.T) {
	got := make(chan http.Header, 1)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}), apiHost)
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "header", "X-Mine"))
	ask200(t, w.tunnel(apiHost+":443", apiHost), "POST / HTTP/1.1\r\nHost: "+apiHost+"\r\nTrailer: X-Mine, X_mine, X-Forwarded-For, X-Fine\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"1\r\nx\r\n0\r\nX-Mine: a\r\nX_mine: a\r\nX-Forwarded-For: a\r\nX-Fine: b\r\n\r\n")
	if h := <-got; len(h) != 1 || h.Get("X-Fine") != "b" {
		t.Errorf("trailers %v", h)
	}
}

// The weakness: what leaves in trailers, or in their announced names, leaves. The
// attack: 50 KB in each, where the bottle may send 2,000 bytes.
func TestTrailersAreCounted(t *testing.T) {
	var got atomic.Int64
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for name := range r.Trailer {
			got.Add(int64(len(name)))
		}
		_, _ = io.Copy(io.Discard, r.Body)
		got.Add(int64(len(r.Trailer.Get("X-T"))))
	})
	addr, ca := upstream2(t, h)
	much := strings.Repeat("d", 50000)
	w := newWorld(t, func(c *Config) { c.Limits.BytesOut = 2000 }, route(apiHost, addr, ca))
	for _, trailer := range []http.Header{{"X-T": {much}}, {"X-" + strings.Repeat("T", 3000): {"x"}}} {
		for _, c := range []*http.Client{w.client(), w.client2()} {
			req, _ := http.NewRequest(http.MethodPost, "https://"+apiHost+"/", io.NopCloser(strings.NewReader("x")))
			req.Trailer = trailer
			res, err := c.Do(req)
			if err != nil {
				continue // a large trailer may be too large for its connection
			}
			_ = res.Body.Close()
		}
	}
	if got.Load() > 2000 {
		t.Errorf("%d bytes out", got.Load())
	}
}

// Placeholders in places where nobody looks for data: the method, the name of a
// trailer, and a WebSocket's message around a ping.
func TestPlaceholderInOddPlacesIsAnAlarm(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	for _, ask := range []string{
		heldKey + " / HTTP/1.1\r\nHost: " + apiHost + "\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: " + apiHost + "\r\nTrailer: " + heldKey + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		w := newWorld(t, nil, route(apiHost, addr, ca))
		denied(t, ask200(t, w.tunnel(apiHost+":443", apiHost), ask), 403, policy.PlaceholderLeak)
	}
	whole := make(chan string, 1)
	addr, ca = socketServer(t, func(c io.ReadWriter, _ *http.Request) {
		b, _ := io.ReadAll(c)
		whole <- string(b)
	})
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c, _ := w.socket(wsAsk)
	_, _ = io.WriteString(c, fromClient(0x01, heldKey[:10])+fromClient(0x89, "x")+fromClient(0x80, heldKey[10:]))
	_, _ = io.Copy(io.Discard, c) // it is cut
	<-whole
	for _, r := range w.all() {
		if r.Reason == string(policy.PlaceholderLeak) {
			return
		}
	}
	t.Errorf("no alarm: %+v", w.all())
}

// Credentials that are not sent as they were told: with a blank at an end, which no
// header has, or with a scheme of their own. An upstream that repeats them tells nothing.
func TestInvariant2OddValuesAreMasked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(realKey+" \t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lease, err := secret.Resolver{}.Resolve(context.Background(), "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, bare, _ := strings.Cut(r.Header.Get("X-Key"), " ")
		fmt.Fprint(w, r.Header.Get("Authorization"), ". ", r.Header.Get("X-Key"), ". ", bare)
	}), apiHost)
	for _, v := range []secret.Value{lease.Value, secret.New([]byte(realKey + " ")), secret.New([]byte("Bearer " + realKey))} {
		for scheme, header := range map[string]string{"Bearer": "", "header": "X-Key"} {
			w := newWorld(t, func(c *Config) { c.Inject = func(string) (secret.Value, bool) { return v, true } },
				withAuth(route(apiHost, addr, ca), scheme, header))
			res, err := w.client().Get("https://" + apiHost + "/")
			if got := text(t, res, err); strings.Contains(got, realKey) || !strings.Contains(got, "***") {
				t.Errorf("%s: the agent reads %q", scheme, got)
			}
		}
	}
}

// The upstream proxy's own credential, told by what answers inside its tunnel.
func TestInvariant2TheProxysCredentialIsMasked(t *testing.T) {
	co := newCompany(t, nil)
	coded := base64.StdEncoding.EncodeToString([]byte(onwardLogin))
	co.names[apiHost+":80"] = plainUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, coded, " ", onwardLogin) }))
	r := route(apiHost, "", "")
	r.Ports = []uint16{80}
	w := newWorld(t, func(c *Config) {
		c.Onward = &co.UpstreamProxy
		c.Inject = func(ref string) (secret.Value, bool) { return secret.New([]byte(onwardLogin)), ref == onwardRef }
	}, r)
	res, err := w.client().Get("http://" + apiHost + "/")
	if got := text(t, res, err); strings.Contains(got, onwardLogin) || strings.Contains(got, coded) || !strings.Contains(got, "***") {
		t.Errorf("the agent reads %q", got)
	}
}

// A gateway that ends does not wait for a server's word on a body that nobody wants
// any more.
func TestExpectationDoesNotHoldTheEnd(t *testing.T) {
	heard := make(chan struct{})
	addr, ca := rawUpstream(t, func(_ *tls.Conn, in *bufio.Reader) {
		headOf(in)
		close(heard)
		_, _ = in.ReadByte()
	})
	w := newWorld(t, nil, route(apiHost, addr, ca))
	_, _ = io.WriteString(w.tunnel(apiHost+":443", apiHost), "POST / HTTP/1.1\r\nHost: "+apiHost+"\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	<-heard
	began := time.Now()
	if w.stop(); time.Since(began) > 3*time.Second {
		t.Errorf("it took %v", time.Since(began))
	}
}

// A status that is none: what it means would be the agent's to guess, and the record's.
func TestStatusThatIsNone(t *testing.T) {
	for _, line := range []string{"HTTP/1.1 050 X", "HTTP/1.1 000 X", "HTTP/1.1 600 X", "HTTP/1.1 999 X"} {
		addr, ca := rawUpstream(t, func(c *tls.Conn, in *bufio.Reader) {
			headOf(in)
			_, _ = io.WriteString(c, line+"\r\nContent-Length: 5\r\n\r\nHELLO")
		})
		w := newWorld(t, nil, route(apiHost, addr, ca))
		for _, c := range []*http.Client{w.client(), w.client2()} {
			res, err := c.Get("https://" + apiHost + "/")
			if err != nil {
				t.Fatal(line, err)
			}
			denied(t, res, http.StatusBadGateway, policy.UpstreamProtocol)
		}
	}
}
