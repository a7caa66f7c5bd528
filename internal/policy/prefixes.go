package policy

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// row4 is one IPv4 prefix that is not public.
type row4 struct {
	head uint32
	bits uint8
	kind kind
}

// row6 is one IPv6 prefix that is not public.
type row6 struct {
	hi, lo uint64
	bits   uint8
	kind   kind
}

// rows4 is the IANA IPv4 special-purpose address registry, multicast, and the
// addresses where clouds hand out credentials. A smaller prefix stands before
// the larger one around it: the first match counts.
func rows4() [30]row4 {
	return [...]row4{
		{0xa9fe_a9fe, 32, metadata}, // 169.254.169.254: nearly every cloud
		{0xa9fe_aa02, 32, metadata}, // 169.254.170.2: AWS ECS task credentials
		{0xa9fe_aa17, 32, metadata}, // 169.254.170.23: AWS EKS pod identity
		{0xa9fe_0017, 32, metadata}, // 169.254.0.23: Tencent Cloud
		{0xa9fe_2a2a, 32, metadata}, // 169.254.42.42: Scaleway
		{0xa83f_8110, 32, metadata}, // 168.63.129.16: Azure, in the midst of public space
		{0x6464_64c8, 32, metadata}, // 100.100.100.200: Alibaba Cloud
		{0x6460_0060, 32, metadata}, // 100.96.0.96: Volcano Engine
		{0xc000_00c0, 32, metadata}, // 192.0.0.192: Oracle Cloud
		{0x0000_0000, 32, unspecified},
		{0x0000_0000, 8, thisNetwork},
		{0x0a00_0000, 8, private},
		{0x6440_0000, 10, shared},
		{0x7f00_0000, 8, loopback},
		{0xa9fe_0000, 16, linkLocal},
		{0xac10_0000, 12, private},
		{0xc000_0000, 24, ietf},
		{0xc000_0200, 24, documentation}, // TEST-NET-1
		{0xc01f_c400, 24, as112},
		{0xc034_c100, 24, amt},
		{0xc058_6300, 24, relay6to4},
		{0xc0a8_0000, 16, private},
		{0xc0af_3000, 24, as112},
		{0xc612_0000, 15, benchmarking},
		{0xc633_6400, 24, documentation}, // TEST-NET-2
		{0xcb00_7100, 24, documentation}, // TEST-NET-3
		{0xe9fc_0000, 24, documentation}, // 233.252.0.0/24: MCAST-TEST-NET
		{0xe000_0000, 4, multicast},
		{0xffff_ffff, 32, broadcast},
		{0xf000_0000, 4, reserved},
	}
}

// rows6 is the IANA IPv6 special-purpose address registry and the metadata
// addresses; the first match counts. Teredo, 6to4 and the well-known NAT64
// prefix are here for the firewall's list only: Classify looks into them first.
func rows6() [32]row6 {
	return [...]row6{
		{0xfd00_0ec2_0000_0000, 0x0254, 128, metadata},      // fd00:ec2::254: AWS
		{0xfd00_0ec2_0000_0000, 0x0023, 128, metadata},      // fd00:ec2::23: AWS EKS pod identity
		{0xfd20_00ce_0000_0000, 0x0254, 128, metadata},      // fd20:ce::254: Google Cloud
		{0xfd00_00c1_0000_0000, 0xa9fe_a9fe, 128, metadata}, // fd00:c1::a9fe:a9fe: Oracle Cloud
		{0xfd00_0042_0000_0000, 0x0042, 128, metadata},      // fd00:42::42: Scaleway
		{0xfe80_0000_0000_0000, 0xa9fe_a9fe, 128, metadata}, // fe80::a9fe:a9fe: OpenStack
		{0, 0, 128, unspecified},                            // ::
		{0, 1, 128, loopback},                               // ::1
		{0, 0, 96, v4Compatible},                            // ::/96
		{0, 0x0000_ffff_0000_0000, 96, v4Mapped},            // ::ffff:0:0/96
		{0, 0xffff_0000_0000_0000, 96, v4Translated},        // ::ffff:0:0:0/96
		{0x0064_ff9b_0001_0000, 0, 48, nat64Local},          // 64:ff9b:1::/48
		{0x0100_0000_0000_0000, 0, 64, discard},             // 100::/64
		{0x0100_0000_0000_0001, 0, 64, dummy},               // 100:0:0:1::/64
		{0x2001_0000_0000_0000, 0, 32, teredo},              // 2001::/32
		{0x2001_0002_0000_0000, 0, 48, benchmarking},        // 2001:2::/48
		{0x2001_0010_0000_0000, 0, 28, orchid},              // 2001:10::/28
		{0x2001_0020_0000_0000, 0, 28, orchid},              // 2001:20::/28
		{0x2001_0000_0000_0000, 0, 23, ietf},                // 2001::/23
		{0x2001_0db8_0000_0000, 0, 32, documentation},       // 2001:db8::/32
		{0x2002_0000_0000_0000, 0, 16, from6to4},            // 2002::/16
		{0x2620_004f_8000_0000, 0, 48, as112},               // 2620:4f:8000::/48
		{0x3ffe_0000_0000_0000, 0, 16, sixbone},             // 3ffe::/16
		{0x3fff_0000_0000_0000, 0, 20, documentation},       // 3fff::/20
		{0x5f00_0000_0000_0000, 0, 16, segments},            // 5f00::/16
		{0xfc00_0000_0000_0000, 0, 7, uniqueLocal},          // fc00::/7
		{0xfe80_0000_0000_0000, 0, 10, linkLocal},           // fe80::/10
		{0xfec0_0000_0000_0000, 0, 10, siteLocal},           // fec0::/10
		{0xff00_0000_0000_0000, 0, 8, multicast},            // ff00::/8
		{0, 0, 3, unallocated},                              // ::/3
		{0x4000_0000_0000_0000, 0, 2, unallocated},          // 4000::/2
		{0x8000_0000_0000_0000, 0, 1, unallocated},          // 8000::/1: with the two above, all but 2000::/3
	}
}

// SpecialPrefixes lists every prefix that is not public, for a firewall: sorted,
// none inside another. The well-known NAT64 prefix lies inside ::/3; a firewall
// refuses it whole, because it does not look at the IPv4 address within. ISATAP
// is known by its end, not by a prefix, and is not in the list.
func SpecialPrefixes() (v4, v6 []netip.Prefix) {
	for _, r := range rows4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], r.head)
		v4 = append(v4, netip.PrefixFrom(netip.AddrFrom4(b), int(r.bits)))
	}
	for _, r := range rows6() {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], r.hi)
		binary.BigEndian.PutUint64(b[8:], r.lo)
		v6 = append(v6, netip.PrefixFrom(netip.AddrFrom16(b), int(r.bits)))
	}
	return outermost(v4), outermost(v6)
}

func outermost(in []netip.Prefix) []netip.Prefix {
	slices.SortFunc(in, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	out := in[:0]
	for _, p := range in {
		if len(out) == 0 || !out[len(out)-1].Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return out
}
