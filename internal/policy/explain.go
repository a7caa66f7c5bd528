package policy

import (
	"fmt"
	"strings"

	"bottle/internal/bottle"
)

// Explain decides on a method and a URL as a gateway would, without starting
// anything. The error says why url is not a URL that a gateway could be asked
// for; everything else is in the verdict.
func Explain(p *Policy, method, url string) (Verdict, error) {
	r, authority, err := split(method, url)
	if err != nil {
		return Verdict{}, err
	}
	defaultPort := uint16(443)
	if r.Scheme == "http" {
		defaultPort = 80
	}
	r.Host, r.Port, err = bottle.ParseHostPort(authority, defaultPort)
	if err != nil {
		return Refuse(BadHost, err.Error()), nil
	}
	v := p.Connect(r.Host, r.Port)
	if !v.Allowed() {
		return v, nil
	}
	if v.Passthrough() && r.Scheme == "https" {
		v.Message = "TLS to this host is passed through unopened: method and path are not looked at"
		return v, nil
	}
	return p.Decide(r), nil
}

// split takes an absolute URL apart without decoding anything (RFC 3986
// appendix B). net/url would decode the path and forgive too much.
func split(method, url string) (r Request, authority string, err error) {
	r.Method = method
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return r, "", fmt.Errorf("%.80q is not a URL: write https://host/path", url)
	}
	switch strings.ToLower(scheme) {
	case "https", "wss":
		r.Scheme = "https"
	case "http", "ws":
		r.Scheme = "http"
	default:
		return r, "", fmt.Errorf("%.80q: the scheme %.20q is neither http nor https", url, scheme)
	}
	for i := range len(url) {
		if c := url[i]; c <= ' ' || c == 0x7f {
			return r, "", fmt.Errorf("%.80q has the character %q, which no URL has", url, c)
		}
	}
	end := strings.IndexAny(rest, "/?#\\")
	if end < 0 {
		end = len(rest)
	}
	authority, rest = rest[:end], rest[end:]
	if strings.Contains(authority, "@") {
		return r, "", fmt.Errorf("the URL has a user name or password before its host: a bottle injects credentials by its routes")
	}
	if end = strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	r.Path = rest
	return r, authority, nil
}
