package egress

import (
	"bytes"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// The weakness: an upstream that echoes its request. The attack: ask it for the
// request's own headers. This proves that the agent gets stars, in every scheme,
// in the body and in a header, compressed or not, and that nothing else changes.
func TestInvariant2AnEchoedCredentialIsMasked(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", strings.Join(r.Header["Authorization"], "")+strings.Join(r.Header["X-Api-Key"], ""))
		w.Header().Set("X-Coding", r.Header.Get("Accept-Encoding"))
		echo(w, r)
	})
	addr, ca, _ := upstream(t, h, apiHost)
	for _, c := range []struct{ scheme, header string }{{"Bearer", ""}, {"token", ""}, {"Basic", ""}, {"header", "X-Api-Key"}} {
		t.Run(c.scheme, func(t *testing.T) {
			w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), c.scheme, c.header))
			req, _ := http.NewRequest("GET", "https://"+apiHost+"/v1/x", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			req.Header.Set("X-Harmless", "stays")
			res, err := w.client().Do(req)
			got := text(t, res, err) + res.Header.Get("X-Echo")
			mustContain(t, got, "X-Harmless: stays", "*******")
			coded := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + realKey))
			for _, leak := range []string{realKey, coded} {
				if strings.Contains(got, leak) {
					t.Errorf("the credential came back:\n%s", got)
				}
			}
			if res.Header.Get("X-Coding") != "identity" {
				t.Errorf("the upstream may answer in %q", res.Header.Get("X-Coding"))
			}
		})
	}
}

// repeater answers with raw bytes, %s being the credential that it was sent.
func repeater(t testing.TB, answers map[string]string) (addr, ca string, asked *sync.Map) {
	asked = &sync.Map{}
	addr, ca, _ = upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Path, r.Header.Clone())
		sent := r.Header.Get("Authorization")
		if sent == "" {
			sent = "Bearer " + realKey // what it was sent before, on another route
		}
		_, sent, _ = strings.Cut(sent, " ")
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, strings.ReplaceAll(answers[r.URL.Path], "%s", sent))
	}), apiHost, "other.example.com", "far.example.net")
	return addr, ca, asked
}

// The weakness: a masked body is not all of an answer. The attack: an upstream
// that repeats the credential in the header of a 101, in the frames after it, in
// an informational answer, a trailer, or a field's name. This proves that none of
// them brings it to the agent, and that the rest of the answer does arrive.
func TestInvariant2NoPartOfAnAnswerBringsTheCredential(t *testing.T) {
	frame := "\x81" + string([]byte{byte(len(realKey) + 4)}) + "see %s"
	addr, ca, asked := repeater(t, map[string]string{
		"/101":     "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + wsAccept + "X-Echo: %s\r\nX-%s: 1\r\n\r\n" + frame + "\x81\x04done",
		"/refused": "HTTP/1.1 400 %s\r\nX-Echo: %s\r\nContent-Length: 18\r\nX-Done: done\r\n\r\n%s",
		"/103":     "HTTP/1.1 103 Early\r\nLink: <%s>\r\nX-%s: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",
		"/trailer": "HTTP/1.1 200 OK\r\nTrailer: X-T, X-%s\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\nX-T: %s\r\nX-%s: 1\r\nX-Late-%s: 1\r\n\r\n",
		"/name":    "HTTP/1.1 200 OK\r\nX-%s: 1\r\nContent-Length: 4\r\n\r\ndone",
		"/body":    "HTTP/1.1 200 %s\r\nSet-Cookie: a=%s\r\nConnection: close\r\n\r\n%s done",
	})
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	for _, path := range []string{"/101", "/refused", "/103", "/trailer", "/name", "/body"} {
		t.Run(path, func(t *testing.T) {
			req := "GET " + path + " HTTP/1.1\r\nHost: api.example.com\r\nTe: trailers\r\nConnection: close\r\n\r\n"
			if path == "/101" || path == "/refused" {
				req = strings.Replace(strings.Replace(wsAsk, "/ws", path, 1), "keep-alive", "close", 1)
				req = strings.TrimSuffix(req, "\r\n") + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
			}
			c := w.tunnel(apiHost+":443", apiHost)
			_, _ = io.WriteString(c, req)
			got, _ := io.ReadAll(c)
			if bytes.Contains(bytes.ToLower(got), []byte(strings.ToLower(realKey))) {
				t.Errorf("the credential came back:\n%s", got)
			}
			mustContain(t, string(got), "done")
			if path != "/name" {
				mustContain(t, string(got), strings.Repeat("*", len(realKey)))
			}
			if h, ok := asked.Load(path); !ok || h.(http.Header).Get("Sec-Websocket-Extensions") != "" {
				t.Errorf("the upstream may compress frames: %v", h)
			}
		})
	}
}

