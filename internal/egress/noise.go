package egress

import (
	"context"
	"strconv"
	"sync"
	"time"

	"bottle/internal/policy"
)

// maxNoise bounds how many denied names are told apart in one minute.
const maxNoise = 1024

// noise keeps a flood of refusals from becoming a flood of records: the first
// of its kind in a minute is recorded at once, the rest are counted and
// recorded as one when the minute is over.
type noise struct {
	mu   sync.Mutex
	seen map[string]*repeated
}

type repeated struct {
	rec   Record
	since time.Time
	more  int
}

// otherNames stands for all names past maxNoise.
const otherNames = "(other names)"

func (n *noise) denied(p *Proxy, name string, v policy.Verdict, hash string) {
	rec := recordOf(KindDNS, v, hash)
	if rec.Host = name; v.Reason == policy.BadHost {
		rec.Host = strconv.QuoteToASCII(name) // any bytes may be in it
	}
	n.once(p, name, rec)
}

// once records rec now if its key is new in this minute, else counts it.
func (n *noise) once(p *Proxy, key string, rec Record) {
	if n.count(key, &rec, p.now()) {
		p.record(rec)
	}
}

// count reports whether rec is to be recorded now, with the count of those that
// were held back before it.
func (n *noise) count(key string, rec *Record, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.seen[key]
	if !ok && len(n.seen) >= maxNoise {
		key, rec.Host = otherNames, otherNames
		r, ok = n.seen[key]
	}
	if ok && now.Sub(r.since) < dnsFlush {
		r.more++
		return false
	}
	if ok && r.more > 0 {
		rec.Count = r.more + 1
	}
	if n.seen == nil {
		n.seen = map[string]*repeated{}
	}
	n.seen[key] = &repeated{rec: *rec, since: now}
	return true
}

// flushNoise ends each minute, and at the end of ctx all of them.
func (p *Proxy) flushNoise(ctx context.Context) {
	t := time.NewTicker(dnsFlush / 4)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			p.noise.flush(p, p.now().Add(dnsFlush))
			return
		case <-t.C:
			p.noise.flush(p, p.now())
		}
	}
}

func (n *noise) flush(p *Proxy, now time.Time) {
	var out []Record
	n.mu.Lock()
	for key, r := range n.seen {
		if now.Sub(r.since) < dnsFlush {
			continue
		}
		delete(n.seen, key)
		if r.more > 0 {
			r.rec.Count = r.more
			out = append(out, r.rec)
		}
	}
	n.mu.Unlock()
	for _, rec := range out {
		rec.Time = p.now()
		p.record(rec)
	}
}
