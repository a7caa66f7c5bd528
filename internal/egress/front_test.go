package egress

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// say writes to a connection and reads exactly as many bytes as are wanted.
func say(t testing.TB, c net.Conn, what, want string) {
	t.Helper()
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q answered %q, %v; want %q", what, got[:n], err, want)
	}
}

const socksGranted = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"

// socksTo is a request for a name.
func socksTo(name string, port uint16) string {
	return "\x05\x01\x00\x03" + string(rune(len(name))) + name + string([]byte{byte(port >> 8), byte(port)})
}

// The same port speaks SOCKS5, with a remote name or with an address that the
// bottle's DNS gave out for one: the request inside is decided on like any other.
func TestSOCKS5(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	given := netip.MustParseAddr(w.named(apiHost)).As4()
	for name, request := range map[string]string{
		"remote name": socksTo("API.example.com.", 443),
		"address":     "\x05\x01\x00\x01" + string(given[:]) + "\x01\xbb",
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.all())
			c := w.raw(w.addr, "")
			say(t, c, "\x05\x01\x00", "\x05\x00")
			say(t, c, request, socksGranted)
			res := ask200(t, w.shake(c, apiHost), "GET /v1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
			if got := text(t, res, nil); res.StatusCode != 200 || !strings.Contains(got, "GET /v1") {
				t.Errorf("%s %s", res.Status, got)
			}
			if r := w.one(before + 1); r.Verdict != "allow" || r.Host != apiHost || r.Credential != tokenRef {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// What SOCKS asks for and no route lists is refused in SOCKS's words, before any
// name is looked up; what is no CONNECT, too.
func TestSOCKS5Refusals(t *testing.T) {
	for name, c := range map[string]struct {
		request, answer string
		reason          policy.Reason
	}{
		"host":     {socksTo("evil.example.net", 443), "\x05\x02", policy.HostNotListed},
		"port":     {socksTo(apiHost, 22), "\x05\x02", policy.PortNotListed},
		"metadata": {"\x05\x01\x00\x01\xa9\xfe\xa9\xfe\x00\x50", "\x05\x02", policy.MetadataAddress},
		"mapped":   {"\x05\x01\x00\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01\x01\xbb", "\x05\x02", policy.PrivateAddress},
		"unknown":  {"\x05\x01\x00\x01\xc6\x12\x33\x33\x01\xbb", "\x05\x02", policy.UnknownDestination},
		"bind":     {"\x05\x02\x00\x03\x01x\x00\x50", "\x05\x07", policy.NotHTTP},
		"udp":      {"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x07", policy.NotHTTP},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, route(apiHost, "", ""))
			conn := w.raw(w.addr, "")
			say(t, conn, "\x05\x01\x00", "\x05\x00")
			say(t, conn, c.request, c.answer)
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Error(err)
			}
			if r := w.one(1); r.Verdict != "deny" || r.Reason != string(c.reason) {
				t.Errorf("record %+v", r)
			}
			if got := w.looked(); len(got) > 0 {
				t.Errorf("looked up %v", got)
			}
		})
	}
	w := newWorld(t, nil, route(apiHost, "", ""))
	say(t, w.raw(w.addr, "\x04\x01\x01\xbb\x00\x00\x00\x01u\x00api.example.com\x00"), "", "\x00\x5b")
	w.one(1)
}

// The attack: a stranger on the machine takes SOCKS for a way around the password.
func TestSOCKS5WantsThePassword(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ProxyAuth = secret.New([]byte("opensesame")) }, route(apiHost, "", ""))
	say(t, w.raw(w.addr, ""), "\x05\x01\x00", "\x05\xff")
	c := w.raw(w.addr, "")
	say(t, c, "\x05\x01\x02", "\x05\x02")
	say(t, c, "\x01\x06bottle\x04open", "\x01\x01")
	good := w.raw(w.addr, "")
	say(t, good, "\x05\x01\x02", "\x05\x02")
	say(t, good, "\x01\x06bottle\x0aopensesame", "\x01\x00")
	say(t, good, socksTo(apiHost, 443), socksGranted)
	_ = good.Close()
	for _, r := range w.all() {
		if r.Reason == string(policy.ProxyAuth) && r.Verdict == "deny" {
			return
		}
	}
	t.Errorf("no record of the refusal: %+v", w.all())
}

