package egress

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/egress/responder"
	"bottle/internal/plan"
)

// part is a service of the gateway at one name and port.
type part struct{}

func (part) Near(host bottle.Host, port uint16) bool {
	return host == "part.bottle" && (port == 0 || port == 80)
}

func (p part) Takes(_ *http.Request, host bottle.Host, port uint16) bool {
	return port != 0 && p.Near(host, port)
}

func (p part) Serve(w http.ResponseWriter, r *http.Request, host bottle.Host, port uint16) bool {
	if !p.Takes(r, host, port) {
		return false
	}
	fmt.Fprint(w, "the part's: ", r.URL.Path)
	return true
}

// A part of the gateway is reached by every way out, whatever the routes say, and its name
// stands for nothing else: no other port, nothing below it, no upgrade past it.
func TestAPartOfTheGatewayIsReachedEveryWay(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Ours = Services{part{}} }, route(apiHost, "", ""))
	if got := w.p.resolveInside("part.bottle"); got.Code != responder.Found || !responder.IsSynthetic(got.Addr) {
		t.Errorf("its name: %+v", got)
	}
	if got := w.p.resolveInside("x.part.bottle"); got.Code != responder.Denied {
		t.Errorf("a name below it: %+v", got)
	}
	const get = "GET /a HTTP/1.1\r\nHost: part.bottle\r\n\r\n"
	ways := map[string]*http.Response{
		"in absolute form": ask200(t, w.raw(w.addr, ""), "GET http://part.bottle/a HTTP/1.1\r\nHost: part.bottle\r\n\r\n"),
		"in a tunnel":      ask200(t, w.connect("part.bottle:80"), get),
	}
	w.heading(w.named("part.bottle") + ":80")
	ways["redirected"] = ask200(t, w.raw(w.direct, ""), get)
	for way, res := range ways {
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK || string(body) != "the part's: /a" {
			t.Errorf("%s: %d %q", way, res.StatusCode, body)
		}
	}
	w.mu.Lock()
	w.origin = netip.AddrPort{}
	w.mu.Unlock()
	for way, text := range map[string]string{
		"another port": "GET http://part.bottle:8080/a HTTP/1.1\r\nHost: part.bottle:8080\r\n\r\n",
		"below it":     "GET http://x.part.bottle/a HTTP/1.1\r\nHost: x.part.bottle\r\n\r\n",
		"an upgrade":   "GET http://part.bottle/a HTTP/1.1\r\nHost: part.bottle\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	} {
		if res := ask200(t, w.raw(w.addr, ""), text); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", way, res.StatusCode)
		}
	}
	if len(w.looked()) != 0 {
		t.Errorf("names were looked up: %v", w.looked())
	}
	for _, r := range w.all() {
		if r.Verdict != "deny" {
			t.Errorf("record %+v", r)
		}
	}
}

// proxyName opens connections to the explicit proxy's other name.
type proxyName struct{ part }

func (proxyName) Near(host bottle.Host, port uint16) bool {
	return host == plan.PipelockName && (port == 0 || port == plan.PipelockPort)
}

func (proxyName) Takes(*http.Request, bottle.Host, uint16) bool { return false }

// The explicit proxy answers by its other name at that name's port, and decides there as
// at its own; at another port, or by an address that stands for another name, it is none.
func TestTheProxyByItsOtherName(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Ours = Services{proxyName{}} }, route(apiHost, "", ""))
	if got := w.p.resolveInside(plan.EgressName); got.Code != responder.Found || !got.Addr.IsLoopback() {
		t.Errorf("%s: %+v", plan.EgressName, got)
	}
	if got := w.p.resolveInside(plan.PipelockName); got.Code != responder.Found || !responder.IsSynthetic(got.Addr) {
		t.Fatalf("%s: %+v", plan.PipelockName, got)
	}
	const health, other = "GET http://gateway.bottle/ HTTP/1.1\r\nHost: gateway.bottle\r\n\r\n", "GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n"
	w.heading(w.named(plan.PipelockName) + ":8888")
	for text, want := range map[string]int{health: http.StatusOK, other: http.StatusForbidden, "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n": http.StatusForbidden} {
		if res := ask200(t, w.raw(w.direct, ""), text); res.StatusCode != want {
			t.Errorf("%q: %d", text, res.StatusCode)
		}
	}
	for _, to := range []string{w.named(plan.PipelockName) + ":80", w.named(apiHost) + ":8888", "192.0.2.1:8888"} {
		w.heading(to)
		c := w.raw(w.direct, health)
		body, _ := io.ReadAll(c) // a reset is fine
		if bytes.Contains(body, []byte(" 200 ")) {
			t.Errorf("%s answers as the proxy: %q", to, body)
		}
	}
}
