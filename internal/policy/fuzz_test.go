package policy

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"bottle/internal/bottle"

	"pgregory.net/rapid"
)

// readings are what servers of all kinds make of a path: decoded up to four
// times, backslashes turned, parameters dropped, cut at ? and #, cleaned. That
// %61 and a are one letter is common to all of them (RFC 3986 section 6.2.2.2).
func readings(escaped string) []string {
	var out []string
	if p, err := bottle.ReadPath(escaped); err == nil {
		escaped = p.Text
	}
	for range 5 {
		for _, turn := range []bool{false, true} {
			for _, drop := range []bool{false, true} {
				for _, cut := range []bool{false, true} {
					out = append(out, reading(escaped, turn, drop, cut))
				}
			}
		}
		next, err := url.PathUnescape(escaped)
		if err != nil || next == escaped {
			return out
		}
		escaped = next
	}
	return out
}

func reading(s string, turn, drop, cut bool) string {
	if cut {
		if i := strings.IndexAny(s, "?#\x00"); i >= 0 {
			s = s[:i]
		}
	}
	if turn {
		s = strings.ReplaceAll(s, "\\", "/")
	}
	if drop {
		segs := strings.Split(s, "/")
		for i := range segs {
			segs[i], _, _ = strings.Cut(segs[i], ";")
		}
		s = strings.Join(segs, "/")
	}
	return path.Clean("/" + s)
}

func under(p, prefix string) bool {
	return p == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(p, strings.TrimSuffix(prefix, "/")+"/")
}

type failer interface{ Fatalf(string, ...any) }

// checkReadings holds two promises. A path that is let through is below the
// allowed prefix to every server. A path whose route is the wide one is inside
// the narrow one to no server, nor the other way round.
func checkReadings(t failer, narrow, wide *Policy, escaped string) {
	r := Request{Scheme: "https", Host: "a.example.com", Port: 443, Method: "GET", Path: escaped}
	if v := narrow.Decide(r); v.Allowed() {
		for _, seen := range readings(escaped) {
			if !under(seen, "/v1/") {
				t.Fatalf("%q is allowed, and some server reads %q", escaped, seen)
			}
		}
	}
	v := wide.Decide(r)
	if !v.Allowed() {
		return
	}
	for _, seen := range readings(escaped) {
		if under(seen, "/v1/admin") != (v.Rule == "admin:1") {
			t.Fatalf("%q is decided by %s, and some server reads %q", escaped, v.Rule, seen)
		}
	}
}

func twoPolicies(t testing.TB) (narrow, wide *Policy) {
	return compile(t, route(t, "a.example.com", paths("/v1/"))),
		compile(t, route(t, "a.example.com", rule("any:1")), route(t, "a.example.com", paths("/v1/admin"), token_("A"), rule("admin:1")))
}

func FuzzDecide(f *testing.F) {
	for _, s := range []string{"/v1/x", "/v1/admin", "/v1/..%2fadmin", "/v1%2fadmin", "/v1/%2e%2e/x", "/v1/..;/x", "/v1/%252e%252e/x", "/v1//admin", "/v1;x/admin", "/v1/admin;x", "/v1/admin%3fx", "/v1/x%23/../y", "/v1\\..\\x", "/v1/%5c../x", "/%76%31/admin"} {
		f.Add(s)
	}
	narrow, wide := twoPolicies(f)
	f.Fuzz(func(t *testing.T, s string) { checkReadings(t, narrow, wide, s) })
}

func TestDecideReadings(t *testing.T) {
	narrow, wide := twoPolicies(t)
	piece := rapid.SampledFrom([]string{"v1", "admin", "x", "/", "//", "/v1/", "/v1/admin", ".", "..", "%2e", "%2E%2e", "%2F", "%2f", "%5c", "\\", ";", "%3b", "%25", "25", "2f", "2e", "%3f", "%23", "%20", "%00", "%61dmin", "%76%31"})
	rapid.Check(t, func(rt *rapid.T) {
		checkReadings(rt, narrow, wide, "/"+strings.Join(rapid.SliceOfN(piece, 0, 7).Draw(rt, "pieces"), ""))
	})
}

// FuzzExplain looks for a URL that Explain allows and that net/url, as clients
// use it, reads as another host.
func FuzzExplain(f *testing.F) {
	for _, s := range []string{"https://a.example.com/", "https://a.example.com:443/x", "https://a.example.com@evil.org/", "https://evil.org#@a.example.com/", "https://evil.org\\@a.example.com/", "https://a.example.com\\@evil.org/", "https://[::1]/", "https://a%2eexample.com/", "https://a。example.com", "https://a.example.com:443:80/", "https://a.example.com?@evil.org"} {
		f.Add("GET", s)
	}
	p := compile(f, route(f, "a.example.com"), route(f, "*.example.com"))
	f.Fuzz(func(t *testing.T, method, s string) {
		v, err := Explain(p, method, s)
		if err != nil || !v.Allowed() {
			return
		}
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		h, err := bottle.ParseHost(u.Hostname())
		if err != nil || !v.Route.Host.Matches(h) || u.User != nil {
			t.Fatalf("%q is allowed by %s, and net/url reads the host %q", s, v.Route.Host, u.Host)
		}
	})
}

// Only canonical hosts below a pattern are ever let through.
func FuzzConnect(f *testing.F) {
	for _, s := range []string{"a.example.com", "*.example.com", "x/.example.com", "evil.org\x00.example.com", "A.example.com", ".example.com", "xn--a.example.com"} {
		f.Add(s)
	}
	p := compile(f, route(f, "*.example.com"))
	f.Fuzz(func(t *testing.T, s string) {
		if !p.Connect(bottle.Host(s), 443).Allowed() {
			return
		}
		h, err := bottle.ParseHost(s)
		if err != nil || string(h) != s || !strings.HasSuffix(s, ".example.com") {
			t.Fatalf("%q is let through; it reads as %q, %v", s, h, err)
		}
	})
}
