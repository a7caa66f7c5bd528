package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

// TestCurl: both versions of HTTP, every way in, a body that is sent, one that is
// waited with, and one that nobody wants.
func TestCurl(t *testing.T) {
	require.Tool(t, "curl")
	plain, err := loopback.Plain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("plain " + r.URL.Path + "\n")) }))
	open := serve(t, plain, err, "plain.example.org")
	open.port = 80
	unwilling, err := loopback.Stream(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge) // the body was not asked for
	}), "upload.example.org")
	closed := serve(t, unwilling, err, "upload.example.org")
	b := newBox(t, []*site{apiSite(t), open, closed})
	r := b.run(`
o() { name=$1; shift; as $name curl -sS --fail-with-body -m 20 -w '%{response_code} over %{http_version}\n' "$@"; }
c() { o "$@" -H "Authorization: Bearer $GH_TOKEN"; }
head -c 300000 /dev/zero >/tmp/body
u=https://api.example.com/v1
c h1-proxy --http1.1 $u/h1-proxy
c h1-direct --http1.1 --noproxy '*' $u/h1-direct
c h2-proxy --http2 $u/h2-proxy
c h2-direct --http2 --noproxy '*' $u/h2-direct
c post -d 'some=body' $u/post
c upload-h1 --http1.1 -T /tmp/body $u/upload-h1
c upload-h2 --http2 -T /tmp/body $u/upload-h2
c chunked --http1.1 -H 'Transfer-Encoding: chunked' -T /tmp/body $u/chunked
c expect-h1 --http1.1 -H 'Expect: 100-continue' --expect100-timeout 15 --data-binary @/tmp/body $u/expect-h1
o expect-no --http1.1 -H 'Expect: 100-continue' --expect100-timeout 15 --data-binary @/tmp/body https://upload.example.org/expect-no
c head -I $u/head
o plain-proxy http://plain.example.org/plain-proxy
o plain-direct --noproxy '*' http://plain.example.org/plain-direct
o no-proxy https://no-proxy.example.net/
o no-direct --noproxy '*' https://no-direct.example.net/
`)
	h1, h2 := "200 over 1.1", "200 over 2"
	said := func(name, method, n, over string) []string {
		return []string{"the API got " + method + " /v1/" + name + " and " + n + " bytes", over}
	}
	r.allowed(
		call{name: "h1-proxy", says: said("h1-proxy", "GET", "0", h1)},
		call{name: "h1-direct", says: said("h1-direct", "GET", "0", h1)},
		call{name: "h2-proxy", says: said("h2-proxy", "GET", "0", h2), proto: "HTTP/2.0"},
		call{name: "h2-direct", says: said("h2-direct", "GET", "0", h2), proto: "HTTP/2.0"},
		call{name: "post", method: "POST", body: 9},
		call{name: "upload-h1", method: "PUT", body: 300000, says: said("upload-h1", "PUT", "300000", h1)},
		call{name: "upload-h2", method: "PUT", body: 300000, says: said("upload-h2", "PUT", "300000", h2)},
		call{name: "chunked", method: "PUT", body: 300000},
		call{name: "expect-h1", method: "POST", body: 300000},
		call{name: "head", method: "HEAD", says: []string{"200 over"}},
		call{name: "plain-proxy", host: "plain.example.org", path: "/plain-proxy", says: []string{"plain /plain-proxy\n" + h1}, proto: "HTTP/1.1"},
		call{name: "plain-direct", host: "plain.example.org", path: "/plain-direct", says: []string{"plain /plain-direct\n" + h1}, proto: "HTTP/1.1"},
	)
	r.refused(byProxy, "no-proxy")
	r.refused(direct, "no-direct")
	if s := r.said["expect-no"]; s.code != "22" || !strings.Contains(s.text, "413 over 1.1") {
		t.Errorf("a body that was not asked for: %q %s", s.code, s.text)
	}
	for _, rec := range r.records {
		// The gateway asks for the body itself, to look for secrets before anything leaves.
		if rec.Path == "/expect-no" && rec.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("a body that was not asked for: %+v", rec)
		}
	}
}

