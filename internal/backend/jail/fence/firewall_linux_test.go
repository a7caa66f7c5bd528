package fence

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// What the set of intervals holds is what the prefixes hold, however they nest,
// touch or reach the end of the address space.
func TestIntervalsHoldWhatThePrefixesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []netip.Prefix
		texts := []string{"2001:db8::/32"} // not the firewall's business
		edges := []uint32{0, 1<<32 - 1}
		for range rapid.IntRange(0, 12).Draw(t, "prefixes") {
			// Few distinct heads and long masks, so that they meet.
			at := rapid.SampledFrom([]uint32{0, 0x0a000000, 0x0a000100, 0x7f000000, 0xe0000000, 0xf0000000, 0xfffffffe, 0xffffffff}).Draw(t, "at")
			p := netip.PrefixFrom(v4(at), rapid.IntRange(0, 32).Draw(t, "bits")).Masked()
			list, texts = append(list, p), append(texts, p.String())
			first := binary.BigEndian.Uint32(p.Addr().AsSlice())
			last := first + uint32(uint64(1)<<(32-p.Bits())-1)
			edges = append(edges, first-1, first, last, last+1)
		}
		set, err := intervals(texts)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range append(edges, rapid.Uint32().Draw(t, "any")) {
			want, got := false, false
			for _, p := range list {
				want = want || p.Contains(v4(e))
			}
			var before uint32
			for i, s := range set {
				key := binary.BigEndian.Uint32(s.Key)
				if i > 0 && key <= before {
					t.Fatalf("%v: element %d does not rise", list, i)
				}
				if before = key; key <= e {
					got = !s.IntervalEnd
				}
			}
			if got != want {
				t.Fatalf("%v: %v in the set %t, in the prefixes %t", list, v4(e), got, want)
			}
		}
	})
	if _, err := intervals([]string{"10.0.0.0/33"}); err == nil {
		t.Error("a prefix that is none was taken")
	}
}

func v4(n uint32) netip.Addr { return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n))) }
