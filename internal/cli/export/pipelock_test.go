package export

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"bottle/internal/bottle"
)

func route(host string, change ...func(*bottle.Route)) bottle.Route {
	p, err := bottle.ParsePattern(host)
	if err != nil {
		panic(err)
	}
	r := bottle.Route{Host: p, Ports: []uint16{443}, TLS: "intercept", DLP: "block"}
	for _, c := range change {
		c(&r)
	}
	return r
}

func passes(r *bottle.Route) { r.TLS, r.DLP = "passthrough", "off" }

// config is what pipelock reads: it refuses a key that it does not know.
type config struct {
	Version      int      `yaml:"version"`
	Mode         string   `yaml:"mode"`
	Enforce      bool     `yaml:"enforce"`
	APIAllowlist []string `yaml:"api_allowlist"`
	FetchProxy   struct {
		Listen string `yaml:"listen"`
	} `yaml:"fetch_proxy"`
	ForwardProxy struct {
		Enabled         bool `yaml:"enabled"`
		SNIVerification bool `yaml:"sni_verification"`
	} `yaml:"forward_proxy"`
	RequestBodyScanning struct {
		Enabled     bool   `yaml:"enabled"`
		Action      string `yaml:"action"`
		MaxBody     int    `yaml:"max_body_bytes"`
		ScanHeaders bool   `yaml:"scan_headers"`
	} `yaml:"request_body_scanning"`
	TLSInterception struct {
		Enabled            bool     `yaml:"enabled"`
		CACert             string   `yaml:"ca_cert"`
		CAKey              string   `yaml:"ca_key"`
		PassthroughDomains []string `yaml:"passthrough_domains"`
	} `yaml:"tls_interception"`
}

func read(t *testing.T, text string) (c config) {
	t.Helper()
	if err := yaml.Load([]byte(text), &c, yaml.WithKnownFields()); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

func TestPipelock(t *testing.T) {
	s := bottle.Spec{Name: "dev", Routes: []bottle.Route{
		route("*.example.com"), route("api.example.com", func(r *bottle.Route) { r.Methods, r.Paths = []string{"GET"}, []string{"/v1"} }),
		route("api.example.com", func(r *bottle.Route) { r.Paths, r.DLP, r.Inbound = []string{"/v2"}, "off", "warn" }),
		route("inner.example.com", func(r *bottle.Route) { r.Upstream = &bottle.Upstream{Address: "10.0.0.7:443"} }),
		route("pinned.example.net", passes), route("8.8.8.8", func(r *bottle.Route) { r.Upstream, r.Ports = &bottle.Upstream{CAFile: "/ca.pem"}, []uint16{443, 80} }),
	}}
	text, lost, err := Pipelock(s, Options{Listen: "127.0.0.1:8888", CACert: `/home/é "x"/ca.pem`, CAKey: "/k.pem"})
	if err != nil {
		t.Fatal(err)
	}
	var want config
	want.Version, want.Mode, want.Enforce = 1, "strict", true
	want.APIAllowlist = []string{"*.example.com", "8.8.8.8", "api.example.com", "pinned.example.net"}
	want.FetchProxy.Listen, want.ForwardProxy.Enabled = "127.0.0.1:8888", true
	want.ForwardProxy.SNIVerification, want.RequestBodyScanning.MaxBody = true, 5<<20
	want.RequestBodyScanning.Enabled, want.RequestBodyScanning.Action, want.RequestBodyScanning.ScanHeaders = true, "block", true
	want.TLSInterception.Enabled, want.TLSInterception.CACert, want.TLSInterception.CAKey = true, `/home/é "x"/ca.pem`, "/k.pem"
	want.TLSInterception.PassthroughDomains = []string{"pinned.example.net"}
	if d := cmp.Diff(want, read(t, text)); d != "" {
		t.Errorf("%s\n%s", d, text)
	}
	if d := cmp.Diff([]string{
		"inner.example.com is left out: its upstream.address is dialled past any proxy",
		"*.example.com lets example.com through there, too",
		"*.example.com: any port, not only 443",
		"api.example.com: any method, not only GET",
		"api.example.com: any path, not only /v1",
		"api.example.com: any port, not only 443",
		"api.example.com: any path, not only /v2",
		"api.example.com: a secret is blocked, although its route says dlp: off",
		"api.example.com: answers are looked into as pipelock does, not as inbound: warn says",
		"pinned.example.net: any port, not only 443",
		"8.8.8.8: any port, not only 443, 80",
		"8.8.8.8: port 80 comes to it by CONNECT, in which it expects TLS: plain http may not pass",
		"a body of more than 5 MiB, or a compressed one, is blocked",
	}, lost); d != "" {
		t.Error(d)
	}
}

// Credentials that the gateway adds reach pipelock behind it: it must not take
// them for leaks. Bodies are scanned all the same.
func TestPipelockBehindAnInjector(t *testing.T) {
	auth := func(r *bottle.Route) { r.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: "API_TOKEN"} }
	text, lost, err := Pipelock(bottle.Spec{Name: "dev", Routes: []bottle.Route{route("api.example.com", auth), route("*.example.net", passes)}}, Options{Listen: "127.0.0.1:8888"})
	if err != nil {
		t.Fatal(err)
	}
	c := read(t, text)
	if c.RequestBodyScanning.ScanHeaders || !c.RequestBodyScanning.Enabled || !strings.Contains(strings.Join(lost, "\n"), "scan_headers is off") {
		t.Errorf("%s\n%v", text, lost)
	}
	if strings.Contains(text+strings.Join(lost, ""), "API_TOKEN") || c.TLSInterception.CACert != "" {
		t.Errorf("%s\n%v", text, lost)
	}
}

// What pipelock would leave unopened beyond the route that says so, it opens.
func TestPipelockOpensWhatTheGatewayOpens(t *testing.T) {
	on8443 := func(r *bottle.Route) { r.Ports = []uint16{8443} }
	for name, c := range map[string]struct {
		routes []bottle.Route
		want   []string
	}{
		"another port":        {[]bottle.Route{route("a.example.com", passes), route("a.example.com", on8443)}, nil},
		"below a wildcard":    {[]bottle.Route{route("*.example.com", passes), route("a.example.com")}, nil},
		"its domain":          {[]bottle.Route{route("*.example.com", passes), route("example.com")}, nil},
		"a wildcard below":    {[]bottle.Route{route("*.example.com", passes), route("*.a.example.com")}, nil},
		"a wildcard above":    {[]bottle.Route{route("*.a.example.com", passes), route("*.example.com")}, nil},
		"one of a wildcard":   {[]bottle.Route{route("a.example.com", passes), route("*.example.com")}, []string{"a.example.com"}},
		"unrelated wildcards": {[]bottle.Route{route("*.example.com", passes), route("*.example.net")}, []string{"*.example.com"}},
		"twice":               {[]bottle.Route{route("a.example.com", passes), route("a.example.com", passes, on8443)}, []string{"a.example.com"}},
	} {
		got, lost := passthrough(c.routes)
		if d := cmp.Diff(c.want, got); d != "" || (len(got) == 0) != (len(lost) > 0) {
			t.Errorf("%s: %v, %v", name, got, lost)
		}
	}
}

func TestPipelockOfNothing(t *testing.T) {
	for _, routes := range [][]bottle.Route{nil, {route("a.example.com", func(r *bottle.Route) { r.Upstream = &bottle.Upstream{Address: "10.0.0.7:443"} })}} {
		if text, _, err := Pipelock(bottle.Spec{Name: "dev", Routes: routes}, Options{}); err == nil || text != "" {
			t.Errorf("%q, %v", text, err)
		}
	}
}
