package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// track is a connection that remembers being closed.
type track struct {
	net.Conn
	closed bool
}

func (c *track) Close() error {
	c.closed = true
	return nil
}

// field is a set of runners: each address connects, or fails, after its time.
type field struct {
	mu    sync.Mutex
	began []string
	conns map[string]*track
	plan  map[string]runner
}

type runner struct {
	after time.Duration
	fails bool
	deaf  bool // connects although it was told to stop
}

func (f *field) reach(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	a := to.Addr().String()
	f.mu.Lock()
	f.began = append(f.began, a)
	r := f.plan[a]
	f.mu.Unlock()
	t := time.NewTimer(r.after)
	defer t.Stop()
	if r.deaf {
		<-t.C
	} else {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if r.fails {
		return nil, errors.New(a + " refused")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[a] = &track{}
	return f.conns[a], nil
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestRace(t *testing.T) {
	const never = time.Hour
	for name, tc := range map[string]struct {
		plan  map[string]runner
		order []string
		won   string
		took  time.Duration
		began []string
	}{
		"the first is fast": {map[string]runner{"192.0.2.1": {after: 10 * time.Millisecond}}, []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.1", 10 * time.Millisecond, []string{"192.0.2.1"}},
		"IPv6 leads nowhere": {map[string]runner{"2001:db8::1": {after: never}, "192.0.2.1": {after: 10 * time.Millisecond}},
			[]string{"2001:db8::1", "2001:db8::2", "192.0.2.1"}, "192.0.2.1", 260 * time.Millisecond, []string{"2001:db8::1", "192.0.2.1"}},
		"IPv6 is refused at once": {map[string]runner{"2001:db8::1": {fails: true}, "192.0.2.1": {after: 10 * time.Millisecond}},
			[]string{"2001:db8::1", "192.0.2.1"}, "192.0.2.1", 10 * time.Millisecond, []string{"2001:db8::1", "192.0.2.1"}},
		"the first is slow and wins all the same": {map[string]runner{"192.0.2.1": {after: 300 * time.Millisecond}, "192.0.2.2": {after: never}},
			[]string{"192.0.2.1", "192.0.2.2"}, "192.0.2.1", 300 * time.Millisecond, []string{"192.0.2.1", "192.0.2.2"}},
		"one fails while another hangs": {map[string]runner{"192.0.2.1": {after: never}, "192.0.2.2": {after: 50 * time.Millisecond, fails: true}, "192.0.2.3": {}},
			[]string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, "192.0.2.3", 300 * time.Millisecond, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}},
		"all refuse":  {map[string]runner{"192.0.2.1": {fails: true}, "192.0.2.2": {fails: true}}, []string{"192.0.2.1", "192.0.2.2"}, "", 0, []string{"192.0.2.1", "192.0.2.2"}},
		"none answer": {map[string]runner{"192.0.2.1": {after: never}, "192.0.2.2": {after: never}}, []string{"192.0.2.1", "192.0.2.2"}, "", 4 * time.Second, []string{"192.0.2.1", "192.0.2.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &field{conns: map[string]*track{}, plan: tc.plan}
				d := New(Config{Limit: 4 * time.Second})
				d.reach = f.reach
				start := time.Now()
				c, err := d.connect(t.Context(), addrs(tc.order...), 443)
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				if !slices.Equal(f.began, tc.began) {
					t.Errorf("began %v, want %v", f.began, tc.began)
				}
				if tc.won == "" {
					if err == nil || len(f.conns) != 0 {
						t.Fatalf("connected to %v, error %v", f.conns, err)
					}
					return
				}
				if err != nil || c != net.Conn(f.conns[tc.won]) || f.conns[tc.won].closed {
					t.Fatalf("won by %v, want an open %s; error %v", f.conns, tc.won, err)
				}
			})
		})
	}
}

// A connection that comes to be in the moment in which another one won is closed,
// and no goroutine is left when connect returns.
func TestLosersAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &field{conns: map[string]*track{}, plan: map[string]runner{
			"192.0.2.1": {after: 400 * time.Millisecond, deaf: true}, "192.0.2.2": {after: 10 * time.Millisecond},
		}}
		d := New(Config{})
		d.reach = f.reach
		c, err := d.connect(t.Context(), addrs("192.0.2.1", "192.0.2.2"), 443)
		if err != nil || c != net.Conn(f.conns["192.0.2.2"]) {
			t.Fatalf("won by %v, error %v", c, err)
		}
		if late := f.conns["192.0.2.1"]; late == nil || !late.closed {
			t.Error("the loser's connection is open")
		}
		if f.conns["192.0.2.2"].closed {
			t.Error("the winner's is closed")
		}
	})
}

// Who gives up ends all attempts.
func TestRaceEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &field{conns: map[string]*track{}, plan: map[string]runner{"192.0.2.1": {after: time.Hour}, "192.0.2.2": {after: time.Hour}}}
		d := New(Config{})
		d.reach = f.reach
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := d.connect(ctx, addrs("192.0.2.1", "192.0.2.2"), 443); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestInterleave(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":           "192.0.2.1",
		"192.0.2.1 192.0.2.2": "192.0.2.1 192.0.2.2",
		"2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2": "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2",
		"192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1":   "192.0.2.1 2001:db8::1 192.0.2.2 192.0.2.3",
	} {
		if got := interleave(addrs(strings.Fields(in)...)); !slices.Equal(got, addrs(strings.Fields(want)...)) {
			t.Errorf("%s: %v", in, got)
		}
	}
	var many []netip.Addr
	for i := range 40 {
		many = append(many, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i)))
	}
	many = append(many, netip.MustParseAddr("2001:db8::1"))
	if got := interleave(many); len(got) != maxCandidates || got[1] != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("%v", got)
	}
}

// With real sockets: of two addresses the one on which somebody listens.
func TestRaceOnLoopback(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	d := New(Config{})
	c, err := d.connect(t.Context(), addrs("127.0.0.2", "::1", "127.0.0.1"), addrOf(l).Port())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != l.Addr().String() {
		t.Errorf("reached %s, want %s", got, l.Addr())
	}
	_ = l.Close()
	if c, err := d.connect(t.Context(), addrs("127.0.0.1", "127.0.0.2"), addrOf(l).Port()); err == nil {
		c.Close()
		t.Error("reached a closed port")
	} else if op := (*net.OpError)(nil); !errors.As(err, &op) {
		t.Errorf("got %v, want a net.OpError", err)
	}
}
