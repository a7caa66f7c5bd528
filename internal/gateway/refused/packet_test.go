package refused

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"bottle/internal/audit"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// ip4 is a packet of RFC 791 with these options, fragment field and payload.
func ip4(proto byte, dst string, options int, frag uint16, payload []byte) []byte {
	b := make([]byte, 20+options)
	b[0] = 0x40 | byte(len(b)/4)
	binary.BigEndian.PutUint16(b[6:], frag)
	b[9] = proto
	a := netip.MustParseAddr(dst).As4()
	copy(b[16:], a[:])
	return append(b, payload...)
}

// ip6 is a packet of RFC 8200.
func ip6(next byte, dst string, rest []byte) []byte {
	b := make([]byte, 40)
	b[0], b[6] = 0x60, next
	a := netip.MustParseAddr(dst).As16()
	copy(b[24:], a[:])
	return append(b, rest...)
}

func ports(dst uint16) []byte { return binary.BigEndian.AppendUint32(nil, 40000<<16|uint32(dst)) }

// message wraps an attribute list as the kernel does.
func message(kind uint16, attrs ...[]byte) []byte {
	b := make([]byte, nlHeader+nfHeader)
	for _, a := range attrs {
		b = append(b, a...)
		b = append(b, make([]byte, align4(len(b))-len(b))...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	return b
}

func attr(kind uint16, content []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(content)))
	return append(binary.NativeEndian.AppendUint16(b, kind), content...)
}

