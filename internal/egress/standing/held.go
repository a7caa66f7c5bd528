package standing

import (
	"errors"
	"sync/atomic"

	"bottle/internal/policy"
)

// ErrRevoked is how a request's body, or an answer without an end, breaks off that the
// policy no longer lets through.
var ErrRevoked = errors.New("go on with request: a new policy does not let it through")

// Held is a request under way, held to the policy in force piece by piece. It is for two
// goroutines: one that sends its body, and one that gives the answer on. The zero Held
// goes no further than its first piece.
type Held struct {
	force   *Force
	by      atomic.Pointer[policy.Policy] // the last that lets it go on
	request policy.Request
	verdict policy.Verdict
	gone    atomic.Bool
}

// Hold begins, for a request that was decided by a policy which need not be in force any
// more: its first piece goes by that.
func (h *Held) Hold(f *Force, by *policy.Policy, r policy.Request, v policy.Verdict) {
	h.force, h.request, h.verdict = f, r, v
	h.by.Store(by)
}

// Goes reports whether a piece may go on that comes behind so many bytes: in the steady
// state a look at one pointer. What has begun and is as short as one piece is let finish:
// it was decided a moment ago. Once it is false it stays so.
func (h *Held) Goes(behind int64) bool {
	if behind == 0 {
		return true
	}
	if h.force == nil || h.gone.Load() {
		return false
	}
	if by := h.by.Load(); by == h.force.Load() {
		return true
	}
	now := h.force.isSet() // not what decides while nothing can be recorded: what it is is on record
	if now != h.by.Load() && !(&Stream{Opening: Opening{Request: h.request, Verdict: h.verdict}}).stands(now) {
		h.gone.Store(true)
		return false
	}
	h.by.Store(now)
	return true
}

// Gone reports whether it was cut.
func (h *Held) Gone() bool { return h.gone.Load() }

func (f *Force) isSet() *policy.Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set
}
