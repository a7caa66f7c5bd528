package gateway

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/audit"
	"bottle/internal/egress"
)

// recorder writes decisions into the log. When it can't, or soon can't, it shuts
// the gate, so that nothing happens that nobody could read of afterwards; it
// opens it again when the log takes records again. Denials are recorded (and the
// log is tried) all the while.
type recorder struct {
	log             *audit.Log
	gate            func(open bool) // called with mu held, only when it changes
	allowed, denied atomic.Uint64
	lines           atomic.Uint64             // records so far
	began           atomic.Pointer[time.Time] // when the agent's requests began; nil: not known, and all count
	hear            func(audit.Record)        // of every denial, also one that the log did not take; nil: nobody

	mu   sync.Mutex
	shut error // why the gate is shut; nil: it is open
}

// reasonFull is the reason of the record that says that the log has come to its
// bound.
const reasonFull = "log_full"

// egress writes one of egress's decisions. After an error there is no record, and
// what was decided must not go on.
func (r *recorder) egress(e egress.Record) error {
	var found []audit.Finding
	for _, f := range e.Findings {
		found = append(found, audit.Finding(f))
	}
	return r.append(audit.Record{
		Findings: found, Time: e.Time, Kind: e.Kind, Method: e.Method, Host: e.Host, Port: e.Port, Path: e.Path,
		Verdict: e.Verdict, Rule: e.Rule, Reason: e.Reason, Policy: e.Policy, Status: e.Status,
		BytesOut: e.BytesOut, BytesIn: e.BytesIn, Micros: e.Duration.Microseconds(),
		Credential: e.Credential, Count: uint64(max(e.Count, 0)), Note: e.Note,
	})
}

// write is for what has happened already: there is nothing to break off.
func (r *recorder) write(rec audit.Record) { _ = r.append(rec) }

func (r *recorder) append(rec audit.Record) error {
	n := max(rec.Count, 1)
	switch {
	case rec.Kind == egress.KindStreamEnd && rec.Verdict == audit.Allow: // its decision was counted when it opened
	case rec.Kind == audit.KindLog: // no request
	case r.early(rec): // a probe's, which was decided on before the agent was there
	case rec.Verdict == audit.Allow:
		r.allowed.Add(n)
	default:
		r.denied.Add(n)
		if r.hear != nil {
			if rec.Time.IsZero() {
				rec.Time = time.Now()
			}
			r.hear(rec)
		}
	}
	err := r.log.Append(rec)
	r.lines.Add(1)
	room := err
	if room == nil {
		room = r.log.Room()
	}
	r.set(room)
	return err
}

// begin says that the walls were tried from inside, and the agent starts: what was recorded so
// far stays in the log, and is not counted as its. Only the first word is taken.
func (r *recorder) begin(now time.Time, policy string) bool {
	if !r.began.CompareAndSwap(nil, &now) {
		return false
	}
	r.allowed.Store(0)
	r.denied.Store(0)
	n := r.lines.Load()
	r.write(audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: audit.ReasonBegun, Policy: policy, Count: n,
		Note: fmt.Sprintf("the agent starts; the %d records before this are of the trial of the walls", n)})
	return true
}

// early reports whether what is recorded began before the agent did.
func (r *recorder) early(rec audit.Record) bool {
	began, at := r.began.Load(), rec.Time
	if at.IsZero() {
		at = time.Now().Add(-time.Duration(rec.Micros) * time.Microsecond)
	}
	return began != nil && at.Before(*began)
}

// set shuts the gate for a cause, or opens it without one. The log's reserve is
// for this: that it is full stands in the log itself.
func (r *recorder) set(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.shut
	r.shut = cause
	if (cause == nil) == (was == nil) {
		return
	}
	r.gate(cause == nil)
	if errors.Is(cause, audit.ErrFull) {
		_ = r.log.Append(audit.Record{Kind: audit.KindLog, Verdict: audit.Deny, Reason: reasonFull,
			Note: "the log has come to its bound: from here on everything is denied"})
	}
}

// recording is nil while decisions can be recorded, else why they can't.
func (r *recorder) recording() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shut
}
