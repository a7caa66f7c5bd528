package crowd

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// door is a crowd whose guests tell when they are thrown out.
type door struct {
	c   *Crowd
	out []string
}

func (d *door) guest(name string) *Guest {
	var g *Guest
	g = d.c.Guest(func() { d.out = append(d.out, name); g.Leave() })
	return g
}

func enter(t *testing.T, d *door, name string, want bool) *Guest {
	t.Helper()
	g := d.guest(name)
	if got := g.Enter(); got != want {
		t.Fatalf("%s enters: %v", name, got)
	}
	return g
}

func TestWhoNeverAskedGoesFirstAndWhoIsAnsweredStays(t *testing.T) {
	d := &door{c: New(3)}
	busy, idle, slow := enter(t, d, "busy", true), enter(t, d, "idle", true), enter(t, d, "slow", true)
	if !busy.Work() || !idle.Work() {
		t.Fatal("someone inside may not work")
	}
	idle.Wait(true)
	second := enter(t, d, "second", true)
	if !slices.Equal(d.out, []string{"slow"}) || slow.Work() {
		t.Fatalf("out: %v", d.out)
	}
	second.Work()
	second.Wait(false) // a tunnel stands, and nothing was asked for in it
	enter(t, d, "third", true)
	fourth := enter(t, d, "fourth", true)
	if !slices.Equal(d.out, []string{"slow", "second", "third"}) {
		t.Fatalf("out: %v", d.out)
	}
	fourth.Work()
	enter(t, d, "fifth", true).Work()
	if !slices.Equal(d.out, []string{"slow", "second", "third", "idle"}) || d.c.Inside() != 3 {
		t.Fatalf("out: %v, inside %d", d.out, d.c.Inside())
	}
	enter(t, d, "sixth", false).Leave()
	busy.Leave()
	busy.Leave()
	if d.c.Inside() != 2 {
		t.Fatalf("inside %d", d.c.Inside())
	}
	enter(t, d, "seventh", true)
}

// What is held is given back once, whoever ends the connection; a guest who was
// thrown out holds nothing.
func TestWhoHoldsSomethingIsShed(t *testing.T) {
	d := &door{c: New(5)}
	var back []string
	hold := func(g *Guest, name string) { g.Hold(func() { back = append(back, name) }) }
	a, b, c := enter(t, d, "a", true), enter(t, d, "b", true), enter(t, d, "c", true)
	hold(b, "b")
	hold(c, "c")
	b.Work()
	if !d.c.Shed() || d.c.Shed() || !slices.Equal(d.out, []string{"c"}) || !slices.Equal(back, []string{"c"}) {
		t.Fatalf("out %v, back %v", d.out, back)
	}
	hold(c, "c again")
	b.Leave()
	b.Leave()
	a.Leave()
	if !slices.Equal(back, []string{"c", "c again", "b"}) || d.c.Inside() != 0 {
		t.Errorf("back %v, inside %d", back, d.c.Inside())
	}
}

func TestTheZeroCrowdHasNoRoom(t *testing.T) {
	if new(Crowd).Guest(func() {}).Enter() {
		t.Error("someone is in")
	}
}

// Whatever happens in whatever order, the count is right, nobody at work is thrown
// out, and nobody is kept out while somebody waits.
func TestCountIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const room = 4
		c := New(room)
		state := map[*Guest]string{}
		var all []*Guest
		waits := func() (n int) {
			for _, s := range state {
				if s == "waits" {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(all) == 0 || rapid.Bool().Draw(t, "enter") {
				var g *Guest
				g = c.Guest(func() {
					if state[g] != "waits" {
						t.Fatalf("thrown out while it %s", state[g])
					}
					delete(state, g)
					g.Leave()
				})
				full, waiting := len(state) == room, waits()
				if got, want := g.Enter(), !full || waiting > 0; got != want {
					t.Fatalf("enter: %v with %d inside, %d waiting", got, len(state), waiting)
				} else if got {
					state[g] = "waits"
					all = append(all, g)
				}
			} else {
				g := rapid.SampledFrom(all).Draw(t, "who")
				_, inside := state[g]
				switch rapid.IntRange(0, 2).Draw(t, "what") {
				case 0:
					if g.Work() != inside {
						t.Fatalf("work: %v", !inside)
					} else if inside {
						state[g] = "works"
					}
				case 1:
					g.Wait(rapid.Bool().Draw(t, "answered"))
					if inside {
						state[g] = "waits"
					}
				case 2:
					g.Leave()
					delete(state, g)
				}
			}
			if c.Inside() != len(state) || c.Inside() > room {
				t.Fatalf("inside %d, want %d", c.Inside(), len(state))
			}
		}
	})
}

func TestManyDoorsAtOnce(t *testing.T) {
	c := New(8)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				var g *Guest
				g = c.Guest(func() { g.Leave() })
				if g.Enter() && g.Work() {
					g.Wait(true)
				}
				g.Leave()
			}
		})
	}
	wg.Wait()
	if n := c.Inside(); n != 0 {
		t.Errorf("%d inside", n)
	}
}

// full is a listener that has no descriptor for who comes: once, or always.
type full struct {
	net.Listener
	always bool
	said   atomic.Bool
}

func (f *full) Accept() (net.Conn, error) {
	if !f.said.Swap(true) || f.always {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// TestFullTableIsNotTheEnd: so many connections that there is no descriptor for the next are
// no reason to end; the close of the listener is one, meanwhile too.
func TestFullTableIsNotTheEnd(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := Patient(&full{Listener: l})
	c, err := net.Dial("tcp4", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := p.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	p = Patient(&full{Listener: l, always: true})
	ended := make(chan error, 1)
	go func() {
		_, err := p.Accept()
		ended <- err
	}()
	_ = p.Close() // the socket was closed before
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
