package egress

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/conns"
	"bottle/internal/egress/dial"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

const (
	onwardRef   = "PROXY_LOGIN"
	onwardLogin = "me:hunter2-of-the-proxy"
)

// company is a proxy as companies have them: CONNECT with Basic, names of its own.
type company struct {
	bottle.UpstreamProxy
	mu    sync.Mutex
	names map[string]string // host:port -> where that is
	says  map[string]string // host:port -> the answer instead
	saw   []string
}

// newCompany starts one on loopback; with a CA it speaks TLS.
func newCompany(t testing.TB, ca *CA) *company {
	t.Helper()
	l := listen(t)
	p := &company{names: map[string]string{}, says: map[string]string{}}
	p.UpstreamProxy = bottle.UpstreamProxy{Host: "127.0.0.1", Port: netip.MustParseAddrPort(l.Addr().String()).Port(), Auth: &bottle.Auth{Scheme: "Basic", TokenRef: onwardRef}}
	if ca != nil {
		p.TLS = true
		l = tls.NewListener(l, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.Leaf("127.0.0.1") }})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); p.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return p
}

func (p *company) serve(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	head := bufio.NewReader(c)
	r, err := http.ReadRequest(head)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.saw = append(p.saw, r.Method+" "+r.RequestURI)
	to, answer := p.names[r.RequestURI], p.says[r.RequestURI]
	p.mu.Unlock()
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte(onwardLogin)); r.Header.Get("Proxy-Authorization") != want {
		answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=company\r\nContent-Length: 0\r\n\r\n"
	}
	if answer != "" {
		_, _ = io.WriteString(c, answer)
		return
	}
	up, err := net.Dial("tcp", to)
	if err != nil {
		_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
		return
	}
	defer up.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(up, head); _ = up.(*net.TCPConn).CloseWrite() })
	_, _ = io.Copy(c, up)
	_ = conns.CloseWrite(c)
	wg.Wait()
}

func (p *company) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.saw...)
}

// behind makes a gateway that sends everything through p, whose CA is caFile.
func behind(t testing.TB, p *company, caFile string, routes ...bottle.Route) *world {
	return newWorld(t, func(c *Config) {
		onward := p.UpstreamProxy
		onward.CAFile = caFile
		c.Onward = &onward
		inject := c.Inject
		c.Inject = func(ref string) (secret.Value, bool) {
			if ref == onwardRef {
				return secret.New([]byte(onwardLogin)), true
			}
			return inject(ref)
		}
	}, routes...)
}

// Requests, plain and intercepted, passed-through tunnels and WebSockets all go
// by CONNECT with the decided name. Nobody looks a name up here, and neither the
// upstream nor the agent sees anything of the proxy's credential.
func TestEverythingGoesThroughTheUpstreamProxy(t *testing.T) {
	t.Run("http proxy", func(t *testing.T) { goesThrough(t, nil) })
	t.Run("https proxy", func(t *testing.T) {
		ca, err := NewCA("company")
		if err != nil {
			t.Fatal(err)
		}
		goesThrough(t, ca)
	})
}