func TestParsePacket(t *testing.T) {
	fragment := func(next byte, offset uint16, rest []byte) []byte {
		return append([]byte{next, 0, byte(offset >> 8), byte(offset), 0, 0, 0, 0}, rest...)
	}
	hopByHop := func(next byte, rest []byte) []byte { return append([]byte{next, 1, 15: 0}, rest...) }
	endless := make([]byte, 800)
	for name, c := range map[string]struct {
		in   []byte
		want string // empty: not readable
	}{
		"tcp":                {ip4(6, "192.0.2.1", 0, 0, ports(443)), "tcp 192.0.2.1 443"},
		"udp with options":   {ip4(17, "192.0.2.1", 40, 0, ports(53)), "udp 192.0.2.1 53"},
		"metadata":           {ip4(6, "169.254.169.254", 0, 0, ports(80)), "tcp 169.254.169.254 80"},
		"icmp":               {ip4(1, "192.0.2.1", 0, 0, []byte{8, 0, 1, 2}), "icmp 192.0.2.1 0"},
		"sctp":               {ip4(132, "192.0.2.1", 0, 0, ports(9)), "sctp 192.0.2.1 9"},
		"gre":                {ip4(47, "192.0.2.1", 0, 0, ports(9)), "ip-47 192.0.2.1 0"},
		"first fragment":     {ip4(17, "192.0.2.1", 0, 0x2000, ports(53)), "udp 192.0.2.1 53"},
		"later fragment":     {ip4(17, "192.0.2.1", 0, 0x2001, ports(53)), "udp 192.0.2.1 0"},
		"ports cut off":      {ip4(6, "192.0.2.1", 0, 0, []byte{1, 2, 3}), "tcp 192.0.2.1 0"},
		"header cut off":     {ip4(6, "192.0.2.1", 0, 0, nil)[:19], ""},
		"length lies":        {append([]byte{0x4f}, ip4(6, "192.0.2.1", 0, 0, ports(1))[1:]...), ""},
		"length too small":   {append([]byte{0x44}, ip4(6, "192.0.2.1", 0, 0, ports(1))[1:]...), ""},
		"empty":              {nil, ""},
		"version 5":          {[]byte{0x55, 19: 0}, ""},
		"udp6":               {ip6(17, "2001:db8::1", ports(53)), "udp 2001:db8::1 53"},
		"icmp6":              {ip6(58, "ff02::2", []byte{133, 0, 0, 0}), "icmp6 ff02::2 0"},
		"tcp behind headers": {ip6(0, "2001:db8::1", hopByHop(44, fragment(6, 1, ports(22)))), "tcp 2001:db8::1 22"},
		"later fragment 6":   {ip6(44, "2001:db8::1", fragment(6, 8, ports(22))), "tcp 2001:db8::1 0"},
		"header runs out":    {ip6(0, "2001:db8::1", []byte{6, 200, 0, 0, 0, 0, 0, 0}), "ip-0 2001:db8::1 0"},
		"endless headers":    {ip6(0, "2001:db8::1", endless), "ip-0 2001:db8::1 0"},
		"cut 6":              {ip6(6, "2001:db8::1", nil)[:39], ""},
	} {
		p, ok := parsePacket(c.in)
		got := ""
		if ok {
			got = fmt.Sprintf("%s %s %d", p.Proto, p.Dst, p.Port)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestParsePackets(t *testing.T) {
	one := attr(attrPayload, ip4(6, "192.0.2.1", 0, 0, ports(1)))
	two := attr(attrPayload|0x8000, ip4(17, "192.0.2.2", 0, 0, append(ports(2), 1)))
	in := append(message(ulogPacket, attr(1, []byte("abc")), one), message(ulogPacket, two)...)
	in = append(in, message(2, one)...)                   // NLMSG_ERROR: not a packet
	in = append(in, message(ulogPacket, attr(1, nil))...) // no payload
	got, bad := parsePackets(in)
	want := []packet{{"tcp", netip.MustParseAddr("192.0.2.1"), 1}, {"udp", netip.MustParseAddr("192.0.2.2"), 2}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || bad != 1 {
		t.Errorf("%s, %d unreadable", diff, bad)
	}
	for name, in := range map[string][]byte{
		"length too large":    append([]byte{255, 255, 0, 0}, make([]byte, 40)...),
		"length too small":    make([]byte, 40),
		"attribute too large": message(ulogPacket, []byte{255, 255, 9, 0}),
		"attribute too small": message(ulogPacket, []byte{0, 0, 9, 0}),
		"nothing in the head": message(ulogPacket)[:nlHeader],
	} {
		if name == "nothing in the head" {
			binary.NativeEndian.PutUint32(in, nlHeader)
		}
		if got, bad := parsePackets(in); len(got) != 0 || bad != 1 {
			t.Errorf("%s: %v, %d unreadable", name, got, bad)
		}
	}
}

// FuzzParsePackets: whatever comes, no panic, and no more packets than bytes allow.
func FuzzParsePackets(f *testing.F) {
	f.Add(message(ulogPacket, attr(attrPayload, ip4(6, "192.0.2.1", 4, 0, ports(443)))))
	f.Add(message(ulogPacket, attr(attrPayload, ip6(0, "2001:db8::1", []byte{44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}))))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, bad := parsePackets(b)
		if (len(found)+bad)*nlHeader > len(b)+nlHeader {
			t.Errorf("%d packets and %d unreadable in %d bytes", len(found), bad, len(b))
		}
		for _, p := range found {
			if !p.Dst.IsValid() || p.Proto == "" {
				t.Errorf("half a packet: %+v", p)
			}
		}
		parsePacket(b)
	})
}

// TestPacketFlood: a flood becomes a bounded number of records, and every packet
// is counted in one of them.
func TestPacketFlood(t *testing.T) {
	var mu sync.Mutex
	var got []audit.Record
	p := &Packets{Hash: func() string { return "h" }, Record: func(r audit.Record) { mu.Lock(); got = append(got, r); mu.Unlock() }}
	now := time.Unix(1, 0)
	hot := packet{"udp", netip.MustParseAddr("192.0.2.1"), 53}
	for i := range 10000 {
		p.saw(hot, now)
		p.saw(packet{"tcp", netip.MustParseAddr("192.0.2.2"), uint16(i)}, now) // a port scan
	}
	p.flush(now)
	if len(got) > maxDistinct+2 {
		t.Errorf("%d records for one second", len(got))
	}
	var sum uint64
	for _, r := range got {
		sum += r.Count
		if r.Kind != audit.KindPacket || r.Verdict != audit.Deny || r.Reason != "kernel_refused" || r.Policy != "h" {
			t.Errorf("record %+v", r)
		}
	}
	if sum != 20000 {
		t.Errorf("%d packets recorded of 20000", sum)
	}
	if r := got[0]; r.Method != "udp" || r.Host != "192.0.2.1" || r.Port != 53 || r.Count != 1 {
		t.Errorf("the first record is %+v", r)
	}
	got = nil
	p.flush(now)
	p.saw(hot, now)
	if len(got) != 1 {
		t.Errorf("the next second begins with %d records", len(got))
	}
}
