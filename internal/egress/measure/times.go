package measure

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/metric"
)

// buckets is how many a histogram has: at most 1 µs, 2 µs, 4 µs and so on up to
// 268 s, and the rest. A decision takes a microsecond, an answer of a model minutes.
const buckets = 30

// bound is the upper bound of a bucket but the last.
func bound(i int) time.Duration { return time.Microsecond << i }

// Times is how often something took how long. The zero Times is ready.
type Times struct {
	count [buckets]atomic.Uint64
	sum   atomic.Int64 // nanoseconds
}

// Observe adds one duration; a negative one counts as zero.
func (t *Times) Observe(d time.Duration) {
	d = max(d, 0)
	whole := uint64((d + time.Microsecond - 1) / time.Microsecond) // rounded up: a bound belongs to its bucket
	t.count[min(bits.Len64(max(whole, 1)-1), buckets-1)].Add(1)
	t.sum.Add(int64(d))
}

// sample is the histogram in seconds. What is added meanwhile is in its sum or
// not; the buckets hold together.
func (t *Times) sample(labels map[string]string) metric.Sample {
	s := metric.Sample{Labels: labels, Sum: time.Duration(t.sum.Load()).Seconds()}
	total := uint64(0)
	for i := range t.count {
		total += t.count[i].Load()
		b := metric.Bucket{Count: total}
		if i < buckets-1 {
			b.Bound = bound(i).Seconds()
		}
		s.Buckets = append(s.Buckets, b)
	}
	return s
}

// maxHosts bounds how many hosts are told apart. A wildcard route lets an agent
// make names up; those past the bound count together.
const maxHosts = 256

// Others stands for all hosts past the bound.
const Others = "(others)"

// Host is what went to one host and came back.
type Host struct {
	Requests, Out, In atomic.Uint64 // Out and In: bytes of bodies and streams
}

// hosts finds a host without a lock, once it is known.
type hosts struct {
	known sync.Map // string -> *Host
	count atomic.Int64
}

// Host is the counters of an allowed host. Never ask for one that was refused: an
// agent can name as many as it likes.
func (m *Set) Host(name string) *Host {
	if h, ok := m.hosts.known.Load(name); ok {
		return h.(*Host)
	}
	if name != Others && m.hosts.count.Add(1) > maxHosts {
		m.hosts.count.Add(-1)
		return m.Host(Others)
	}
	h, had := m.hosts.known.LoadOrStore(name, &Host{})
	if had && name != Others {
		m.hosts.count.Add(-1) // another request was first
	}
	return h.(*Host)
}

// Allowed counts one allowed request that ended. injected: it got a credential.
func (m *Set) Allowed(host string, out, in int64, injected bool) {
	m.Moved(host, 1, out, in)
	if injected {
		m.Injected.Add(1)
	}
}

// Moved counts one finished exchange or stream with an allowed host.
func (m *Set) Moved(host string, requests int, out, in int64) {
	h := m.Host(host)
	h.Requests.Add(uint64(max(requests, 0)))
	h.Out.Add(uint64(max(out, 0)))
	h.In.Add(uint64(max(in, 0)))
}
