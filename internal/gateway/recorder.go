package gateway

import (
	"sync"
	"sync/atomic"

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

	mu   sync.Mutex
	shut bool
}

func (r *recorder) egress(e egress.Record) {
	r.write(audit.Record{
		Time: e.Time, Kind: e.Kind, Method: e.Method, Host: e.Host, Port: e.Port, Path: e.Path,
		Verdict: e.Verdict, Rule: e.Rule, Reason: e.Reason, Policy: e.Policy, Status: e.Status,
		BytesOut: e.BytesOut, BytesIn: e.BytesIn, Micros: e.Duration.Microseconds(),
		Credential: e.Credential, Count: uint64(max(e.Count, 0)),
	})
}

func (r *recorder) write(rec audit.Record) {
	n := max(rec.Count, 1)
	switch {
	case rec.Kind == egress.KindStreamEnd: // its decision was counted when it opened
	case rec.Verdict == audit.Allow:
		r.allowed.Add(n)
	default:
		r.denied.Add(n)
	}
	err := r.log.Append(rec)
	if err == nil {
		err = r.log.Room()
	}
	r.set(err != nil)
}

func (r *recorder) set(shut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if shut != r.shut {
		r.shut = shut
		r.gate(!shut)
	}
}

func (r *recorder) recording() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.shut
}
