package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"
)

// route makes a route as a manifest would; pattern must be valid.
func route(t testing.TB, pattern string, change ...func(*bottle.Route)) bottle.Route {
	t.Helper()
	p, err := bottle.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	r := bottle.Route{Host: p, Ports: []uint16{443}, TLS: "intercept", DLP: "block", Rule: "b.md:" + pattern}
	for _, f := range change {
		f(&r)
	}
	return r
}

func ports(p ...uint16) func(*bottle.Route)   { return func(r *bottle.Route) { r.Ports = p } }
func methods(m ...string) func(*bottle.Route) { return func(r *bottle.Route) { r.Methods = m } }
func paths(p ...string) func(*bottle.Route)   { return func(r *bottle.Route) { r.Paths = p } }
func rule(s string) func(*bottle.Route)       { return func(r *bottle.Route) { r.Rule = s } }
func token_(ref string) func(*bottle.Route) {
	return func(r *bottle.Route) { r.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: ref} }
}
func upstream(a string) func(*bottle.Route) {
	return func(r *bottle.Route) { r.Upstream = &bottle.Upstream{Address: a} }
}
func passthrough(r *bottle.Route) { r.TLS = "passthrough" }

func compile(t testing.TB, routes ...bottle.Route) *Policy {
	t.Helper()
	p, err := Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sample is a policy with something of everything.
func sample(t testing.TB) *Policy {
	return compile(t,
		route(t, "api.example.com", methods("GET", "POST"), paths("/v1/"), token_("API"), ports(443, 80), rule("b.md:10")),
		route(t, "api.example.com", methods("GET"), paths("/v1/files", "/public"), rule("b.md:20")),
		route(t, "*.example.com", paths("/cdn"), rule("b.md:30")),
		route(t, "*.deep.example.com", ports(443, 8443), rule("b.md:40")),
		route(t, "registry.example.org", rule("b.md:50")),
		route(t, "pass.example.net", passthrough, rule("b.md:60")),
		route(t, "192.0.2.7", upstream("127.0.0.1:8080"), ports(80), token_("LOCAL"), rule("b.md:70")),
		route(t, "9.9.9.9", rule("b.md:80")),
	)
}

func TestDecide(t *testing.T) {
	p := sample(t)
	for _, c := range []struct {
		do     string // METHOD URL
		reason Reason
		rule   string
	}{
		{"GET https://api.example.com/v1/x", Listed, "b.md:10"},
		{"GET https://api.example.com/v1/", Listed, "b.md:10"},
		{"POST https://api.example.com/v1/x", Listed, "b.md:10"},
		{"GET https://api.example.com/v1/files", Listed, "b.md:20"},
		{"GET https://api.example.com/v1/files/7", Listed, "b.md:20"},
		{"GET https://api.example.com/v1/%66iles/7", Listed, "b.md:20"},
		{"GET https://api.example.com/v1/files7", Listed, "b.md:10"},
		{"POST https://api.example.com/v1/files", Listed, "b.md:10"}, // the union: the shorter prefix lists the method
		{"GET https://API.EXAMPLE.COM.:443/public?x=/../", Listed, "b.md:20"},
		{"GET https://api.example.com", PathNotListed, ""},
		{"GET https://api.example.com/v1", PathNotListed, ""},
		{"GET https://api.example.com/v10/", PathNotListed, ""},
		{"GET https://api.example.com/V1/", PathNotListed, ""},
		{"GET https://api.example.com/publicity", PathNotListed, ""},
		{"GET https://api.example.com/cdn/x", PathNotListed, ""}, // exact over wildcard: nothing of it leaks in
		{"DELETE https://api.example.com/v1/x", MethodNotListed, ""},
		{"get https://api.example.com/v1/x", MethodNotListed, ""},
		{"POST https://api.example.com/public", MethodNotListed, ""},
		{"GET http://api.example.com/v1/x", CleartextAuth, "b.md:10"},
		{"GET http://api.example.com/public", PathNotListed, ""}, // that route is for 443 only
		{"GET https://api.example.com:8443/v1/x", PortNotListed, ""},
		{"GET https://www.example.com/cdn/x", Listed, "b.md:30"},
		{"GET https://a.b.example.com/cdn", Listed, "b.md:30"},
		{"PURGE https://www.example.com/cdn", Listed, "b.md:30"},
		{"GET https://www.example.com/x", PathNotListed, "b.md:30"},
		{"GET https://example.com/cdn", HostNotListed, ""},
		{"GET https://deep.example.com/cdn", Listed, "b.md:30"}, // the apex of *.deep is below *.example
		{"GET https://x.deep.example.com:8443/", Listed, "b.md:40"},
		{"GET https://www.example.com:8443/cdn", PortNotListed, "b.md:30"},
		{"CONNECT https://registry.example.org/", MethodForbidden, ""},
		{"TRACE https://registry.example.org/", MethodForbidden, ""},
		{"track https://registry.example.org/", MethodForbidden, ""},
		{"G@T https://registry.example.org/", BadMethod, ""},
		{" https://registry.example.org/", BadMethod, ""},
		{"GET https://registry.example.org/@scope%2fname", Listed, "b.md:50"},
		{"GET https://registry.example.org/a//b;c", Listed, "b.md:50"},
		{"GET https://registry.example.org/../x", BadPath, ""},
		{"GET https://registry.example.org\\x", BadPath, ""},
		{"GET https://api.example.com/v1/files;x", AmbiguousPath, ""},
		{"GET https://api.example.com/v1%2ffiles", AmbiguousPath, ""},
		{"GET https://api.example.com/v1//files", AmbiguousPath, ""},
		{"GET https://api.example.com/public%2fx", AmbiguousPath, ""},
		{"GET https://api.example.com/public%3fx", AmbiguousPath, ""},
		{"GET https://pass.example.net/anything", Listed, "b.md:60"},
		{"GET http://192.0.2.7/", Listed, "b.md:70"}, // the operator's own word: upstream.address
		{"GET https://9.9.9.9/", Listed, "b.md:80"},
		{"GET https://1.1.1.1/", AddressLiteral, ""},
		{"GET https://127.0.0.1/", PrivateAddress, ""},
		{"GET https://[::ffff:10.0.0.1]/", PrivateAddress, ""},
		{"GET http://169.254.169.254/latest/", MetadataAddress, ""},
		{"GET http://0xa9fea9fe/", MetadataAddress, ""},
		{"GET http://[::ffff:a9fe:a9fe]/", MetadataAddress, ""},
		{"GET https://192.0.2.7/", PortNotListed, "b.md:70"},
		{"GET https://evil.org#api.example.com/v1/", HostNotListed, ""},
		{"GET https://api.example.com.evil.org/v1/", HostNotListed, ""},
		{"GET https://api.example.com%2f.evil.org/v1/", BadHost, ""},
		{"GET https://api.example.com%00.evil.org/", BadHost, ""},
		{"GET https://api.example.com:0443/v1/", BadHost, ""},
	} {
		method, url, _ := strings.Cut(c.do, " ")
		v, err := Explain(p, method, url)
		if err != nil {
			t.Errorf("%s: %v", c.do, err)
			continue
		}
		if v.Reason != c.reason || v.Rule != c.rule || v.Allowed() != (c.reason == Listed) || v.Message == "" {
			t.Errorf("%s: %s %s by %q (%s); want %s by %q", c.do, v.Action, v.Reason, v.Rule, v.Message, c.reason, c.rule)
		}
		if v.Allowed() && (v.Route == nil || v.Route.Rule != c.rule) {
			t.Errorf("%s: the verdict's route is %+v", c.do, v.Route)
		}
	}
}

func TestDecideOddities(t *testing.T) {
	p := sample(t)
	for reason, r := range map[Reason]Request{
		BadScheme:       {Scheme: "ftp", Host: "registry.example.org", Port: 443, Method: "GET", Path: "/"},
		BadPort:         {Scheme: "https", Host: "registry.example.org", Method: "GET", Path: "/"},
		BadHost:         {Scheme: "https", Host: "Registry.example.org", Port: 443, Method: "GET", Path: "/"},
		PortNotListed:   {Scheme: "https", Host: "registry.example.org", Port: 444, Method: "GET", Path: "/"},
		BadPath:         {Scheme: "https", Host: "registry.example.org", Port: 443, Method: "OPTIONS", Path: "*"},
		BadMethod:       {Scheme: "https", Host: "registry.example.org", Port: 443, Method: strings.Repeat("G", maxToken+1), Path: "/"},
		PassthroughOnly: {Scheme: "http", Host: "pass.example.net", Port: 443, Method: "GET", Path: "/"},
		Listed:          {Scheme: "https", Host: "registry.example.org", Port: 443, Method: "GET"},
	} {
		if v := p.Decide(r); v.Reason != reason || v.Allowed() != (reason == Listed) {
			t.Errorf("%+v: %+v; want %s", r, v, reason)
		}
	}
	for _, h := range []bottle.Host{"", "a/.example.com", "..example.com", "A.example.com", "x.example.com.", "\x00.example.com"} {
		for what, v := range map[string]Verdict{"connect": p.Connect(h, 443), "name": p.Name(h), "decide": p.Decide(Request{Scheme: "https", Host: h, Port: 443, Method: "GET", Path: "/cdn"})} {
			if v.Allowed() || v.Reason != BadHost {
				t.Errorf("%s %q: %+v", what, h, v)
			}
		}
	}
}

// Invariant 1: the zero value refuses.
func TestZeroRefuses(t *testing.T) {
	if (Verdict{}).Allowed() || (Verdict{}).Passthrough() || Action(0).String() != "deny" || Action(7).String() != "deny" || (Verdict{Action: 7}).Allowed() {
		t.Error("the zero verdict, or one of an unknown action, allows")
	}
	r := route(t, "a.example.com")
	var none *Policy
	for what, v := range map[string]Verdict{
		"nil connect": none.Connect("a.example.com", 443),
		"nil decide":  none.Decide(Request{Scheme: "https", Host: "a.example.com", Port: 443, Method: "GET", Path: "/"}),
		"nil name":    none.Name("a.example.com"),
		"nil address": none.Address(&r, netip.MustParseAddr("9.9.9.9")),
		"nil route":   compile(t, r).Address(nil, netip.MustParseAddr("9.9.9.9")),
	} {
		if v.Allowed() || v.Reason != NoPolicy {
			t.Errorf("%s: %+v", what, v)
		}
	}
	if none.Ports() != nil || none.Literals() != nil {
		t.Error("a nil policy lists something")
	}
	for what, p := range map[string]*Policy{"empty": compile(t), "zero": {}} {
		if v := p.Connect("a.example.com", 443); v.Allowed() || v.Reason != HostNotListed {
			t.Errorf("%s: %+v", what, v)
		}
		if v := p.Decide(Request{}); v.Allowed() {
			t.Errorf("%s: the zero request is allowed", what)
		}
	}
	if c := (Class{}); c.Public || c.Reason() == "" {
		t.Error("the zero class is public")
	}
}

func TestConnect(t *testing.T) {
	p := sample(t)
	for _, c := range []struct {
		host   bottle.Host
		port   uint16
		reason Reason
		pass   bool
	}{
		{"api.example.com", 443, Listed, false},
		{"api.example.com", 80, Listed, false},
		{"api.example.com", 22, PortNotListed, false},
		{"api.example.com", 0, BadPort, false},
		{"pass.example.net", 443, Listed, true},
		{"pass.example.net", 80, PortNotListed, false},
		{"example.com", 443, HostNotListed, false},
		{"1.1.1.1", 443, AddressLiteral, false},
		{"9.9.9.9", 443, Listed, false},
		{"::1", 443, PrivateAddress, false},
		{"fd00:ec2::254", 80, MetadataAddress, false},
		{"192.0.2.7", 80, Listed, false},
	} {
		v := p.Connect(c.host, c.port)
		if v.Reason != c.reason || v.Allowed() != (c.reason == Listed) || v.Passthrough() != c.pass {
			t.Errorf("%s:%d: %+v; want %s", c.host, c.port, v, c.reason)
		}
	}
}

func TestName(t *testing.T) {
	p := sample(t)
	for h, reason := range map[bottle.Host]Reason{
		"api.example.com": Listed, "pass.example.net": Listed, "x.deep.example.com": Listed, "anything.example.com": Listed,
		"example.com": NameNotListed, "secret-in-a-label.evil.org": NameNotListed, "com": NameNotListed,
		"9.9.9.9": AddressLiteral, "1.1.1.1": AddressLiteral, "127.0.0.1": PrivateAddress, "": BadHost,
	} {
		if v := p.Name(h); v.Reason != reason || v.Allowed() != (reason == Listed) {
			t.Errorf("%q: %+v; want %s", h, v, reason)
		}
	}
}

// Invariant 3: what is dialled was classified; only upstream.address lifts that.
func TestAddress(t *testing.T) {
	p := sample(t)
	plain := p.Connect("registry.example.org", 443).Route
	local := p.Connect("192.0.2.7", 80).Route
	for a, reason := range map[string]Reason{
		"9.9.9.9": Listed, "2620:fe::fe": Listed, "10.0.0.1": PrivateAddress, "127.0.0.1": PrivateAddress, "::1": PrivateAddress,
		"169.254.169.254": MetadataAddress, "168.63.129.16": MetadataAddress, "::ffff:169.254.169.254": MetadataAddress, "64:ff9b::a9fe:a9fe": MetadataAddress,
	} {
		v := p.Address(plain, netip.MustParseAddr(a))
		if v.Reason != reason || v.Allowed() != (reason == Listed) || strings.Contains(v.Message, a) {
			t.Errorf("%s: %+v; want %s", a, v, reason)
		}
		if v := p.Address(local, netip.MustParseAddr(a)); !v.Allowed() {
			t.Errorf("%s through upstream.address: %+v", a, v)
		}
	}
	if v := p.Address(plain, netip.Addr{}); v.Allowed() {
		t.Error("no address at all is allowed")
	}
}

func TestLists(t *testing.T) {
	p := sample(t)
	if got := p.Ports(); !slices.Equal(got, []uint16{80, 443, 8443}) {
		t.Errorf("Ports() = %v", got)
	}
	want := []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("192.0.2.7")}
	if got := p.Literals(); !slices.Equal(got, want) {
		t.Errorf("Literals() = %v", got)
	}
	p.Ports()[0], p.Literals()[0] = 1, netip.Addr{}
	if p.Ports()[0] != 80 || p.Literals()[0] != want[0] {
		t.Error("a caller changed the policy")
	}
}

