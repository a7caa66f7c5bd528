package responder

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"bottle/internal/plan"
)

// maxNames bounds the table. A wildcard route lets the agent make up names; past
// this many the DNS answers SERVFAIL, and addresses already given stay.
const maxNames = 32768

// Names gives every name an address of its own out of 198.18.0.0/15, for the
// life of the gateway, and knows the way back.
type Names struct {
	mu     sync.Mutex
	byName map[string]netip.Addr
	byAddr map[netip.Addr]string
	Max    int // how many names there may be; not to be changed once in use
}

// NewNames makes an empty table.
func NewNames() *Names {
	return &Names{byName: map[string]netip.Addr{}, byAddr: map[netip.Addr]string{}, Max: maxNames}
}

// Address is the name's own address; false: the table is full.
func (n *Names) Address(name string) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, ok := n.byName[name]; ok {
		return a, true
	}
	if len(n.byName) >= n.Max {
		return netip.Addr{}, false
	}
	// .0.0 is the network and .0.1 the bottle itself (plan.BottleAddr).
	a := synthetic(uint32(len(n.byName)) + 2)
	n.byName[name], n.byAddr[a] = a, name
	return a, true
}

// Name is the way back from an address to the name it was given for.
func (n *Names) Name(a netip.Addr) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.byAddr[a.Unmap()]
	return s, ok
}

func synthetic(i uint32) netip.Addr {
	base := netip.MustParsePrefix(plan.SyntheticPrefix).Addr().As4()
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(base[:])+i)
	return netip.AddrFrom4(b)
}

// IsSynthetic reports whether a is one that Names gives.
func IsSynthetic(a netip.Addr) bool {
	return netip.MustParsePrefix(plan.SyntheticPrefix).Contains(a.Unmap())
}
