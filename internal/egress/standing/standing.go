// Package standing keeps the policy in force, and what outlives its decision: tunnels
// that are passed through unopened, WebSockets, and requests until their answer's end. A
// new policy is held against each, and what it no longer allows is cut: a route that was
// taken away must not live on in what was opened under it.
package standing

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/quota"
	"bottle/internal/policy"
)

// Opening is a stream that was just allowed.
type Opening struct {
	Request policy.Request     // as it was decided; without a method it is a tunnel, known by host and port alone
	Verdict policy.Verdict     // on it
	Agent   io.ReadWriteCloser // the bottle's side
	Cut     func()             // ends it soon; called at most once, and must not wait
	Book    *quota.Book        // what it sends is booked here
	Now     func() time.Time
}

// Stream is the bottle's side of a stream. Reading books what was read, and fails
// when that was more than the bottle may send.
type Stream struct {
	Opening
	force *Force
	cut   atomic.Bool
	over  atomic.Bool

	broken policy.Verdict // why its own protocol ended it; zero: it did not
}

// Open takes a stream in. Every one is followed by one Over, from the goroutine
// that waited for its end.
func (f *Force) Open(o Opening) *Stream {
	s := &Stream{Opening: o, force: f}
	f.add(s)
	return s
}

var errOver = errors.New("read from bottle: it has sent as much as it may")

// Read implements io.Reader.
func (s *Stream) Read(b []byte) (int, error) {
	n, err := s.Agent.Read(b)
	if n > 0 && !s.Spend(n) {
		return 0, errOver
	}
	return n, err
}

// Spend books n bytes that the bottle is about to send; false: it may not. For
// those who read its side by other means than Read.
func (s *Stream) Spend(n int) bool {
	if _, ok := s.Book.Spend(s.Now(), string(s.Request.Host), int64(n)); !ok {
		s.over.Store(true)
		return false
	}
	return true
}

// Write implements io.Writer.
func (s *Stream) Write(b []byte) (int, error) { return s.Agent.Write(b) }

// Close closes the bottle's side. It may be called again.
func (s *Stream) Close() error { return s.Agent.Close() }

// CloseWrite tells the bottle that nothing more comes.
func (s *Stream) CloseWrite() error {
	if w, ok := s.Agent.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return s.Agent.Close()
}

// Broken says, before Over, that the stream broke its own protocol.
func (s *Stream) Broken(why policy.Verdict) { s.broken = why }

// Over takes an ended stream out, and gives the verdict for the record of its
// end: that on its opening, or why it was cut.
func (s *Stream) Over() policy.Verdict {
	s.force.remove(s)
	v := s.Verdict
	switch {
	case s.over.Load():
		v = policy.Refuse(policy.LimitBytesOut, "")
	case s.cut.Load():
		v = policy.Refuse(policy.Revoked, "")
	case s.broken.Reason != "":
		v = s.broken
	}
	v.Rule = s.Verdict.Rule
	return v
}

func (s *Stream) end() bool {
	if s.cut.Swap(true) {
		return false
	}
	s.Cut()
	return true
}

// stands reports whether p still allows what was let through as was says, by a route that
// leads to the same place, with the same credential and the same scanning.
func stands(p *policy.Policy, r policy.Request, was policy.Verdict) bool {
	if r.Method == "" {
		v := p.Connect(r.Host, r.Port)
		return v.Passthrough() && alike(v.Route, was.Route)
	}
	v := p.Decide(r)
	return v.Allowed() && alike(v.Route, was.Route)
}

func alike(a, b *bottle.Route) bool {
	return a != nil && b != nil && a.TLS == b.TLS && a.DLP == b.DLP && a.Inbound == b.Inbound && same(a.Auth, b.Auth) && same(a.Upstream, b.Upstream)
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