func goesThrough(t *testing.T, proxyCA *CA) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			echo(w, r)
			return
		}
		c, buf, _ := http.NewResponseController(w).Hijack()
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+wsAccept+"Alt-Svc: h3=\":443\"\r\n\r\n\x81\x05frame")
		_, _ = io.Copy(io.Discard, buf)
	}), apiHost, "pass.example.com")
	plain := listen(t)
	srv := &http.Server{Handler: http.HandlerFunc(echo)}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(plain) })
	t.Cleanup(func() { _ = srv.Close(); served.Wait() })

	p := newCompany(t, proxyCA)
	if proxyCA != nil { // one file may hold several
		f, err := os.OpenFile(ca, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(proxyCA.PEM())
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	p.names = map[string]string{"api.example.com:443": addr, "plain.example.com:80": plain.Addr().String(), "pass.example.com:443": addr}
	httpRoute := route("plain.example.com", "", "")
	httpRoute.Ports = []uint16{80}
	direct := route("direct.example.com", plain.Addr().String(), "")
	direct.Ports = []uint16{80}
	w := behind(t, p, ca, withAuth(route(apiHost, "", ""), "Bearer", ""), httpRoute, direct, passRoute(""))

	req, _ := http.NewRequest("GET", "https://"+apiHost+"/v1", nil)
	req.Header.Set("Proxy-Authorization", "Basic YWdlbnQ6YWdlbnQ=")
	res, err := w.client().Do(req)
	body := text(t, res, err)
	mustContain(t, body, "GET /v1", "Authorization: Bearer "+strings.Repeat("*", len(realKey)))
	for _, url := range []string{"http://plain.example.com/a", "http://direct.example.com/b"} {
		res, err := w.client().Get(url)
		body += text(t, res, err)
	}
	mustContain(t, body, "GET /a", "GET /b")

	roots, err := dial.Roots(ca)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(w.connect("pass.example.com:443"), &tls.Config{ServerName: "pass.example.com", RootCAs: roots})
	res = ask200(t, c, "GET /through HTTP/1.1\r\nHost: pass.example.com\r\nConnection: close\r\n\r\n")
	body += text(t, res, nil)
	_ = c.Close()

	ws := w.tunnel(apiHost+":443", apiHost)
	head := bufio.NewReader(ws)
	_, _ = io.WriteString(ws, wsAsk)
	res, err = http.ReadResponse(head, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Alt-Svc") != "" {
		t.Fatal(res, err)
	}
	frame := make([]byte, 7)
	if _, err := io.ReadFull(head, frame); err != nil || string(frame) != "\x81\x05frame" {
		t.Errorf("%q, %v", frame, err)
	}
	_ = ws.Close()

	if strings.Contains(body, "Proxy-Auth") || strings.Contains(body, "hunter2") {
		t.Errorf("the upstream saw the proxy's credential:\n%s", body)
	}
	saw := strings.Join(p.seen(), "\n")
	mustContain(t, saw, "CONNECT api.example.com:443", "CONNECT plain.example.com:80", "CONNECT pass.example.com:443")
	if strings.Contains(saw, "direct") || strings.Contains(saw, plain.Addr().String()) {
		t.Errorf("a route with upstream.address went through the proxy:\n%s", saw)
	}
	if looked := w.looked(); len(looked) != 0 {
		t.Errorf("looked up %v", looked)
	}
	for _, r := range w.all() {
		if r.Verdict != "allow" {
			t.Errorf("record %+v", r)
		}
	}
}

// What the proxy refuses is told with its status and none of its words, and is on
// record. What the policy refuses never gets there.
func TestUpstreamProxyRefuses(t *testing.T) {
	const page = "Content-Type: text/html\r\nContent-Length: 22\r\n\r\n<h1>who-are-you?</h1>\n"
	p := newCompany(t, nil)
	p.says = map[string]string{"api.example.com:443": "HTTP/1.1 403 who-are-you?\r\n" + page, "plain.example.com:80": "HTTP/1.1 502 who-are-you?\r\n" + page}
	plain := route("plain.example.com", "", "")
	plain.Ports = []uint16{80}
	w := behind(t, p, "", route(apiHost, "", ""), plain, passRoute(""))
	n := 0
	for url, want := range map[string]struct {
		reason policy.Reason
		says   string
	}{
		"https://" + apiHost + "/":  {policy.UpstreamProxyRefused, "answered 403"},
		"http://plain.example.com/": {policy.UpstreamUnreachable, "answered 502"},
	} {
		res, err := w.client().Get(url)
		if err != nil {
			t.Fatal(err)
		}
		d := denied(t, res, http.StatusBadGateway, want.reason)
		if d.Error != "upstream" || !strings.Contains(d.Message, want.says) || strings.Contains(d.Message, "who-are-you") {
			t.Errorf("%s: %+v", url, d)
		}
		n++
		if r := w.one(n); r.Reason != string(want.reason) || r.Status != http.StatusBadGateway || r.Rule != "bottle.md:7" {
			t.Errorf("%s: record %+v", url, r)
		}
	}
	p.mu.Lock()
	p.says["pass.example.com:443"] = "HTTP/1.1 403 no\r\n\r\n"
	p.mu.Unlock()
	c := tls.Client(w.connect("pass.example.com:443"), &tls.Config{ServerName: "pass.example.com"})
	if err := c.Handshake(); err == nil {
		t.Error("a refused tunnel shook hands")
	}
	n++
	if r := w.one(n); r.Reason != string(policy.UpstreamProxyRefused) {
		t.Errorf("record %+v", r)
	}
	before := len(p.seen())
	res, err := w.client().Get("http://other.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, http.StatusForbidden, policy.HostNotListed)
	if len(p.seen()) != before {
		t.Errorf("the proxy was asked for %v", p.seen()[before:])
	}
}

// Without its credential, or with one that is no user:password, nothing is asked.
func TestUpstreamProxyWithoutItsCredential(t *testing.T) {
	for _, value := range []string{"", "just-a-token", "me:pass\r\nX-Evil: 1"} {
		p := newCompany(t, nil)
		w := newWorld(t, func(c *Config) {
			c.Onward = &p.UpstreamProxy
			c.Inject = func(string) (secret.Value, bool) { return secret.New([]byte(value)), value != "" }
		}, route(apiHost, "", ""))
		res, err := w.client().Get("https://" + apiHost + "/")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(value, "\r") {
			// In base64 a line break is no line break; the proxy finds the login wrong.
			denied(t, res, http.StatusBadGateway, policy.UpstreamProxyRefused)
			continue
		}
		denied(t, res, http.StatusForbidden, policy.NoCredential)
		if len(p.seen()) != 0 {
			t.Errorf("%q: the proxy was asked: %v", value, p.seen())
		}
	}
}

// A proxy that is none must not mean: past it.
func TestBadUpstreamProxyIsNoGateway(t *testing.T) {
	for _, bad := range []bottle.UpstreamProxy{{}, {Host: "proxy.example.com"}, {Port: 3128}, {Host: "PROXY", Port: 3128}} {
		ca, err := NewCA("tester-00000")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Identity: "tester-00000", Policy: compile(t), CA: ca, Record: func(Record) error { return nil }, Onward: &bad}); err == nil {
			t.Errorf("%+v makes a gateway", bad)
		}
	}
}

