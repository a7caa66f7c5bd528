// Package measure counts what the egress does and times its steps. Whatever a
// request touches here is an atomic addition: no lock, no allocation, some
// nanoseconds each. The sets of labels are fixed or bounded, whatever an agent
// asks for.
package measure

import (
	"sync/atomic"
	"time"

	"bottle/internal/policy"
)

// Step is one part of a request's way.
type Step uint8

// The steps, in the order in which a request takes them. What happens once for a
// connection (Handshake, Dial) is counted once for it, and within Dial's time a
// request waits in FirstByte.
const (
	StepHandshake Step = iota // TLS with the agent
	StepTarget                // the one host, port and scheme that a request is about
	StepForm                  // what HTTP allows and nobody should forward
	StepConnect               // may the host be talked to at all
	StepDecide                // may this request go out
	StepTripwire              // does it carry a placeholder to where that does not belong
	StepLimit                 // has the bottle had its share
	StepLookUp                // the credential that the route wants
	StepInspect               // is there a secret in its head
	StepChoose                // the connection pool of the route
	StepDial                  // resolve, classify and connect
	StepFirstByte             // from handing the request on to the upstream's answer header
	StepRelay                 // from there to the end of the answer
	steps
)

// String is the step's word in the metrics.
func (s Step) String() string {
	if s < steps {
		return [steps]string{"handshake", "target", "form", "connect", "decide", "tripwire", "limit", "look_up", "inspect", "choose", "dial", "first_byte", "relay"}[s]
	}
	return "other"
}

// Level counts what opens and closes.
type Level struct {
	open  atomic.Int64
	total atomic.Uint64
}

// Up counts one that opened.
func (l *Level) Up() { l.open.Add(1); l.total.Add(1) }

// Down counts one that closed.
func (l *Level) Down() { l.open.Add(-1) }

// Open is how many are open now.
func (l *Level) Open() int64 { return l.open.Load() }

// Set is every number of one egress, safe for many goroutines. Make it with New.
type Set struct {
	Conns    Level // connections of the bottle
	Tunnels  Level // explicit and redirected TLS connections among them
	Streams  Level // that outlive a request: passed-through tunnels, WebSockets
	Records  atomic.Uint64
	Lost     atomic.Uint64 // decisions that could not be recorded
	Injected atomic.Uint64 // requests that got a credential
	Masked   atomic.Uint64 // places where a credential came back and was starred
	Revoked  atomic.Uint64 // streams that a new policy cut
	Reloads  atomic.Uint64

	Scanned atomic.Uint64 // bytes that were looked at for secrets
	Scans   Times         // how long the looking took, for each request that had a body
	found   [outcomes]atomic.Uint64

	Requests Times // from the request's first step to its record
	step     [steps]Times
	answers  [answers]atomic.Uint64
	decided  [kinds][verdicts][]atomic.Uint64
	reasons  map[string]int // never written after New
	names    []string       // of the reasons, by index; the last is for all that are not known
	hosts    hosts
	start    time.Time
}

// New makes a Set with nothing counted.
func New() *Set {
	m := &Set{reasons: map[string]int{}, start: time.Now()}
	for i, r := range policy.Reasons() {
		m.reasons[string(r)] = i
		m.names = append(m.names, string(r))
	}
	m.names = append(m.names, other)
	for k := range m.decided {
		for v := range m.decided[k] {
			m.decided[k][v] = make([]atomic.Uint64, len(m.names))
		}
	}
	return m
}

const other = "other"

// The kinds of records that are counted, as internal/egress/decision names them,
// and the verdicts.
const (
	kindHTTP = iota
	kindConnect
	kindTLS
	kindTCP
	kindDNS
	kindOther
	kinds

	denied, allowed, verdicts = 0, 1, 2
)

func kindOf(name string) int {
	switch name {
	case "http":
		return kindHTTP
	case "connect":
		return kindConnect
	case "tls":
		return kindTLS
	case "tcp":
		return kindTCP
	case "dns":
		return kindDNS
	}
	return kindOther
}

// Begun forgets the decisions so far: they were about the trial of the walls, and not the
// agent's. What is decided meanwhile is counted before or after.
func (m *Set) Begun() {
	for k := range m.decided {
		for v := range m.decided[k] {
			for i := range m.decided[k][v] {
				m.decided[k][v][i].Store(0)
			}
		}
	}
}

// Decided counts one decision by its kind, verdict and reason. What is not known
// of them counts as other, and a verdict that is not allow as a denial.
func (m *Set) Decided(kind, verdict, reason string) {
	v := denied
	if verdict == "allow" {
		v = allowed
	}
	r, ok := m.reasons[reason]
	if !ok {
		r = len(m.names) - 1
	}
	m.decided[kindOf(kind)][v][r].Add(1)
}

// Answer is what the bottle's DNS said to a query.
type Answer uint8

// The answers.
const (
	AnswerDenied Answer = iota
	AnswerFound
	AnswerFailed // the table of names is full
	answers
)

// Asked counts one DNS query.
func (m *Set) Asked(a Answer) { m.answers[min(a, answers-1)].Add(1) }

// Outcome is what became of a secret that was found.
type Outcome uint8

// The outcomes.
const (
	OutcomeDenied    Outcome = iota
	OutcomeRedacted          // taken out, and the request went on
	OutcomeAdmitted          // let pass by an operator's word
	OutcomeHandedOut         // gone back to the host that handed it out, counted once a day for each value
	outcomes
)

// Found counts n findings of one outcome.
func (m *Set) Found(o Outcome, n int) { m.found[min(o, outcomes-1)].Add(uint64(max(n, 0))) }

// Observe adds one duration to a step.
func (m *Set) Observe(s Step, d time.Duration) {
	if s < steps {
		m.step[s].Observe(d)
	}
}

// Span times the steps of one request, each from the end of the one before. The
// zero Span measures nothing.
type Span struct {
	m    *Set
	last time.Duration
}

// Begin starts a span now.
func (m *Set) Begin() Span { return Span{m, time.Since(m.start)} }

// Done ends a step, and begins the next.
func (s *Span) Done(step Step) {
	if s.m == nil {
		return
	}
	now := time.Since(s.m.start)
	s.m.Observe(step, now-s.last)
	s.last = now
}
