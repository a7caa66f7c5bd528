package standing

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

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

	writer  http.ResponseWriter // the agent's
	body    io.Closer           // of its request
	begun   atomic.Bool         // its answer has
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

// Context is that under which the request goes out; cut ends it. Where a policy does, what
// waits for the agent ends, too: a read of the request's body, and a write of an answer that
// has begun. (Where it has not, the agent is told why.)
func (h *Held) Context(w http.ResponseWriter, r *http.Request) (_ context.Context, cut func()) {
	ctx, cancel := context.WithCancel(r.Context())
	if h.force == nil {
		cancel()
		return ctx, cancel
	}
	h.force.mu.Lock()
	defer h.force.mu.Unlock()
	if h.cancel, h.writer, h.body = cancel, w, r.Body; h.gone.Load() {
		h.sever()
	}
	return ctx, cancel
}

// Begins says that the answer does.
func (h *Held) Begins() { h.begun.Store(true) }

// sever ends what goes on or waits; the force is locked.
func (h *Held) sever() {
	if h.cancel == nil { // it goes nowhere yet
		return
	}
	h.cancel()
	h.closing.Go(func() { // it may have to wait for a reader to leave
		if h.body != nil {
			_ = h.body.Close()
		}
		if h.begun.Load() {
			_ = http.NewResponseController(h.writer).SetWriteDeadline(time.Unix(1, 0))
		}
	})
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
	h.sever()
	return true
}
