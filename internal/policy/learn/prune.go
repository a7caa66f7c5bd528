package learn

import (
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// use is what a session used of one route of its manifest.
type use struct {
	methods map[string]bool // of those that the route lists
	paths   map[string]bool // same
}

// use notes what an event that is let through makes use of. A method or path is noted as
// the manifest lists it: what is kept does not grow.
func (s *Session) use(e *Event, v policy.Verdict) {
	r := v.Route
	if e.Kind != "http" && !v.Passthrough() {
		s.touched[r.Host] = true // nobody knows which of its routes it was for
		return
	}
	u := s.used[r.Rule]
	if u == nil {
		u = &use{methods: map[string]bool{}, paths: map[string]bool{}}
		s.used[r.Rule] = u
	}
	if slices.Contains(r.Methods, e.Method) {
		u.methods[e.Method] = true
	}
	path, err := bottle.ReadPath(e.Path)
	if err != nil {
		return
	}
	best, found := "", false
	for _, p := range r.Paths {
		if covers(p, path.Text) && len(p) >= len(best) {
			best, found = p, true
		}
	}
	if found {
		u.paths[best] = true
	}
}

// Less is what a session did not use of a route of its manifest.
type Less struct {
	Route   bottle.Route `json:"route"` // as the manifest has it
	Whole   bool         `json:"whole"`
	Methods []string     `json:"methods,omitempty"` // if not the whole: these
	Paths   []string     `json:"paths,omitempty"`   // same
}

// unused is what the session did not use of its manifest, and what can be taken out so that
// nothing else becomes possible: a route that stood before another one, or a host before a
// wildcard, does not go, since the other would take its requests over. A route with a role
// is its agent's and stays, and so does a host to which there were connections of which
// nobody knows what they were for. idle says that nothing at all was used; then nothing is told.
func (s *Session) unused(own string) (out []Less, idle bool) {
	if len(s.used) == 0 {
		return nil, true
	}
	whole := map[bottle.Pattern]int{}
	for _, r := range s.base {
		if s.touched[r.Host] || r.Rule == "" || r.Role != "" || own != "" && !strings.HasPrefix(r.Rule, own+":") {
			continue
		}
		u := s.used[r.Rule]
		if u == nil {
			if !s.behind(r, r.Methods, r.Paths) {
				out = append(out, Less{Route: r, Whole: true})
				whole[r.Host]++
			}
			continue
		}
		l := Less{Route: r}
		if m := without(r.Methods, u.methods); len(m) < len(r.Methods) && !s.behind(r, m, r.Paths) {
			l.Methods = m
		}
		if p := without(r.Paths, u.paths); len(p) < len(r.Paths) && !s.behind(r, r.Methods, p) {
			l.Paths = p
		}
		if len(l.Methods)+len(l.Paths) > 0 {
			out = append(out, l)
		}
	}
	for host, n := range whole { // the last of a host: a wildcard would decide from now on
		all, wild := 0, false
		for _, r := range s.base {
			if r.Host == host {
				all++
			} else if r.Host.Sub && (r.Host.Matches(host.Host) || host.Sub && r.Host.Matches("x."+host.Host)) {
				wild = true
			}
		}
		if wild && all == n {
			out = slices.DeleteFunc(out, func(l Less) bool { return l.Route.Host == host })
		}
	}
	return out, false
}

func without(list []string, used map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(list), func(w string) bool { return used[w] })
}

// behind reports whether another route of the same host could let through something of
// these methods and paths of r: what r no longer takes, that one would.
func (s *Session) behind(r bottle.Route, methods, paths []string) bool {
	meet := func(a, b []string) bool {
		return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(w string) bool { return slices.Contains(b, w) })
	}
	for _, o := range s.base {
		if o.Host != r.Host || o.Rule == r.Rule || !slices.ContainsFunc(o.Ports, func(p uint16) bool { return slices.Contains(r.Ports, p) }) || !meet(methods, o.Methods) {
			continue
		}
		if len(paths) == 0 || len(o.Paths) == 0 || slices.ContainsFunc(paths, func(p string) bool { return meets(o.Paths, p) }) {
			return true
		}
	}
	return false
}

// Narrow gives routes without what is taken out. The order stays.
func Narrow(routes []bottle.Route, less []Less) (out []bottle.Route) {
	by := map[string]Less{}
	for _, l := range less {
		by[l.Route.Rule] = l
	}
	for _, r := range routes {
		l, ok := by[r.Rule]
		if ok && l.Whole {
			continue
		}
		if ok {
			r.Methods = without(r.Methods, set(l.Methods))
			r.Paths = without(r.Paths, set(l.Paths))
		}
		out = append(out, r)
	}
	return out
}

func set(words []string) map[string]bool {
	out := map[string]bool{}
	for _, w := range words {
		out[w] = true
	}
	return out
}
