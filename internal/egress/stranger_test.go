package egress

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"

	"bottle/internal/policy"
	"bottle/internal/secret"
)

// TestStrangersAtTheProxy. The weakness: every user of a machine reaches its
// loopback. The attack: another user sends requests to the address of an explicit
// proxy, and has the operator's credential put in. What this proves: without the
// address's password nothing goes out, there is a record of it, and the gateway's
// own page says nothing.
func TestStrangersAtTheProxy(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	w := newWorld(t, func(c *Config) { c.ProxyAuth = secret.New([]byte("opensesame")) }, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	said := func(req string) *http.Response {
		t.Helper()
		c, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte(req)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for name, header := range map[string]string{
		"nothing":       "",
		"another":       "Proxy-Authorization: Basic Ym90dGxlOm9wZW5zZXNhbQ==\r\n",
		"no scheme":     "Proxy-Authorization: opensesame\r\n",
		"as a user":     "Proxy-Authorization: Basic b3BlbnNlc2FtZTo=\r\n",
		"for the host":  "Authorization: Basic Ym90dGxlOm9wZW5zZXNhbWU=\r\n",
		"broken":        "Proxy-Authorization: Basic ?\r\n",
		"an empty pair": "Proxy-Authorization: Basic Og==\r\n",
	} {
		for _, req := range []string{
			"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n",
			"GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n",
			"GET http://gateway.bottle/ HTTP/1.1\r\nHost: gateway.bottle\r\n",
		} {
			resp := said(req + header + "\r\n")
			if resp.StatusCode != http.StatusProxyAuthRequired || !strings.HasPrefix(resp.Header.Get("Proxy-Authenticate"), "Basic ") {
				t.Errorf("%s, %.20q: %d %v", name, req, resp.StatusCode, resp.Header)
			}
		}
	}
	kinds := map[string]bool{} // like refusals may be counted in one record
	for _, r := range w.all() {
		if r.Reason == string(policy.ProxyAuth) && r.Verdict == "deny" {
			kinds[r.Kind] = true
		}
	}
	if !kinds[KindHTTP] || !kinds[KindConnect] {
		t.Errorf("the records are of %v", kinds)
	}
	if len(w.looked()) > 0 {
		t.Errorf("looked up %v", w.looked())
	}
	resp := said("CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\nProxy-Authorization: basic Ym90dGxlOm9wZW5zZXNhbWU=\r\n\r\n")
	if resp.StatusCode != http.StatusOK {
		t.Errorf("with the password: %d", resp.StatusCode)
	}
}
