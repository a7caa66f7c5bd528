package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"

	"pgregory.net/rapid"
)

// ask is a route as a proposal says it.
func ask(t testing.TB, pattern string, change ...func(*bottle.Route)) bottle.Route {
	r := route(t, pattern, change...)
	r.TLS, r.DLP, r.Rule = "", "", ""
	return r
}

func TestAmend(t *testing.T) {
	for name, c := range map[string]struct {
		have []bottle.Route
		ask  bottle.Route
		want []string // what String says of the changes
		says string
	}{
		"a new host": {nil, ask(t, "api.example.com", methods("GET"), paths("/v1")),
			[]string{"+ api.example.com:443  GET  /v1"}, "adds GET to api.example.com/v1/* without a credential"},
		"everything": {nil, ask(t, "api.example.com"), []string{"+ api.example.com:443  any  any"}, "adds every method to api.example.com/* without a credential"},
		"a method": {[]bottle.Route{route(t, "api.github.com", methods("GET"), paths("/repos"), token_("GH_TOKEN"))}, ask(t, "api.github.com", methods("POST"), paths("/repos")),
			[]string{"- api.github.com:443  GET  /repos  credential GH_TOKEN (Bearer)", "+ api.github.com:443  GET,POST  /repos  credential GH_TOKEN (Bearer)"},
			"adds POST to api.github.com/repos/* with credential GH_TOKEN"},
		"a path": {[]bottle.Route{route(t, "api.github.com", methods("GET"), paths("/repos"), token_("GH_TOKEN"))}, ask(t, "api.github.com", methods("GET"), paths("/user")),
			[]string{"- api.github.com:443  GET  /repos  credential GH_TOKEN (Bearer)", "+ api.github.com:443  GET  /repos /user  credential GH_TOKEN (Bearer)"},
			"adds GET to api.github.com/user/* with credential GH_TOKEN"},
		"both, and not their product": {[]bottle.Route{route(t, "a.example.com", methods("GET"), paths("/a"))}, ask(t, "a.example.com", methods("POST"), paths("/b")),
			[]string{"+ a.example.com:443  POST  /b"}, "adds POST to a.example.com/b/* without a credential"},
		"another port of the host, without its credential": {[]bottle.Route{route(t, "a.example.com", token_("T"))}, ask(t, "a.example.com", ports(8443)),
			[]string{"+ a.example.com:8443  any  any"}, "adds every method to a.example.com:8443/* without a credential"},
		"what is treated in its own way": {[]bottle.Route{route(t, "a.example.com", methods("GET"), upstream("10.0.0.7:8443"), func(r *bottle.Route) { r.DLP, r.Inbound = "redact", "warn" })}, ask(t, "a.example.com", methods("PUT")),
			[]string{"- a.example.com:443  GET  any  dlp redact  inbound warn  dials 10.0.0.7:8443", "+ a.example.com:443  GET,PUT  any  dlp redact  inbound warn  dials 10.0.0.7:8443"},
			"adds PUT to a.example.com/* without a credential, dlp: redact, dialling 10.0.0.7:8443"},
		"one of two credentials, by its path": {[]bottle.Route{route(t, "a.example.com", methods("GET"), paths("/x"), token_("X")), route(t, "a.example.com", methods("GET"), paths("/y"), token_("Y"))}, ask(t, "a.example.com", methods("PUT"), paths("/y/z")),
			[]string{"+ a.example.com:443  PUT  /y/z  credential Y (Bearer)"}, "adds PUT to a.example.com/y/z/* with credential Y"},
		"one of two credentials, by its name": {[]bottle.Route{route(t, "a.example.com", methods("GET"), paths("/x"), token_("X")), route(t, "a.example.com", methods("GET"), paths("/y"), token_("Y"))}, ask(t, "a.example.com", methods("GET"), paths("/z"), token_("Y")),
			[]string{"- a.example.com:443  GET  /y  credential Y (Bearer)", "+ a.example.com:443  GET  /y /z  credential Y (Bearer)"}, "adds GET to a.example.com/z/* with credential Y"},
		"what a wildcard covers": {[]bottle.Route{route(t, "*.example.com", methods("GET"), token_("W"))}, ask(t, "a.example.com", methods("PUT")),
			[]string{"+ a.example.com:443  GET,PUT  any  credential W (Bearer)"}, "adds PUT to a.example.com/* with credential W"},
		"only what is missing": {[]bottle.Route{route(t, "a.example.com", methods("GET"), paths("/a"))}, ask(t, "a.example.com", methods("GET"), paths("/a/b", "/c")),
			[]string{"- a.example.com:443  GET  /a", "+ a.example.com:443  GET  /a /c"}, "adds GET to a.example.com/c/* without a credential"},
		"a wildcard around a host that has its own": {[]bottle.Route{route(t, "a.example.com", methods("PUT"))}, ask(t, "*.example.com", methods("GET")),
			[]string{"+ *.example.com:443  GET  any"}, "adds GET to *.example.com/* without a credential, but not to hosts that have routes of their own"},
		"a public address": {nil, ask(t, "9.9.9.9", ports(443, 853)), []string{"+ 9.9.9.9:443,853  any  any"}, "adds every method to 9.9.9.9/*, 9.9.9.9:853/* without a credential"},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(c.have)
			next, says, err := Amend(c.have, c.ask, "proposal p234567")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ch := range Diff(c.have, next) {
				got = append(got, ch.String())
			}
			if !slices.Equal(got, c.want) || says != c.says {
				t.Errorf("%q\nwant %q\n%s\nwant %s", got, c.want, says, c.says)
			}
			for _, r := range next { // whoever reads a record finds who let it through
				if changed := !slices.ContainsFunc(c.have, func(h bottle.Route) bool { return len(Diff([]bottle.Route{h}, []bottle.Route{r})) == 0 }); changed && !strings.HasSuffix(r.Rule, "proposal p234567") {
					t.Errorf("%s:%v %v says it is of %s", r.Host, r.Methods, r.Paths, r.Rule)
				}
			}
			if len(Diff(before, c.have)) > 0 {
				t.Error("the old routes were changed")
			}
			parts := c.have
			for _, lacks := range Lacking(c.have, c.ask) {
				if parts, _, err = Amend(parts, lacks, "proposal p234567"); err != nil {
					t.Fatal(err)
				}
			}
			if d := Diff(next, parts); len(d) > 0 || len(Lacking(next, c.ask)) > 0 {
				t.Errorf("of what it lacks alone it becomes something else: %v", d)
			}
			if _, _, err := Amend(next, c.ask, "proposal p234567"); !errors.Is(err, ErrListed) {
				t.Errorf("a second time: %v", err)
			}
		})
	}
}