// TestCurlOtherProxies: the same port speaks SOCKS5, with the name or with the
// address that the bottle's DNS gave for it, and takes TLS to itself.
func TestCurlOtherProxies(t *testing.T) {
	require.Tool(t, "curl")
	plain, err := loopback.Plain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("plain " + r.URL.Path + "\n")) }))
	open := serve(t, plain, err, "plain.example.org")
	open.port = 80
	r := newBox(t, []*site{apiSite(t), open}).run(`
o() { name=$1; shift; as $name curl -sS --fail-with-body -m 20 -w '%{response_code} over %{http_version}\n' "$@"; }
c() { o "$@" -H "Authorization: Bearer $GH_TOKEN"; }
u=https://api.example.com/v1
c socks-h1 -x socks5h://127.0.0.1:9099 --http1.1 $u/socks-h1
c socks-h2 -x socks5h://127.0.0.1:9099 $u/socks-h2 -d some=body
c socks-address -x socks5://127.0.0.1:9099 $u/socks-address
o socks-plain -x socks5h://127.0.0.1:9099 http://plain.example.org/socks-plain
c secure -x https://127.0.0.1:9099 --proxy-cacert /etc/ssl/bottle-ca.pem $u/secure
c secure-name --resolve gateway.bottle:9099:127.0.0.1 -x https://gateway.bottle:9099 --proxy-cacert /etc/ssl/bottle-ca.pem $u/secure-name
o secure-plain -x https://127.0.0.1:9099 --proxy-cacert /etc/ssl/bottle-ca.pem http://plain.example.org/secure-plain
o no-socks -x socks5h://127.0.0.1:9099 https://no-socks.example.net/
o no-address -x socks5://127.0.0.1:9099 https://no-address.example.net/
o no-secure -x https://127.0.0.1:9099 --proxy-cacert /etc/ssl/bottle-ca.pem https://no-secure.example.net/
`)
	r.allowed(
		call{name: "socks-h1"}, call{name: "socks-h2", method: "POST", body: 9, proto: "HTTP/2.0"}, call{name: "socks-address", proto: "HTTP/2.0"},
		call{name: "socks-plain", host: "plain.example.org", path: "/socks-plain", says: []string{"plain /socks-plain\n200 over 1.1"}},
		call{name: "secure", proto: "HTTP/2.0"}, call{name: "secure-name", proto: "HTTP/2.0"},
		call{name: "secure-plain", host: "plain.example.org", path: "/secure-plain", says: []string{"plain /secure-plain\n200 over 1.1"}},
	)
	r.refused(byProxy, "no-socks", "no-secure")
	r.refused(direct, "no-address") // the name is asked for first
}

// passedSite is a site whose TLS the gateway does not open.
func passedSite(t *testing.T) *site {
	t.Helper()
	srv, err := loopback.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.Proto, "to", r.URL.Path) }), "sealed.example.org")
	s := serve(t, srv, err, "sealed.example.org")
	s.passed = true
	return s
}

// TestCurlPassedThrough: the client sees the site's own certificate, which it has to
// trust by itself, and the log knows of the connection alone.
func TestCurlPassedThrough(t *testing.T) {
	require.Tool(t, "curl")
	s := passedSite(t)
	b := newBox(t, []*site{s})
	b.write("work/own.pem", string(s.ca))
	r := b.run(`
c() { name=$1; shift; as $name curl -sS --fail -m 20 "$@" https://sealed.example.org/$name; }
c proxy --cacert own.pem
c direct --cacert own.pem --noproxy '*'
c distrust
c distrust-direct --noproxy '*'
`)
	for _, name := range []string{"proxy", "direct"} {
		r.ended("HTTP/2.0 to /"+name+"\n", name)
	}
	for _, name := range []string{"distrust", "distrust-direct"} {
		if s := r.said[name]; s.code != "60" {
			t.Errorf("%s ended with %q: %s", name, s.code, s.text)
		}
	}
	opened := 0
	for _, rec := range r.about(s.host) {
		if rec.Kind == "tls" && rec.Verdict == "allow" && rec.Path == "" {
			opened++
		} else if rec.Kind != "stream-end" {
			t.Errorf("the record is %+v", rec)
		}
	}
	if n := len(s.requests()); n != 2 || opened != 4 {
		t.Errorf("%d requests, %d connections on record", n, opened)
	}
}
