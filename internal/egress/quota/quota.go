// Package quota bounds what one bottle may take of the way out: tunnels at one
// time, requests a second, bytes an hour. It knows no clock and no network: the
// caller says what time it is, and asks before it does something.
package quota

import (
	"math"
	"sync"
	"time"
)

// Limits are the bounds. A zero field is no bound.
type Limits struct {
	Tunnels      int     // at one time
	Requests     float64 // a second, on average
	BytesOut     int64   // an hour, to all hosts together
	HostBytesOut int64   // an hour, to each host
}

// Burst is how many seconds' worth of requests may come at once: a page, or an
// install, asks for many things and then for none.
const Burst = 5

// leastBurst is the least number of requests that may come at once.
const leastBurst = 10

// Book keeps the account of one bottle, safe for many goroutines. A nil Book
// bounds nothing. Make it with New.
type Book struct {
	limits Limits

	mu      sync.Mutex
	tunnels int
	tokens  float64 // requests that may go at once
	asOf    time.Time
	total   window
	hosts   map[string]*window
	swept   int64 // minute of the last sweep
}

// New makes a book with nothing spent.
func New(l Limits) *Book {
	b := &Book{limits: l, hosts: map[string]*window{}}
	b.tokens = b.burst()
	return b
}

func (b *Book) burst() float64 { return max(b.limits.Requests*Burst, leastBurst) }

// OpenTunnel counts a tunnel in; false: there are too many. Every true is
// followed by one CloseTunnel.
func (b *Book) OpenTunnel() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limits.Tunnels > 0 && b.tunnels >= b.limits.Tunnels {
		return false
	}
	b.tunnels++
	return true
}

// CloseTunnel gives a tunnel back.
func (b *Book) CloseTunnel() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tunnels--
}

// Request takes one request out of the bucket. If there is none in it, nothing is
// taken, and wait is how long until there is. A clock that goes back adds nothing.
func (b *Book) Request(now time.Time) (wait time.Duration, ok bool) {
	if b == nil || b.limits.Requests <= 0 {
		return 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asOf.IsZero() {
		b.asOf = now
	}
	if passed := now.Sub(b.asOf); passed > 0 {
		b.tokens = min(b.tokens+passed.Seconds()*b.limits.Requests, b.burst())
		b.asOf = now
	}
	if b.tokens < 1 {
		return time.Duration(math.Ceil((1 - b.tokens) / b.limits.Requests * float64(time.Second))), false
	}
	b.tokens--
	return 0, true
}

// Bounded reports whether bytes are counted at all.
func (b *Book) Bounded() bool {
	return b != nil && (b.limits.BytesOut > 0 || b.limits.HostBytesOut > 0)
}

// Spend books n bytes towards a host. If they would be past a bound, none is
// booked, and wait is how long until they would not be; more than a whole hour's
// bytes never go. A negative n is an error of the caller and is refused.
func (b *Book) Spend(now time.Time, host string, n int64) (wait time.Duration, ok bool) {
	return b.take(now, host, n, true)
}

// Fits is Spend that books nothing: whether a body of a known length can go. What
// is more than a whole hour's bytes never can, and its wait is 0: no waiting helps.
func (b *Book) Fits(now time.Time, host string, n int64) (wait time.Duration, ok bool) {
	wait, ok = b.take(now, host, n, false)
	if !ok && (past(n, b.limits.BytesOut) || past(n, b.limits.HostBytesOut)) {
		wait = 0
	}
	return wait, ok
}

// past reports whether n bytes are more than a bound; 0 is none.
func past(n, limit int64) bool { return limit > 0 && (n < 0 || n > limit) }

func (b *Book) take(now time.Time, host string, n int64, book bool) (time.Duration, bool) {
	if !b.Bounded() {
		return 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	minute := now.Unix() / 60
	h := b.host(minute, host)
	wait := max(b.total.wait(minute, n, b.limits.BytesOut), h.wait(minute, n, b.limits.HostBytesOut))
	if wait > 0 {
		return time.Duration(wait)*time.Minute - time.Duration(now.Unix()%60)*time.Second, false
	}
	if book {
		b.total.add(minute, n)
		h.add(minute, n)
	}
	return 0, true
}

// maxHosts bounds how many hosts have an account of their own. Those that come
// when all are taken share one, and so one host's bound.
const maxHosts = 256

// Others is the account of all hosts past the bound.
const Others = "(others)"

func (b *Book) host(minute int64, name string) *window {
	if h := b.hosts[name]; h != nil {
		return h
	}
	if len(b.hosts) >= maxHosts && minute != b.swept {
		b.swept = minute
		for name, h := range b.hosts {
			if h.sum(minute) == 0 {
				delete(b.hosts, name)
			}
		}
	}
	if len(b.hosts) >= maxHosts {
		name = Others
		if h := b.hosts[name]; h != nil {
			return h
		}
	}
	h := &window{}
	b.hosts[name] = h
	return h
}
