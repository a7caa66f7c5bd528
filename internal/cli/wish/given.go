package wish

import (
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Given is what an approval gave.
func Given(p plan.Proposal) string {
	r := p.Route
	if p.Given != nil {
		r = p.Given
	}
	if r == nil {
		return p.About()
	}
	if p.Lease == nil || len(p.Lease.Adds) == 0 {
		return lets(*r)
	}
	var out []string // without what others let through already when it was given
	for _, r := range p.Lease.Adds {
		out = append(out, lets(r))
	}
	return strings.Join(out, "; ")
}

func lets(r bottle.Route) string {
	words := "every method"
	if len(r.Methods) > 0 {
		words = strings.Join(r.Methods, ", ")
	}
	words += " to " + r.Host.String()
	if len(r.Paths) > 0 {
		words += " " + strings.Join(r.Paths, ", ")
	}
	return words
}