func TestHints(t *testing.T) {
	p := compile(t, route(t, "github.com"), route(t, "api.openai.com"), route(t, "*.example.com"), route(t, "registry.npmjs.org", methods("GET", "HEAD"), paths("/a", "/b")),
		route(t, "many.example.net", ports(1, 2, 3, 4, 5, 6, 7)))
	for h, want := range map[bottle.Host]string{
		"api.github.com":    "the host api.github.com is not listed; github.com is",
		"openai.com":        "the host openai.com is not listed; api.openai.com is",
		"example.com":       "the host example.com is not listed; *.example.com is",
		"gihtub.com":        "the host gihtub.com is not listed; github.com is",
		"registy.npmjs.org": "the host registy.npmjs.org is not listed; registry.npmjs.org is",
		"evil.org":          "the host evil.org is not listed",
		"com":               "the host com is not listed",
	} {
		for range 20 { // a map is walked: the answer must not depend on how
			if v := p.Connect(h, 443); v.Message != want {
				t.Fatalf("%s: %q, want %q", h, v.Message, want)
			}
		}
	}
	for do, want := range map[string]string{
		"GET https://registry.npmjs.org:80/":    "port 80 of registry.npmjs.org is not listed; 443 is",
		"GET https://registry.npmjs.org/s3cr3t": "this path of registry.npmjs.org is not listed; /a, /b are",
		"GET https://many.example.net/":         "port 443 of many.example.net is not listed; 1, 2, 3, 4, 5, … are",
		"PUT https://registry.npmjs.org/a":      "this method of registry.npmjs.org is not listed; GET, HEAD are",
	} {
		method, url, _ := strings.Cut(do, " ")
		if v, err := Explain(p, method, url); err != nil || v.Message != want {
			t.Errorf("%s: %q, %v; want %q", do, v.Message, err, want)
		}
	}
}

