package policy

import (
	"strings"
	"testing"

	"bottle/internal/bottle"
)

// TestNoRouteLeadsPastTheGate: the weakness: on a route that nobody opens a push cannot be
// seen. This proves that such a route beside a repository on the same host is told of.
func TestNoRouteLeadsPastTheGate(t *testing.T) {
	pattern, err := bottle.ParsePattern("*.example.com")
	if err != nil {
		t.Fatal(err)
	}
	repos := []bottle.Repo{{Name: "app", Upstream: "https://git.example.com/app.git"}, {Name: "ssh", Upstream: "ssh://git@git.example.com/x.git"},
		{Name: "odd", Upstream: "https://git.example.com:8443/odd.git"}, {Name: "away", Upstream: "https://git.example.org/x.git"}}
	for tls, want := range map[string]int{"passthrough": 1, "intercept": 0} {
		p, err := Compile([]bottle.Route{{Host: pattern, Ports: []uint16{443}, TLS: tls, DLP: "off", Rule: "box.md:3"}})
		if err != nil {
			t.Fatal(err)
		}
		got := p.PastGate(repos)
		if len(got) != want || want == 1 && (got[0].File != "box.md:3" || !strings.Contains(got[0].Message, "git app") || !got.Fatal()) {
			t.Errorf("%s: %v", tls, got)
		}
	}
}
