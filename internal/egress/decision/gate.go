package decision

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A flood of refusals must not become a flood of records: an agent can have some
// thousand requests refused in a second, each by another name.
const (
	maxKinds    = 1024        // refusals told apart at one time
	burst       = 256         // new ones that are recorded at once; after them
	rate        = 4           // so many in a second
	firstWindow = time.Second // like ones within it are one record; it doubles while they go on
	lastWindow  = time.Minute

	keyPath   = 128  // bytes of a path by which refusals are told apart
	keptPath  = 1024 // bytes of a refused path in a record
	keptShort = 64   // of a method
)

// AtTheEnd, given to Flush, ends all windows.
const AtTheEnd = time.Duration(1<<63 - 1)

// Gate tells refusals apart. The first of its kind is recorded at once; the like
// ones that follow are counted, and recorded as one with a count when the window
// is over. What is past the bounds is counted together, whatever it was.
type Gate struct {
	Seen func(Record) // if set before the first decision: told of each, recorded or only counted

	now    func() time.Time
	record func(Record) error
	wake   chan struct{}

	mu    sync.Mutex
	seen  map[string]*repeated
	spent float64   // of burst
	asOf  time.Time // when spent was true
}

type repeated struct {
	rec     Record // of the first; later ones differ in nothing but time and bytes
	since   time.Time
	window  time.Duration
	more    int
	out, in int64
	found   []Finding // in what was counted
}

// others stands for all hosts past the bounds.
const others = "(others)"

// NewGate makes a gate before record, with that clock.
func NewGate(now func() time.Time, record func(Record) error) *Gate {
	return &Gate{now: now, record: record, wake: make(chan struct{}, 1), seen: map[string]*repeated{}}
}

// Decided records one decision: what was allowed at once, a refusal at once or
// counted. An error means that there is no record.
func (g *Gate) Decided(rec Record) error {
	if g.Seen != nil {
		g.Seen(rec)
	}
	if rec.Verdict == "allow" {
		return g.record(rec)
	}
	rec.Path, rec.Method = clip(rec.Path, keptPath), clip(rec.Method, keptShort)
	key := fmt.Sprintf("%s %s %s %s %d %s %q %q %s %d", printOf(rec), rec.Kind, rec.Reason, rec.Host, rec.Port, rec.Method,
		rec.Path[:min(len(rec.Path), keyPath)], rec.Credential, rec.Policy, rec.Status)
	key, now := g.count(key, &rec, g.now())
	if !now {
		return nil
	}
	err := g.record(rec)
	if err != nil {
		g.forget(key) // so that the next one tries again
	}
	return err
}

// printOf tells refusals for different secrets apart, by the first in each.
func printOf(rec Record) string {
	if len(rec.Findings) == 0 {
		return ""
	}
	return rec.Findings[0].Rule + rec.Findings[0].Fingerprint
}

// maxMerged is how many findings a record of many refusals has.
const maxMerged = 12

// merged adds findings of like refusals, each once: the same secret may have stood in
// several places.
func merged(into, more []Finding) []Finding {
	for _, f := range more {
		same := func(o Finding) bool {
			return o.Rule == f.Rule && o.Place == f.Place && o.Fingerprint == f.Fingerprint && o.Secret == f.Secret
		}
		if len(into) < maxMerged && !slices.ContainsFunc(into, same) {
			into = append(into[:len(into):len(into)], f)
		}
	}
	return into
}

// clip cuts s to at most limit bytes, and says so. What is kept is a copy.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return strings.Clone(s)
	}
	const mark = 16
	return fmt.Sprintf("%s…(+%d)", s[:limit-mark], len(s)-limit+mark)
}

// count reports whether rec is to be recorded now, with the count of those that
// were held back before it, and the key by which it is known.
func (g *Gate) count(key string, rec *Record, now time.Time) (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.seen[key]
	if !ok && (len(g.seen) >= maxKinds || !g.afford(now)) {
		key = others + rec.Kind
		*rec = Record{Time: rec.Time, Kind: rec.Kind, Host: others, Verdict: rec.Verdict, Reason: rec.Reason,
			Policy: rec.Policy, BytesOut: rec.BytesOut, BytesIn: rec.BytesIn}
		r, ok = g.seen[key]
	}
	next := &repeated{since: now, window: firstWindow}
	if ok {
		if now.Sub(r.since) < r.window {
			r.more, r.out, r.in = r.more+1, r.out+rec.BytesOut, r.in+rec.BytesIn
			r.found = merged(r.found, rec.Findings)
			return key, false
		}
		next.window = min(2*r.window, lastWindow)
		if r.more > 0 {
			rec.Count, rec.BytesOut, rec.BytesIn = r.more+1, rec.BytesOut+r.out, rec.BytesIn+r.in
			rec.Findings = merged(r.found, rec.Findings)
		}
	}
	next.rec = *rec
	g.seen[key] = next
	g.poke()
	return key, true
}

// afford takes one new refusal out of the bucket.
func (g *Gate) afford(now time.Time) bool {
	g.spent = max(0, g.spent-rate*now.Sub(g.asOf).Seconds())
	g.asOf = now
	if g.spent+1 > burst {
		return false
	}
	g.spent++
	return true
}

func (g *Gate) forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.seen, key)
}

func (g *Gate) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Run ends each window until ctx ends. It sleeps while there is nothing.
func (g *Gate) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		for g.Flush(0) > 0 {
			select {
			case <-ctx.Done():
				g.poke() // another Run may go on
				return
			case <-time.After(firstWindow):
			}
		}
	}
}

// Flush records what was counted in windows that are over by ahead from now, and
// gives the number of windows that are still open.
func (g *Gate) Flush(ahead time.Duration) int {
	type due struct {
		key string
		rec Record
	}
	var out []due
	now := g.now()
	g.mu.Lock()
	for key, r := range g.seen {
		if now.Sub(r.since) < r.window-min(ahead, r.window) {
			continue
		}
		if r.more == 0 {
			delete(g.seen, key)
			continue
		}
		rec := r.rec
		rec.Time, rec.Duration, rec.Count, rec.BytesOut, rec.BytesIn = now, 0, r.more, r.out, r.in
		rec.Findings = r.found
		out = append(out, due{key, rec})
		*r = repeated{rec: r.rec, since: now, window: min(2*r.window, lastWindow)}
	}
	open := len(g.seen)
	g.mu.Unlock()
	for _, d := range out {
		if g.record(d.rec) != nil {
			g.owe(d.key, d.rec)
		}
	}
	return open
}

// owe takes back what could not be recorded: it is still to be.
func (g *Gate) owe(key string, rec Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.seen[key]; r != nil {
		r.more, r.out, r.in = r.more+rec.Count, r.out+rec.BytesOut, r.in+rec.BytesIn
		r.found = merged(rec.Findings, r.found)
	}
}