// The weakness: whether a request is encrypted is the agent's choice of scheme.
// The attack: http:// to a route that injects a credential, on whatever port it
// lists. This proves that the credential goes out in the clear only where the
// operator wrote all of it: port 80 and an upstream address, and no CA; and that
// explain says the same.
func TestCleartextCredentialOnlyWhereWritten(t *testing.T) {
	withCA := func(r *bottle.Route) { r.Upstream = &bottle.Upstream{Address: "127.0.0.1:8080", CAFile: "/ca.pem"} }
	p := compile(t,
		route(t, "written.example.com", upstream("127.0.0.1:8080"), ports(80, 443, 8443), token_("A")),
		route(t, "trusts.example.com", withCA, ports(80, 8443), token_("A")),
		route(t, "public.example.com", ports(80, 8080), token_("A")),
		route(t, "bare.example.com", upstream("127.0.0.1:8080"), ports(80, 8443)),
	)
	for url, want := range map[string]Reason{
		"http://written.example.com/":        Listed,
		"http://written.example.com:443/":    CleartextAuth,
		"http://written.example.com:8443/":   CleartextAuth,
		"https://written.example.com:8443/":  Listed,
		"https://written.example.com:80/":    Listed,
		"http://trusts.example.com/":         CleartextAuth,
		"http://trusts.example.com:8443/":    CleartextAuth,
		"https://trusts.example.com:8443/":   Listed,
		"http://public.example.com/":         CleartextAuth,
		"http://public.example.com:8080/":    CleartextAuth,
		"https://public.example.com:8080/":   Listed,
		"http://bare.example.com:8443/":      Listed,
		"http://bare.example.com/":           Listed,
		"http://written.example.com:8444/":   PortNotListed,
		"http://unwritten.example.com:8443/": HostNotListed,
	} {
		if v, err := Explain(p, "GET", url); err != nil || v.Reason != want || v.Allowed() != (want == Listed) {
			t.Errorf("%s: %+v, %v; want %s", url, v, err, want)
		}
	}
	if got := p.AuthRoutes(); len(got) != 3 || (*Policy)(nil).AuthRoutes() != nil {
		t.Errorf("routes with a credential: %v", got)
	}
}
