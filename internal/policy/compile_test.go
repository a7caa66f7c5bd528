package policy

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"

	"pgregory.net/rapid"
)

func TestCompileRefuses(t *testing.T) {
	dlp := func(s string) func(*bottle.Route) { return func(r *bottle.Route) { r.DLP = s } }
	tls := func(s string) func(*bottle.Route) { return func(r *bottle.Route) { r.TLS = s } }
	host := func(h bottle.Host, sub bool) func(*bottle.Route) {
		return func(r *bottle.Route) { r.Host = bottle.Pattern{Host: h, Sub: sub} }
	}
	auth := func(scheme, header string) func(*bottle.Route) {
		return func(r *bottle.Route) { r.Auth = &bottle.Auth{Scheme: scheme, Header: header, TokenRef: "X"} }
	}
	for say, r := range map[string]bottle.Route{
		"the host is empty":              route(t, "a.com", host("", false)),
		"empty label":                    route(t, "a.com", host("a..com", false)),
		"canonical form: that is a.com":  route(t, "a.com", host("A.com", false)),
		"whole top-level domain":         route(t, "a.com", host("com", true)),
		"anyone can register below gith": route(t, "*.github.io"),
		"anyone can register below co.u": route(t, "*.co.uk"),
		"no names below it":              route(t, "a.com", host("9.9.9.9", true)),
		"loopback":                       route(t, "127.0.0.1"),
		"cloud metadata":                 route(t, "169.254.169.254", ports(80)),
		"RFC 1918":                       route(t, "10.0.0.1"),
		"unique local":                   route(t, "[fd00::1]"),
		"documentation":                  route(t, "192.0.2.1", func(r *bottle.Route) { r.Upstream = &bottle.Upstream{CAFile: "/x"} }),
		"ports are missing":              route(t, "a.com", ports()),
		"or one is 0":                    route(t, "a.com", ports(443, 0)),
		"not an upper-case HTTP method":  route(t, "a.com", methods("get")),
		`"G T"`:                          route(t, "a.com", methods("G T")),
		"CONNECT is never":               route(t, "a.com", methods("CONNECT")),
		"TRACE is never":                 route(t, "a.com", methods("GET", "TRACE")),
		"does not begin with /":          route(t, "a.com", paths("v1")),
		"segment of dots":                route(t, "a.com", paths("/v1/../")),
		"encoded slash":                  route(t, "a.com", paths("/a%2fb")),
		"empty segment":                  route(t, "a.com", paths("/a//b")),
		"semicolon":                      route(t, "a.com", paths("/a;b")),
		`that is "/v1"`:                  route(t, "a.com", paths("/%761")),
		`dlp "loud"`:                     route(t, "a.com", dlp("loud")),
		`tls "plain"`:                    route(t, "a.com", tls("plain")),
		`inbound "loud"`:                 route(t, "a.com", func(r *bottle.Route) { r.Inbound = "loud" }),
		"can't see answers":              route(t, "a.com", passthrough, func(r *bottle.Route) { r.Inbound = "warn" }),
		"can't see paths":                route(t, "a.com", passthrough, paths("/v1")),
		"can't see methods":              route(t, "a.com", passthrough, methods("GET")),
		"can't inject":                   route(t, "a.com", passthrough, token_("X")),
		"names no credential":            route(t, "a.com", token_("")),
		"none of Bearer":                 route(t, "a.com", auth("Digest", "")),
		"not a header name":              route(t, "a.com", auth("header", "X Key")),
		`header "" is not`:               route(t, "a.com", auth("header", "")),
		"Transfer-Encoding frames":       route(t, "a.com", auth("header", "Transfer-Encoding")),
		"has no port":                    route(t, "a.com", upstream("10.0.0.7")),
		"upstream address":               route(t, "a.com", upstream("10.0.0.7:http")),
	} {
		p, err := Compile([]bottle.Route{r})
		if err == nil || !strings.Contains(err.Error(), say) || p != nil {
			t.Errorf("%s: %v, want an error about %q", r.Host, err, say)
		}
	}
}

func TestCompileReportsAllAtOnce(t *testing.T) {
	_, err := Compile([]bottle.Route{
		route(t, "10.0.0.1", rule("/home/x/b.md:20")), route(t, "a.com", rule("/home/x/b.md:7"), ports()), route(t, "b.com", rule("odd")), route(t, "*.co.uk", rule("")),
	})
	var problems bottle.Problems
	if !errors.As(err, &problems) || len(problems) != 3 || !problems.Fatal() {
		t.Fatalf("%v", err)
	}
	if problems[0].File != "" || problems[1].Line != 7 || problems[2].Line != 20 || problems[2].File != "/home/x/b.md" {
		t.Errorf("%v", err)
	}
}

