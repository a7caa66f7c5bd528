// Package ration bounds the memory that the requests of one gateway take together for
// being looked into: decoders with a history of megabytes, and bodies that are held back.
package ration

import (
	"context"
	"sync"
)

// Ration is how many bytes all may hold together. Who wants more waits in line. It is safe
// for many goroutines.
type Ration struct {
	mu   sync.Mutex
	left int
	line []*waiter // the first has waited longest
}

// New makes a ration of so many bytes.
func New(bytes int) *Ration { return &Ration{left: bytes} }

type waiter struct {
	size int
	got  chan struct{}
}

// Try takes size bytes if they are there, and nobody waits for any.
func (r *Ration) Try(size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.line) > 0 || r.left < size {
		return false
	}
	r.left -= size
	return true
}

// Take waits for size bytes; false: ctx ended first. More than the ration has is never there.
func (r *Ration) Take(ctx context.Context, size int) bool {
	if r.Try(size) {
		return true
	}
	w := &waiter{size, make(chan struct{})}
	r.mu.Lock()
	r.line = append(r.line, w)
	r.serve()
	r.mu.Unlock()
	select {
	case <-w.got:
		return true
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range r.line {
		if o == w {
			r.line = append(r.line[:i], r.line[i+1:]...)
			r.serve() // a smaller one may have stood behind it
			return false
		}
	}
	r.left += size // it came at the same moment
	r.serve()
	return false
}

// Give gives size bytes back.
func (r *Ration) Give(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += size
	r.serve()
}

// serve lets those in front of the line have theirs.
func (r *Ration) serve() {
	for len(r.line) > 0 && r.line[0].size <= r.left {
		r.left -= r.line[0].size
		close(r.line[0].got)
		r.line = r.line[1:]
	}
}
