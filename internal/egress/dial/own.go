package dial

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// ownFresh is how long a list of this host's addresses is believed.
const ownFresh = 5 * time.Second

// own knows the addresses of the host that the gateway runs on. A public one
// counts: what listens there expects callers from outside, and the agent's would
// come from inside.
type own struct {
	read func() ([]net.Addr, error)
	mu   sync.Mutex
	at   time.Time
	mine map[netip.Addr]bool
}

// has tells whether a ends at this host. An IPv4 address counts in its NAT64 form, too.
func (o *own) has(a netip.Addr) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mine == nil || time.Since(o.at) > ownFresh {
		mine, err := o.list()
		if err != nil {
			return false, err
		}
		o.mine, o.at = mine, time.Now()
	}
	return o.mine[a] || o.mine[behindNAT64(a)], nil
}

func (o *own) list() (map[netip.Addr]bool, error) {
	list, err := o.read()
	if err != nil {
		return nil, err
	}
	mine := make(map[netip.Addr]bool, len(list))
	for _, l := range list {
		// An interface's address is an IPNet; its zone is no part of the address.
		if p, err := netip.ParsePrefix(l.String()); err == nil {
			mine[p.Addr().Unmap()] = true
		}
	}
	return mine, nil
}

// behindNAT64 is the IPv4 address inside the well-known prefix 64:ff9b::/96 (RFC
// 6052 section 2.1), no address for any other.
func behindNAT64(a netip.Addr) netip.Addr {
	if !a.Is6() || !netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b}), 96).Contains(a) {
		return netip.Addr{}
	}
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// toItself reports whether both ends of a connection have one address: then it
// never left this host. It sees what the list cannot, such as a local route to a
// whole prefix, or an address that came a moment ago.
func toItself(c net.Conn) bool {
	from, ok1 := c.LocalAddr().(*net.TCPAddr)
	to, ok2 := c.RemoteAddr().(*net.TCPAddr)
	return ok1 && ok2 && from.IP.Equal(to.IP)
}
