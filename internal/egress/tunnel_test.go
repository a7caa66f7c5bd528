package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/dial"
	"bottle/internal/egress/hello"
	"bottle/internal/egress/redirect"
	"bottle/internal/policy"
)

// isReset accepts only a connection that was ended at once with RST.
func isReset(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read gave %v, want a reset", err)
	}
}

// resetAtOnce connects to the transparent port; the reset may come so early that
// connecting itself reports it.
func (w *world) resetAtOnce() {
	w.t.Helper()
	c, err := net.Dial("tcp", w.direct)
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		w.t.Errorf("got %v, want a reset", err)
	}
}

func TestServerNameMustBeTheTunnels(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	const req = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	t.Run("other", func(t *testing.T) {
		w := newWorld(t, nil, route(apiHost, addr, ca))
		c := w.tunnel(apiHost+":443", "other.example.com")
		denied(t, ask200(t, c, req), 421, policy.SNIMismatch)
		if r := w.one(1); r.Reason != string(policy.SNIMismatch) || r.Host != apiHost {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("none", func(t *testing.T) {
		w := newWorld(t, nil, route(apiHost, addr, ca))
		c := w.connect(apiHost + ":443")
		tc := tls.Client(c, &tls.Config{RootCAs: w.roots(), ServerName: "192.0.2.9"}) // an address is never sent as SNI
		err := tc.Handshake()
		var cert *tls.CertificateVerificationError
		if !errors.As(err, &cert) { // the certificate says api.example.com
			t.Fatalf("handshake: %v", err)
		}
		if r := w.one(1); r.Reason != string(policy.SNIMissing) {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		w := newWorld(t, nil, route(apiHost, addr, ca))
		c := w.connect(apiHost + ":443")
		tc := tls.Client(c, &tls.Config{RootCAs: w.roots(), ServerName: "a..b"})
		_ = tc.Handshake()
		if r := w.one(1); r.Reason != string(policy.BadHost) {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("odd spelling of the same", func(t *testing.T) {
		w := newWorld(t, nil, route(apiHost, addr, ca))
		c := w.tunnel("API.example.com.:443", "Api.Example.Com")
		if res := ask200(t, c, "GET / HTTP/1.1\r\nHost: API.EXAMPLE.com.:443\r\n\r\n"); res.StatusCode != 200 {
			t.Error(res.Status)
		}
	})
}

func TestAddressLiteralRoute(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), "127.0.0.1")
	w := newWorld(t, nil, route("127.0.0.1", addr, ca))
	c := w.tunnel("127.0.0.1:443", "127.0.0.1")
	if res := ask200(t, c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); res.StatusCode != 200 || res.Header.Get("X-Seen-Host") != "127.0.0.1" {
		t.Error(res.Status, res.Header)
	}
}

func TestNotHTTPInATunnelIsReset(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	c := w.connect(apiHost + ":443")
	_, _ = io.WriteString(c, "\x00\x01binary")
	isReset(t, c)
	if r := w.one(1); r.Reason != string(policy.NotHTTP) || r.Kind != KindConnect {
		t.Errorf("record %+v", r)
	}
}

func TestTornClientHello(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.HelloTime = 50 * time.Millisecond }, route(apiHost, "", ""))
	c := w.connect(apiHost + ":443")
	_, _ = io.WriteString(c, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03")
	isReset(t, c)
	if r := w.one(1); r.Reason != string(policy.TooSlow) {
		t.Errorf("record %+v", r)
	}
	c = w.connect(apiHost + ":443")
	_, _ = io.WriteString(c, "\x16\x03\x01\x00\x05\x63\x00\x00\x01\x00")
	isReset(t, c)
	if r := w.one(2); r.Reason != string(policy.NotHTTP) {
		t.Errorf("record %+v", r)
	}
}

func TestTunnelWithoutARequestLeavesARecord(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	c := w.connect(apiHost + ":443")
	tc := tls.Client(c, &tls.Config{ServerName: apiHost}) // does not trust the bottle's CA
	if err := tc.Handshake(); err == nil {
		t.Fatal("the CA is trusted by this machine")
	}
	_ = c.Close()
	if r := w.one(1); r.Reason != string(policy.BadRequest) || r.Host != apiHost || !strings.Contains(r.Note, "may not trust the bottle's CA") {
		t.Errorf("record %+v", r)
	}
}

func TestPlainHTTPInsideConnect(t *testing.T) {
	r := route("plain.example.com", plainUpstream(t, http.HandlerFunc(echo)), "")
	r.Ports = []uint16{80}
	w := newWorld(t, nil, r)
	c := w.connect("plain.example.com:80")
	if res := ask200(t, c, "GET /x HTTP/1.1\r\nHost: plain.example.com\r\n\r\n"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

// A connection that ignores the proxy variables: the kernel redirects it, the
// synthetic address says which name it is for.
func (w *world) heading(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.origin = netip.MustParseAddrPort(to)
}

func (w *world) named(host string) string {
	w.t.Helper()
	a, ok := w.p.names.Address(host)
	if !ok {
		w.t.Fatal("no address")
	}
	return a.String()
}

func TestTransparentTLS(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	rt := withAuth(route(apiHost, addr, ca), "Bearer", "")
	const req = "GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	t.Run("by synthetic address", func(t *testing.T) {
		w := newWorld(t, nil, rt)
		w.heading(w.named(apiHost) + ":443")
		res := ask200(t, w.shake(w.raw(w.direct, ""), apiHost), req)
		mustContain(t, text(t, res, nil), "Bearer "+strings.Repeat("*", len(realKey)))
		w.one(1)
	})
	t.Run("by server name alone", func(t *testing.T) {
		w := newWorld(t, nil, rt)
		w.heading("192.0.2.7:443")
		if res := ask200(t, w.shake(w.raw(w.direct, ""), apiHost), req); res.StatusCode != 200 {
			t.Error(res.Status)
		}
	})
	t.Run("other name than the address", func(t *testing.T) {
		w := newWorld(t, nil, rt, route("other.example.com", addr, ca))
		w.heading(w.named("other.example.com") + ":443")
		denied(t, ask200(t, w.shake(w.raw(w.direct, ""), apiHost), req), 421, policy.SNIMismatch)
		w.one(1)
	})
	t.Run("denied name is told why", func(t *testing.T) {
		w := newWorld(t, nil, rt)
		w.heading("192.0.2.7:443")
		c := w.shake(w.raw(w.direct, ""), "evil.example.net")
		d := denied(t, ask200(t, c, "GET / HTTP/1.1\r\nHost: evil.example.net\r\n\r\n"), 403, policy.HostNotListed)
		if d.Host != "evil.example.net" {
			t.Errorf("denial %+v", d)
		}
		if r := w.one(1); r.Kind != KindTLS || r.Verdict != "deny" || r.Host != "evil.example.net" {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("bare address", func(t *testing.T) {
		w := newWorld(t, nil, rt)
		w.heading("192.0.2.7:443")
		c := w.shake(w.raw(w.direct, ""), "192.0.2.7")
		denied(t, ask200(t, c, "GET / HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n"), 403, policy.PrivateAddress)
	})
	t.Run("port", func(t *testing.T) {
		w := newWorld(t, nil, rt)
		w.heading(w.named(apiHost) + ":8443")
		denied(t, ask200(t, w.shake(w.raw(w.direct, ""), apiHost), req), 403, policy.PortNotListed)
	})
}

func TestTransparentHTTP(t *testing.T) {
	r := route("plain.example.com", plainUpstream(t, http.HandlerFunc(echo)), "")
	r.Ports = []uint16{80}
	w := newWorld(t, nil, r, route(apiHost, "", ""))
	w.heading(w.named("plain.example.com") + ":80")
	if res := ask200(t, w.raw(w.direct, ""), "GET /x HTTP/1.1\r\nHost: plain.example.com\r\n\r\n"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
	denied(t, ask200(t, w.raw(w.direct, ""), "GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n"), 421, policy.AuthorityMismatch)
	w.heading("192.0.2.7:80")
	if res := ask200(t, w.raw(w.direct, ""), "GET /x HTTP/1.1\r\nHost: plain.example.com\r\n\r\n"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
	denied(t, ask200(t, w.raw(w.direct, ""), "GET /x HTTP/1.1\r\nHost: plain.example.com:443\r\n\r\n"), 421, policy.AuthorityMismatch)
	denied(t, ask200(t, w.raw(w.direct, ""), "GET / HTTP/1.1\r\nHost: evil.example.net\r\n\r\n"), 403, policy.HostNotListed)
	w.one(5)
}

func TestTransparentOtherIsReset(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.HelloTime = 50 * time.Millisecond }, route(apiHost, "", ""))
	w.heading("198.18.77.77:443") // never given to a name
	w.resetAtOnce()
	if r := w.one(1); r.Reason != string(policy.UnknownDestination) || r.Host != "198.18.77.77" || r.Port != 443 || r.Kind != KindTCP {
		t.Errorf("record %+v", r)
	}
	w.heading("192.0.2.7:22")
	isReset(t, w.raw(w.direct, "")) // waits for the server's greeting
	if r := w.one(2); r.Reason != string(policy.TooSlow) || r.Host != "192.0.2.7" {
		t.Errorf("record %+v", r)
	}
	isReset(t, w.raw(w.direct, "\x05\x01\x00"))
	if r := w.one(3); r.Reason != string(policy.NotHTTP) {
		t.Errorf("record %+v", r)
	}
	w.mu.Lock()
	w.origin = netip.AddrPort{} // not redirected
	w.mu.Unlock()
	w.resetAtOnce()
	if r := w.one(4); r.Reason != string(policy.UnknownDestination) {
		t.Errorf("record %+v", r)
	}
}

// A connection that nothing redirected says so itself.
func TestOriginalDestinationOfAPlainConnection(t *testing.T) {
	l := listen(t)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if dst, err := redirect.Original(s); err == nil && dst.String() != l.Addr().String() {
		t.Errorf("original destination %v of a connection to %v", dst, l.Addr())
	}
	if _, err := redirect.Original(&tunnelConn{}); err == nil {
		t.Error("no error for something that is no TCP connection")
	}
}

func passRoute(addr string) bottle.Route {
	r := route("pass.example.com", addr, "")
	r.TLS = "passthrough"
	return r
}

func TestPassthroughRelaysUnopened(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), "pass.example.com")
	w := newWorld(t, nil, passRoute(addr))
	roots, err := dial.Roots(ca)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(w.connect("pass.example.com:443"), &tls.Config{ServerName: "pass.example.com", RootCAs: roots})
	if err := c.Handshake(); err != nil {
		t.Fatalf("the agent did not see the upstream's own certificate: %v", err)
	}
	if r := w.one(1); r.Verdict != "allow" || r.Kind != KindTLS || r.Host != "pass.example.com" {
		t.Errorf("record %+v", r)
	}
	if res := ask200(t, c, "GET / HTTP/1.1\r\nHost: pass.example.com\r\nConnection: close\r\n\r\n"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
	_ = c.Close()
	if r := w.one(2); r.Kind != KindStreamEnd || r.BytesIn == 0 || r.BytesOut == 0 {
		t.Errorf("record %+v", r)
	}
}

func TestPassthroughRefusals(t *testing.T) {
	addr, _, _ := upstream(t, http.HandlerFunc(echo), "pass.example.com")
	t.Run("other server name", func(t *testing.T) {
		w := newWorld(t, nil, passRoute(addr))
		c := w.tunnel("pass.example.com:443", "other.example.com")
		denied(t, ask200(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 421, policy.SNIMismatch)
	})
	t.Run("plain", func(t *testing.T) {
		w := newWorld(t, nil, passRoute(addr))
		c := w.connect("pass.example.com:443")
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
		isReset(t, c)
		if r := w.one(1); r.Reason != string(policy.PassthroughOnly) {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("private", func(t *testing.T) {
		r := passRoute("")
		r.Upstream = nil
		w := newWorld(t, nil, r)
		w.answers["pass.example.com"] = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		_ = tls.Client(w.connect("pass.example.com:443"), &tls.Config{ServerName: "pass.example.com"}).Handshake()
		if r := w.one(1); r.Reason != string(policy.PrivateAddress) {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("hidden name", func(t *testing.T) {
		w := newWorld(t, nil, passRoute(addr))
		c := w.connect("pass.example.com:443")
		_, _ = c.Write(helloWith(t, "pass.example.com", hello.ExtensionECH))
		isReset(t, c)
		if r := w.one(1); r.Reason != string(policy.SNIMismatch) {
			t.Errorf("record %+v", r)
		}
	})
}

// helloWith makes a ClientHello with one more, empty, extension.
func helloWith(t testing.TB, sni string, ext uint16) []byte {
	t.Helper()
	raw := clientHello(t, sni)
	body := append([]byte(nil), raw[9:]...) // after record and handshake headers
	at := 2 + 32
	at += 1 + int(body[at])
	at += 2 + int(body[at])<<8 + int(body[at+1])
	at += 1 + int(body[at])
	n := int(body[at])<<8 + int(body[at+1]) + 5
	body[at], body[at+1] = byte(n>>8), byte(n)
	body = append(body, byte(ext>>8), byte(ext), 0, 1, 1)
	out := []byte{0x16, 3, 1, byte((len(body) + 4) >> 8), byte(len(body) + 4), 1, 0, byte(len(body) >> 8), byte(len(body))}
	return append(out, body...)
}

// clientHello is what crypto/tls sends first.
func clientHello(t testing.TB, sni string) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(a, &tls.Config{ServerName: sni}).Handshake()
	}()
	buf := make([]byte, 16<<10)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	<-done
	return buf[:n]
}

func TestSniff(t *testing.T) {
	for _, name := range []string{apiHost, strings.Repeat("a.", 100) + "example.com"} {
		h, err := sniffBytes(clientHello(t, name))
		if err != nil || h.SNI != name || h.ECH {
			t.Errorf("sniffed %q %v %v", h.SNI, h.ECH, err)
		}
	}
	if h, err := sniffBytes(helloWith(t, apiHost, hello.ExtensionECH)); err != nil || !h.ECH || h.SNI != apiHost {
		t.Errorf("sniffed %+v %v", h, err)
	}
	big := append([]byte{0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff}, make([]byte, 200<<10)...)
	if h, err := sniffBytes(big); err == nil || len(h.raw) > hello.MaxSize {
		t.Errorf("took %d bytes of an endless hello, %v", len(h.raw), err)
	}
}

// sniffed is what hello.Answer makes of bytes that are not for us.
type sniffed struct {
	hello.Said
	raw []byte
}

func sniffBytes(b []byte) (s sniffed, err error) {
	seen := false
	c := &byteConn{r: strings.NewReader(string(b))}
	_, s.raw, err = hello.Answer(context.Background(), c, func(h hello.Said) *tls.Config {
		s.Said, seen = h, true
		return nil
	})
	if seen && errors.Is(err, hello.ErrUnopened) {
		err = nil
	}
	if c.wrote {
		err = errors.New("something was said")
	}
	return s, err
}

// byteConn is a connection that has said all it will ever say.
type byteConn struct {
	net.Conn
	r     io.Reader
	wrote bool
}

func (c *byteConn) Write(b []byte) (int, error) {
	c.wrote = true
	return len(b), nil
}

func (c *byteConn) Read(b []byte) (int, error)      { return c.r.Read(b) }
func (c *byteConn) SetReadDeadline(time.Time) error { return nil }
func (c *byteConn) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
func (c *byteConn) Close() error                    { return nil }

// FuzzSniff: whatever comes, no panic, no more than the limit, and what was
// taken is what was there.
func FuzzSniff(f *testing.F) {
	f.Add(clientHello(f, apiHost))
	f.Add(helloWith(f, apiHost, hello.ExtensionECH))
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := sniffBytes(b)
		if len(h.raw) > hello.MaxSize || !strings.HasPrefix(string(b), string(h.raw)) {
			t.Fatal("took other bytes than there were")
		}
		if err != nil && h.SNI != "" {
			t.Fatal("an error and a name")
		}
	})
}

// One side has said all, the other has not: the end of stream goes on alone.
func TestPassthroughHalfClose(t *testing.T) {
	l := listen(t)
	said := clientHello(t, "pass.example.com")
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		got, err := io.ReadAll(c) // until the agent's end
		if err == nil && string(got) != string(said) {
			err = errors.New("the ClientHello changed on the way")
		}
		_, _ = io.WriteString(c, "late answer")
		done <- err
	}()
	t.Cleanup(func() { _ = l.Close() })
	w := newWorld(t, nil, passRoute(l.Addr().String()))
	c := w.connect("pass.example.com:443")
	_, _ = c.Write(said)
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "late answer" {
		t.Errorf("%q %v", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if r := w.one(2); r.BytesOut != int64(len(said)) || r.BytesIn != int64(len("late answer")) {
		t.Errorf("record %+v", r)
	}
}
