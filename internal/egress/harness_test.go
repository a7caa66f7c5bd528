package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bottle/internal/bottle"
	"bottle/internal/egress/denial"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	apiHost  = "api.example.com"
	realKey  = "sk-real-0123456789"
	heldKey  = "placeholder-0123456789"
	tokenRef = "API_TOKEN"
)

// world is a gateway with a real upstream behind it, all on loopback.
type world struct {
	t       testing.TB
	p       *Proxy
	ca      *CA
	addr    string // explicit proxy
	direct  string // transparent listener
	origin  netip.AddrPort
	mu      sync.Mutex
	records []Record
	lookups []string
	answers map[string][]netip.Addr
	stop    func()
}

// upstream starts a TLS server that presents a certificate for names, and gives
// its address and a file with the CA that signed it.
func upstream(t testing.TB, h http.Handler, names ...string) (addr, caFile string, srv *httptest.Server) {
	t.Helper()
	return upstreamOf(t, h, []string{"http/1.1"}, names...)
}

// upstreamOf is upstream for these protocols, as ALPN names them.
func upstreamOf(t testing.TB, h http.Handler, protocols []string, names ...string) (addr, caFile string, srv *httptest.Server) {
	t.Helper()
	ca, err := NewCA("upstream")
	if err != nil {
		t.Fatal(err)
	}
	srv = httptest.NewUnstartedServer(h)
	// Not GetCertificate: httptest adds a certificate of its own, which is taken
	// for clients that send no name.
	own := &tls.Config{NextProtos: protocols, GetCertificate: func(i *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if slices.Contains(names, i.ServerName) {
			return ca.Leaf(i.ServerName)
		}
		return ca.Leaf(names[0])
	}}
	srv.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }}
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetHTTP2(slices.Contains(protocols, "h2"))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return srv.Listener.Addr().String(), caFile, srv
}

func route(host, addr, caFile string) bottle.Route {
	pat, err := bottle.ParsePattern(host)
	if err != nil {
		panic(err)
	}
	r := bottle.Route{Host: pat, Ports: []uint16{443}, Rule: "bottle.md:7", TLS: "intercept", DLP: "off"}
	if addr != "" || caFile != "" {
		r.Upstream = &bottle.Upstream{Address: addr, CAFile: caFile}
	}
	return r
}

func withAuth(r bottle.Route, scheme, header string) bottle.Route {
	r.Auth = &bottle.Auth{Scheme: scheme, Header: header, TokenRef: tokenRef}
	return r
}

func compile(t testing.TB, routes ...bottle.Route) *policy.Policy {
	t.Helper()
	pol, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	return pol
}

// newWorld starts a gateway for routes; tune may change its configuration.
func newWorld(t testing.TB, tune func(*Config), routes ...bottle.Route) *world {
	t.Helper()
	ca, err := NewCA("tester-00000")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ca: ca, answers: map[string][]netip.Addr{}}
	cfg := Config{
		Identity: "tester-00000", Policy: compile(t, routes...), CA: ca, Record: w.record,
		Placeholders: map[string]string{tokenRef: heldKey},
		Inject: func(ref string) (secret.Value, bool) {
			return secret.New([]byte(realKey)), ref == tokenRef
		},
		lookup: w.lookup,
		originalDst: func(net.Conn) (netip.AddrPort, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.origin.IsValid() {
				return w.origin, errors.New("not redirected")
			}
			return w.origin, nil
		},
	}
	if tune != nil {
		tune(&cfg)
	}
	if w.p, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	explicit, transparent := listen(t), listen(t)
	w.addr, w.direct = explicit.Addr().String(), transparent.Addr().String()
	errs := make([]error, 2)
	wg.Go(func() { errs[0] = w.p.ServeProxy(ctx, explicit) })
	wg.Go(func() { errs[1] = w.p.ServeTransparent(ctx, transparent) })
	w.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		}
		if n := w.p.crowd.Inside(); n != 0 {
			t.Errorf("%d connections counted after the end", n)
		}
		if m := w.p.Measured(); m.Conns.Open() != 0 || m.Tunnels.Open() != 0 || m.Streams.Open() != 0 {
			t.Errorf("counted after the end: %d connections, %d tunnels, %d streams", m.Conns.Open(), m.Tunnels.Open(), m.Streams.Open())
		}
	})
	t.Cleanup(w.stop)
	return w
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) record(r Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, r)
	return nil
}

