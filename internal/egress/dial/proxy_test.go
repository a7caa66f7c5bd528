package dial

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// proxyAt starts a proxy on loopback that answers each CONNECT by answer, and
// echoes what comes after a 2xx.
func proxyAt(t *testing.T, wrap func(net.Listener) net.Listener, answer func(*http.Request) string) (bottle.UpstreamProxy, *[]string) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	at := addrOf(l)
	if wrap != nil {
		l = wrap(l)
	}
	var seen []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				head := bufio.NewReader(c)
				r, err := http.ReadRequest(head)
				if err != nil {
					return
				}
				mu.Lock()
				seen = append(seen, r.Method+" "+r.RequestURI+" "+r.Host+" "+r.Header.Get("Proxy-Authorization")+"|"+r.UserAgent())
				mu.Unlock()
				out := answer(r)
				_, _ = io.WriteString(c, out)
				_, _ = io.Copy(c, head)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return bottle.UpstreamProxy{Host: bottle.Host(at.Addr().String()), Port: at.Port()}, &seen
}

func established(*http.Request) string { return "HTTP/1.1 200 Connection established\r\n\r\n" }

// through is a Dialer whose proxy is p, and whose connections are real.
func throughWorld(t *testing.T, p bottle.UpstreamProxy, cfg Config) *world {
	cfg.Proxy = &p
	w := newWorld(t, cfg)
	w.reach = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		w.mu.Lock()
		w.reached = append(w.reached, to.String())
		w.mu.Unlock()
		return reach(ctx, to)
	}
	return w
}

func echoes(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Fatalf("got %q, %v", b, err)
	}
}

// The proxy gets the decided name, its own credential, and nothing else; nobody
// looks the name up here.
func TestThroughTheProxy(t *testing.T) {
	p, seen := proxyAt(t, nil, established)
	w := throughWorld(t, p, Config{Authorize: func(h http.Header) error {
		h.Set("Proxy-Authorization", "Basic bWU6aHVudGVyMg==")
		return nil
	}})
	for host, line := range map[string]string{
		apiHost:             "CONNECT api.example.com:443 api.example.com:443 Basic bWU6aHVudGVyMg==|",
		there:               "CONNECT 8.8.8.8:443 8.8.8.8:443 Basic bWU6aHVudGVyMg==|",
		"[2606:4700::1111]": "CONNECT [2606:4700::1111]:443 [2606:4700::1111]:443 Basic bWU6aHVudGVyMg==|",
	} {
		c, err := w.Dial(t.Context(), target(t, host, ""))
		if err != nil {
			t.Fatal(err)
		}
		echoes(t, c)
		_ = c.Close()
		if got := (*seen)[len(*seen)-1]; got != line {
			t.Errorf("the proxy saw %q, want %q", got, line)
		}
	}
	if len(w.asked) != 0 {
		t.Errorf("looked up %v", w.asked)
	}
}

// What is refused without a proxy and needs no lookup is refused with one.
func TestProxyIsNoWayInside(t *testing.T) {
	p, seen := proxyAt(t, nil, established)
	w := throughWorld(t, p, Config{})
	for host, reason := range map[string]policy.Reason{
		"10.0.0.7": policy.PrivateAddress, "127.0.0.1": policy.PrivateAddress, "[::1]": policy.PrivateAddress, "[64:ff9b::10.0.0.7]": policy.PrivateAddress,
		"169.254.169.254": policy.MetadataAddress, "168.63.129.16": policy.MetadataAddress, here: policy.OwnAddress,
		"localhost": policy.PrivateAddress, "api.localhost": policy.PrivateAddress,
	} {
		to := target(t, apiHost, "") // past the policy, which compiles no such literal
		to.Host, _ = bottle.ParseHost(host)
		w.refused(host, to, reason)
	}
	if len(*seen) != 0 {
		t.Errorf("the proxy was asked for %v", *seen)
	}
	w.Avoid(netip.AddrPortFrom(netip.MustParseAddr(string(p.Host)), p.Port))
	w.refused("the gateway as its own proxy", target(t, apiHost, ""), policy.OwnAddress)
}

