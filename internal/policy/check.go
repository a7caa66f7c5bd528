package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// check holds one normalised route to what the manifest allows. The manifest
// checks too; this is for routes that came another way, such as a pipe or a
// proposal.
func check(r *bottle.Route) error {
	if err := checkHost(r); err != nil {
		return err
	}
	if len(r.Ports) == 0 || r.Ports[0] == 0 {
		return errors.New("the ports are missing, or one is 0")
	}
	for _, m := range r.Methods {
		switch {
		case !token(m) || m != strings.ToUpper(m):
			return fmt.Errorf("the method %.20q is not an upper-case HTTP method", m)
		case forbidden(m):
			return fmt.Errorf("the method %s is never let through", m)
		}
	}
	for _, path := range r.Paths {
		canon, err := bottle.ParsePath(path)
		if err != nil {
			return err
		}
		if canon != path {
			return fmt.Errorf("the path %.80q is not in canonical form: that is %.80q", path, canon)
		}
	}
	if !slices.Contains([]string{dlpBlock, "redact", "ask", "off"}, r.DLP) {
		return fmt.Errorf("dlp %.20q is none of block, redact, ask and off", r.DLP)
	}
	if !slices.Contains([]string{"", "warn", "block"}, r.Inbound) {
		return fmt.Errorf("inbound %.20q is neither warn nor block", r.Inbound)
	}
	for _, check := range []func(*bottle.Route) error{checkUpstream, checkAuth, checkTLS} {
		if err := check(r); err != nil {
			return err
		}
	}
	return nil
}

// checkAuth makes sure that a credential has a name and one place to go to, and
// that this place is not a header which frames or routes the request: there a
// value would be read as structure (request smuggling).
func checkAuth(r *bottle.Route) error {
	if r.Auth == nil {
		return nil
	}
	if r.Auth.TokenRef == "" {
		return errors.New("auth names no credential: set token_ref")
	}
	switch scheme := strings.ToLower(r.Auth.Scheme); {
	case scheme == "bearer" || scheme == "token" || scheme == "basic":
		return nil
	case scheme != "header":
		return fmt.Errorf("the auth scheme %.40q is none of Bearer, token, Basic and header:<Name>", r.Auth.Scheme)
	case !token(r.Auth.Header):
		return fmt.Errorf("the auth header %.40q is not a header name", r.Auth.Header)
	}
	switch header := strings.ToLower(r.Auth.Header); header {
	case "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect", "keep-alive", "content-encoding":
		return fmt.Errorf("the auth header %s frames or routes the request: no credential goes there", r.Auth.Header)
	}
	return nil
}

func checkUpstream(r *bottle.Route) error {
	if !hasAddress(r) {
		return nil
	}
	if _, _, err := bottle.ParseHostPort(r.Upstream.Address, 0); err != nil {
		return fmt.Errorf("upstream address: %w", err)
	}
	return nil
}

// checkTLS refuses promises that unopened TLS can't keep.
func checkTLS(r *bottle.Route) error {
	switch r.TLS {
	case tlsIntercept:
		return nil
	case tlsPassthrough:
	default:
		return fmt.Errorf("tls %.20q is neither intercept nor passthrough", r.TLS)
	}
	switch {
	case len(r.Paths) > 0:
		return errors.New("tls passthrough can't see paths: remove path_allowlist or intercept")
	case len(r.Methods) > 0:
		return errors.New("tls passthrough can't see methods: remove methods or intercept")
	case r.H2C:
		return errors.New("tls passthrough takes no plain requests: remove h2c or intercept")
	case r.Inbound != "":
		return errors.New("tls passthrough can't see answers: remove inbound or intercept")
	case r.Auth != nil:
		return errors.New("tls passthrough can't inject a credential: remove auth or intercept")
	}
	return nil
}

// conflicts finds what two routes of one pattern would treat differently with
// nothing to choose by.
func (g *group) conflicts() bottle.Problems {
	var out bottle.Problems
	seen := map[*bottle.Route]bool{}
	for i, a := range g.entries {
		for _, b := range g.entries[i+1:] {
			if a.route == b.route || seen[b.route] || !share(a.route.Ports, b.route.Ports) {
				continue
			}
			if err := contradict(a, b); err != nil {
				seen[b.route] = true
				out = append(out, problem(b.route, err))
			}
		}
	}
	return out
}

func contradict(a, b entry) error {
	x, y := a.route, b.route
	if x.TLS != y.TLS {
		return fmt.Errorf("it passes TLS through and the route at %s intercepts it, or the other way round, on the same port", x.Rule)
	}
	if x.TLS == tlsPassthrough {
		if dials(x) != dials(y) {
			return fmt.Errorf("it passes TLS through to another upstream than the route at %s", x.Rule)
		}
		return nil
	}
	if a.prefix != b.prefix || (len(x.Methods) == 0) != (len(y.Methods) == 0) {
		return nil // the more specific one wins
	}
	if len(x.Methods) > 0 && !share(x.Methods, y.Methods) {
		return nil
	}
	if x.DLP == y.DLP && x.Inbound == y.Inbound && x.H2C == y.H2C && dials(x) == dials(y) && sameAuth(x.Auth, y.Auth) {
		return nil
	}
	return fmt.Errorf("the route at %s covers the same requests and treats them differently", x.Rule)
}

func dials(r *bottle.Route) bottle.Upstream {
	if r.Upstream == nil {
		return bottle.Upstream{}
	}
	return *r.Upstream
}

func sameAuth(a, b *bottle.Auth) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func share[T comparable](a, b []T) bool {
	return slices.ContainsFunc(a, func(x T) bool { return slices.Contains(b, x) })
}

// forbidden methods: CONNECT opens a second tunnel that nobody decides on; TRACE
// and TRACK echo the request, injected credential included (VU#867593).
func forbidden(method string) bool {
	switch len(method) {
	case 5, 7:
	default:
		return false
	}
	return strings.EqualFold(method, "CONNECT") || strings.EqualFold(method, "TRACE") || strings.EqualFold(method, "TRACK")
}

// maxToken bounds methods and header names: none in use is half as long.
const maxToken = 64

// token is RFC 9110 section 5.6.2.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}