// What a proposal can't have, whoever approves it.
func TestAmendRefuses(t *testing.T) {
	two := []bottle.Route{route(t, "a.example.com", methods("GET"), paths("/x"), token_("X")), route(t, "a.example.com", methods("GET"), paths("/y"))}
	for name, c := range map[string]struct {
		have []bottle.Route
		ask  bottle.Route
		want string
	}{
		"a public suffix":                  {nil, bottle.Route{Host: bottle.Pattern{Host: "co.uk", Sub: true}}, "co.uk"},
		"a private address":                {nil, ask(t, "10.0.0.1"), "not on the public internet"},
		"the metadata service":             {nil, ask(t, "169.254.169.254"), "metadata"},
		"the gateway's own name":           {nil, ask(t, "supervise.bottle"), "gateway's own"},
		"CONNECT":                          {nil, ask(t, "a.example.com", methods("CONNECT")), "never let through"},
		"a credential of nobody":           {nil, ask(t, "a.example.com", token_("GH_TOKEN")), "only the operator's manifest"},
		"another host's credential":        {[]bottle.Route{route(t, "api.github.com", token_("GH_TOKEN"))}, ask(t, "evil.example.com", token_("GH_TOKEN")), "only the operator's manifest"},
		"a credential on another port":     {[]bottle.Route{route(t, "a.example.com", token_("T"))}, ask(t, "a.example.com", ports(8443), token_("T")), "only the operator's manifest"},
		"another credential":               {[]bottle.Route{route(t, "a.example.com", methods("GET"), token_("A"))}, ask(t, "a.example.com", methods("PUT"), token_("B")), "only the operator's manifest"},
		"a credential where there is none": {[]bottle.Route{route(t, "a.example.com", methods("GET"))}, ask(t, "a.example.com", methods("PUT"), token_("B")), "only the operator's manifest"},
		"the credential in another way":    {[]bottle.Route{route(t, "a.example.com", methods("GET"), token_("A"))}, ask(t, "a.example.com", methods("PUT"), func(r *bottle.Route) { r.Auth = &bottle.Auth{Scheme: "header", Header: "X-Log", TokenRef: "A"} }), "only the operator's manifest"},
		"between two":                      {two, ask(t, "a.example.com", methods("GET"), paths("/z")), "nobody can tell"},
		"around two":                       {two, ask(t, "a.example.com", methods("PUT"), paths("/")), "nobody can tell"},
		"what is there":                    {two, ask(t, "a.example.com", methods("GET"), paths("/x/1")), "lets this through already"},
		"what is passed through":           {[]bottle.Route{route(t, "a.example.com", passthrough)}, ask(t, "a.example.com", methods("GET")), "lets this through already"},
	} {
		next, says, err := Amend(c.have, c.ask, "proposal p234567")
		if err == nil || !strings.Contains(err.Error(), c.want) || next != nil || says != "" {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// TestSentenceIsBounded: a person reads one sentence, and all of it in the diff.
func TestSentenceIsBounded(t *testing.T) {
	var many []string
	for i := range 32 {
		many = append(many, "/"+strings.Repeat("a", i+1))
	}
	_, says, err := Amend(nil, ask(t, "a.example.com", paths(many...)), "")
	if err != nil || !strings.Contains(says, "26 more (see the diff)") || len(says) > 300 {
		t.Errorf("%s, %v", says, err)
	}
}

// Whatever the routes and the ask: what was let through still is, and in the same way;
// what is let through now and was not is what was asked for; and no credential goes where
// it did not go.
func TestAmendAddsWhatIsAskedForAndNoMore(t *testing.T) {
	hosts := []string{"a.example.com", "b.example.com", "*.example.com", "*.b.example.com", "x.b.example.com"}
	verbs, places := []string{"GET", "PUT", "POST"}, []string{"/", "/a", "/a/", "/a/b", "/c"}
	some := func(t *rapid.T, of []string, label string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 3, rapid.ID).Draw(t, label)
	}
	draw := func(t *rapid.T, label string) bottle.Route {
		p, _ := bottle.ParsePattern(rapid.SampledFrom(hosts).Draw(t, label+" host"))
		r := bottle.Route{Host: p, Ports: rapid.SampledFrom([][]uint16{{443}, {80}, {80, 443}}).Draw(t, label+" ports"), Methods: some(t, verbs, label+" methods"), Paths: some(t, places, label+" paths")}
		if ref := rapid.SampledFrom([]string{"", "", "X", "Y"}).Draw(t, label+" token"); ref != "" {
			r.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: ref}
		}
		return r
	}
	added := 0
	rapid.Check(t, func(t *rapid.T) {
		var have []bottle.Route
		for i := range rapid.IntRange(0, 4).Draw(t, "n") {
			r := draw(t, string(rune('p'+i)))
			r.TLS, r.DLP = "intercept", rapid.SampledFrom([]string{"block", "redact"}).Draw(t, "dlp")
			have = append(have, r)
		}
		old, err := Compile(have)
		if err != nil {
			t.Skip("conflicts")
		}
		want := draw(t, "ask")
		next, _, err := Amend(have, want, "proposal")
		if err != nil {
			return
		}
		added++
		now, err := Compile(next)
		if err != nil {
			t.Fatal(err)
		}
		more, err := Additions(have, want)
		if err != nil {
			t.Fatal(err)
		}
		same, err := Compile(append(slices.Clone(have), more...))
		if err != nil {
			t.Fatal(err)
		}
		only, err := Compile([]bottle.Route{{Host: want.Host, Ports: want.Ports, Methods: want.Methods, Paths: want.Paths}})
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []bottle.Host{"a.example.com", "b.example.com", "c.example.com", "x.b.example.com", "y.b.example.com"} {
			for _, port := range []uint16{80, 443} {
				for _, m := range append(verbs, "DELETE") {
					for _, p := range []string{"/", "/a", "/a/", "/a/x", "/a/b", "/a/b/c", "/ab", "/c/d", "/z"} {
						req := Request{Scheme: "https", Host: host, Port: port, Method: m, Path: p}
						was, is, asked := old.Decide(req), now.Decide(req), only.Decide(req)
						switch also := same.Decide(req); {
						case also.Allowed() != is.Allowed() || also.Allowed() && !treated(also.Route, is.Route):
							t.Fatalf("%+v is %+v, and %+v by the additions %+v", req, is, also, more)
						case was.Allowed() && (!is.Allowed() || !treated(was.Route, is.Route)):
							t.Fatalf("%+v was %+v and is %+v\n%+v", req, was.Route, is.Route, next)
						case is.Allowed() && !was.Allowed() && !asked.Allowed():
							t.Fatalf("%+v is let through by %+v, and nobody asked", req, is.Route)
						case asked.Allowed() && want.Host.Matches(host) && !is.Allowed() && !shadowed(have, want, host):
							t.Fatalf("%+v was asked for and is %+v\n%+v", req, is, next)
						case is.Allowed() && is.Route.Auth != nil && !slices.ContainsFunc(have, func(r bottle.Route) bool {
							return sameAuth(r.Auth, is.Route.Auth) && r.Host.Matches(host) && slices.Contains(r.Ports, port)
						}):
							t.Fatalf("%+v carries %s, which did not go there", req, is.Route.Auth.TokenRef)
						}
					}
				}
			}
		}
	})
	if added == 0 {
		t.Error("nothing was ever added")
	}
}

// shadowed: a wildcard does not decide for a host that has a more specific pattern.
func shadowed(have []bottle.Route, want bottle.Route, h bottle.Host) bool {
	return slices.ContainsFunc(have, func(r bottle.Route) bool {
		return r.Host != want.Host && r.Host.Matches(h) && (!r.Host.Sub && want.Host.Sub || r.Host.Sub && want.Host.Sub && len(r.Host.Host) > len(want.Host.Host))
	})
}

func TestUnified(t *testing.T) {
	old := []bottle.Route{route(t, "api.github.com", methods("GET"), paths("/repos", "/user"), token_("GH_TOKEN")), route(t, "b.example.com"), route(t, "c.example.com", ports(80, 443), upstream("10.0.0.1:1"))}
	next, _, err := Amend(old, ask(t, "api.github.com", methods("GET"), paths("/gists")), "proposal p234567")
	if err != nil {
		t.Fatal(err)
	}
	next = append(next[:1], route(t, "d.example.com"))
	got := Unified(old, next)
	want := "@@ -6 +7 @@ api.github.com\n - host: api.github.com\n   methods: [GET]\n   path_allowlist:\n+    - /gists\n     - /repos\n     - /user\n   auth: {scheme: Bearer, token_ref: GH_TOKEN}\n" +
		"@@ -1 +0 @@ b.example.com\n-- host: b.example.com\n" +
		"@@ -3 +0 @@ c.example.com\n-- host: c.example.com\n-  ports: [80, 443]\n-  upstream: {address: 10.0.0.1:1}\n" +
		"@@ -0 +1 @@ d.example.com\n+- host: d.example.com\n"
	if got != "--- routes before\n+++ routes after\n"+want {
		t.Errorf("%s", got)
	}
	if Unified(old, old) != "" {
		t.Error("a difference of nothing")
	}
	long := route(t, "a.example.com")
	const many = 600
	for i := range many {
		long.Paths = append(long.Paths, "/"+strings.Repeat("a", i%100)+strings.Repeat("b", i/100))
	}
	if got := Unified([]bottle.Route{long}, []bottle.Route{route(t, "a.example.com", paths("/\x1b[2J"))}); strings.Contains(got, "\x1b") || strings.Count(got, "\n") > many+10 {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
}