// An upstream.address is the operator's explicit word and is dialled directly.
func TestUpstreamAddressPassesTheProxyBy(t *testing.T) {
	p, seen := proxyAt(t, nil, established)
	w := throughWorld(t, p, Config{})
	l := listen(t, "127.0.0.1:0")
	c, err := w.Dial(t.Context(), target(t, apiHost, l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if len(*seen) != 0 {
		t.Errorf("the proxy was asked for %v", *seen)
	}
}

// Whatever the proxy says, the verdict holds its status and none of its words.
func TestProxyRefusals(t *testing.T) {
	const words = "SECRET-WORDS"
	page := "Content-Type: text/html\r\nContent-Length: 500000\r\nX-" + words + ": " + words + "\r\n\r\n" + words
	for answer, want := range map[string]struct {
		reason policy.Reason
		says   string
	}{
		"HTTP/1.1 403 " + words + "\r\n" + page:                                                                     {policy.UpstreamProxyRefused, "403"},
		"HTTP/1.1 407 " + words + "\r\nProxy-Authenticate: Basic\r\n" + page:                                        {policy.UpstreamProxyRefused, "407"},
		"HTTP/1.0 503 " + words + "\r\n" + page:                                                                     {policy.UpstreamUnreachable, "503"},
		"HTTP/1.1 302 " + words + "\r\nLocation: http://" + words + "\r\n\r\n":                                      {policy.UpstreamProtocol, "302"},
		"HTTP/1.1 101 " + words + "\r\n\r\n":                                                                        {policy.UpstreamProtocol, ""},
		"HTTP/1.1 999 " + words + "\r\n\r\n":                                                                        {policy.UpstreamProtocol, "999"},
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+2) + "HTTP/1.1 200 OK\r\n\r\n":                   {policy.UpstreamProtocol, "100"},
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxProxyHeader) + "\r\n\r\n":                                 {policy.UpstreamProtocol, ""},
		strings.Repeat("HTTP/1.1 100 Continue\r\nX: "+strings.Repeat("x", maxProxyHeader/2)+"\r\n\r\n", maxInterim): {policy.UpstreamProtocol, ""},
		"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst":                                  {policy.UpstreamProtocol, "more than its answer"},
		"SSH-2.0-OpenSSH\r\n":                 {policy.UpstreamProtocol, ""},
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n": {policy.UpstreamProtocol, ""},
		"HTTP/1.1 20 OK\r\n\r\n":              {policy.UpstreamProtocol, ""},
	} {
		p, _ := proxyAt(t, nil, func(*http.Request) string { return answer })
		w := throughWorld(t, p, Config{Limit: time.Second})
		c, err := w.Dial(t.Context(), target(t, apiHost, ""))
		var no *Refusal
		if c != nil || !errors.As(err, &no) || no.Verdict.Reason != want.reason || !strings.Contains(no.Verdict.Message, want.says) {
			t.Errorf("%.60q: %v (%+v), want %s that says %q", answer, err, no, want.reason, want.says)
			continue
		}
		if strings.Contains(no.Verdict.Message, words) || no.Verdict.Rule != "bottle.md:7" {
			t.Errorf("%.60q: %+v", answer, no.Verdict)
		}
	}
}

// A CONNECT that was answered is open whatever the answer's header says of a body.
func TestProxyAnswersThatOpen(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
	} {
		p, _ := proxyAt(t, nil, func(*http.Request) string { return answer })
		c, err := throughWorld(t, p, Config{}).Dial(t.Context(), target(t, apiHost, ""))
		if err != nil {
			t.Errorf("%q: %v", answer, err)
			continue
		}
		echoes(t, c)
		_ = c.Close()
	}
}

