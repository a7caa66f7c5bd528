package loopback

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

// holderWord is the first argument of this program when it is one of the processes.
const holderWord = "hold-an-address"

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == holderWord {
		hold(os.Args[2], bottle.Identity(os.Args[3]))
		return
	}
	os.Exit(m.Run())
}

// hold allocates, says what came of it, and keeps it until its input ends, greeting
// as a gateway does.
func hold(pool string, id bottle.Identity) {
	r, err := ParseRange(pool)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	l, err := Pool{Range: r}.Allocate(context.Background())
	var full *Exhausted
	switch {
	case errors.As(err, &full):
		fmt.Println("full", len(full.Slots))
		return
	case err != nil:
		fmt.Println("error", err)
		return
	}
	go func() {
		for {
			c, err := l.Listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, plan.DoorGreeting+string(id)+"\n")
			c.Close()
		}
	}()
	fmt.Println("won", l.Addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// linux needs a machine that routes all of 127.0.0.0/8.
func linux(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		require.Missing(t, "linux", "only Linux routes all of 127.0.0.0/8 to itself")
	}
}

type holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t testing.TB, pool, id string) *holder {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{cmd: exec.Command(exe, holderWord, pool, id)}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.out = bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.in.Close(); _ = h.cmd.Wait() })
	return h
}

