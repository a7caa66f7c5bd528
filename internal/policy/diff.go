package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// Change is one route that is in one of two lists only.
type Change struct {
	Added bool // in the new list; else it was in the old one
	Route bottle.Route
}

// Diff is what turns the old routes into the new ones, by host; of one host what
// goes comes first. The order of the lists and the places where routes were
// written make no difference. Routes that do the same are one.
func Diff(old, new []bottle.Route) []Change {
	before, after := byText(old), byText(new)
	var out []Change
	for text, r := range before {
		if _, ok := after[text]; !ok {
			out = append(out, Change{false, r})
		}
	}
	for text, r := range after {
		if _, ok := before[text]; !ok {
			out = append(out, Change{true, r})
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Route.Host.String(), b.Route.Host.String()), -cmp.Compare(a.sign(), b.sign()), cmp.Compare(a.String(), b.String()))
	})
	return out
}

// byText keys routes by what they say: the canonical one, as it is hashed.
func byText(routes []bottle.Route) map[string]bottle.Route {
	var normal []*bottle.Route
	for _, r := range routes {
		normal = append(normal, normalise(r))
	}
	out := map[string]bottle.Route{}
	for i, key := range order(normal) {
		out[key] = *normal[i]
	}
	return out
}

func (c Change) sign() string {
	if c.Added {
		return "+"
	}
	return "-"
}

// String is the change as one line: + or -, and everything that the route says.
func (c Change) String() string {
	r := c.Route
	words := []string{c.sign(), r.Host.String() + ":" + strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Ports), " ", ","), "[]"), anyOf(r.Methods, ","), anyOf(r.Paths, " ")}
	if r.Auth != nil {
		scheme := r.Auth.Scheme
		if r.Auth.Header != "" {
			scheme += ":" + r.Auth.Header
		}
		words = append(words, "credential "+r.Auth.TokenRef+" ("+scheme+")")
	}
	if r.Role != "" {
		words = append(words, "role "+r.Role)
	}
	if r.TLS != tlsIntercept {
		words = append(words, "tls "+r.TLS)
	}
	if r.DLP != dlpBlock {
		words = append(words, "dlp "+r.DLP)
	}
	if r.Inbound != "" {
		words = append(words, "inbound "+r.Inbound)
	}
	if r.H2C {
		words = append(words, "h2c")
	}
	if r.Upstream != nil && r.Upstream.Address != "" {
		words = append(words, "dials "+r.Upstream.Address)
	}
	if r.Upstream != nil && r.Upstream.CAFile != "" {
		words = append(words, "trusts "+r.Upstream.CAFile)
	}
	return words[0] + " " + strings.Join(words[1:], "  ")
}

func anyOf(words []string, sep string) string {
	if len(words) == 0 {
		return "any"
	}
	return strings.Join(words, sep)
}