func (w *world) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups = append(w.lookups, host)
	if a, ok := w.answers[host]; ok {
		return append([]netip.Addr(nil), a...), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (w *world) all() []Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Record(nil), w.records...)
}

func (w *world) looked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.lookups...)
}

// one waits for exactly n records and gives the last.
func (w *world) one(n int) Record {
	w.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for len(w.all()) < n && time.Now().Before(deadline) {
		time.Sleep(2 * time.Millisecond)
	}
	rs := w.all()
	if len(rs) != n {
		w.t.Fatalf("want %d records, got %d: %+v", n, len(rs), rs)
	}
	return rs[n-1]
}

// roots trusts the bottle's CA only, as a program inside does.
func (w *world) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.ca.PEM())
	return pool
}

// client is a program in the bottle that honours the proxy variables.
func (w *world) client() *http.Client {
	tr := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: w.addr}),
		TLSClientConfig: &tls.Config{RootCAs: w.roots()},
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// raw opens a connection to the gateway and writes text, its lines ended CRLF.
func (w *world) raw(addr, text string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// connect opens a CONNECT tunnel; the reader may hold what came after the 200.
func (w *world) connect(target string) net.Conn {
	w.t.Helper()
	c := w.raw(w.addr, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n")
	line := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
	if _, err := io.ReadFull(c, line); err != nil || !bytes.Contains(line, []byte(" 200 ")) {
		w.t.Fatalf("CONNECT %s: %q, %v", target, line, err)
	}
	return c
}

// tunnel opens a CONNECT tunnel and shakes hands inside with this server name.
func (w *world) tunnel(target, sni string) *tls.Conn {
	w.t.Helper()
	return w.shake(w.connect(target), sni)
}

func (w *world) shake(c net.Conn, sni string) *tls.Conn {
	w.t.Helper()
	tc := tls.Client(c, &tls.Config{ServerName: sni, RootCAs: w.roots()})
	if err := tc.Handshake(); err != nil {
		w.t.Fatalf("handshake as %s: %v", sni, err)
	}
	return tc
}

func ask200(t testing.TB, c io.ReadWriter, text string) *http.Response {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return answered(t, c)
}

func answered(t testing.TB, c io.Reader) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read answer's body: %v", err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res
}

// denied checks that an answer is the denial of MANIFEST's shape.
func denied(t testing.TB, res *http.Response, status int, reason policy.Reason) denial.Denial {
	t.Helper()
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("status %d (%s), want %d as JSON: %s", res.StatusCode, res.Header.Get("Content-Type"), status, body)
	}
	var d denial.Denial
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatalf("denial %s: %v", body, err)
	}
	if d.Reason != reason || d.Policy == "" || d.Message == "" || d.Error == "" {
		t.Fatalf("denial %s, want reason %s", body, reason)
	}
	if bytes.Contains(body, []byte(realKey)) {
		t.Fatalf("the denial holds the credential: %s", body)
	}
	return d
}

// echo answers with the request as the upstream saw it.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Seen-Host", r.Host)
	fmt.Fprintf(w, "%s %s\n", r.Method, r.RequestURI)
	_ = r.Header.Write(w)
	fmt.Fprintf(w, "TE=%v CL=%d\n%s", r.TransferEncoding, r.ContentLength, body)
}

func text(t testing.TB, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustContain(t testing.TB, s string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(s, part) {
			t.Errorf("%q is not in:\n%s", part, s)
		}
	}
}
