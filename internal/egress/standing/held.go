package standing

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"bottle/internal/policy"
)

// ErrRevoked is how a request's body breaks off that the policy no longer lets through.
var ErrRevoked = errors.New("go on with request: a new policy does not let it through")

// Held is a request under way. A policy that would not let it through in the same way ends
// it at once, whether bytes go either way or not: an answer that is a stream of events, or
// that nobody has begun yet, may be silent for hours. The zero Held goes nowhere. All but
// Gone is for one goroutine.
type Held struct {
	force      *Force
	request    policy.Request
	verdict    policy.Verdict
	prev, next *Held // among those under way; these and cancel are the force's mu's
	cancel     context.CancelFunc
	gone       atomic.Bool

	stop    func() bool // of what closes the body
	closing sync.WaitGroup
}

// Hold takes a request in that was allowed by a policy which need not be in force any more.
// false: the one that is does not let it through. Each is followed by Over.
func (h *Held) Hold(f *Force, by *policy.Policy, r policy.Request, v policy.Verdict) bool {
	h.request, h.verdict = r, v
	f.mu.Lock()
	defer f.mu.Unlock()
	h.force, h.next = f, f.held
	if f.held != nil {
		f.held.prev = h
	}
	f.held = h
	if f.set != by && !stands(f.set, r, v) { // not what decides while nothing can be recorded: what it is is on record
		h.gone.Store(true)
	}
	return !h.gone.Load()
}

// Context is that under which the request goes out, and cut ends it, as its cut by a policy
// does; with it the body is closed, so that a read of it ends that waits for the agent.
func (h *Held) Context(parent context.Context, body io.Closer) (_ context.Context, cut func()) {
	ctx, cancel := context.WithCancel(parent)
	if h.force == nil {
		cancel()
		return ctx, cancel
	}
	if body != nil && body != http.NoBody {
		h.closing.Add(1)
		h.stop = context.AfterFunc(ctx, func() {
			defer h.closing.Done()
			_ = body.Close()
		})
	}
	h.force.mu.Lock()
	defer h.force.mu.Unlock()
	if h.cancel = cancel; h.gone.Load() {
		cancel()
	}
	return ctx, cancel
}

// Leave takes it out without ending it: from now on it is held as a Stream.
func (h *Held) Leave() {
	if h.force == nil {
		return
	}
	h.force.mu.Lock()
	defer h.force.mu.Unlock()
	switch {
	case h.prev != nil:
		h.prev.next = h.next
	case h.force.held == h:
		h.force.held = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.prev, h.next = nil, nil
}

// Over ends it, and returns when nothing of it runs any more.
func (h *Held) Over() {
	h.Leave()
	if h.stop != nil && h.stop() {
		h.closing.Done()
	}
	h.closing.Wait()
	if h.cancel != nil {
		h.cancel()
	}
}

// Gone reports whether it was cut.
func (h *Held) Gone() bool { return h.force == nil || h.gone.Load() }

// end cuts it; the force is locked.
func (h *Held) end() bool {
	if h.gone.Swap(true) {
		return false
	}
	if h.cancel != nil {
		h.cancel()
	}
	return true
}
