package known

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

const (
	maxStretches = 128 // of one destination
	maxDest      = 256 // bytes of a destination's name that tell it apart
)

// Memory holds, for each destination, which pieces of which secret were sent to it,
// so that a secret cut over many requests is found. It is safe for many goroutines
// and bounded: the destinations by the limit, each by about 6 KiB.
type Memory struct {
	set   *Set
	limit int
	life  time.Duration

	mu    sync.Mutex
	dests map[string]*list.Element // of *destination
	order *list.List               // the one used last is in front
}

type destination struct {
	name      string
	stretches []stretch // of strong pieces, merged
	chains    []stretch // one for a segment: pieces that continue each other in order
}

// stretch is a run of a segment's bytes that was sent.
type stretch struct {
	seg, from, to int32
	at            int64 // of its last piece, in Unix nanoseconds
}

// NewMemory remembers pieces of set's secrets for at most limit destinations; the one
// that was used least recently is forgotten first. life is how long a piece counts;
// 0: an hour. A new set needs a new memory;
// Carry gives that what the old one knows.
func NewMemory(set *Set, limit int, life time.Duration) *Memory {
	if life <= 0 {
		life = time.Hour
	}
	return &Memory{set: set, limit: max(1, limit), life: life, dests: map[string]*list.Element{}, order: list.New()}
}

