// Package standing keeps the streams that outlive their decision: tunnels that are
// passed through unopened, and WebSockets. A new policy is held against each, and
// what it no longer allows is cut: a route that was taken away must not live on in
// what was opened under it.
package standing

import (
	"sync"
	"sync/atomic"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// Stream is one of them.
type Stream struct {
	Request policy.Request // as it was decided; without a method it is a tunnel, known by host and port alone
	Route   *bottle.Route  // that decided
	Cut     func()         // ends it soon; called at most once, must not wait and must not call the Registry
}

// Registry is safe for many goroutines. Its zero value is empty and ready.
type Registry struct {
	mu   sync.Mutex
	last *policy.Policy // of the last review; nil: there was none
	open map[*entry]struct{}
}

type entry struct {
	Stream
	cut atomic.Bool
}

// Add takes a stream in. remove takes it out again, and reports whether it was
// cut. A stream that was decided under a policy which has been replaced since is
// held against the new one here: it cannot slip in between.
func (r *Registry) Add(s Stream) (remove func() (cut bool)) {
	e := &entry{Stream: s}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[*entry]struct{}{}
	}
	r.open[e] = struct{}{}
	if r.last != nil && !s.stands(r.last) {
		e.end()
	}
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, e)
		return e.cut.Load()
	}
}

// Review cuts every stream that p would not open now in the same way, and gives
// their number.
func (r *Registry) Review(p *policy.Policy) (cut int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = p
	for e := range r.open {
		if !e.stands(p) && e.end() {
			cut++
		}
	}
	return cut
}

func (e *entry) end() bool {
	if e.cut.Swap(true) {
		return false
	}
	e.Cut()
	return true
}

// stands reports whether p still allows the stream, by a route that leads to the
// same place, with the same credential and the same scanning.
func (s *Stream) stands(p *policy.Policy) bool {
	if s.Request.Method == "" {
		v := p.Connect(s.Request.Host, s.Request.Port)
		return v.Passthrough() && alike(v.Route, s.Route)
	}
	v := p.Decide(s.Request)
	return v.Allowed() && alike(v.Route, s.Route)
}

func alike(a, b *bottle.Route) bool {
	return a != nil && b != nil && a.TLS == b.TLS && a.DLP == b.DLP && same(a.Auth, b.Auth) && same(a.Upstream, b.Upstream)
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