func (h *holder) line(t testing.TB) string {
	t.Helper()
	s, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// 64 processes want 16 addresses at once: 16 get one, each its own, and 48 are told
// that all are taken.
func TestManyProcessesShareNoAddress(t *testing.T) {
	linux(t)
	const pool, processes = "127.9.1.16-127.9.1.31", 64
	all := make([]*holder, processes)
	for i := range all {
		all[i] = start(t, pool, fmt.Sprintf("many-%05d", i))
	}
	said := make([]string, processes)
	var wait sync.WaitGroup
	for i, h := range all {
		wait.Go(func() { s, _ := h.out.ReadString('\n'); said[i] = strings.TrimSpace(s) })
	}
	wait.Wait()
	won, full := map[string]int{}, 0
	for _, s := range said {
		switch word, rest, _ := strings.Cut(s, " "); word {
		case "won":
			won[rest]++
		case "full":
			full++
		default:
			t.Errorf("a process said %q", s)
		}
	}
	if len(won) != 16 || full != 48 {
		t.Errorf("%d addresses were won and %d processes turned away: %v", len(won), full, won)
	}
	for a, n := range won {
		if n != 1 {
			t.Errorf("%s was given to %d processes", a, n)
		}
	}
}

// A holder that is killed, while a connection to it is open, has let go as soon as it
// is dead.
func TestKillFreesAtOnce(t *testing.T) {
	linux(t)
	const pool = "127.9.2.16"
	h := start(t, pool, "killed-00000")
	if got := h.line(t); got != "won 127.9.2.16" {
		t.Fatal(got)
	}
	c, err := net.Dial("tcp4", "127.9.2.16:9097")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.cmd.Wait() // it was killed
	r, _ := ParseRange(pool)
	l, err := Pool{Range: r}.Allocate(t.Context())
	if err != nil {
		t.Fatalf("after the kill: %v", err)
	}
	l.Close()
}

func TestExhaustedTellsWhoHoldsWhat(t *testing.T) {
	linux(t)
	r, err := ParseRange("127.9.3.16-127.9.3.18")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, r.String(), "researcher-m3hxd")
	if got := h.line(t); got != "won 127.9.3.16" {
		t.Fatal(got)
	}
	silent, err := net.Listen("tcp4", "127.9.3.17:9097") // says nothing: none of ours
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p := Pool{Range: r, Bound: func(context.Context) (map[netip.Addr]string, error) {
		return map[netip.Addr]string{r.Last: "bottle-coder-abcde-gateway"}, nil
	}}
	_, err = p.Allocate(t.Context())
	var full *Exhausted
	if !errors.As(err, &full) {
		t.Fatalf("all are taken: %v", err)
	}
	for _, want := range []string{"127.9.3.16", "the bottle researcher-m3hxd", "no bottle's gateway", "bottle-coder-abcde-gateway", "bottle stop", "BOTTLE_LOOPBACK"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if full.Slots[0].Identity != "researcher-m3hxd" || full.Slots[1].Identity != "" {
		t.Errorf("slots %+v", full.Slots)
	}
}

// Looking takes nothing: an address that is being looked at can be allocated.
func TestLookBindsNothing(t *testing.T) {
	linux(t)
	r, _ := ParseRange("127.9.4.16")
	p := Pool{Range: r}
	for range 50 {
		looked := make(chan []Slot)
		go func() { s, _ := p.Look(context.Background()); looked <- s }()
		l, err := p.Allocate(t.Context())
		<-looked
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	slots, err := p.Look(t.Context())
	if err != nil || len(slots) != 1 || slots[0].Taken {
		t.Errorf("%+v, %v", slots, err)
	}
}

// A lease is for one address: 127.0.0.1 is none, on any system.
func TestEachGetsItsOwn(t *testing.T) {
	linux(t)
	r, _ := ParseRange("127.9.5.16-127.9.5.17")
	p := Pool{Range: r}
	a, err := p.Allocate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := p.Allocate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if a.Addr != r.First || b.Addr != r.Last {
		t.Errorf("%s and %s", a.Addr, b.Addr)
	}
	if got := a.Listener.Addr().String(); got != "127.9.5.16:9097" {
		t.Errorf("it listens on %s", got)
	}
}

// An engine that does not answer is not one that holds nothing.
func TestUnknownBindingsAreNotFree(t *testing.T) {
	p := Pool{Range: Default(), Bound: func(context.Context) (map[netip.Addr]string, error) { return nil, errors.New("no engine") }}
	if l, err := p.Allocate(t.Context()); err == nil {
		l.Close()
		t.Error("an address was given")
	}
	if _, err := (Pool{}).Allocate(t.Context()); err == nil {
		t.Error("the zero pool gave an address")
	}
}

func TestParseRange(t *testing.T) {
	if r, err := ParseRange(""); err != nil || r != Default() || len(r.All()) != 16 {
		t.Errorf("the default: %v, %v", r, err)
	}
	for _, good := range []string{"127.0.0.16-127.0.0.31", "127.8.0.0 - 127.8.0.255", "127.0.0.2"} {
		if _, err := ParseRange(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"127.0.0.1", "127.0.0.1-127.0.0.20", "127.0.0.0-127.0.0.9", "127.0.0.31-127.0.0.16", "127.8.0.0-127.8.1.0", "10.0.0.1-10.0.0.9",
		"126.255.255.255-127.0.0.9", "127.255.255.254-127.255.255.255", "::1", "127.0.0.16-", "-", "127.0.0.16-127.0.0.31-127.0.0.40", "localhost",
	} {
		if r, err := ParseRange(bad); err == nil {
			t.Errorf("%s was read as %v", bad, r)
		}
	}
	if got := (Range{}).All(); got != nil {
		t.Errorf("the zero range has %v", got)
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("127.0.0.16-127.0.0.31")
	f.Add("127.0.0.2")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			return
		}
		all := r.All()
		if len(all) == 0 || len(all) > maxRange {
			t.Fatalf("%q has %d addresses", s, len(all))
		}
		for _, a := range all {
			if !a.IsLoopback() || a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
				t.Fatalf("%q has %s", s, a)
			}
		}
	})
}

// BenchmarkAllocate is one allocation with 15 of 16 addresses taken: at most 2 ms.
func BenchmarkAllocate(b *testing.B) {
	linux(b)
	r, _ := ParseRange("127.9.6.16-127.9.6.31")
	p := Pool{Range: r}
	for range 15 {
		l, err := p.Allocate(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
	}
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		l, err := p.Allocate(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
		l.Close()
	}
	slices.Sort(took)
	for name, at := range map[string]int{"ms-p50": len(took) / 2, "ms-p99": len(took) * 99 / 100, "ms-worst": len(took) - 1} {
		b.ReportMetric(float64(took[at].Microseconds())/1000, name)
	}
}
