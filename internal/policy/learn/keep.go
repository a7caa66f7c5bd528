package learn

import (
	"slices"
	"strings"
	"time"

	"bottle/internal/bottle"
)

// request is one method and path of a place, or, with a path that ends in a slash and was
// folded, everything below it.
type request struct{ method, path string }

// Sight is when something was seen, and how often.
type Sight struct {
	Count     uint64    `json:"count"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	FirstPath string    `json:"first_path,omitempty"`
	LastPath  string    `json:"last_path,omitempty"`
	Grants    []string  `json:"grants,omitempty"` // the proposals that let some of it through in the session
}

// maxGrants of one sight are named.
const maxGrants = 4

func (s *Sight) add(o Sight) {
	if s.Count == 0 || o.First.Before(s.First) {
		s.First, s.FirstPath = o.First, o.FirstPath
	}
	if s.Count == 0 || !o.Last.Before(s.Last) {
		s.Last, s.LastPath = o.Last, o.LastPath
	}
	s.Count += o.Count
	for _, g := range o.Grants {
		if len(s.Grants) < maxGrants && !slices.Contains(s.Grants, g) {
			s.Grants = append(s.Grants, g)
		}
	}
}

// place is what was seen of one host and port.
type place struct {
	tunnels  Sight // connections, and look-ups of the name: nobody saw what would have been asked
	requests map[request]*Sight
	folded   map[request]*Sight // by what fold made of them
	full     bool               // folding no longer helps
}

// keep adds one event to its place.
func (s *Session) keep(e *Event, host bottle.Host, granted string) {
	port := e.Port
	if e.Kind == "dns" {
		port = 0
	}
	at := end{host, port}
	p := s.places[at]
	if p == nil {
		if len(s.places) >= maxPlaces {
			s.counts.Excess += e.count()
			return
		}
		p = &place{}
		s.places[at] = p
	}
	seen := Sight{Count: e.count(), First: e.Time, Last: e.Time}
	if granted != "" {
		seen.Grants = []string{granted}
	}
	if e.Kind != "http" {
		p.tunnels.add(seen)
		s.counts.Evidence += e.count()
		return
	}
	seen.FirstPath, seen.LastPath = e.Path, e.Path
	if !s.note(p, request{e.Method, e.Path}, seen) {
		s.counts.Excess += e.count()
		return
	}
	s.counts.Evidence += e.count()
}

// note adds one request; false: there is no room for another one.
func (s *Session) note(p *place, r request, seen Sight) bool {
	if old := p.requests[r]; old != nil {
		old.add(seen)
		return true
	}
	for i := 0; len(p.folded) > 0 && i < len(r.path); i++ {
		if r.path[i] != '/' {
			continue
		}
		if f := p.folded[request{r.method, r.path[:i+1]}]; f != nil {
			f.add(seen)
			return true
		}
	}
	if (len(p.requests)+len(p.folded) >= maxRequests || s.all >= maxAll || s.text+len(r.path) > maxText) && !s.fold(p) {
		return false
	}
	if p.requests == nil {
		p.requests = map[request]*Sight{}
	}
	r.path = strings.Clone(r.path)
	seen.FirstPath, seen.LastPath = r.path, r.path
	p.requests[r] = &seen
	s.all++
	s.text += len(r.path)
	return true
}

// fold makes room in a place by folding what can be folded already; false: it made too
// little, and is not tried again.
func (s *Session) fold(p *place) bool {
	if p.full {
		return false
	}
	before := len(p.requests)
	for r, prefix := range foldable(p.requests, nil) {
		if p.folded == nil {
			p.folded = map[request]*Sight{}
		}
		to := request{r.method, prefix}
		if p.folded[to] == nil {
			p.folded[to] = &Sight{}
			s.all++
			s.text += len(prefix)
		}
		p.folded[to].add(*p.requests[r])
		delete(p.requests, r)
		s.all--
		s.text -= len(r.path)
	}
	after := len(p.requests) + len(p.folded)
	p.full = after > maxRequests/2
	return len(p.requests) < before && after < maxRequests
}