// Carry takes over what another memory holds of secrets that this one's set has, too, by
// the same name and with the same bytes. So what was sent of a secret is not forgotten
// when others change. It is for a memory in which nothing is yet; old may be nil.
func (m *Memory) Carry(old *Memory) {
	if old == nil || old == m {
		return
	}
	here := make(map[string]int32, len(m.set.segs))
	for i := range m.set.segs {
		here[m.set.title(i)] = int32(i)
	}
	same := make([]int32, len(old.set.segs))
	for i := range old.set.segs {
		same[i] = -1
		if n, ok := here[old.set.title(i)]; ok {
			same[i] = n
		}
	}
	carried := func(list []stretch) (out []stretch) {
		for _, s := range list {
			if n := same[s.seg]; n >= 0 {
				s.seg = n
				out = append(out, s)
			}
		}
		return out
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for e := old.order.Back(); e != nil; e = e.Prev() { // the one used last comes last, and so in front
		from := e.Value.(*destination)
		d := m.destination(from.name)
		d.stretches, d.chains = carried(from.stretches), carried(from.chains)
	}
}

// title tells a segment apart: whose it is, and what.
func (s *Set) title(seg int) string {
	return s.names[s.segs[seg].secret] + "\x00" + string(s.segs[seg].raw)
}

// Saw takes the pieces of one request, in the order of the text, as Pieces gave them,
// and returns the secrets that are now found. A destination should be what one party
// owns (a registrable domain, a route), or an attacker takes a new name for each piece.
//
// A secret is found if strong pieces that touch or overlap, in any order, cover 16
// consecutive bytes of it, or 75 % of it in all if it has 16 or more, or all of a
// shorter one; or if pieces of any kind, each continuing exactly where the last piece
// of that secret ended, reach 16 bytes. What was found stays found for the lifetime:
// a part of it that comes again is a finding again. Start and End of a match are those
// of its last piece; From and To cover what is known to be sent.
//
// Chance, by the figures at Pieces, for a gigabyte in one lifetime to one destination:
// for strong pieces to reach 16 bytes, two or three must be neighbours among 2,000
// places: below 10^-3. For weak ones four must follow one another without any other
// piece of that secret between: 50 secrets x 14 pieces x (1/35)^3 = 0.02.
func (m *Memory) Saw(dest string, pieces []Piece, now time.Time) []Match {
	if len(pieces) == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.destination(dest[:min(len(dest), maxDest)])
	d.forget(now.Add(-m.life).UnixNano())
	var out []Match
	for _, p := range pieces {
		if p.seg < 0 || int(p.seg) >= len(m.set.segs) || p.From < 0 || p.To <= p.From || p.To > len(m.set.segs[p.seg].text) {
			continue // of another set
		}
		from, to, ok := m.chain(d, p, now)
		if !ok && p.Strong {
			from, to, ok = m.cover(d, p, now)
		}
		if ok {
			out = m.report(out, p, from, to)
		}
	}
	return out
}

// report appends a match, or widens the one that the segment has.
func (m *Memory) report(out []Match, p Piece, from, to int32) []Match {
	seg := &m.set.segs[p.seg]
	match := Match{Secret: seg.secret, Name: m.set.names[seg.secret], Start: p.Start, End: p.End,
		From: int(seg.at[from]), To: int(seg.at[to-1]) + 1, Whole: from == 0 && int(to) == len(seg.text)}
	for i := range out {
		if o := &out[i]; o.Secret == match.Secret && match.From <= o.To && o.From <= match.To {
			match.From, match.To, match.Whole = min(o.From, match.From), max(o.To, match.To), o.Whole || match.Whole
			*o = match
			return out
		}
	}
	return append(out, match)
}

// destination finds or makes the memory of one, and forgets the oldest.
func (m *Memory) destination(name string) *destination {
	if e, ok := m.dests[name]; ok {
		m.order.MoveToFront(e)
		return e.Value.(*destination)
	}
	if len(m.dests) >= m.limit {
		e := m.order.Back()
		d := m.order.Remove(e).(*destination)
		delete(m.dests, d.name)
	}
	d := &destination{name: name}
	m.dests[name] = m.order.PushFront(d)
	return d
}

// forget drops what is older than since.
func (d *destination) forget(since int64) {
	d.stretches = fresh(d.stretches, since)
	d.chains = fresh(d.chains, since)
}

func fresh(list []stretch, since int64) []stretch {
	kept := list[:0]
	for _, s := range list {
		if s.at > since {
			kept = append(kept, s)
		}
	}
	return kept
}

// cover adds a strong piece to what is known of its segment, and reports whether
// enough is known.
func (m *Memory) cover(d *destination, p Piece, now time.Time) (from, to int32, found bool) {
	merged := stretch{seg: p.seg, from: int32(p.From), to: int32(p.To), at: now.UnixNano()}
	kept := d.stretches[:0]
	for _, s := range d.stretches {
		if s.seg == p.seg && s.from <= merged.to && merged.from <= s.to {
			merged.from, merged.to = min(s.from, merged.from), max(s.to, merged.to)
			continue
		}
		kept = append(kept, s)
	}
	d.stretches = m.push(kept, merged)
	size, total := int32(len(m.set.segs[p.seg].text)), int32(0)
	first, last := merged.from, merged.to
	for _, s := range d.stretches {
		if s.seg == p.seg {
			total += s.to - s.from
			first, last = min(first, s.from), max(last, s.to)
		}
	}
	switch {
	case merged.to-merged.from >= min(partial, size):
		return merged.from, merged.to, true
	case size >= partial && 4*total >= 3*size:
		return first, last, true
	}
	return 0, 0, false
}

// chain adds a piece to the chain of its segment, if it continues that, or begins a
// new one. A chain is for secrets of 16 bytes or more.
func (m *Memory) chain(d *destination, p Piece, now time.Time) (from, to int32, found bool) {
	if len(m.set.segs[p.seg].text) < partial {
		return 0, 0, false
	}
	next := stretch{seg: p.seg, from: int32(p.From), to: int32(p.To), at: now.UnixNano()}
	for i := range d.chains {
		if d.chains[i].seg != p.seg {
			continue
		}
		switch last := d.chains[i]; {
		case last.to == next.from:
			next.from = last.from
		case last.to == next.to && last.from <= next.from:
			next.from = last.from // the same request again
		}
		d.chains[i] = next
		return next.from, next.to, next.to-next.from >= partial
	}
	d.chains = m.push(d.chains, next)
	return next.from, next.to, next.to-next.from >= partial
}

// push appends, and drops the oldest of too many: one of a foreign secret, as long as
// there is one. So who may write decoys does not make it forget what is not his.
func (m *Memory) push(list []stretch, s stretch) []stretch {
	if list = append(list, s); len(list) <= maxStretches {
		return list
	}
	drop := max(0, slices.IndexFunc(list, func(s stretch) bool { return m.set.foreign[m.set.segs[s.seg].secret] }))
	return slices.Delete(list, drop, drop+1)
}
