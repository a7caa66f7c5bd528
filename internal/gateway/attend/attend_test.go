package attend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRun: what fails, ends or panics is begun again, after longer and longer pauses; what
// keeps on is given up; and the end of the context is no failure.
func TestRun(t *testing.T) {
	failed := errors.New("out of order")
	var list []int
	for name, c := range map[string]struct {
		life  func(n int) error // the n-th, counted from 1
		lives int
		said  string
	}{
		"fails":              {func(int) error { return failed }, mostDeaths + 1, "out of order"},
		"ends":               {func(int) error { return nil }, mostDeaths + 1, "ended by itself"},
		"panics":             {func(n int) error { return fmt.Errorf("%d", list[n]) }, mostDeaths + 1, "index out of range"},
		"panics with words":  {func(int) error { panic("sk-secret") }, mostDeaths + 1, "it panicked"},
		"recovers, then end": {nil, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var pauses []time.Duration
			n := 0
			k := Keeper{Pause: time.Microsecond, Died: func(service string, why error, again time.Duration) {
				if pauses = append(pauses, again); service != "x" || c.said != "" && !strings.Contains(why.Error(), c.said) || strings.Contains(why.Error(), "sk-") {
					t.Errorf("%s: %v", service, why)
				}
			}}
			err := k.Run(ctx, "x", func(ctx context.Context) error {
				if n++; c.life != nil {
					return c.life(n)
				}
				if n == 3 {
					cancel()
					<-ctx.Done()
					return nil
				}
				return failed
			})
			want := []time.Duration{1, 2, 4, 8, 16, 0}
			for i := range want {
				want[i] *= time.Microsecond
			}
			if n != c.lives || (err == nil) != (c.said == "") || err != nil && !strings.Contains(err.Error(), "6 times") || !slices.Equal(pauses, want[:len(pauses)]) {
				t.Errorf("%d lives, pauses %v: %v", n, pauses, err)
			}
		})
	}
}

// TestOnce: what can't be begun again is given up at the first death behind its only life.
func TestOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	k, err := Keep(struct{ net.Listener }{l})
	if err != nil {
		t.Fatal(err)
	}
	lives, last := 0, time.Duration(-1)
	err = Keeper{Pause: time.Microsecond, Died: func(_ string, _ error, again time.Duration) { last = again }}.Run(t.Context(), "x", func(context.Context) error {
		if _, err := k.Listener(); err != nil {
			return err
		}
		lives++
		return errors.New("out of order")
	})
	if lives != 1 || last != 0 || !errors.Is(err, errOnce) {
		t.Errorf("%d lives, the last pause %v: %v", lives, last, err)
	}
}

// TestRestEndsWithTheContext: a pause is no reason to stay.
func TestRestEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Keeper{Pause: time.Hour, Died: func(string, error, time.Duration) { cancel() }}.Run(ctx, "x", func(context.Context) error { return errors.New("x") })
	if err != nil {
		t.Error(err)
	}
}

// TestSocket: each life gets the same socket, also after one that was shut; a pipe in memory
// has one life, and no socket is none.
func TestSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k, err := Keep(l)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for range 3 {
		l, err := k.Listener()
		if err != nil {
			t.Fatal(err)
		}
		var got atomic.Bool
		accepted := make(chan bool)
		go func() {
			defer close(accepted)
			if c, err := l.Accept(); err == nil {
				got.Store(true)
				c.Close()
			}
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		<-accepted
		c.Close()
		if !got.Load() {
			t.Error("it accepts nobody")
		}
		l.Close()
	}
	var none *Socket
	if l, err := none.Listener(); l != nil || err != nil {
		t.Error(l, err)
	}
	if c, err := none.Packets(); c != nil || err != nil {
		t.Error(c, err)
	}
	once, err := Keep(struct{ net.Listener }{l})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := once.Listener(); err != nil {
		t.Error(err)
	}
	if _, err := once.Listener(); !errors.Is(err, errOnce) {
		t.Error(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Keep(udp)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 2 {
		c, err := p.Packets()
		if err != nil || c.LocalAddr().String() != udp.LocalAddr().String() {
			t.Fatal(c, err)
		}
		c.Close()
	}
}