func TestConflicts(t *testing.T) {
	redact := func(r *bottle.Route) { r.DLP = "redact" }
	for what, pair := range map[string][2]bottle.Route{
		"auth":               {route(t, "a.com", token_("A")), route(t, "a.com", token_("B"))},
		"auth and none":      {route(t, "a.com", token_("A")), route(t, "a.com")},
		"dlp":                {route(t, "a.com", paths("/v1")), route(t, "a.com", paths("/v1", "/v2"), redact)},
		"inbound":            {route(t, "a.com", paths("/v1")), route(t, "a.com", paths("/v1", "/v2"), func(r *bottle.Route) { r.Inbound = "warn" })},
		"upstream":           {route(t, "a.com"), route(t, "a.com", upstream("10.0.0.1:1"))},
		"methods overlap":    {route(t, "a.com", methods("GET", "PUT")), route(t, "a.com", methods("PUT"), redact)},
		"tls":                {route(t, "a.com", passthrough), route(t, "a.com", paths("/v1"))},
		"tls, other ports":   {route(t, "a.com", passthrough, ports(443, 8443)), route(t, "a.com", ports(8443))},
		"passthrough to two": {route(t, "*.a.com", passthrough), route(t, "*.a.com", passthrough, upstream("10.0.0.1:1"))},
	} {
		for _, routes := range [][]bottle.Route{pair[:], {pair[1], pair[0]}} {
			if _, err := Compile(routes); err == nil {
				t.Errorf("%s: two routes that contradict each other are let through", what)
			}
		}
	}
	for what, pair := range map[string][2]bottle.Route{
		"other ports":      {route(t, "a.com", token_("A")), route(t, "a.com", ports(80))},
		"other paths":      {route(t, "a.com", token_("A"), paths("/v1")), route(t, "a.com")},
		"other methods":    {route(t, "a.com", methods("GET")), route(t, "a.com", methods("PUT"), redact)},
		"any against some": {route(t, "a.com"), route(t, "a.com", methods("PUT"), redact)},
		"other pattern":    {route(t, "a.com", passthrough), route(t, "*.a.com")},
		"header auth": {route(t, "a.com", func(r *bottle.Route) {
			r.Auth = &bottle.Auth{Scheme: "header", Header: "X-Api-Key", TokenRef: "A"}
		}), route(t, "b.com")},
		"passthrough twice": {route(t, "a.com", passthrough, ports(443, 8443)), route(t, "a.com", passthrough)},
		"twice the same":    {route(t, "a.com", token_("A"), rule("x:1")), route(t, "a.com", token_("A"), rule("x:2"))},
	} {
		if _, err := Compile(pair[:]); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestMethodMoreSpecificThanAny(t *testing.T) {
	p := compile(t, route(t, "a.com", rule("any:1")), route(t, "a.com", methods("PUT"), token_("A"), rule("put:1")))
	for method, want := range map[string]string{"GET": "any:1", "PUT": "put:1"} {
		if v := p.Decide(Request{Scheme: "https", Host: "a.com", Port: 443, Method: method, Path: "/"}); v.Rule != want {
			t.Errorf("%s: %+v", method, v)
		}
	}
}

func TestHash(t *testing.T) {
	var none *Policy
	const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // printf '' | sha256sum
	if none.Hash() != nothing {
		t.Error("the hash of no policy is not the hash of nothing")
	}
	if h := compile(t).Hash(); h == nothing || len(h) != 64 {
		t.Errorf("the hash of an empty policy is %s", h)
	}
	base := route(t, "a.com", ports(443, 80), methods("GET", "PUT"), paths("/a", "/b"))
	want := compile(t, base, route(t, "b.com")).Hash()
	same := route(t, "a.com", ports(80, 443, 80), methods("PUT", "GET"), paths("/b", "/a"), rule("elsewhere:9"))
	same.TLS, same.DLP = "", ""
	if got := compile(t, route(t, "b.com"), same, base).Hash(); got != want {
		t.Error("the order of routes, the order in sets, repetition or the place of a rule changes the hash")
	}
	for what, change := range map[string]func(*bottle.Route){
		"ports": ports(443), "methods": methods("GET"), "paths": paths("/a"), "auth": token_("X"), "upstream": upstream("10.0.0.1:1"),
		"dlp": func(r *bottle.Route) { r.DLP = "off" }, "inbound": func(r *bottle.Route) { r.Inbound = "warn" }, "role": func(r *bottle.Route) { r.Role = "r" }, "host": func(r *bottle.Route) { r.Host.Sub = true },
	} {
		other := base
		change(&other)
		if compile(t, other, route(t, "b.com")).Hash() == want {
			t.Errorf("another %s has the same hash", what)
		}
	}
}

// The policy keeps nothing of the caller's memory.
func TestCompileCopies(t *testing.T) {
	routes := []bottle.Route{route(t, "a.com", ports(443), methods("GET"), paths("/v1"), token_("A"))}
	p := compile(t, routes...)
	routes[0].Ports[0], routes[0].Methods[0], routes[0].Paths[0], routes[0].Auth.TokenRef = 1, "PUT", "/", "STOLEN"
	v := p.Decide(Request{Scheme: "https", Host: "a.com", Port: 443, Method: "GET", Path: "/v1"})
	if !v.Allowed() || v.Route.Auth.TokenRef != "A" {
		t.Errorf("%+v", v)
	}
}

// The order in which routes come decides nothing.
func TestOrderDecidesNothing(t *testing.T) {
	pick := func(words ...string) *rapid.Generator[[]string] {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 2, rapid.ID)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var routes []bottle.Route
		for range rapid.IntRange(1, 5).Draw(rt, "routes") {
			r := route(t, rapid.SampledFrom([]string{"a.example.com", "*.example.com", "*.a.example.com"}).Draw(rt, "host"),
				ports(rapid.SliceOfN(rapid.SampledFrom([]uint16{80, 443}), 1, 2).Draw(rt, "ports")...),
				methods(pick("GET", "PUT").Draw(rt, "methods")...), paths(pick("/", "/v1", "/v1/", "/v1/x").Draw(rt, "paths")...))
			if rapid.Bool().Draw(rt, "auth") {
				r.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: rapid.SampledFrom([]string{"A", "B"}).Draw(rt, "ref")}
			}
			routes = append(routes, r)
		}
		p, err := Compile(routes)
		q, err2 := Compile(rapid.Permutation(routes).Draw(rt, "other order"))
		if (err == nil) != (err2 == nil) || p.Hash() != q.Hash() {
			rt.Fatalf("%v against %v, %s against %s", err, err2, p.Hash(), q.Hash())
		}
		r := Request{"https", rapid.SampledFrom([]bottle.Host{"a.example.com", "b.a.example.com", "b.example.com"}).Draw(rt, "asked"), 443,
			rapid.SampledFrom([]string{"GET", "PUT"}).Draw(rt, "method"), rapid.SampledFrom([]string{"/", "/v1", "/v1/x", "/v1/x/y", "/v2"}).Draw(rt, "path"), false}
		v, w := p.Decide(r), q.Decide(r)
		if v.Reason != w.Reason || v.Message != w.Message || v.Rule != w.Rule || v.Allowed() && !sameAuth(v.Route.Auth, w.Route.Auth) {
			rt.Fatalf("%+v: %+v against %+v", r, v, w)
		}
	})
}

