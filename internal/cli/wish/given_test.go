package wish

import (
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// TestGrantSaysWhatItAdds: what others let through when it was given is not said of it.
func TestGrantSaysWhatItAdds(t *testing.T) {
	host := bottle.Pattern{Host: "api.example.com"}
	p := plan.Proposal{Asked: bottle.Asked{Proposal: bottle.Proposal{Route: &bottle.Route{Host: host, Methods: []string{"POST"}, Paths: []string{"/x", "/y"}}}, Lease: &bottle.Grant{}}}
	if got := Given(p); got != "POST to api.example.com /x, /y" {
		t.Error(got)
	}
	p.Lease.Adds = []bottle.Route{{Host: host, Methods: []string{"POST"}, Paths: []string{"/y"}}}
	if got := Given(p); got != "POST to api.example.com /y" {
		t.Error(got)
	}
}
