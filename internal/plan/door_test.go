package plan

import (
	"net/netip"
	"testing"
)

// What is read of a Knock is what was sent.
func FuzzKnock(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"), byte('t'), uint32(0xc0000207), uint16(443))
	f.Add(make([]byte, 32), byte('e'), uint32(0), uint16(0))
	f.Fuzz(func(t *testing.T, token []byte, service byte, addr uint32, port uint16) {
		if len(token) != 32 {
			return
		}
		dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}), port)
		sent := Knock{Challenge: [ChallengeSize]byte(token), Service: service, Dst: dst}
		b := sent.Bytes()
		if len(b) != KnockSize {
			t.Fatalf("%d bytes", len(b))
		}
		got := ReadKnock([KnockSize]byte(b))
		if service != DoorTransparent {
			sent.Dst = netip.AddrPort{}
		}
		if got != sent {
			t.Fatalf("%+v came of %+v", got, sent)
		}
	})
}

// An address that is no IPv4 is none.
func TestKnockHasIPv4Alone(t *testing.T) {
	b := Knock{Service: DoorTransparent, Dst: netip.MustParseAddrPort("[2001:db8::1]:443")}.Bytes()
	if got := ReadKnock([KnockSize]byte(b)).Dst; got.Addr() != netip.AddrFrom4([4]byte{}) {
		t.Errorf("%s", got)
	}
	if h := DoorHash([32]byte{}); len(h) != 64 {
		t.Errorf("hash %q", h)
	}
}
