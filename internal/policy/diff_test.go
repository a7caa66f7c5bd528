package policy

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"bottle/internal/bottle"
)

func TestDiff(t *testing.T) {
	a := bottle.Route{Host: bottle.Pattern{Host: "a.example.com"}, Ports: []uint16{443}, Rule: "dev.md:1"}
	b := bottle.Route{Host: bottle.Pattern{Host: "b.example.com", Sub: true}, Ports: []uint16{8443, 443}, Methods: []string{"GET"}, Paths: []string{"/v1"},
		TLS: "intercept", DLP: "off", Role: "git", Rule: "dev.md:2", Auth: &bottle.Auth{Scheme: "header", Header: "X-Key", TokenRef: "KEY"},
		Upstream: &bottle.Upstream{Address: "192.0.2.1:443", CAFile: "/ca.pem"}}
	moved, narrowed := a, b
	moved.Rule, moved.TLS, moved.DLP = "dev.md:9", "intercept", "block" // the defaults, spelt out
	narrowed.Paths = []string{"/v1/messages"}
	sealed := bottle.Route{Host: bottle.Pattern{Host: "a.example.com"}, Ports: []uint16{443}, TLS: "passthrough", DLP: "off"}
	for name, c := range map[string]struct {
		old, new []bottle.Route
		want     []string
	}{
		"nothing":  {nil, nil, nil},
		"the same": {[]bottle.Route{a, b}, []bottle.Route{b, moved}, nil},
		"one more": {[]bottle.Route{a}, []bottle.Route{a, b}, []string{"+ *.b.example.com:443,8443  GET  /v1  credential KEY (header:X-Key)  role git  dlp off  dials 192.0.2.1:443  trusts /ca.pem"}},
		"one less": {[]bottle.Route{a, sealed}, []bottle.Route{sealed}, []string{"- a.example.com:443  any  any"}},
		"inbound":  {[]bottle.Route{a}, []bottle.Route{{Host: a.Host, Ports: a.Ports, TLS: a.TLS, DLP: a.DLP, Inbound: "warn"}}, []string{"- a.example.com:443  any  any", "+ a.example.com:443  any  any  inbound warn"}},
		"another":  {[]bottle.Route{a}, []bottle.Route{sealed}, []string{"- a.example.com:443  any  any", "+ a.example.com:443  any  any  tls passthrough  dlp off"}},
		"one narrow": {[]bottle.Route{b}, []bottle.Route{narrowed}, []string{
			"- *.b.example.com:443,8443  GET  /v1  credential KEY (header:X-Key)  role git  dlp off  dials 192.0.2.1:443  trusts /ca.pem",
			"+ *.b.example.com:443,8443  GET  /v1/messages  credential KEY (header:X-Key)  role git  dlp off  dials 192.0.2.1:443  trusts /ca.pem"}},
	} {
		var got []string
		for _, c := range Diff(c.old, c.new) {
			got = append(got, c.String())
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// A difference is shown exactly when the hash differs: nobody says yes to a change
// that was not shown.
func TestDiffSeesWhatTheHashSees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) []bottle.Route {
			return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) bottle.Route {
				r := bottle.Route{Host: bottle.Pattern{Host: bottle.Host(rapid.SampledFrom([]string{"a.example.com", "b.example.com", "c.example.com"}).Draw(t, "host"))},
					Ports: []uint16{rapid.SampledFrom([]uint16{443, 8443}).Draw(t, "port")}, DLP: rapid.SampledFrom([]string{"", "block", "off"}).Draw(t, "dlp"),
					Rule: rapid.SampledFrom([]string{"x:1", "x:2"}).Draw(t, "rule")}
				if rapid.Bool().Draw(t, "auth") {
					r.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "ref")}
				}
				return r
			}), 0, 3, func(r bottle.Route) bottle.Host { return r.Host.Host }).Draw(t, label)
		}
		old, next := draw("old"), draw("new")
		p, err := Compile(old)
		q, err2 := Compile(next)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		changes := Diff(old, next)
		if (p.Hash() == q.Hash()) != (len(changes) == 0) {
			t.Fatalf("hashes %s and %s, changes %v", p.Hash(), q.Hash(), changes)
		}
		back := Diff(next, old)
		for _, c := range changes {
			if !slices.ContainsFunc(back, func(b Change) bool { return b.Added != c.Added && b.String()[1:] == c.String()[1:] }) {
				t.Fatalf("%v is not undone by %v", c, back)
			}
		}
	})
}
