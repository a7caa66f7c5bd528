package loopback

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Port is the reservation port: the gateway listens there, on the bottle's address,
// and the listener is the lock. For a gateway that is a container the engine binds it.
const Port = plan.DoorPort

const (
	greetWait = 300 * time.Millisecond // for who holds an address to say who it is
	maxHello  = 128                    // bytes of that line
)

// Pool allocates loopback addresses. The zero Pool has none.
type Pool struct {
	Range  Range
	Unread error // why no range could be read: whoever needs an address is told
	// Bound tells which addresses the port bindings of a container engine hold, and
	// whose. Nil: no gateway is a container.
	Bound func(context.Context) (map[netip.Addr]string, error)
}

// Lease is one address, held until its listener and every duplicate of it is closed.
type Lease struct {
	Addr     netip.Addr
	Listener *net.TCPListener // on Addr and Port
}

// Close lets go of this process's hold on the address.
func (l *Lease) Close() error { return l.Listener.Close() }

// Slot is one address of the pool, and who holds it.
type Slot struct {
	Addr     netip.Addr
	Taken    bool
	Identity bottle.Identity // empty: no bottle said that it is this one
	By       string          // in words
	Stranger bool            // somebody has it who does not say that he is a bottle
}

// Exhausted is that no address is free.
type Exhausted struct {
	Range Range
	Slots []Slot
}

func (e *Exhausted) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "take a loopback address for the bottle: all %d of %s are taken", len(e.Slots), e.Range)
	for _, slot := range e.Slots {
		fmt.Fprintf(&s, "\n  %-15s %s", slot.Addr, slot.By)
	}
	s.WriteString("\n" + Mend(e.Range, e.Slots))
	return s.String()
}

// Mend is what to do where all of r is taken. Of a stranger on every address, who most
// likely has the port on all addresses of the machine, no range gets rid.
func Mend(r Range, slots []Slot) string {
	for _, s := range slots {
		if !s.Stranger {
			return "end one (bottle stop IDENTITY), clean up (bottle cleanup), or set " + r.Larger()
		}
	}
	return fmt.Sprintf("no bottle holds one: a program has port %d, perhaps on all addresses; find it and end it: sudo %s", Port, whose())
}

// whose is the command that shows who listens at the port.
func whose() string {
	if runtime.GOOS == "linux" {
		return fmt.Sprintf("ss -tanp 'sport = :%d'", Port)
	}
	return fmt.Sprintf("lsof -nP -iTCP:%d", Port)
}

// Allocate takes the lowest free address. All taken is an *Exhausted. It makes no
// file, and asks nobody but the kernel (and Bound, where that is set).
func (p Pool) Allocate(ctx context.Context) (*Lease, error) {
	if p.Unread != nil {
		return nil, fmt.Errorf("take a loopback address for the bottle: %w", p.Unread)
	}
	addrs := p.Range.All()
	if len(addrs) == 0 {
		return nil, errors.New("take a loopback address for the bottle: the pool is empty")
	}
	var bound map[netip.Addr]string
	if p.Bound != nil {
		var err error
		if bound, err = p.Bound(ctx); err != nil { // unknown is not free
			return nil, fmt.Errorf("take a loopback address for the bottle: ask the container engine: %w", err)
		}
	}
	var tried socket
	defer tried.close()
	for _, a := range addrs {
		if bound[a] != "" {
			continue
		}
		l, err := tried.listen(a)
		switch {
		case err == nil:
			return &Lease{Addr: a, Listener: l}, nil
		case errors.Is(err, syscall.EADDRINUSE):
			continue
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return nil, fmt.Errorf("take a loopback address for the bottle: %s is no address of this machine; run `bottle doctor --backend smolmachines`", a)
		}
		return nil, fmt.Errorf("take a loopback address for the bottle: %w", err)
	}
	slots, err := p.Look(ctx)
	if err != nil {
		return nil, err
	}
	for i, s := range slots { // who is bound there and listens to nobody looks like nobody
		if !s.Taken {
			slots[i] = Slot{Addr: s.Addr, Taken: true, Stranger: true, By: "a program that does not answer, or one that has just ended"}
		}
	}
	return nil, &Exhausted{p.Range, slots}
}

// Look asks each address who holds it, all at once. It binds nothing, so that it can
// take no address from a start that goes on meanwhile.
func (p Pool) Look(ctx context.Context) ([]Slot, error) {
	if p.Unread != nil {
		return nil, p.Unread
	}
	var bound map[netip.Addr]string
	if p.Bound != nil {
		var err error
		if bound, err = p.Bound(ctx); err != nil {
			return nil, fmt.Errorf("look at the loopback addresses: ask the container engine: %w", err)
		}
	}
	addrs := p.Range.All()
	slots := make([]Slot, len(addrs))
	var all sync.WaitGroup
	for i, a := range addrs {
		if who := bound[a]; who != "" {
			slots[i] = Slot{Addr: a, Taken: true, By: "a port of the container " + who}
			continue
		}
		all.Go(func() { slots[i] = ask(ctx, a) })
	}
	all.Wait()
	return slots, ctx.Err()
}

// ask connects to the reservation port and hears who is there.
func ask(ctx context.Context, a netip.Addr) Slot {
	s := Slot{Addr: a, By: "free"}
	d := net.Dialer{Timeout: greetWait}
	c, err := d.DialContext(ctx, "tcp4", netip.AddrPortFrom(a, Port).String())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return s
	}
	s.Taken = true
	if err != nil {
		s.Stranger, s.By = true, "not known: "+err.Error()
		return s
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(greetWait)) // a connection always takes one
	line, err := bufio.NewReaderSize(c, maxHello).ReadSlice('\n')
	word, ours := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), plan.DoorGreeting)
	id, bad := bottle.ParseIdentity(word)
	if err != nil || !ours || bad != nil {
		s.Stranger, s.By = true, "a program that is no bottle's gateway, or is just starting (see: sudo "+whose()+")"
		return s
	}
	s.Identity, s.By = id, "the bottle "+string(id)
	return s
}
