package manifest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/bottle/suffix"
	"bottle/internal/manifest/rules"
)

func (t Tree) routes(s *source, raw []routeFile) []bottle.Route {
	var out []bottle.Route
	type shape struct {
		host           bottle.Pattern
		ports, methods string
		path           string
	}
	lines := make(map[shape]int)
	for i := range raw {
		r, ok := t.route(s, &raw[i])
		if !ok {
			continue
		}
		ports := make([]string, len(r.Ports))
		for i, p := range r.Ports {
			ports[i] = strconv.Itoa(int(p))
		}
		slices.Sort(ports)
		twice := 0
		for _, p := range rules.PathsOf(r) {
			k := shape{r.Host, strings.Join(ports, ","), strings.Join(slices.Sorted(slices.Values(r.Methods)), ","), p}
			twice = max(twice, lines[k])
			lines[k] = raw[i].line
		}
		s.errorIf(twice > 0, raw[i].Host.at, "make one route of them",
			"the host %s is routed twice with the same path, ports and methods, first on line %d", quote(raw[i].Host.val), twice)
		out = append(out, r)
	}
	return out
}

// route checks one route. It reports false when there is no host to speak of.
func (t Tree) route(s *source, raw *routeFile) (bottle.Route, bool) {
	r := bottle.Route{
		TLS: cmp.Or(raw.TLS.val, "intercept"), DLP: cmp.Or(raw.DLP.val, rules.DLP(raw.Role.val)),
		Rule: s.rule(raw.at), Role: raw.Role.val, Inbound: raw.Inbound.val, H2C: raw.H2C.val,
	}
	r.Ports = s.ports(raw.Ports)
	r.Methods = s.methods(raw.Methods)
	r.Paths = s.paths(raw.Paths)
	if raw.Auth != nil {
		r.Auth = t.auth(s, raw.Auth.Scheme, raw.Auth.TokenRef)
	}
	s.role(raw)
	if raw.Upstream != nil {
		r.Upstream = t.upstream(s, raw.Upstream)
	}
	s.passthrough(raw)
	if !raw.Host.set() {
		return r, false
	}
	host, err := bottle.ParsePattern(raw.Host.val)
	if err == nil && host.Sub {
		err = suffix.CheckWildcard(string(host.Host))
	}
	if err != nil {
		s.errorf(raw.Host.at, "", "%v", err)
		return r, false
	}
	r.Host = host
	return r, true
}

// role refuses a role that no provider knows: its credential would have no
// placeholder, and the agent would ask for a login without anybody saying why.
func (s *source) role(raw *routeFile) {
	if !raw.Role.set() {
		return
	}
	if known := bottle.Roles(); !slices.Contains(known, raw.Role.val) {
		hint := "known: " + strings.Join(known, ", ")
		if near := rules.Nearest(raw.Role.val, known); near != "" {
			hint = "did you mean " + near + "? " + hint
		}
		s.errorf(raw.Role.at, hint, "`role` cannot be %s", quote(raw.Role.val))
	}
	s.errorIf(raw.Auth == nil, raw.Role.at, "add `auth`, or remove `role`",
		"`role` says what a credential is for, and the route has none")
}

// passthrough refuses what cannot be kept on a connection that stays encrypted:
// silence would let a person believe in a rule that nothing enforces.
func (s *source) passthrough(raw *routeFile) {
	if raw.TLS.val != "passthrough" {
		return
	}
	needs := func(a at, key string) {
		s.errorIf(a.set(), a, "write `tls: intercept`, or remove "+key, "%s needs `tls: intercept`: nobody reads inside a passthrough", key)
	}
	if len(raw.Methods) > 0 {
		needs(raw.Methods[0].at, "`methods`")
	}
	if len(raw.Paths) > 0 {
		needs(raw.Paths[0].at, "`path_allowlist`")
	}
	if raw.Auth != nil {
		needs(raw.Auth.at, "`auth`")
	}
	if raw.DLP.val != "off" {
		needs(raw.DLP.at, "`dlp: "+raw.DLP.val+"`")
	}
	needs(raw.Inbound.at, "`inbound`")
	if raw.Upstream != nil {
		needs(raw.Upstream.CAFile.at, "`ca_file`")
	}
	if raw.H2C.val {
		needs(raw.H2C.at, "`h2c`")
	}
}

func (s *source) ports(raw []integer) []uint16 {
	var out []uint16
	for _, p := range raw {
		switch {
		case !p.set():
		case p.val < 1 || p.val > 65535:
			s.errorf(p.at, "write a number from 1 to 65535", "%d is not a port", p.val)
		case slices.Contains(out, uint16(p.val)):
			s.errorf(p.at, "keep one of them", "the port %d is listed twice", p.val)
		default:
			out = append(out, uint16(p.val))
		}
	}
	if len(out) == 0 {
		return []uint16{443}
	}
	return out
}