// The weakness: what one route was sent, a server may tell on another. The attack:
// ask a route of the same host without a credential, one of another host at the
// same machine, and one somewhere else. This proves that all are held against all
// credentials, and that near the credential no coded answer is asked for.
func TestInvariant2AnotherRouteDoesNotTellTheCredential(t *testing.T) {
	said := "HTTP/1.1 200 OK\r\nX-Echo: %s\r\nConnection: close\r\n\r\nit was %s"
	addr, ca, asked := repeater(t, map[string]string{"/api": said, "/debug": said, "/other": said})
	far, farCA, farAsked := repeater(t, map[string]string{"/far": said})
	_, port, _ := net.SplitHostPort(far)
	with, without := withAuth(route(apiHost, addr, ca), "Basic", ""), route(apiHost, addr, ca)
	with.Paths, without.Paths = []string{"/api"}, []string{"/debug"}
	w := newWorld(t, nil, with, without, route("other.example.com", addr, ca), route("far.example.net", "localhost:"+port, farCA))
	w.answers["localhost"] = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	for _, url := range []string{apiHost + "/api", apiHost + "/debug", "other.example.com/other", "far.example.net/far"} {
		req, _ := http.NewRequest("GET", "https://"+url, nil)
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := w.client().Do(req)
		got := text(t, res, err) + res.Header.Get("X-Echo")
		mustContain(t, got, "it was ***", strings.Repeat("*", len(realKey)))
		if strings.Contains(got, realKey) || strings.Contains(got, base64.StdEncoding.EncodeToString([]byte(realKey))[:8]) {
			t.Errorf("%s tells the credential: %s", url, got)
		}
	}
	for path, want := range map[string]string{"/api": "identity", "/debug": "identity", "/other": "identity", "/far": "gzip"} {
		h, ok := asked.Load(path)
		if path == "/far" {
			h, ok = farAsked.Load(path)
		}
		if !ok || h.(http.Header).Get("Accept-Encoding") != want {
			t.Errorf("%s was asked with %v, want %s", path, h, want)
		}
	}
}

// A credential stays known after its route has gone: the server still has it.
func TestInvariant2ARemovedRouteIsStillMasked(t *testing.T) {
	addr, ca, _ := repeater(t, map[string]string{"/x": "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s!"})
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	if _, err := w.p.SetPolicy(compile(t, route(apiHost, addr, ca))); err != nil {
		t.Fatal(err)
	}
	res, err := w.client().Get("https://" + apiHost + "/x")
	if got := text(t, res, err); got != strings.Repeat("*", len(realKey))+"!" {
		t.Errorf("got %q", got)
	}
}

// The weakness: two code paths to the upstream. The attack: a header that one of
// them strips and the other forwards. This proves that a WebSocket's handshake is
// dressed like any request: no word of the agent about who forwarded it, and no
// name for a client that gave none.
func TestWebSocketIsDressedLikeAnyRequest(t *testing.T) {
	addr, ca, asked := repeater(t, map[string]string{"/ws": "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", "/x": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"})
	w := newWorld(t, nil, route(apiHost, addr, ca))
	claims := "Forwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_Host: evil\r\nX-Forwarded-Proto: http\r\nX-Real-IP: 1.2.3.4\r\nX-Stays: yes\r\n\r\n"
	for path, req := range map[string]string{"/ws": wsAsk, "/x": "GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n"} {
		ask200(t, w.tunnel(apiHost+":443", apiHost), strings.TrimSuffix(req, "\r\n")+claims)
		h, _ := asked.Load(path)
		for name := range h.(http.Header) {
			if strings.Contains(strings.ToLower(name), "forwarded") || name == "X-Real-Ip" || name == "User-Agent" {
				t.Errorf("%s: %s reached the upstream", path, name)
			}
		}
		if h.(http.Header).Get("X-Stays") != "yes" {
			t.Errorf("%s: %v", path, h)
		}
	}
}
