package policy

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"code.dny.dev/ssrf"
)

func TestClassify(t *testing.T) {
	for name, addrs := range map[string][]string{
		"public": {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17",
			"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
			"2606:4700:4700::1111", "2620:fe::fe", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2003::", "2000::", "3ffd:ffff::", "3fff:1000::",
			"::ffff:8.8.8.8", "64:ff9b::8.8.8.8"},
		"cloud metadata": {"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "169.254.42.42", "168.63.129.16", "100.100.100.200", "100.96.0.96", "192.0.0.192",
			"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fe80::a9fe:a9fe",
			"::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "2001:0:1:2:3:4:5601:5601", "::ffff:168.63.129.16", "64:ff9b::168.63.129.16"},
		"unspecified":               {"0.0.0.0", "::", "::ffff:0.0.0.0", "64:ff9b::"},
		"this network":              {"0.0.0.1", "0.255.255.255"},
		"loopback":                  {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"},
		"private":                   {"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255", "2002:a00:1::", "::ffff:10.1.2.3"},
		"link-local":                {"169.254.0.0", "169.254.255.255", "fe80::1", "febf:ffff::"},
		"carrier-grade NAT":         {"100.64.0.0", "100.127.255.255"},
		"IETF protocol assignments": {"192.0.0.0", "192.0.0.255", "2001:1::1", "2001:1ff:ffff::", "2001:3::", "2001:30::"},
		"documentation":             {"192.0.2.0", "192.0.2.255", "198.51.100.7", "203.0.113.255", "233.252.0.1", "2001:db8::", "2001:db8:ffff::", "3fff::", "3fff:fff:ffff::"},
		"benchmarking":              {"198.18.0.0", "198.19.255.255", "2001:2::1"},
		"AS112":                     {"192.31.196.1", "192.175.48.1", "2620:4f:8000::1"},
		"multicast tunnelling":      {"192.52.193.1"},
		"6to4 relay anycast":        {"192.88.99.1"},
		"multicast":                 {"224.0.0.1", "239.255.255.255", "ff02::1", "ff00::"},
		"reserved":                  {"240.0.0.0", "255.255.255.254"},
		"broadcast":                 {"255.255.255.255"},
		"6to4":                      {"2002:808:808::1"},
		"Teredo":                    {"2001::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"},
		"ORCHID":                    {"2001:10::", "2001:1f:ffff::", "2001:20::", "2001:2f:ffff::"},
		"IPv4-compatible IPv6":      {"::8.8.8.8", "::7f00:1", "::2"},
		"IPv4-translated IPv6":      {"::ffff:0:8.8.8.8", "::ffff:0:7f00:1"},
		"ISATAP":                    {"2606:4700::5efe:8.8.8.8", "2606:4700::200:5efe:8.8.8.8"},
		"local-use NAT64":           {"64:ff9b:1::", "64:ff9b:1:ffff::8.8.8.8"},
		"discard-only":              {"100::", "100::ffff:ffff:ffff:ffff"},
		"dummy":                     {"100:0:0:1::"},
		"6bone":                     {"3ffe::1"},
		"SRv6 segment":              {"5f00::", "5f00:ffff::"},
		"unique local":              {"fc00::", "fdff:ffff::", "fd00:ec2::253"},
		"site-local":                {"fec0::1", "feff:ffff::"},
		"outside global unicast":    {"64:ff9b:2::", "64:ff9b:0:0:0:1::", "100:0:0:2::", "1fff:ffff::", "4000::", "8000::", "f000::", "fe00::", "fbff:ffff::", "::1:0:0:0"},
	} {
		for _, s := range addrs {
			c := Classify(netip.MustParseAddr(s))
			if c.Name != name || c.Public != (name == "public") || c.RFC == "" {
				t.Errorf("%s is %+v, want %s", s, c, name)
			}
			if want := reasonOf(name); c.Reason() != want {
				t.Errorf("%s: the reason is %q, want %q", s, c.Reason(), want)
			}
		}
	}
	for what, a := range map[string]netip.Addr{"no address": {}, "a zone": netip.MustParseAddr("2606:4700::1%eth0"), "a mapped zone": netip.MustParseAddr("::ffff:1.1.1.1%lo")} {
		if c := Classify(a); c != (Class{}) {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

// The attack: a name answers with an IPv6 address that a tunnel or a translator
// on the way takes apart, and that ends at an IPv4 address which would have been
// refused. In each form each private kind is refused, with or without a tunnel
// here. Of the public ones only those forms pass that end where they seem to.
func TestEmbeddedIPv4IsRefusedInEveryForm(t *testing.T) {
	forms := []struct {
		name   string
		make   func(v uint32) netip.Addr
		public bool // if what it embeds is
	}{
		{"mapped, RFC 4291", func(v uint32) netip.Addr { return addr6(0, 0xffff_0000_0000|uint64(v)) }, true},
		{"NAT64, RFC 6052", func(v uint32) netip.Addr { return addr6(0x0064_ff9b_0000_0000, uint64(v)) }, true},
		{"compatible, RFC 4291", func(v uint32) netip.Addr { return addr6(0, uint64(v)) }, false},
		{"translated, RFC 2765", func(v uint32) netip.Addr { return addr6(0, 0xffff_0000_0000_0000|uint64(v)) }, false},
		{"local NAT64, RFC 8215, /96", func(v uint32) netip.Addr { return addr6(0x0064_ff9b_0001_0000, uint64(v)) }, false},
		{"local NAT64, RFC 8215, /48", func(v uint32) netip.Addr {
			return addr6(0x0064_ff9b_0001_0000|uint64(v>>16), uint64(v&0xffff)<<40)
		}, false},
		{"6to4, RFC 3056", func(v uint32) netip.Addr { return addr6(0x2002_0000_0000_0000|uint64(v)<<16, 1) }, false},
		{"Teredo client, RFC 4380", func(v uint32) netip.Addr { return addr6(0x2001_0000_4136_e378, uint64(^v)) }, false},
		{"Teredo server, RFC 4380", func(v uint32) netip.Addr { return addr6(0x2001_0000_0000_0000|uint64(v), 0) }, false},
		{"ISATAP, RFC 5214", func(v uint32) netip.Addr { return addr6(0x2606_4700_0000_0000, 0x5efe_0000_0000|uint64(v)) }, false},
		{"ISATAP, universal bit", func(v uint32) netip.Addr {
			return addr6(0x2606_4700_0000_0000, 0x0200_5efe_0000_0000|uint64(v))
		}, false},
		{"ISATAP, link-local", func(v uint32) netip.Addr { return addr6(0xfe80_0000_0000_0000, 0x5efe_0000_0000|uint64(v)) }, false},
	}
	for _, f := range forms {
		for _, inner := range []string{"127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "168.63.129.16", "100.100.100.200",
			"100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1"} {
			if a := f.make(word4(netip.MustParseAddr(inner))); Classify(a).Public {
				t.Errorf("%s: %s inside %s is public", f.name, inner, a)
			}
		}
		if a := f.make(word4(netip.MustParseAddr("8.8.8.8"))); Classify(a).Public != f.public {
			t.Errorf("%s: 8.8.8.8 inside %s is public: %v", f.name, a, !f.public)
		}
	}
}

func addr6(hi, lo uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

func reasonOf(name string) Reason {
	switch name {
	case "public":
		return ""
	case "cloud metadata":
		return MetadataAddress
	}
	return PrivateAddress
}

// Every kind has a name, so that no table row can lead to the zero Class.
func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := public; k <= unallocated; k++ {
		c := k.class()
		if c.Name == "" || c.RFC == "" || c.Public != (k == public) || seen[c.Name] {
			t.Errorf("kind %d is %+v", k, c)
		}
		seen[c.Name] = true
	}
}

// A row must not be shadowed by an earlier, wider one, nor have bits beyond its
// length.
func TestTables(t *testing.T) {
	for _, r := range rows4() {
		if r.head<<r.bits != 0 && r.bits < 32 {
			t.Errorf("%08x/%d has bits beyond its length", r.head, r.bits)
		}
		if got := classify4(r.head); got != r.kind && !(r.head == 0 && got == unspecified) {
			t.Errorf("%08x/%d is shadowed: %s", r.head, r.bits, got.class().Name)
		}
		last := r.head | uint32(1<<(32-r.bits)-1)
		if got := classify4(last); got != r.kind && got != broadcast {
			t.Errorf("the end of %08x/%d is %s", r.head, r.bits, got.class().Name)
		}
	}
	for _, r := range rows6() {
		head := prefix6(r)
		if head.Masked() != head {
			t.Errorf("%s has bits beyond its length", head)
		}
		last := lastOf(head)
		hi, lo := words6(last)
		if got := classify6(hi, lo); got != r.kind && r.kind != unallocated {
			t.Errorf("the end of %s is %s", head, got.class().Name)
		}
	}
}

func prefix6(r row6) netip.Prefix {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], r.hi)
	binary.BigEndian.PutUint64(b[8:], r.lo)
	return netip.PrefixFrom(netip.AddrFrom16(b), int(r.bits))
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// samples calls f with the edges of every special prefix and with random
// addresses, many of them near the prefixes.
func samples(f func(netip.Addr)) {
	v4, v6 := SpecialPrefixes()
	all := append(v4, v6...)
	for _, r := range rows4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], r.head)
		all = append(all, netip.PrefixFrom(netip.AddrFrom4(b), int(r.bits)))
	}
	for _, r := range rows6() {
		all = append(all, prefix6(r))
	}
	for _, p := range all {
		for _, a := range []netip.Addr{p.Addr(), p.Addr().Prev(), p.Addr().Next(), lastOf(p), lastOf(p).Prev(), lastOf(p).Next()} {
			if a.IsValid() {
				f(a)
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], random.Uint64())
		binary.BigEndian.PutUint64(b[8:], random.Uint64())
		f(netip.AddrFrom4([4]byte(b[:4])))
		f(netip.AddrFrom16(b))
		b[0] = b[0]&0x1f | 0x20
		f(netip.AddrFrom16(b))
		b[0], b[1] = 0x20, b[1]&3
		f(netip.AddrFrom16(b))
	}
}

// The firewall's list and the classes say the same, but for NAT64.
func TestSpecialPrefixesAgree(t *testing.T) {
	v4, v6 := SpecialPrefixes()
	for _, list := range [][]netip.Prefix{v4, v6} {
		for i, p := range list {
			if p != p.Masked() || i > 0 && (list[i-1].Overlaps(p) || !list[i-1].Addr().Less(p.Addr())) {
				t.Errorf("%s is not sorted, overlaps or is not canonical", p)
			}
		}
	}
	nat64 := netip.MustParsePrefix("64:ff9b::/96")
	samples(func(a netip.Addr) {
		if a.Is4In6() || nat64.Contains(a) {
			return
		}
		special := false
		for _, p := range append(v4, v6...) {
			special = special || p.Contains(a)
		}
		if special == Classify(a).Public {
			t.Fatalf("%s: in the list %v, class %+v", a, special, Classify(a))
		}
	})
}

// Nothing that the ssrf module denies is public here, and the other way round,
// but for what this table knows better.
func TestAgainstOracle(t *testing.T) {
	guard := ssrf.New(ssrf.WithAnyPort())
	ours := map[string]bool{"cloud metadata": true, "6bone": true}
	samples(func(a netip.Addr) {
		network := "tcp6"
		if a.Is4() {
			network = "tcp4"
		}
		if a.Is4In6() || netip.MustParsePrefix("64:ff9b::/96").Contains(a) {
			return // we classify the IPv4 address inside
		}
		denied := guard.Safe(network, netip.AddrPortFrom(a, 443).String(), nil) != nil
		c := Classify(a)
		if denied == c.Public && !(!denied && ours[c.Name]) {
			t.Fatalf("%s: the oracle denies it: %v; class %+v", a, denied, c)
		}
	})
}

// What carries an IPv4 address inside is never public when that one is not.
func TestEmbedded(t *testing.T) {
	samples(func(a netip.Addr) {
		if !a.Is4() {
			return
		}
		v := a.As4()
		inside := Classify(a)
		mapped := netip.AddrFrom16(a.As16())
		wkp := netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 12: v[0], 13: v[1], 14: v[2], 15: v[3]})
		if Classify(mapped) != inside || Classify(wkp) != inside {
			t.Fatalf("%s: %+v; mapped %+v, NAT64 %+v", a, inside, Classify(mapped), Classify(wkp))
		}
		for _, b := range [][16]byte{
			{0x20, 0x02, v[0], v[1], v[2], v[3]},
			{0x20, 0x01, 0, 0, 12: ^v[0], 13: ^v[1], 14: ^v[2], 15: ^v[3]},
			{12: v[0], 13: v[1], 14: v[2], 15: v[3]},
			{8: 0xff, 9: 0xff, 12: v[0], 13: v[1], 14: v[2], 15: v[3]},
			{0, 0x64, 0xff, 0x9b, 0, 1, 12: v[0], 13: v[1], 14: v[2], 15: v[3]},
		} {
			if c := Classify(netip.AddrFrom16(b)); c.Public {
				t.Fatalf("%s inside %s: %+v", a, netip.AddrFrom16(b), c)
			}
		}
	})
}