func (s *source) methods(raw []text) []string {
	var out []string
	for _, m := range raw {
		upper := strings.ToUpper(m.val)
		switch {
		case !m.set():
		case !rules.Token(m.val):
			s.errorf(m.at, "write a method such as GET", "%s is not an HTTP method", quote(m.val))
		case m.val != upper:
			s.errorf(m.at, "write "+upper, "a method is written in upper case, found %s", quote(m.val))
		case m.val == "CONNECT" || m.val == "TRACE":
			s.errorf(m.at, "remove it", "the method %s cannot be allowed: %s", m.val, rules.WhyNot(m.val))
		case slices.Contains(out, m.val):
			s.errorf(m.at, "keep one of them", "the method %s is listed twice", m.val)
		default:
			out = append(out, m.val)
		}
	}
	return out
}

func (s *source) paths(raw []text) []string {
	var out []string
	for _, p := range raw {
		if !p.set() {
			continue
		}
		clean, err := bottle.ParsePath(p.val)
		switch {
		case err != nil:
			s.errorf(p.at, "", "%v", err)
		case slices.Contains(out, clean):
			s.errorf(p.at, "keep one of them", "the path %s is listed twice", quote(clean))
		default:
			out = append(out, clean)
		}
		if before, _, star := strings.Cut(clean, "*"); err == nil && star {
			prefix := cmp.Or(strings.TrimRight(before[:strings.LastIndexByte(before, '/')+1], "/"), "/")
			s.warnf(p.at, "write "+quote(prefix)+", which allows everything below it", "`*` stands for nothing here: %s allows only paths that begin with just these characters", quote(clean))
		}
	}
	return out
}

func (t Tree) upstream(s *source, raw *upstreamFile) *bottle.Upstream {
	u := &bottle.Upstream{}
	if raw.Address.set() {
		host, port, err := bottle.ParseHostPort(raw.Address.val, 0)
		if _, rest, isURL := strings.Cut(raw.Address.val, "://"); isURL {
			rest, _, _ = strings.Cut(rest, "/")
			if _, _, err := bottle.ParseHostPort(rest, 0); err != nil {
				rest = "host:port, such as 10.0.0.7:8443"
			}
			s.errorf(raw.Address.at, "write "+rest, "`address` is a URL, and wants a host and a port only")
		} else if err != nil {
			s.errorf(raw.Address.at, "write host:port, such as 10.0.0.7:8443", "`address`: %v", err)
		} else {
			u.Address = rules.JoinHostPort(host, port)
		}
	}
	if raw.CAFile.set() {
		u.CAFile = t.hostPath(s, raw.CAFile, "`ca_file`")
	}
	s.errorIf(!raw.Address.set() && !raw.CAFile.set(), raw.at, "give `address` or `ca_file`, or remove it", "`upstream` is empty")
	return u
}

func (t Tree) auth(s *source, scheme, ref text) *bottle.Auth {
	a := &bottle.Auth{TokenRef: t.tokenRef(s, ref)}
	if !scheme.set() {
		return a
	}
	switch scheme.val {
	case "Bearer", "token", "Basic":
		a.Scheme = scheme.val
		return a
	}
	name, ok := strings.CutPrefix(scheme.val, "header:")
	if !ok {
		hint := "write Bearer, token, Basic or header:<Name>"
		if near := rules.Nearest(scheme.val, []string{"Bearer", "token", "Basic"}); near != "" {
			hint = "did you mean " + near + "? allowed: Bearer, token, Basic, header:<Name>"
		}
		s.errorf(scheme.at, hint, "`scheme` cannot be %s", quote(scheme.val))
		return a
	}
	if len(name) > 64 || !rules.Token(name) {
		s.errorf(scheme.at, "write it as header:X-Api-Key", "%s is not the name of a header", quote(name))
		return a
	}
	if why := rules.RefuseHeader(name); why != "" {
		s.errorf(scheme.at, "name the header that the service reads its key from", "the header %s cannot carry a credential: %s", name, why)
		return a
	}
	a.Scheme, a.Header = "header", rules.CanonicalHeader(name)
	return a
}

// tokenRef checks where a secret is to be found.
func (t Tree) tokenRef(s *source, ref text) string {
	if !ref.set() || !s.filled(ref, "`token_ref`") {
		return ""
	}
	out, why, hint := rules.TokenRef(ref.val, t.expand)
	s.errorIf(why != "", ref.at, hint, "`token_ref` %s", why)
	return out
}
