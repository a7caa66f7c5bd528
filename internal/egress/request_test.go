package egress

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"bottle/internal/egress/denial"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// An allowed call succeeds with a credential that the agent does not hold, and
// everything that the agent says about who it is stays behind.
func TestCredentialIsInjectedAndTheAgentsStripped(t *testing.T) {
	var saw atomic.Value // what the agent gets back has the credential masked
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var all strings.Builder
		_ = r.Header.Write(&all)
		saw.Store(strings.ReplaceAll(all.String(), "\r", ""))
		echo(w, r)
	}), apiHost)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+realKey))
	for _, c := range []struct{ scheme, header, want string }{
		{"Bearer", "", "Authorization: Bearer " + realKey},
		{"token", "", "Authorization: token " + realKey},
		{"Basic", "", "Authorization: " + basic},
		{"header", "X-Api-Key", "X-Api-Key: " + realKey},
	} {
		t.Run(c.scheme, func(t *testing.T) {
			w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), c.scheme, c.header))
			req, _ := http.NewRequest("GET", "https://"+apiHost+"/v1/x?q=a;b&c", nil)
			for _, h := range []string{"Authorization", "X-Api-Key", "Proxy-Authorization", "Cookie", "Private-Token"} {
				req.Header.Set(h, "the-agents-own")
			}
			req.Header["X_Api_Key"] = []string{"the-agents-own"}
			req.Header.Set("X-Custom", "key="+heldKey)
			req.Header.Set("X-Harmless", "stays")
			req.Header.Set("X-Listed", "goes")
			req.Header.Set("Connection", "X-Listed")
			res, err := w.client().Do(req)
			got := text(t, res, err)
			mustContain(t, got, "GET /v1/x?q=a;b&c\n", "X-Harmless: stays")
			mustContain(t, saw.Load().(string), c.want+"\n")
			for _, gone := range []string{"the-agents-own", heldKey, "X-Listed", "Proxy-"} {
				if strings.Contains(got, gone) {
					t.Errorf("%q reached the upstream:\n%s", gone, got)
				}
			}
			if res.Header.Get("X-Seen-Host") != apiHost {
				t.Errorf("upstream saw host %q", res.Header.Get("X-Seen-Host"))
			}
			r := w.one(1)
			if r.Verdict != "allow" || r.Credential != tokenRef || r.Path != "/v1/x" || r.Status != 200 || r.BytesIn != int64(len(got)) || r.Rule != "bottle.md:7" {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestRouteWithoutAuthKeepsTheAgentsHeaders(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	req, _ := http.NewRequest("POST", "https://"+apiHost+"/", strings.NewReader("hello"))
	req.Header.Set("Authorization", "Bearer mine")
	res, err := w.client().Do(req)
	mustContain(t, text(t, res, err), "Authorization: Bearer mine", "hello")
	if r := w.one(1); r.BytesOut != 5 || r.Credential != "" {
		t.Errorf("record %+v", r)
	}
}

func TestDeniedConnectGetsJSON(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	c := w.raw(w.addr, "CONNECT evil.example.net:443 HTTP/1.1\r\nHost: evil.example.net:443\r\n\r\n")
	d := denied(t, answered(t, c), 403, policy.HostNotListed)
	if d.Host != "evil.example.net" || d.Error != "denied" || d.Ask == nil || d.Ask.Print != "" || d.Ask.Host != d.Host || !strings.HasPrefix(d.Message, "blocked: ") {
		t.Errorf("denial %+v", d)
	}
	r := w.one(1)
	if r.Kind != KindConnect || r.Verdict != "deny" || r.Host != "evil.example.net" || r.Port != 443 || r.Policy != d.Policy {
		t.Errorf("record %+v", r)
	}
	if got := w.looked(); len(got) != 0 {
		t.Errorf("a denied name was looked up: %v", got)
	}
}

// What a request inside a tunnel may not be.
func TestRefusedRequests(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	r := withAuth(route(apiHost, addr, ca), "Bearer", "")
	r.Paths, r.Methods = []string{"/v1"}, []string{"GET", "POST"}
	for _, c := range []struct {
		name, req string
		status    int
		reason    policy.Reason
	}{
		{"path", "GET /v2 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 403, policy.PathNotListed},
		{"climbs", "GET /v1/../v2 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 403, policy.BadPath},
		{"method", "DELETE /v1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 403, policy.MethodNotListed},
		{"trace", "TRACE /v1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 403, policy.MethodForbidden},
		{"connect inside", "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n", 403, policy.BadPath},
		{"star", "OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 403, policy.BadPath},
		{"other host", "GET /v1 HTTP/1.1\r\nHost: other.example.com\r\n\r\n", 421, policy.AuthorityMismatch},
		{"other port", "GET /v1 HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n", 421, policy.AuthorityMismatch},
		{"absolute other host", "GET https://other.example.com/v1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 421, policy.AuthorityMismatch},
		{"absolute http", "GET http://api.example.com/v1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 403, policy.BadScheme},
		{"userinfo", "GET https://api.example.com@evil.example.net/v1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 403, policy.BadRequest},
		{"bad host", "GET /v1 HTTP/1.1\r\nHost: api.example.com:abc\r\n\r\n", 403, policy.BadHost},
		{"no host", "GET /v1 HTTP/1.0\r\n\r\n", 403, policy.BadRequest},
		{"fragment", "GET /v1#/../v2 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 403, policy.BadPath},
		{"h2c", "GET /v1 HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 403, policy.UpgradeRefused},
		{"long URL", "GET /v1/" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 414, policy.LimitURL},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil, r)
			denied(t, ask200(t, w.tunnel(apiHost+":443", apiHost), c.req), c.status, c.reason)
			got := w.one(1)
			if got.Verdict != "deny" || got.Reason != string(c.reason) || got.Status != c.status || got.Credential != "" {
				t.Errorf("record %+v", got)
			}
		})
	}
}

func TestRefusedAtTheExplicitPort(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	auth := withAuth(route(apiHost, "", ca), "Bearer", "")
	auth.Ports = []uint16{80, 443}
	pass := route("pass.example.com", addr, "")
	pass.TLS, pass.Ports = "passthrough", []uint16{80, 443}
	for _, c := range []struct {
		name, req string
		reason    policy.Reason
	}{
		{"not a proxy request", "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", policy.BadRequest},
		{"https in the clear", "GET https://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", policy.BadScheme},
		{"ftp", "GET ftp://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", policy.BadScheme},
		{"credential in the clear", "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", policy.CleartextAuth},
		{"passthrough in the clear", "GET http://pass.example.com/ HTTP/1.1\r\nHost: pass.example.com\r\n\r\n", policy.PassthroughOnly},
		{"port", "GET http://api.example.com:8080/ HTTP/1.1\r\nHost: api.example.com:8080\r\n\r\n", policy.PortNotListed},
		{"userinfo", "GET http://a:b@api.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", policy.BadRequest},
		{"octal loopback", "GET http://0177.0.0.1/ HTTP/1.1\r\nHost: 0177.0.0.1\r\n\r\n", policy.PrivateAddress},
		{"metadata", "GET http://169.254.169.254/latest HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", policy.MetadataAddress},
		{"connect without port", "CONNECT api.example.com HTTP/1.1\r\nHost: x\r\n\r\n", policy.BadHost},
		{"connect a URL", "CONNECT /x HTTP/1.1\r\nHost: x\r\n\r\n", policy.BadHost},
		{"connect literal", "CONNECT 2130706433:443 HTTP/1.1\r\nHost: 2130706433:443\r\n\r\n", policy.PrivateAddress},
		{"connect with body", "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", policy.BadFraming},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil, auth, pass)
			denied(t, answered(t, w.raw(w.addr, c.req)), 403, c.reason)
			if got := w.one(1); got.Verdict != "deny" || got.Reason != string(c.reason) {
				t.Errorf("record %+v", got)
			}
			if got := w.looked(); len(got) != 0 {
				t.Errorf("looked up %v", got)
			}
		})
	}
}

func TestMissingCredentialIsADenialNotABareRequest(t *testing.T) {
	hits := 0
	addr, ca, _ := upstream(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }), apiHost)
	for name, inj := range map[string]func(string) (secret.Value, bool){
		"nil":     nil,
		"missing": func(string) (secret.Value, bool) { return secret.Value{}, false },
		"empty":   func(string) (secret.Value, bool) { return secret.Value{}, true },
		"break":   func(string) (secret.Value, bool) { return secret.New([]byte("a\r\nX-Evil: 1")), true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.Inject = inj }, withAuth(route(apiHost, addr, ca), "Bearer", ""))
			res, err := w.client().Get("https://" + apiHost + "/")
			if err != nil {
				t.Fatal(err)
			}
			denied(t, res, 403, policy.NoCredential)
			if r := w.one(1); r.Verdict != "deny" {
				t.Errorf("record %+v", r)
			}
		})
	}
	if hits != 0 {
		t.Errorf("the upstream saw %d requests", hits)
	}
}

