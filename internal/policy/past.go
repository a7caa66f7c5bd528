package policy

import (
	"net/url"

	"bottle/internal/bottle"
)

// PastGate tells which repositories could be pushed to past the git gate: those behind
// https at a host and port whose route has tls: passthrough, where nobody sees what is asked.
// File is the route that says so.
func (p *Policy) PastGate(repos []bottle.Repo) (out bottle.Problems) {
	for _, r := range repos {
		u, err := url.Parse(r.Upstream)
		if err != nil || u.Scheme != "https" {
			continue
		}
		host, port, err := bottle.ParseHostPort(u.Host, 443)
		if err != nil {
			continue
		}
		if v := p.Connect(host, port); v.Passthrough() {
			out = append(out, bottle.Problem{File: v.Rule, Severity: bottle.Error,
				Message: "git " + bottle.Printable(r.Name) + ": its host " + string(host) + " has a route with tls: passthrough, on which a push would go past the git gate",
				Hint:    "write tls: intercept there, or take the route or the repository out"})
		}
	}
	return out
}
