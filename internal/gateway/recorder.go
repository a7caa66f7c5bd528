package gateway

import (
	"errors"
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
	hear            func(audit.Record) // of every denial, also one that the log did not take; nil: nobody

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
	room := err
	if room == nil {
		room = r.log.Room()
	}
	r.set(room)
	return err
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
