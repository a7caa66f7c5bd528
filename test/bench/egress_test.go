package bench

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bottle/test/fake/lean"
)

const (
	egressRounds = 7 // of each measure; the contenders take turns in each
	slowRounds   = 2 // for peers that are slower by orders of magnitude
	bulkRounds   = 5
	shortTime    = 250 * time.Millisecond // of one turn
	loadTime     = 600 * time.Millisecond
	atOnce       = 32
	manyRequests = 100_000
)

// BenchmarkEgress prints the table of what the gateway costs on the way: TLS on
// both legs, 2 KB there and 1 KB back, all processes on this machine's loopback.
// It measures in its own rounds, so b.N is 1. BENCH=Egress/lean is one part of it.
//
// BOTTLE_BENCH_PROFILE=dir runs our gateway inside the test binary, without the
// peers, and writes gateway.cpu and gateway.allocs there for `go tool pprof`.
func BenchmarkEgress(b *testing.B) {
	bin := binaries(b)
	dir := b.TempDir()
	own := certify(b, dir)
	roots, err := poolOf(own.CA)
	if err != nil {
		b.Fatal(err)
	}
	to := map[string]string{}
	to[hostLean], _ = play(b, playLean, own)
	to[hostHTTP], _ = play(b, playHTTP, own)
	a := &arena{field: []contender{direct(to, roots), ours(b, bin, dir, to, own.CA)}, peak: map[string]float64{}}
	if os.Getenv("BOTTLE_BENCH_PROFILE") == "" {
		a.field = append(a.field, ceiling(b, own, to, roots))
		if m, ok := mitmproxy(b, b.TempDir(), own.CA, to); ok {
			a.field = append(a.field, m)
		}
	}
	time.Sleep(500 * time.Millisecond) // idle means that start-up's garbage may go
	a.rest = a.memory(b)
	rows := []row{a.idle()}
	parts := []struct {
		name    string
		measure func(*testing.B) []row
	}{
		{"lean", func(b *testing.B) []row { return a.requests(b, "lean client and upstream", contender.lean) }},
		{"nethttp", func(b *testing.B) []row { return a.requests(b, "net/http client and upstream", contender.http) }},
		{"bulk", func(b *testing.B) []row {
			return []row{a.bulk(b, "download", pull), a.bulk(b, "upload", push), a.grown()}
		}},
		{"memory", func(b *testing.B) []row { return []row{a.memoryAfter(b)} }},
	}
	for _, p := range parts {
		b.Run(p.name, func(b *testing.B) {
			for b.Loop() {
				rows = append(rows, p.measure(b)...)
			}
			b.ReportMetric(0, "ns/op") // the table says it
		})
	}
	if len(rows) > 1 {
		table(rows)
	}
}

// arena is everybody who is measured, the direct way first and ours second.
type arena struct {
	field []contender
	rest  map[string]float64 // resident memory when idle, MiB, by name
	peak  map[string]float64 // resident memory at its highest in a transfer of bulk
}

// taken is one turn of one contender.
type taken struct {
	median, p99 time.Duration
	rate        float64 // per second: requests, or bytes
	each        float64 // microseconds of processor time that the contender spent on one
}

// turns lets every contender have its turn in each round, so that a busy moment
// hits them all, and gives the turns by name. Turn i of one and turn i of another
// were taken side by side.
func (a *arena) turns(b *testing.B, rounds int, turn func(contender) (taken, error)) map[string][]taken {
	b.Helper()
	all := map[string][]taken{}
	for i := range rounds {
		for _, c := range a.field {
			if c.slow && i >= slowRounds {
				continue
			}
			t, err := turn(c)
			if err != nil {
				b.Fatalf("%s: %v", c.name, err)
			}
			all[c.name] = append(all[c.name], t)
		}
	}
	return all
}

// against gives the median over the rounds of f(turn, direct's turn beside it).
func against(all map[string][]taken, name string, f func(t, direct taken) float64) float64 {
	var v []float64
	for i, t := range all[name] {
		v = append(v, f(t, all["direct"][i]))
	}
	return middle(v)
}

