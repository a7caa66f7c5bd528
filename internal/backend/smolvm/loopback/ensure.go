package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"bottle/internal/hostexec"
)

// Ground is what EnsurePool knows of the machine and may do to it.
type Ground struct {
	OS       string                                              // runtime.GOOS
	Present  func() ([]netip.Addr, error)                        // the addresses of the loopback interface; nil: lo0's
	Run      func(context.Context, hostexec.Cmd) ([]byte, error) // nil: hostexec.Run
	Terminal bool                                                // sudo has somebody to ask
	Tell     func(string)                                        // hears why sudo is about to ask; nil: nobody listens
}

// ErrNoTerminal is that addresses are missing and nobody is there to let sudo add them.
var ErrNoTerminal = errors.New("no terminal to ask for a password on")

// Missing lists the addresses that the loopback interface does not have and would
// need: none but on macOS. Linux routes all of 127.0.0.0/8 to the machine itself.
func (g Ground) Missing(r Range) ([]netip.Addr, error) {
	if g.OS != "darwin" {
		return nil, nil
	}
	look := g.Present
	if look == nil {
		look = present
	}
	have, err := look()
	if err != nil {
		return nil, fmt.Errorf("look at lo0: %w", err)
	}
	there := map[netip.Addr]bool{}
	for _, a := range have {
		there[a.Unmap()] = true
	}
	var missing []netip.Addr
	for _, a := range r.All() {
		if !there[a] {
			missing = append(missing, a)
		}
	}
	return missing, nil
}

func present() ([]netip.Addr, error) {
	i, err := net.InterfaceByName("lo0")
	if err != nil {
		return nil, err
	}
	list, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out, nil
}

// Command is what adds the addresses, for root's shell. They stay until the machine
// starts anew.
func Command(missing []netip.Addr) string {
	var parts []string
	for _, a := range missing {
		parts = append(parts, "/sbin/ifconfig lo0 alias "+a.String()+" netmask 255.255.255.255")
	}
	return strings.Join(parts, " && ")
}

// EnsurePool adds what the loopback interface lacks of the range, with one sudo, so
// that there is one question at most. Where nothing lacks it runs nothing and asks
// nothing. It says what it is about to do before sudo asks.
func (g Ground) EnsurePool(ctx context.Context, r Range) error {
	missing, err := g.Missing(r)
	if err != nil || len(missing) == 0 {
		return err
	}
	byHand := "sudo /bin/sh -c '" + Command(missing) + "'"
	if !g.Terminal {
		return fmt.Errorf("add loopback addresses: lo0 lacks %d of %s, and there is %w; run this once after each start of the machine:\n  %s", len(missing), r, ErrNoTerminal, byHand)
	}
	if g.Tell != nil {
		g.Tell(fmt.Sprintf("Each bottle in a micro-VM has a loopback address of its own, and lo0 lacks %d of %s.\nsudo adds them now, until this machine starts anew; it may ask for your password once.", len(missing), r))
	}
	run := g.Run
	if run == nil {
		run = hostexec.Run
	}
	_, err = run(ctx, hostexec.Cmd{Path: "/usr/bin/sudo", Args: []string{"/bin/sh", "-c", Command(missing)}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}})
	if err != nil {
		return fmt.Errorf("add loopback addresses: sudo did not do it: %w; run it by hand:\n  %s", err, byHand)
	}
	if missing, err = g.Missing(r); err == nil && len(missing) > 0 {
		err = fmt.Errorf("add loopback addresses: sudo ended well, and lo0 still lacks %s", missing[0])
	}
	return err
}