func TestProxyThatIsNotThere(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	gone := addrOf(l)
	_ = l.Close()
	try := func(what string, p bottle.UpstreamProxy, cfg Config, answers map[string][]string, reason policy.Reason) {
		t.Helper()
		w := throughWorld(t, p, cfg)
		w.answers = answers
		c, err := w.Dial(t.Context(), target(t, apiHost, ""))
		var no *Refusal
		if c != nil || !errors.As(err, &no) || no.Verdict.Reason != reason || no.Verdict.Message == "" {
			t.Errorf("%s: %v, want %s", what, err, reason)
		}
	}
	try("a closed port", bottle.UpstreamProxy{Host: "127.0.0.1", Port: gone.Port()}, Config{}, nil, policy.UpstreamUnreachable)
	try("no such name", bottle.UpstreamProxy{Host: "proxy.example.com", Port: 3128}, Config{}, nil, policy.UpstreamResolve)
	try("an address that none can have", bottle.UpstreamProxy{Host: "proxy.example.com", Port: gone.Port()}, Config{}, map[string][]string{"proxy.example.com": {"0.0.0.0"}}, policy.PrivateAddress)
	mute, _ := proxyAt(t, nil, func(*http.Request) string { time.Sleep(time.Second); return "" })
	try("it never answers", mute, Config{Limit: 100 * time.Millisecond}, nil, policy.UpstreamUnreachable)
	open, _ := proxyAt(t, nil, established)
	try("no credential", open, Config{Authorize: func(http.Header) error { return errors.New("none") }}, nil, policy.NoCredential)
	plain := open
	plain.TLS = true
	try("it speaks no TLS", plain, Config{}, nil, policy.UpstreamTLS)
	plain.CAFile = "/nonexistent"
	try("its CA is not there", plain, Config{}, nil, policy.UpstreamTLS)
}

