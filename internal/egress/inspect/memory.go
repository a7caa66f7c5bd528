package inspect

import (
	"context"
	"sync"
)

// memory is how much may be held for looking by all requests together, in bytes. Who
// wants more waits in line. It is safe for many goroutines.
type memory struct {
	mu   sync.Mutex
	left int
	line []*waiter // the first has waited longest
}

type waiter struct {
	size int
	got  chan struct{}
}

// try takes size bytes if they are there, and nobody waits for any.
func (m *memory) try(size int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.line) > 0 || m.left < size {
		return false
	}
	m.left -= size
	return true
}

// take waits for size bytes; false: ctx ended first.
func (m *memory) take(ctx context.Context, size int) bool {
	if m.try(size) {
		return true
	}
	w := &waiter{size, make(chan struct{})}
	m.mu.Lock()
	m.line = append(m.line, w)
	m.serve()
	m.mu.Unlock()
	select {
	case <-w.got:
		return true
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, o := range m.line {
		if o == w {
			m.line = append(m.line[:i], m.line[i+1:]...)
			m.serve() // a smaller one may have stood behind it
			return false
		}
	}
	m.left += size // it came at the same moment
	m.serve()
	return false
}

// give gives size bytes back.
func (m *memory) give(size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left += size
	m.serve()
}

// serve lets those in front of the line have theirs.
func (m *memory) serve() {
	for len(m.line) > 0 && m.line[0].size <= m.left {
		m.left -= m.line[0].size
		close(m.line[0].got)
		m.line = m.line[1:]
	}
}