// An explicit proxy over TLS: requests and tunnels, with a certificate of the
// bottle's CA for the gateway's own name or address.
func TestProxyOverTLS(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	plain := route("plain.example.com", plainUpstream(t, http.HandlerFunc(echo)), "")
	plain.Ports = []uint16{80}
	w := newWorld(t, nil, route(apiHost, addr, ca), plain)
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: w.addr}), TLSClientConfig: &tls.Config{RootCAs: w.roots()}}
	defer tr.CloseIdleConnections()
	for _, u := range []string{"https://" + apiHost + "/x", "http://plain.example.com/x"} {
		res, err := (&http.Client{Transport: tr}).Get(u)
		if got := text(t, res, err); !strings.Contains(got, "GET /x") {
			t.Errorf("%s: %s", u, got)
		}
	}
	for _, name := range []string{plan.GatewayHost, "localhost"} {
		c := w.shake(w.raw(w.addr, ""), name)
		if res := ask200(t, c, "GET http://gateway.bottle/ HTTP/1.1\r\nHost: gateway.bottle\r\n\r\n"); res.StatusCode != 200 {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	// Another name is no way to have a certificate made for it.
	c := tls.Client(w.raw(w.addr, ""), &tls.Config{ServerName: apiHost, RootCAs: w.roots()})
	if err := c.Handshake(); err == nil {
		t.Error("the proxy itself shows a certificate for another host")
	}
}

// A connection that the kernel redirected is taken on the explicit port, too.
func TestRedirectedToTheExplicitPort(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	w.heading(w.named(apiHost) + ":443")
	res := ask200(t, w.shake(w.raw(w.addr, ""), apiHost), "GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if got := text(t, res, nil); !strings.Contains(got, "GET /x") {
		t.Errorf("%s", got)
	}
}

// A client without TLS that ends its own half first is still answered.
func TestHalfClosedRequestIsAnswered(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	plain := route("plain.example.com", plainUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-finish
		echo(w, r)
	})), "")
	plain.Ports = []uint16{80}
	w := newWorld(t, nil, plain)
	c := w.raw(w.addr, "GET http://plain.example.com/x HTTP/1.1\r\nHost: plain.example.com\r\n\r\n")
	<-begun
	_ = c.(*net.TCPConn).CloseWrite()
	close(finish)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if got := text(t, res, err); !strings.Contains(got, "GET /x") {
		t.Errorf("%s", got)
	}
}

// Requests that were sent together are answered in order, on one connection.
func TestPipelinedRequests(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(c, "GET /1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"+
		"POST /2 HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 2\r\n\r\nhi"+
		"POST /3 HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n"+
		"HEAD /4 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"+
		"GET /5 HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n")
	r := bufio.NewReader(c)
	for i, want := range []string{"GET /1\n", "\nhi", "\nho", "", "GET /5\n"} {
		method := http.MethodGet
		if i == 3 {
			method = http.MethodHead
		}
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if got := text(t, res, err); res.StatusCode != 200 || !strings.Contains(got, want) {
			t.Errorf("%d: %s %q", i, res.Status, got)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection goes on: %v", err)
	}
}

// Trailers go on both ways, but for those that have no place there.
func TestTrailers(t *testing.T) {
	got := make(chan http.Header, 1)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c := w.tunnel(apiHost+":443", apiHost)
	res := ask200(t, c, "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\nTrailer: X-Mine, Authorization\r\n\r\n2\r\nhi\r\n0\r\nX-Mine: yes\r\nAuthorization: no\r\n\r\n")
	if h := <-got; h.Get("X-Mine") != "yes" || h.Get("Authorization") != "" {
		t.Errorf("the upstream got the trailers %v", h)
	}
	if res.Trailer.Get("X-Sum") != "1" || res.Trailer.Get("X-Late") != "2" {
		t.Errorf("the agent got the trailers %v", res.Trailer)
	}
}