// A listed name that resolves to a private address, or to one among others, is
// refused: DNS rebinding, or a split horizon that the operator did not spell out.
func TestEveryAddressMustBePublic(t *testing.T) {
	for name, c := range map[string]struct {
		addrs  []string
		reason policy.Reason
	}{
		"loopback":     {[]string{"127.0.0.1"}, policy.PrivateAddress},
		"one of two":   {[]string{"192.0.2.1", "10.0.0.1"}, policy.PrivateAddress},
		"mapped":       {[]string{"::ffff:127.0.0.1"}, policy.PrivateAddress},
		"metadata":     {[]string{"169.254.169.254"}, policy.MetadataAddress},
		"unique local": {[]string{"fd00::1"}, policy.PrivateAddress},
		"synthetic":    {[]string{"198.18.0.5"}, policy.PrivateAddress},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, route(apiHost, "", ""))
			for _, a := range c.addrs {
				w.answers[apiHost] = append(w.answers[apiHost], netip.MustParseAddr(a))
			}
			res, err := w.client().Get("https://" + apiHost + "/")
			if err != nil {
				t.Fatal(err)
			}
			denied(t, res, 403, c.reason)
			if r := w.one(1); r.Verdict != "deny" || r.Reason != string(c.reason) {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestUpstreamFaults(t *testing.T) {
	closed := listen(t)
	gone := closed.Addr().String()
	_ = closed.Close()
	wrongName, wrongCA, _ := upstream(t, http.HandlerFunc(echo), "other.example.com")
	right, _, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	garbage := listen(t)
	go func() {
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 mail ready\r\n")
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = garbage.Close() })
	for name, c := range map[string]struct {
		addr, ca string
		reason   policy.Reason
		note     string // tells the operator, and not the agent
	}{
		"does not resolve":   {"", "", policy.UpstreamResolve, ""},
		"refuses":            {gone, "", policy.UpstreamUnreachable, "the connection was refused by " + gone},
		"unknown CA":         {right, "", policy.UpstreamTLS, "unknown authority"},
		"other name":         {wrongName, wrongCA, policy.UpstreamTLS, "certificate is for another name: other.example.com"},
		"no TLS":             {garbage.Addr().String(), "", policy.UpstreamTLS, "does not speak TLS"},
		"ca_file is missing": {right, "/nonexistent/ca.pem", policy.UpstreamTLS, "read ca_file: open /nonexistent/ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, route(apiHost, c.addr, c.ca))
			res, err := w.client().Get("https://" + apiHost + "/")
			if err != nil {
				t.Fatal(err)
			}
			d := denied(t, res, 502, c.reason)
			if d.Error != "upstream" {
				t.Errorf("denial %+v", d)
			}
			if c.note != "" && strings.Contains(d.Message, c.note) {
				t.Errorf("the agent is told %q", d.Message)
			}
			if r := w.one(1); r.Reason != string(c.reason) || r.Status != 502 || !strings.Contains(r.Note, c.note) {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestUpstreamThatSpeaksNonsense(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		_, _ = io.WriteString(c, "NONSENSE\r\n\r\n")
		_ = c.Close()
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	res, err := w.client().Get("https://" + apiHost + "/")
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, 502, policy.UpstreamProtocol)
}

func TestUnasked101IsNotAPipe(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\nraw bytes")
		_ = c.Close()
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	denied(t, ask200(t, w.tunnel(apiHost+":443", apiHost), "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"), 502, policy.UpstreamProtocol)
}

// Two requests in one tunnel: the second names another host, which a shared
// front at the upstream would serve.
func TestSecondRequestWithAnotherHost(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca), route("other.example.com", addr, ca))
	c := w.tunnel(apiHost+":443", apiHost)
	if res := ask200(t, c, "GET /1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	denied(t, ask200(t, c, "GET /2 HTTP/1.1\r\nHost: other.example.com\r\n\r\n"), 421, policy.AuthorityMismatch)
	w.one(2)
	if _, err := io.WriteString(c, "GET /3 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the tunnel goes on after a mismatch")
		}
	}
}

// The weakness: two servers that read where a body ends, or whom a request is for,
// in two ways take one request for two (request smuggling, CWE-444). The attack:
// every spelling of it, in a tunnel that was good before. What this proves: each is
// refused with its reason, the upstream sees none of it, also not in another shape,
// and the tunnel is over.
func TestSmugglingSpellings(t *testing.T) {
	const host = "Host: api.example.com\r\n"
	for name, c := range map[string]struct {
		req    string
		reason policy.Reason
	}{
		"CL.TE":                {"POST / HTTP/1.1\r\n" + host + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", policy.BadFraming},
		"TE.CL":                {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n", policy.BadFraming},
		"TE.TE":                {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", policy.BadFraming},
		"TE twice":             {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", policy.BadFraming},
		"TE list":              {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", policy.BadFraming},
		"TE unknown":           {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", policy.BadFraming},
		"TE in quotes":         {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", policy.BadFraming},
		"TE with vertical tab": {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", policy.BadHeader},
		"TE with underscore":   {"POST / HTTP/1.1\r\n" + host + "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n", policy.BadFraming},
		"TE in HTTP/1.0":       {"POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", policy.BadFraming},
		"two lengths":          {"POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", policy.BadFraming},
		"one length twice":     {"POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", policy.BadFraming},
		"a list of lengths":    {"POST / HTTP/1.1\r\n" + host + "Content-Length: 3, 3\r\n\r\nabc", policy.BadFraming},
		"signed length":        {"POST / HTTP/1.1\r\n" + host + "Content-Length: +3\r\n\r\nabc", policy.BadFraming},
		"octal length":         {"POST / HTTP/1.1\r\n" + host + "Content-Length: 03\r\n\r\nabc", policy.BadFraming},
		"empty length":         {"POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n", policy.BadFraming},
		"endless length":       {"POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n", policy.BadFraming},
		"chunk extension":      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", policy.BadFraming},
		"chunk with 0x":        {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", policy.BadFraming},
		"long chunk":           {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", policy.BadFraming},
		"chunk with bare LF":   {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", policy.BadFraming},
		"framing trailer":      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", policy.BadFraming},
		"space before colon":   {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", policy.BadHeader},
		"space in name":        {"GET / HTTP/1.1\r\n" + host + "X Y: 1\r\n\r\n", policy.BadHeader},
		"no colon":             {"GET / HTTP/1.1\r\n" + host + "XY\r\n\r\n", policy.BadHeader},
		"folded":               {"GET / HTTP/1.1\r\n" + host + "X: 1\r\n folded: 1\r\n\r\n", policy.BadHeader},
		"folded with tab":      {"GET / HTTP/1.1\r\n" + host + "X: 1\r\n\tfolded: 1\r\n\r\n", policy.BadHeader},
		"bare LF":              {"GET / HTTP/1.1\n" + "Host: api.example.com\n\n", policy.BadHeader},
		"bare LF in a field":   {"GET / HTTP/1.1\r\n" + host + "X: 1\nY: 2\r\n\r\n", policy.BadHeader},
		"bare CR":              {"GET / HTTP/1.1\r\n" + host + "X: 1\rY: 2\r\n\r\n", policy.BadHeader},
		"NUL in value":         {"GET / HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n", policy.BadHeader},
		"two hosts":            {"GET / HTTP/1.1\r\n" + host + "Host: other.example.com\r\n\r\n", policy.BadHost},
		"one host twice":       {"GET / HTTP/1.1\r\n" + host + host + "\r\n", policy.BadHost},
		"no host":              {"GET / HTTP/1.1\r\n\r\n", policy.BadRequest},
		"two spaces":           {"GET  / HTTP/1.1\r\n" + host + "\r\n", policy.BadRequest},
		"space in target":      {"GET /a b HTTP/1.1\r\n" + host + "\r\n", policy.BadRequest},
		"tab in request line":  {"GET\t/ HTTP/1.1\r\n" + host + "\r\n", policy.BadRequest},
		"HTTP/0.9":             {"GET /\r\n\r\n", policy.BadRequest},
		"HTTP/1.2":             {"GET / HTTP/1.2\r\n" + host + "\r\n", policy.BadRequest},
		"HTTP/2 preface":       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", policy.BadRequest},
		"empty line first":     {"\r\nGET / HTTP/1.1\r\n" + host + "\r\n", policy.BadRequest},
		"upper half in target": {"GET /\xc3\xa9 HTTP/1.1\r\n" + host + "\r\n", policy.BadRequest},
		"unknown expectation":  {"POST / HTTP/1.1\r\n" + host + "Expect: 200-ok\r\nContent-Length: 0\r\n\r\n", policy.BadRequest},
		"unknown upgrade":      {"GET / HTTP/1.1\r\n" + host + "Connection: upgrade\r\nUpgrade: tls/1.0\r\n\r\n", policy.UpgradeRefused},
	} {
		t.Run(name, func(t *testing.T) {
			var hits atomic.Int64 // of this case: what is left of another may come late
			addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hits.Add(1); echo(w, r) }), apiHost)
			w := newWorld(t, nil, route(apiHost, addr, ca))
			tc := w.tunnel(apiHost+":443", apiHost)
			if res := ask200(t, tc, "GET /good HTTP/1.1\r\n"+host+"\r\n"); res.StatusCode != 200 {
				t.Fatalf("a good request: %s", res.Status)
			}
			denied(t, ask200(t, tc, c.req), denial.Status(c.reason), c.reason)
			if r := w.one(2); r.Verdict != "deny" || r.Reason != string(c.reason) || r.Host != apiHost || r.Kind != KindHTTP {
				t.Errorf("record %+v", r)
			}
			if n := hits.Load(); n > 2 { // a body that is wrong in its middle has begun by then
				t.Errorf("the upstream saw %d requests", n)
			}
			if b, _ := io.ReadAll(tc); len(b) > 0 {
				t.Errorf("the tunnel goes on: %q", b)
			}
		})
	}
}

// RFC 9112 section 3.2.2 lets a proxy ignore Host beside an absolute target. Who
// reads the request after it might not, so there is one reading or none.
func TestAbsoluteTargetAndHostMustAgree(t *testing.T) {
	plain := plainUpstream(t, http.HandlerFunc(echo))
	r := route("plain.example.com", plain, "")
	r.Ports = []uint16{80}
	w := newWorld(t, nil, r)
	denied(t, answered(t, w.raw(w.addr, "GET http://plain.example.com/x HTTP/1.1\r\nHost: evil.example.net\r\n\r\n")), 421, policy.AuthorityMismatch)
	if rec := w.one(1); rec.Host != "plain.example.com" {
		t.Errorf("record %+v", rec)
	}
	res := answered(t, w.raw(w.addr, "GET http://plain.example.com/x HTTP/1.1\r\nHost: plain.example.com:80\r\nProxy-Connection: keep-alive\r\nConnection: close\r\n\r\n"))
	if got := text(t, res, nil); res.StatusCode != 200 || res.Header.Get("X-Seen-Host") != "plain.example.com" || strings.Contains(got, "Proxy-") {
		t.Errorf("%s %v %s", res.Status, res.Header, got)
	}
	if rec := w.one(2); rec.Host != "plain.example.com" || rec.Verdict != "allow" {
		t.Errorf("record %+v", rec)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	hits := 0
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		http.Redirect(w, r, "https://evil.example.net/", http.StatusFound)
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	res, err := w.client().Get("https://" + apiHost + "/")
	_ = text(t, res, err)
	if res.StatusCode != 302 || hits != 1 {
		t.Errorf("status %d after %d hits", res.StatusCode, hits)
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	res, err := w.client().Get("http://gateway.bottle/")
	got := text(t, res, err)
	mustContain(t, got, `"ok":true`, `"identity":"tester-00000"`, `"policy":"`+w.p.policy.Load().Hash())
	res = answered(t, w.raw(w.addr, "GET / HTTP/1.1\r\nHost: gateway.bottle:9099\r\n\r\n"))
	mustContain(t, text(t, res, nil), `"ok":true`)
	if rs := w.all(); len(rs) != 0 {
		t.Errorf("records %+v", rs)
	}
	res, err = w.client().Get("http://gateway.bottle/else")
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, 403, policy.HostNotListed)
}

func TestSetPolicyDecidesTheNextRequestInAnOpenTunnel(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c := w.tunnel(apiHost+":443", apiHost)
	const req = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	if res := ask200(t, c, req); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if _, err := w.p.SetPolicy(nil); err == nil {
		t.Error("a nil policy was taken")
	}
	if _, err := w.p.SetPolicy(compile(t)); err != nil {
		t.Fatal(err)
	}
	denied(t, ask200(t, c, req), 403, policy.HostNotListed)
}

func TestZeroConfigIsRefused(t *testing.T) {
	ca, err := NewCA("x")
	if err != nil {
		t.Fatal(err)
	}
	full := Config{Identity: "x", Policy: compile(t), CA: ca, Record: func(Record) error { return nil }}
	for name, spoil := range map[string]func(*Config){
		"identity": func(c *Config) { c.Identity = "" },
		"policy":   func(c *Config) { c.Policy = nil },
		"ca":       func(c *Config) { c.CA = nil },
		"record":   func(c *Config) { c.Record = nil },
	} {
		c := full
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("without %s it was taken", name)
		}
	}
	if _, err := New(full); err != nil {
		t.Error(err)
	}
}

func plainUpstream(t testing.TB, h http.Handler) string {
	t.Helper()
	l := listen(t)
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return l.Addr().String()
}

// The agent picks http for a route that means TLS: the credential would cross
// the network in the clear, also to an address that the operator wrote.
func TestAgentCannotTakeTLSOffTheCredential(t *testing.T) {
	hits := 0
	plain := plainUpstream(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	r := withAuth(route(apiHost, plain, ""), "Bearer", "")
	r.Ports = []uint16{443, 8443}
	w := newWorld(t, nil, r)
	denied(t, answered(t, w.raw(w.addr, "GET http://api.example.com:8443/ HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n")), 403, policy.CleartextAuth)
	denied(t, answered(t, w.raw(w.addr, "GET http://api.example.com:443/ HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")), 403, policy.CleartextAuth)
	c := w.connect(apiHost + ":443")
	denied(t, ask200(t, c, "GET / HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"), 403, policy.CleartextAuth)
	w.heading(w.named(apiHost) + ":443")
	denied(t, ask200(t, w.raw(w.direct, ""), "GET / HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"), 403, policy.CleartextAuth)
	if hits != 0 {
		t.Errorf("%d requests went out", hits)
	}
}

// A fault of our own lets nothing out and leaves a record.
func TestFaultInsideIsADenial(t *testing.T) {
	hits := 0
	var broken atomic.Bool
	addr, ca, _ := upstream(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }), apiHost)
	w := newWorld(t, func(c *Config) {
		c.Inject = func(string) (secret.Value, bool) {
			if broken.Load() {
				panic(http.ErrAbortHandler)
			}
			return secret.New([]byte(realKey)), true
		}
	}, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	broken.Store(true)
	c := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if b, _ := io.ReadAll(c); len(b) != 0 {
		t.Errorf("answered %q", b)
	}
	if r := w.one(1); r.Verdict != "deny" || r.Reason != string(policy.Internal) || hits != 0 {
		t.Errorf("record %+v after %d hits", r, hits)
	}
}

// The refusal of a large upload can still be read.
func TestDeniedUploadIsToldWhy(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	rt := route(apiHost, "", "")
	rt.Methods = []string{"GET"}
	if _, err := w.p.SetPolicy(compile(t, rt)); err != nil {
		t.Fatal(err)
	}
	res, err := w.client().Post("https://"+apiHost+"/", "text/plain", io.LimitReader(zeros{}, 3<<20))
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, 403, policy.MethodNotListed)
}

// What a client sends together with CONNECT belongs to the inside of the tunnel.
func TestPipelinedConnect(t *testing.T) {
	r := route("plain.example.com", plainUpstream(t, http.HandlerFunc(echo)), "")
	r.Ports = []uint16{80}
	w := newWorld(t, nil, r)
	c := w.raw(w.addr, "CONNECT plain.example.com:80 HTTP/1.1\r\nHost: plain.example.com:80\r\n\r\nGET /x HTTP/1.1\r\nHost: evil.example.net\r\nConnection: close\r\n\r\n")
	got, _ := io.ReadAll(c)
	mustContain(t, string(got), "200 Connection established", "421 Misdirected Request", "authority_mismatch")
}

// The weakness: a framework behind the upstream lets a header say that the
// request is another one. The attack: a listed GET /v1/ that claims to be DELETE
// /admin. This proves that such headers end at a route that limits what they claim.
func TestOverridesEndHere(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(echo), apiHost)
	spellings := []string{"X-Http-Method-Override", "X_HTTP_Method_Override", "X-Http-Method", "X-Original-Method",
		"X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X_Original_URI", "X-Original-Path", "X-Envoy-Original-Path", "X-Forwarded-Uri",
		"X-Forwarded-Path", "X-Override-Url", "X-HTTP-DestinationURL", "X-Replaced-Path", "X-Waf-Uri", "Request-Uri", "Destination"}
	for _, limited := range []bool{true, false} {
		r := route(apiHost, addr, ca)
		r.Methods, r.Paths = nil, nil
		if limited {
			r.Methods, r.Paths = []string{"GET"}, []string{"/v1"}
		}
		w := newWorld(t, nil, r)
		req, _ := http.NewRequest("GET", "https://"+apiHost+"/v1/x", nil)
		for _, h := range spellings {
			req.Header[h] = []string{"claimed"}
		}
		res, err := w.client().Do(req)
		if got := text(t, res, err); strings.Contains(got, "claimed") == limited {
			t.Errorf("limited %v, upstream saw:\n%s", limited, got)
		}
	}
}
