package quota

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 2, 12, 0, 30, 0, time.UTC)

// No limit, and no book, bound nothing.
func TestZeroLimitsBoundNothing(t *testing.T) {
	for name, b := range map[string]*Book{"nil": nil, "zero limits": New(Limits{})} {
		for range 1000 {
			if _, ok := b.Request(noon); !ok {
				t.Fatalf("%s: a request was refused", name)
			}
			if !b.OpenTunnel() {
				t.Fatalf("%s: a tunnel was refused", name)
			}
		}
		b.CloseTunnel()
		if _, ok := b.Spend(noon, "a", math.MaxInt64); !ok || b.Bounded() {
			t.Errorf("%s: bytes are bounded", name)
		}
	}
}

func TestTunnels(t *testing.T) {
	b := New(Limits{Tunnels: 2})
	for i, want := range []bool{true, true, false, false} {
		if got := b.OpenTunnel(); got != want {
			t.Fatalf("tunnel %d opens: %v", i, got)
		}
	}
	b.CloseTunnel()
	if !b.OpenTunnel() {
		t.Error("a closed tunnel leaves no room")
	}
}

// The bucket lets a burst through, then one request each time that it says.
func TestRequestsWaitAsLongAsTold(t *testing.T) {
	b := New(Limits{Requests: 4})
	now := noon
	for i := range 4 * Burst {
		if _, ok := b.Request(now); !ok {
			t.Fatalf("request %d of the burst was refused", i)
		}
	}
	for range 10 {
		wait, ok := b.Request(now)
		if ok || wait <= 0 || wait > 250*time.Millisecond {
			t.Fatalf("after the burst: %v, %v", wait, ok)
		}
		if now = now.Add(wait); !first(b.Request(now)) {
			t.Fatal("what it said to wait was not enough")
		}
	}
	if _, ok := b.Request(now.Add(-time.Hour)); ok {
		t.Error("a clock that went back gave tokens")
	}
}

func first(_ time.Duration, ok bool) bool { return ok }

// However requests come, no interval has more than the burst and the rate allow.
func TestRequestRateHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.1, 100).Draw(t, "rate")
		b := New(Limits{Requests: rate})
		now, passed := noon, 0
		for _, ms := range rapid.SliceOfN(rapid.IntRange(0, 2000), 1, 300).Draw(t, "gaps") {
			now = now.Add(time.Duration(ms) * time.Millisecond)
			if first(b.Request(now)) {
				passed++
			}
			if most := b.burst() + rate*now.Sub(noon).Seconds() + 1e-6; float64(passed) > most {
				t.Fatalf("%d requests in %v, at most %g", passed, now.Sub(noon), most)
			}
		}
	})
}

// Against a list of every booking: no hour ever holds more than the bounds, what
// is refused would be past one (give or take the minute), and waiting helps.
func TestBytesAnHour(t *testing.T) {
	type entry struct {
		at   time.Time
		host string
		n    int64
	}
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{BytesOut: 1000, HostBytesOut: 400}
		b := New(l)
		var booked []entry
		now := noon
		sums := func(since time.Time, host string) (all, one int64) {
			for _, e := range booked {
				if e.at.After(since) {
					if all += e.n; e.host == host {
						one += e.n
					}
				}
			}
			return all, one
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(t, "seconds")) * time.Second)
			host := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "host")
			n := int64(rapid.IntRange(0, 450).Draw(t, "bytes"))
			later, fits := b.Fits(now, host, n)
			if never := n > l.BytesOut || n > l.HostBytesOut; fits && later != 0 || !fits && (later > 0) == never {
				t.Fatalf("%d to %s: fits %v, wait %v", n, host, fits, later)
			}
			wait, ok := b.Spend(now, host, n)
			if ok != fits {
				t.Fatalf("it fits: %v, it goes: %v", fits, ok)
			}
			if !ok {
				all, one := sums(now.Add(-62*time.Minute), host)
				if all+n <= l.BytesOut && one+n <= l.HostBytesOut {
					t.Fatalf("%d to %s refused after %d and %d", n, host, all, one)
				}
				if wait <= 0 || wait > 62*time.Minute {
					t.Fatalf("wait %v", wait)
				}
				if n > l.HostBytesOut || !rapid.Bool().Draw(t, "wait") {
					continue
				}
				now = now.Add(wait) // what it said is long enough
				if _, ok := b.Spend(now, host, n); !ok {
					t.Fatalf("%d to %s: %v was not long enough", n, host, wait)
				}
			}
			booked = append(booked, entry{now, host, n})
			if all, one := sums(now.Add(-time.Hour), host); all > l.BytesOut || one > l.HostBytesOut {
				t.Fatalf("%d bytes in the hour, %d to %s", all, one, host)
			}
		}
	})
}

func TestBytesRefuseNonsense(t *testing.T) {
	b := New(Limits{BytesOut: 100})
	for _, n := range []int64{-1, math.MinInt64, 101, math.MaxInt64} {
		if _, ok := b.Spend(noon, "a", n); ok {
			t.Errorf("%d bytes went", n)
		}
	}
	if _, ok := b.Spend(noon, "a", 100); !ok {
		t.Error("what was refused was booked")
	}
	if _, ok := b.Spend(noon.Add(-48*time.Hour), "a", 1); ok {
		t.Error("a clock that went back made room")
	}
	if _, ok := b.Spend(time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), "a", 1); ok {
		t.Error("a clock before 1970 made room")
	}
}

// The weakness: an account for every host that the agent names. The attack: as
// many names as it can make up under a wildcard. This proves that the accounts
// are bounded, and that the names past the bound share one.
func TestHostsAreBounded(t *testing.T) {
	b := New(Limits{HostBytesOut: 10})
	refused := 0
	for i := range 4 * maxHosts {
		if _, ok := b.Spend(noon, fmt.Sprintf("h%d.example.com", i), 10); !ok {
			refused++
		}
	}
	if len(b.hosts) > maxHosts+1 || refused != 3*maxHosts-1 {
		t.Errorf("%d accounts, %d refused", len(b.hosts), refused)
	}
	later := noon.Add(2 * time.Hour)
	if _, ok := b.Spend(later, "new.example.com", 10); !ok || len(b.hosts) > 2 {
		t.Errorf("after the hour: %v, %d accounts", ok, len(b.hosts))
	}
}

func TestManyAtOnce(t *testing.T) {
	b := New(Limits{BytesOut: 1000, Requests: 1, Tunnels: 1})
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	for i := range 8 {
		wg.Go(func() {
			for range 1000 {
				if first(b.Spend(noon, fmt.Sprint(i), 1)) {
					mu.Lock()
					sent++
					mu.Unlock()
				}
				if b.OpenTunnel() {
					b.CloseTunnel()
				}
			}
		})
	}
	wg.Wait()
	if sent != 1000 || !b.OpenTunnel() {
		t.Errorf("%d of 1000 bytes went, %d tunnels", sent, b.tunnels)
	}
}

func BenchmarkSpend(b *testing.B) {
	book := New(Limits{BytesOut: math.MaxInt64, HostBytesOut: math.MaxInt64})
	for b.Loop() {
		book.Spend(noon, "api.example.com", 1)
	}
}
