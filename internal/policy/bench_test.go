package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"bottle/internal/bottle"
)

// house is a policy of the size that a real bottle has: sixty routes.
func house(b *testing.B) *Policy {
	var routes []bottle.Route
	for i := range 50 {
		routes = append(routes, route(b, fmt.Sprintf("host%d.example.com", i), paths("/v1/", "/v2/")))
	}
	for i := range 10 {
		routes = append(routes, route(b, "api.example.org", methods("GET", "POST"), paths(fmt.Sprintf("/v1/part%d/", i)), token_("A")))
	}
	routes = append(routes, route(b, "*.example.net"), route(b, "registry.example.org"))
	return compile(b, routes...)
}

func BenchmarkDecide(b *testing.B) {
	p := house(b)
	for name, r := range map[string]Request{
		"exact":         {Scheme: "https", Host: "host7.example.com", Port: 443, Method: "GET", Path: "/v1/messages"},
		"ten-routes":    {Scheme: "https", Host: "api.example.org", Port: 443, Method: "POST", Path: "/v1/part9/messages"},
		"wildcard":      {Scheme: "https", Host: "a.b.c.example.net", Port: 443, Method: "GET", Path: "/v1/messages"},
		"escaped":       {Scheme: "https", Host: "host7.example.com", Port: 443, Method: "GET", Path: "/v1/caf%C3%A9/x"},
		"encoded-slash": {Scheme: "https", Host: "registry.example.org", Port: 443, Method: "GET", Path: "/@scope%2fname"},
		"denied-host":   {Scheme: "https", Host: "evil.example.info", Port: 443, Method: "GET", Path: "/"},
		"denied-path":   {Scheme: "https", Host: "host7.example.com", Port: 443, Method: "GET", Path: "/admin"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(r)
			}
		})
	}
}

func BenchmarkConnect(b *testing.B) {
	p := house(b)
	b.ReportAllocs()
	for b.Loop() {
		p.Connect("host7.example.com", 443)
	}
}

func BenchmarkCompile(b *testing.B) {
	p := house(b)
	var routes []bottle.Route
	for _, g := range p.exact {
		for _, d := range g.doors {
			routes = append(routes, *d.route)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(routes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	for name, s := range map[string]string{"v4-public": "1.1.1.1", "v4-private": "10.1.2.3", "v6-public": "2606:4700::1111", "v6-ula": "fd00::1", "mapped": "::ffff:10.1.2.3", "nat64": "64:ff9b::1.1.1.1"} {
		a := netip.MustParseAddr(s)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Classify(a)
			}
		})
	}
}
