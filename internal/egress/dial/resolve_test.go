package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bottle/internal/bottle"
)

// Fifty connections at once ask one question.
func TestOneQuestionForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		n := newNames(func(context.Context, string) ([]netip.Addr, error) {
			asked.Add(1)
			time.Sleep(20 * time.Millisecond)
			return addrs(there), nil
		})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got, err := n.get(t.Context(), apiHost); err != nil || len(got) != 1 || got[0].String() != there {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		wg.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		time.Sleep(remember)
		if _, err := n.get(t.Context(), apiHost); err != nil || asked.Load() != 2 {
			t.Errorf("asked %d times after %v, error %v", asked.Load(), remember, err)
		}
	})
}

// Who asked first goes away: those who waited are not turned away for it.
func TestTheFirstAskerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNames(func(ctx context.Context, _ string) ([]netip.Addr, error) {
			select {
			case <-time.After(time.Second):
				return addrs(there), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := n.get(first, apiHost); !errors.Is(err, context.Canceled) {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				if got, err := n.get(t.Context(), apiHost); err != nil || len(got) != 1 {
					t.Errorf("a later one: %v, %v", got, err)
				}
			})
		}
		impatient, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		_, err := n.get(impatient, apiHost)
		if dns := (*net.DNSError)(nil); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &dns) {
			t.Errorf("the impatient one: %v", err)
		}
		leave()
		wg.Wait()
	})
}

// Only answers are remembered, never that there was none, and not too many.
func TestWhatIsRemembered(t *testing.T) {
	fault := errors.New("server failure")
	var reply []netip.Addr
	var replyErr error
	asked := 0
	n := newNames(func(context.Context, string) ([]netip.Addr, error) {
		asked++
		return reply, replyErr
	})
	get := func(host string) error {
		_, err := n.get(t.Context(), bottle.Host(host))
		return err
	}
	replyErr = fault
	if err := get(apiHost); !errors.Is(err, fault) {
		t.Error(err)
	}
	replyErr = nil
	if err := get(apiHost); !errors.Is(err, ErrNoAddress) {
		t.Error(err)
	}
	reply = make([]netip.Addr, maxAddresses+1)
	if err := get(apiHost); !errors.Is(err, ErrNoAddress) {
		t.Errorf("%d addresses are an answer", len(reply))
	}
	reply = addrs(there)
	if err := get(apiHost); err != nil || asked != 4 {
		t.Errorf("asked %d times, want 4: %v", asked, err)
	}
	n.forget(apiHost)
	if err := get(apiHost); err != nil || asked != 5 {
		t.Errorf("asked %d times, want 5: %v", asked, err)
	}
	for i := range 3 * maxNames {
		if err := get(fmt.Sprintf("h%d.example.com", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(n.known) > maxNames {
		t.Errorf("%d names are remembered", len(n.known))
	}
}

// The caller may sort and change what it got.
func TestAnswersAreCopies(t *testing.T) {
	n := newNames(func(context.Context, string) ([]netip.Addr, error) { return addrs(there, "192.0.2.1"), nil })
	a, _ := n.get(t.Context(), apiHost)
	a[0] = netip.Addr{}
	if b, _ := n.get(t.Context(), apiHost); len(b) != 2 || b[0].String() != there {
		t.Errorf("got %v", b)
	}
}

// A dial that reached nobody asks anew the next time: the service may have moved.
func TestDeadAddressIsForgotten(t *testing.T) {
	w := newWorld(t, Config{})
	w.answers[apiHost] = []string{there}
	alive := w.reach
	w.reach = func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("unreachable") }
	if _, err := w.Dial(t.Context(), target(t, apiHost, "")); err == nil {
		t.Error("connected")
	}
	w.reach = alive
	w.answers[apiHost] = []string{"9.9.9.10"}
	w.connected("after it moved", target(t, apiHost, ""), "9.9.9.10:443")
}

// listed is a resolver as a search list makes it: a name without a root dot is
// looked for in the company's domain first.
type listed struct{}

func (listed) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host == "api.example.com." {
		return addrs(there), nil
	}
	return addrs("9.9.9.10"), nil // api.example.com.corp.example.net
}

// The attack: whoever can put a name into this machine's search domain catches the
// requests to every host that the bottle lists.
func TestSearchListIsNotAsked(t *testing.T) {
	if got, err := rooted(t.Context(), listed{}, apiHost); err != nil || len(got) != 1 || got[0].String() != there {
		t.Errorf("got %v, %v", got, err)
	}
}
