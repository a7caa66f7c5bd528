package loopback

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// maxRange is the most addresses that a pool may have.
const maxRange = 256

// Range is a run of loopback addresses, both ends included. The zero Range is
// empty, and nothing can be allocated from it.
type Range struct{ First, Last netip.Addr }

// Default is 127.0.0.16 to 127.0.0.31.
func Default() Range {
	return Range{netip.AddrFrom4([4]byte{127, 0, 0, 16}), netip.AddrFrom4([4]byte{127, 0, 0, 31})}
}

// ParseRange reads FIRST-LAST, such as 127.0.0.16-127.0.0.31, or one address. Empty
// is Default. All of it must lie in 127.0.0.0/8 and leave out 127.0.0.1, where
// everything else listens, and the first and the last address of the network. A range
// has at most 256 addresses.
func ParseRange(s string) (Range, error) {
	if s == "" {
		return Default(), nil
	}
	a, b, two := strings.Cut(s, "-")
	if !two {
		b = a
	}
	r := Range{}
	var err error
	if r.First, err = netip.ParseAddr(strings.TrimSpace(a)); err == nil {
		r.Last, err = netip.ParseAddr(strings.TrimSpace(b))
	}
	if err != nil {
		return Range{}, fmt.Errorf("read the range of loopback addresses %.64q: %w; write 127.0.0.16-127.0.0.31", s, err)
	}
	if err := r.check(); err != nil {
		return Range{}, fmt.Errorf("read the range of loopback addresses %.64q: %w", s, err)
	}
	return r, nil
}

func (r Range) check() error {
	if !r.First.Is4() || !r.Last.Is4() || r.First.As4()[0] != 127 || r.Last.As4()[0] != 127 {
		return fmt.Errorf("it is not inside 127.0.0.0/8")
	}
	first, last := number(r.First), number(r.Last)
	switch {
	case first > last:
		return fmt.Errorf("it ends before it begins")
	case last-first >= maxRange:
		return fmt.Errorf("it has more than %d addresses", maxRange)
	case first <= number(netip.AddrFrom4([4]byte{127, 0, 0, 1})):
		return fmt.Errorf("it has 127.0.0.1 or what is below in it; a micro-VM that may reach that address reaches every service of this machine")
	case last == number(netip.AddrFrom4([4]byte{127, 255, 255, 255})):
		return fmt.Errorf("it has the broadcast address in it")
	}
	return nil
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// All lists the addresses, lowest first.
func (r Range) All() []netip.Addr {
	if r.check() != nil {
		return nil
	}
	var out []netip.Addr
	for a := r.First; ; a = a.Next() {
		out = append(out, a)
		if a == r.Last {
			return out
		}
	}
}

// Larger says how to set a range with more room than r has, or, where none that begins with r
// may be, another.
func (r Range) Larger() string {
	if r.check() != nil {
		return "the default range: BOTTLE_LOOPBACK=" + Default().String()
	}
	first, n := number(r.First), number(r.Last)-number(r.First)+1
	word, end := "a larger range", first+min(max(4*n, 16), maxRange)-1
	if n == maxRange {
		word, first, end = "another range", first+n, end+n
	}
	out := Range{address(first), address(end)}
	if out.check() != nil || number(out.Last) <= number(r.Last) {
		word, out = "another range", Range{Default().First, address(number(Default().First) + 63)}
	}
	return word + ": BOTTLE_LOOPBACK=" + out.String()
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// String is how ParseRange reads it.
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }
