package standing

import (
	"sync"
	"sync/atomic"

	"bottle/internal/policy"
)

// Force is the policy in force, and every stream and request that was let through by it
// or one before, and goes on. It is safe for many goroutines. The zero Force denies everything.
type Force struct {
	decides atomic.Pointer[policy.Policy] // by which requests are decided: set, or nothing

	mu        sync.Mutex
	set       *policy.Policy
	nothing   *policy.Policy // allows nothing; nil does so, too
	suspended bool
	open      map[*Stream]struct{}
	held      *Held // the first of the requests under way
}

// Begin puts the first policy in force. nothing is the one that decides while it
// is suspended.
func (f *Force) Begin(first, nothing *policy.Policy) {
	f.nothing = nothing
	f.Set(first)
}

// Load is the policy that decides now.
func (f *Force) Load() *policy.Policy { return f.decides.Load() }

// Set replaces the policy, cuts every stream and request that p would not let through now
// in the same way, and gives their number. While it is suspended p decides from the end of that.
func (f *Force) Set(p *policy.Policy) (cut int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set = p
	if !f.suspended {
		f.decides.Store(p)
	}
	for s := range f.open {
		if !stands(p, s.Request, s.Verdict) && s.end() {
			cut++
		}
	}
	for h := f.held; h != nil; h = h.next {
		if !stands(p, h.request, h.verdict) && h.end() {
			cut++
		}
	}
	return cut
}

// Suspend lets nothing be decided by the policy that is set, until it is called
// with false. Streams that are open stay: what they are is on record.
func (f *Force) Suspend(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.suspended = on
	if on {
		f.decides.Store(f.nothing)
		return
	}
	f.decides.Store(f.set)
}

// add takes a stream in. One that was decided under a policy which has been
// replaced since is held against the new one here: it cannot slip in between.
func (f *Force) add(s *Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = map[*Stream]struct{}{}
	}
	f.open[s] = struct{}{}
	if !stands(f.set, s.Request, s.Verdict) {
		s.end()
	}
}

func (f *Force) remove(s *Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, s)
}