func TestReasons(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)*$`)
	all := Reasons()
	for i, r := range all {
		if !snake.MatchString(string(r)) || slices.Contains(all[:i], r) {
			t.Errorf("%q is not snake_case or stands twice", r)
		}
		if r.Text() == Reason("").Text() {
			t.Errorf("%s has no sentence", r)
		}
		if r != Listed && Refuse(r, "").Allowed() {
			t.Errorf("%s: Refuse allows", r)
		}
	}
	if Refuse("", "").Message == "" || Reason("made_up").Text() != Reason("").Text() {
		t.Error("an unknown reason is not called undecided")
	}
}

func TestActionText(t *testing.T) {
	for _, a := range []Action{Allow, Deny} {
		text, err := a.MarshalText()
		got := Action(9)
		if err != nil || got.UnmarshalText(text) != nil || got != a {
			t.Errorf("%v came back as %v", a, got)
		}
	}
	a := Deny
	for _, s := range []string{"", "ALLOW", "yes", "allow "} {
		if a.UnmarshalText([]byte(s)) == nil || a != Deny {
			t.Errorf("%q is read as %v", s, a)
		}
	}
}

func TestExplainRefusesWhatIsNoURL(t *testing.T) {
	p := sample(t)
	for _, url := range []string{"", "api.example.com", "/v1/", "ftp://a/", "https:/a", "javascript://x", "https://u:p@api.example.com/v1/", "https://api.example.com@evil.org/", "https://a b/", "https://a/\x00", "https://a/\n", "https://a/ b"} {
		if v, err := Explain(p, "GET", url); err == nil || v.Allowed() {
			t.Errorf("%q: %+v", url, v)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: the error repeats the password", url)
		}
	}
	for url, reason := range map[string]Reason{"https://": BadHost, "HTTPS://registry.example.org": Listed, "wss://registry.example.org/x": Listed, "https://registry.example.org?q=/..": Listed, "https://\\evil/": BadHost, "https:///x": BadHost} {
		if v, err := Explain(p, "GET", url); err != nil || v.Reason != reason {
			t.Errorf("%q: %+v, %v; want %s", url, v, err, reason)
		}
	}
}