// The caller goes away while the proxy thinks.
func TestProxyDialEndsWithItsCaller(t *testing.T) {
	begun := make(chan struct{})
	p, _ := proxyAt(t, nil, func(*http.Request) string { close(begun); return "" })
	w := throughWorld(t, p, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	start := time.Now()
	if c, err := w.Dial(ctx, target(t, apiHost, "")); err == nil {
		_ = c.Close()
		t.Error("connected")
	}
	if time.Since(start) > 5*time.Second {
		t.Error("it waited for the proxy")
	}
}

// A proxy over TLS is verified like any server, by the system's CAs and ca_file.
func TestProxyOverTLS(t *testing.T) {
	cert, caFile := certificate(t, "proxy.example.com")
	p, seen := proxyAt(t, func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}, established)
	at := string(p.Host)
	p.TLS, p.Host, p.CAFile = true, "proxy.example.com", caFile
	dial := func(p bottle.UpstreamProxy) (net.Conn, error) {
		w := throughWorld(t, p, Config{})
		w.answers = map[string][]string{"proxy.example.com": {at}, "other.example.com": {at}}
		return w.Dial(t.Context(), target(t, apiHost, ""))
	}
	c, err := dial(p)
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, c)
	if _, ok := c.(interface{ CloseWrite() error }); !ok {
		t.Error("the tunnel can't be half closed")
	}
	_ = c.Close()
	other, strange := p, p
	other.Host, strange.CAFile = "other.example.com", ""
	for what, p := range map[string]bottle.UpstreamProxy{"another name": other, "an unknown CA": strange} {
		var no *Refusal
		if c, err := dial(p); c != nil || !errors.As(err, &no) || no.Verdict.Reason != policy.UpstreamTLS {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(*seen) != 1 {
		t.Errorf("an unverified proxy saw %v", *seen)
	}
}

// The proxy's CA is trusted for what goes through it, and for nothing else.
func TestRootsOfATarget(t *testing.T) {
	cert, caFile := certificate(t, "proxy.example.com")
	_, routeCA := certificate(t, apiHost)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	trusts := func(d *Dialer, to Target) bool {
		t.Helper()
		roots, err := d.Roots(to)
		if err != nil {
			t.Fatal(err)
		}
		if roots == nil {
			return false
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: roots})
		return err == nil
	}
	withRouteCA := target(t, apiHost, "")
	withRouteCA.Route.Upstream = &bottle.Upstream{CAFile: routeCA}
	d := New(Config{Proxy: &bottle.UpstreamProxy{Host: "proxy.example.com", Port: 3128, CAFile: caFile}})
	if !trusts(d, target(t, apiHost, "")) || !trusts(d, withRouteCA) {
		t.Error("what goes through the proxy does not trust its CA")
	}
	if trusts(d, target(t, apiHost, "10.0.0.7:443")) || trusts(New(Config{}), withRouteCA) {
		t.Error("what does not go through the proxy trusts its CA")
	}
	if roots, err := New(Config{}).Roots(target(t, apiHost, "")); roots != nil || err != nil {
		t.Errorf("without any file: %v, %v", roots, err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{empty, "/nonexistent"} {
		if _, err := Roots(f); err == nil {
			t.Errorf("%s was read", f)
		}
	}
}

// certificate makes a CA, and a certificate of its for name.
func certificate(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// Whatever a proxy answers: a tunnel is open only behind a 2xx that came alone, and
// no word of the answer gets into a verdict.
func FuzzProxyAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 407 x\r\nA: b\r\n\r\nbody", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nmore", "220 mail\r\n", "",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/9.9 299 \n\n",
	} {
		f.Add([]byte(seed))
	}
	pat, err := bottle.ParsePattern(apiHost)
	if err != nil {
		f.Fatal(err)
	}
	to := Target{Host: pat.Host, Port: 443, Route: &bottle.Route{Host: pat, Rule: "bottle.md:7"}}
	d := New(Config{Proxy: &bottle.UpstreamProxy{Host: "proxy.example.com", Port: 3128}})
	f.Fuzz(func(t *testing.T, answer []byte) {
		ours, theirs := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			defer theirs.Close()
			if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
				_, _ = theirs.Write(answer)
			}
		})
		_ = ours.SetDeadline(time.Now().Add(5 * time.Second))
		err := d.ask(ours, to)
		_ = ours.Close()
		wg.Wait()
		var no *Refusal
		switch {
		case err == nil:
			if !bytes.Contains(answer, []byte(" 2")) || !bytes.HasPrefix(answer, []byte("HTTP/")) {
				t.Errorf("%q opens a tunnel", answer)
			}
		case !errors.As(err, &no):
			t.Errorf("%q: %v is no verdict", answer, err)
		case no.Verdict.Allowed() || !strings.HasPrefix(no.Verdict.Message, "the upstream proxy") || len(no.Verdict.Message) > 100:
			t.Errorf("%q: %+v", answer, no.Verdict)
		}
	})
}

// The time that the proxy had to answer is no limit on the tunnel.
func TestTunnelOutlivesTheHandshake(t *testing.T) {
	p, _ := proxyAt(t, nil, established)
	c, err := throughWorld(t, p, Config{Limit: 50 * time.Millisecond}).Dial(t.Context(), target(t, apiHost, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(200 * time.Millisecond)
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Errorf("got %q, %v", b, err)
	}
}

// What judging costs a new connection, on loopback.
func BenchmarkDial(b *testing.B) {
	l := listen(b, "127.0.0.1:0")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	run := func(name string, dial func() (net.Conn, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c, err := dial()
				if err != nil {
					b.Fatal(err)
				}
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
		})
	}
	d, to := New(Config{}), target(b, apiHost, l.Addr().String())
	run("net", func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) })
	run("upstream.address", func() (net.Conn, error) { return d.Dial(b.Context(), to) })
}
