package egress

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/egress/responder"
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
