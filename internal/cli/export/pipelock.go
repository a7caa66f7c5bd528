package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// maxBody is what pipelock reads of a body at most, its own default; it blocks a
// larger one.
const maxBody = 5 << 20

// Options are what a configuration holds besides the bottle's routes.
type Options struct {
	Listen        string // host:port of pipelock's own listener
	CACert, CAKey string // PEM files; empty: pipelock's own places
}

// Pipelock is a pipelock 2.3 configuration (docs/configuration.md there) with the
// allow-list of s, and a line for everything that the routes say and it cannot.
// Its mode strict refuses what is not in the list, as the gateway does.
func Pipelock(s bottle.Spec, o Options) (text string, lost []string, err error) {
	routes, lost := onward(s.Routes)
	if len(routes) == 0 {
		return "", nil, fmt.Errorf("export bottle %s: nothing of it goes through a proxy: an empty allow-list would say nothing", s.Name)
	}
	hosts := names(routes)
	unopened, more := passthrough(routes)
	lost = append(lost, more...)
	lost = append(lost, losses(routes)...)
	injects := slices.ContainsFunc(routes, func(r bottle.Route) bool { return r.Auth != nil })
	if injects {
		lost = append(lost, "scan_headers is off: behind the gateway the credentials that it adds would be taken for leaks")
	}
	lost = append(lost, fmt.Sprintf("a body of more than %d MiB, or a compressed one, is blocked", maxBody>>20))
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# What the bottle %s may reach, for pipelock 2.3. Written by `bottle export`: change the", s.Name)
	p("# manifest and write it anew. What this file does not say is pipelock's default.")
	p("version: 1")
	p("mode: strict")
	p("enforce: true")
	p("api_allowlist:")
	for _, h := range hosts {
		p("  - %s", quote(h))
	}
	p("fetch_proxy:")
	p("  listen: %s", quote(o.Listen))
	p("forward_proxy:")
	p("  enabled: true")
	p("  sni_verification: true")
	p("request_body_scanning:") // a switch that is left out there counts as off
	p("  enabled: true")
	p("  action: block")
	p("  max_body_bytes: %d", maxBody)
	p("  scan_headers: %v", !injects)
	p("tls_interception:")
	p("  enabled: true")
	p("  ca_cert: %s", quote(o.CACert))
	p("  ca_key: %s", quote(o.CAKey))
	if len(unopened) == 0 {
		p("  passthrough_domains: []")
		return b.String(), lost, nil
	}
	p("  passthrough_domains:")
	for _, h := range unopened {
		p("    - %s", quote(h))
	}
	return b.String(), lost, nil
}

// quote is a JSON string, which is a YAML string, too.
func quote(s string) string {
	b, _ := json.Marshal(s) // strings only: this can't fail
	return string(b)
}

// onward takes out the routes that are dialled directly, past any proxy.
func onward(all []bottle.Route) (routes []bottle.Route, lost []string) {
	for _, r := range all {
		if r.Upstream != nil && r.Upstream.Address != "" {
			lost = append(lost, r.Host.String()+" is left out: its upstream.address is dialled past any proxy")
			continue
		}
		routes = append(routes, r)
	}
	return routes, lost
}

// names are the hosts, sorted, each once. A wildcard is spelt the same there.
func names(routes []bottle.Route) []string {
	var out []string
	for _, r := range routes {
		out = append(out, r.Host.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// passthrough lists what pipelock shall not open. It knows no ports, and takes
// *.example.com for example.com, too; where that would keep it from looking into
// what the gateway opens, it opens both.
func passthrough(routes []bottle.Route) (unopened, lost []string) {
	for _, h := range routes {
		if h.TLS != "passthrough" || slices.Contains(unopened, h.Host.String()) {
			continue
		}
		i := slices.IndexFunc(routes, func(r bottle.Route) bool { return r.TLS != "passthrough" && overlap(h.Host, r.Host) })
		if i >= 0 {
			lost = append(lost, fmt.Sprintf("%s is opened, although its route says passthrough: pipelock would not look into %s either", h.Host, routes[i].Host))
			continue
		}
		unopened = append(unopened, h.Host.String())
	}
	slices.Sort(unopened)
	return unopened, lost
}

// overlap tells whether pipelock, told not to open a, would leave unopened what the
// gateway takes for b: the same, something below a wildcard, or its very domain.
func overlap(a, b bottle.Pattern) bool {
	return a == b || a.Sub && (a.Host == b.Host || a.Matches(b.Host) || b.Sub && b.Matches(a.Host))
}

// losses says what the list does not hold.
func losses(routes []bottle.Route) (lost []string) {
	once := map[string]bool{}
	say := func(format string, args ...any) {
		if l := fmt.Sprintf(format, args...); !once[l] {
			once[l] = true
			lost = append(lost, l)
		}
	}
	for _, r := range routes {
		h := r.Host.String()
		if r.Host.Sub {
			say("%s lets %s through there, too", h, r.Host.Host)
		}
		if len(r.Methods) > 0 {
			say("%s: any method, not only %s", h, strings.Join(r.Methods, ", "))
		}
		if len(r.Paths) > 0 {
			say("%s: any path, not only %s", h, strings.Join(r.Paths, ", "))
		}
		say("%s: any port, not only %s", h, ports(r.Ports))
		if slices.Contains(r.Ports, 80) {
			say("%s: port 80 comes to it by CONNECT, in which it expects TLS: plain http may not pass", h)
		}
		if r.TLS == "intercept" && (r.DLP == "off" || r.DLP == "ask" || r.DLP == "redact") {
			say("%s: a secret is blocked, although its route says dlp: %s", h, r.DLP)
		}
		if r.Inbound != "" {
			say("%s: answers are looked into as pipelock does, not as inbound: %s says", h, r.Inbound)
		}
	}
	return lost
}

func ports(list []uint16) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = fmt.Sprint(p)
	}
	return strings.Join(words, ", ")
}