func middle(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN() // meets no bar
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// compare makes the row of a measure: ours, the bar, and the peers beside it.
func (a *arena) compare(what string, bar float64, barText, format string, value func(name string) float64, note string) row {
	var beside []string
	for _, c := range a.field[2:] {
		beside = append(beside, c.name+" "+fmt.Sprintf(format, value(c.name)))
	}
	got := value("ours")
	met := got <= bar
	if strings.HasPrefix(barText, "at least") {
		met = got >= bar
	}
	return row{what: what, got: fmt.Sprintf(format, got), bar: barText, met: met, beside: strings.Join(beside, ", ") + note}
}

const (
	milliseconds = "%.3f ms"
	percent      = "%.0f %%"
	mebibytes    = "%.1f MiB"
)

// requests makes the rows about small requests, by one kind of client.
func (a *arena) requests(b *testing.B, title string, open func(contender) (caller, error)) []row {
	added := func(all map[string][]taken) func(string) float64 {
		return func(name string) float64 {
			return against(all, name, func(t, d taken) float64 { return float64(t.median-d.median) / 1e6 })
		}
	}
	note := func(all map[string][]taken) string {
		median := func(name string) float64 {
			return against(all, name, func(t, _ taken) float64 { return float64(t.median) / 1e6 })
		}
		p99 := func(name string) float64 {
			return against(all, name, func(t, _ taken) float64 { return float64(t.p99) / 1e6 })
		}
		return fmt.Sprintf("; direct takes %.3f ms; p99 ours %.3f, direct %.3f ms", median("direct"), p99("ours"), p99("direct"))
	}
	kept := a.turns(b, egressRounds, func(c contender) (taken, error) { return keepAlive(c, open) })
	cold := a.turns(b, egressRounds, func(c contender) (taken, error) { return eachNew(c, open) })
	load := a.turns(b, egressRounds, func(c contender) (taken, error) { return underLoad(c, open) })
	rate := func(name string) float64 { return against(load, name, func(t, _ taken) float64 { return t.rate }) }
	share := func(name string) float64 {
		return against(load, name, func(t, d taken) float64 { return 100 * t.rate / d.rate })
	}
	return []row{
		{what: title},
		a.compare("  added latency, kept alive, 1 connection", 0.20, "at most 0.20 ms", milliseconds, added(kept), note(kept)),
		a.compare("  added latency, a new connection each time", 0.80, "at most 0.80 ms", milliseconds, added(cold), note(cold)),
		a.compare(fmt.Sprintf("  requests/s at %d connections, of direct", atOnce), 45, "at least 45 %", percent, share,
			fmt.Sprintf("; per second: ours %.0f, direct %.0f", rate("ours"), rate("direct"))),
		a.compare("  its processor time for each of these", 0, "", "%.0f µs", func(name string) float64 {
			return against(load, name, func(t, _ taken) float64 { return t.each })
		}, ""),
	}
}

func quantiles(all []time.Duration) taken {
	slices.Sort(all)
	return taken{median: all[len(all)/2], p99: all[len(all)*99/100]}
}

// keepAlive sends one request after the other on one connection.
func keepAlive(c contender, open func(contender) (caller, error)) (taken, error) {
	one, err := open(c)
	if err != nil {
		return taken{}, err
	}
	defer one.Close()
	if err := one.call(); err != nil { // the connection, if that was not open yet
		return taken{}, err
	}
	var all []time.Duration
	for end := time.Now().Add(shortTime); time.Now().Before(end); {
		began := time.Now()
		if err := one.call(); err != nil {
			return taken{}, err
		}
		all = append(all, time.Since(began))
	}
	return quantiles(all), nil
}

// eachNew opens a connection, a tunnel and TLS for each request.
func eachNew(c contender, open func(contender) (caller, error)) (taken, error) {
	var all []time.Duration
	for end := time.Now().Add(shortTime); time.Now().Before(end); {
		began := time.Now()
		one, err := open(c)
		if err != nil {
			return taken{}, err
		}
		err = one.call()
		all = append(all, time.Since(began))
		_ = one.Close()
		if err != nil {
			return taken{}, err
		}
	}
	return quantiles(all), nil
}

// underLoad counts the requests on many connections at once.
func underLoad(c contender, open func(contender) (caller, error)) (taken, error) {
	crowd, err := gather(c, open)
	defer func() {
		for _, one := range crowd {
			_ = one.Close()
		}
	}()
	if err != nil {
		return taken{}, err
	}
	before, began := processor(c), time.Now()
	n, err := run(crowd, func(int64) bool { return time.Since(began) < loadTime })
	t := taken{rate: float64(n) / time.Since(began).Seconds()}
	if n > 0 {
		t.each = float64(processor(c)-before) / 1e3 / float64(n)
	}
	return t, err
}

// processor is the time that a contender's process has spent on processors until
// now. It comes in steps of 10 ms (proc(5), utime and stime). Unlike a rate it hardly
// changes when the machine has other things to do.
func processor(c contender) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	if err != nil {
		return 0 // nobody stands in the middle
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func gather(c contender, open func(contender) (caller, error)) (crowd []caller, err error) {
	for range atOnce {
		one, err := open(c)
		if err != nil {
			return crowd, err
		}
		crowd = append(crowd, one)
		if err := one.call(); err != nil {
			return crowd, err
		}
	}
	return crowd, nil
}

// run lets everybody call until more says no, and gives how many calls it were.
func run(crowd []caller, more func(done int64) bool) (int64, error) {
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, len(crowd))
	for i, one := range crowd {
		wg.Go(func() {
			for errs[i] == nil && more(done.Add(1)) {
				errs[i] = one.call()
			}
			done.Add(-1) // the one that more turned down
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return done.Load(), nil
}

func pull(c contender) error {
	conn, err := c.dial(hostLean)
	if err != nil {
		return err
	}
	defer conn.Close()
	return lean.NewConn(conn).Do(lean.Head(http.MethodGet, lean.Download, c.authority(hostLean), c.token, 0), lean.BulkSize)
}

func push(c contender) error {
	conn, err := c.dial(hostLean)
	if err != nil {
		return err
	}
	defer conn.Close()
	return lean.NewConn(conn).Upload(lean.Head(http.MethodPost, lean.Upload, c.authority(hostLean), c.token, lean.BulkSize))
}

// bulk makes the row of a transfer, and watches the memory meanwhile.
func (a *arena) bulk(b *testing.B, what string, transfer func(contender) error) row {
	all := a.turns(b, bulkRounds, func(c contender) (taken, error) {
		stop := a.watch(c)
		began := time.Now()
		err := transfer(c)
		t := taken{rate: lean.BulkSize / time.Since(began).Seconds()}
		stop()
		return t, err
	})
	share := func(name string) float64 {
		return against(all, name, func(t, d taken) float64 { return 100 * t.rate / d.rate })
	}
	speed := func(name string) float64 { return against(all, name, func(t, _ taken) float64 { return t.rate / 1e6 }) }
	return a.compare("100 MB "+what+", of direct", 60, "at least 60 %", percent, share,
		fmt.Sprintf("; MB/s: ours %.0f, direct %.0f", speed("ours"), speed("direct")))
}

// watch notes the highest resident memory of c until it is told to stop.
func (a *arena) watch(c contender) (stop func()) {
	if c.pid == 0 {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if now, err := residentOf(c.pid); err == nil {
				a.peak[c.name] = max(a.peak[c.name], now)
			}
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func (a *arena) memory(b *testing.B) map[string]float64 {
	m := map[string]float64{}
	for _, c := range a.field[1:] {
		now, err := residentOf(c.pid)
		if err != nil {
			b.Fatal(err)
		}
		m[c.name] = now
	}
	return m
}

func (a *arena) idle() row {
	return a.compare("resident memory, idle", 20, "at most 20 MiB", mebibytes, func(name string) float64 { return a.rest[name] }, "")
}

// grown makes the row of the memory that the transfers took above idle.
func (a *arena) grown() row {
	return a.compare("  memory above idle meanwhile", 32, "at most 32 MiB", mebibytes, func(name string) float64 { return a.peak[name] - a.rest[name] }, "")
}

// memoryAfter makes the row of the memory after very many requests.
func (a *arena) memoryAfter(b *testing.B) row {
	var took time.Duration // for ours
	for _, c := range a.field[1:] {
		began := time.Now()
		crowd, err := gather(c, contender.lean)
		if err == nil {
			_, err = run(crowd, func(done int64) bool { return done <= int64(c.serves) })
		}
		for _, one := range crowd {
			_ = one.Close()
		}
		if err != nil {
			b.Fatalf("%s: %v", c.name, err)
		}
		if c.name == "ours" {
			took = time.Since(began)
		}
	}
	after := a.memory(b)
	return a.compare(fmt.Sprintf("resident memory after %d requests", manyRequests), 40, "at most 40 MiB", mebibytes,
		func(name string) float64 { return after[name] }, fmt.Sprintf(" (after %d); ours took %.1f s", manyRequests/50, took.Seconds()))
}