// The gateway is never its own upstream.
func TestGatewayIsNotItsOwnUpstream(t *testing.T) {
	var self string
	l := listen(t)
	self = l.Addr().String()
	_ = l.Close()
	w := newWorld(t, nil, route(apiHost, self, ""))
	w.p.Avoid(netip.MustParseAddrPort(self))
	res, err := w.client().Get("https://" + apiHost + "/")
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, http.StatusForbidden, policy.OwnAddress)
}

// Nothing that an upstream answers sends a client to QUIC or to another host: not
// in an answer, and not in what comes before it.
func TestAltSvcEndsHere(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Alt-Svc", `h3=":443"; ma=86400`)
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "ok")
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n")
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, string(all), "103 Early Hints", "style.css", "200 OK")
	if strings.Contains(strings.ToLower(string(all)), "alt-svc") {
		t.Errorf("the agent is told of another service:\n%s", all)
	}
}

// Resolvers over HTTPS and QUIC are hosts like any other: what no route lists is
// refused before anything is looked up, so that a client falls back to the
// bottle's own DNS.
func TestResolversOverHTTPSAreNotListed(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	for _, target := range []string{"dns.google:443", "cloudflare-dns.com:443", "doh.opendns.com:443", "mozilla.cloudflare-dns.com:443", "1.1.1.1:443", "[2606:4700:4700::1111]:443"} {
		begun := time.Now()
		res := answered(t, w.raw(w.addr, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n"))
		reason := policy.HostNotListed
		if strings.ContainsAny(target[:1], "1[") {
			reason = policy.AddressLiteral
		}
		denied(t, res, http.StatusForbidden, reason)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%s: refused after %v", target, took)
		}
	}
	if looked := w.looked(); len(looked) != 0 {
		t.Errorf("looked up %v", looked)
	}
}
