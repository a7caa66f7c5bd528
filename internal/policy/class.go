package policy

import "net/netip"

// Class says what kind of address an address is. The zero Class is not public.
type Class struct {
	Name   string `json:"name"`
	RFC    string `json:"rfc"` // where it is set aside
	Public bool   `json:"public"`
}

// Reason is the code to refuse an address of this class with; a public class
// has none.
func (c Class) Reason() Reason {
	switch {
	case c.Public:
		return ""
	case c.Name == "cloud metadata":
		return MetadataAddress
	}
	return PrivateAddress
}

// kind is a class by number: the tables hold no pointers, so that a lookup
// copies a few hundred bytes and touches nothing else.
type kind uint8

const (
	unknown kind = iota
	public
	metadata
	unspecified
	thisNetwork
	loopback
	private
	linkLocal
	shared
	ietf
	documentation
	benchmarking
	as112
	amt
	relay6to4
	multicast
	reserved
	broadcast
	v4Compatible
	v4Translated
	v4Mapped
	nat64Local
	discard
	dummy
	teredo
	orchid
	from6to4
	sixbone
	segments
	uniqueLocal
	siteLocal
	isatap
	unallocated
)

// class names a kind. The names are shown to people; "cloud metadata" is also
// what Reason goes by.
func (k kind) class() Class {
	switch k {
	case public:
		return Class{"public", "RFC 4291, RFC 7249", true}
	case metadata:
		return Class{Name: "cloud metadata", RFC: "RFC 3927, vendors' documentation"}
	case unspecified:
		return Class{Name: "unspecified", RFC: "RFC 4291 section 2.5.2"}
	case thisNetwork:
		return Class{Name: "this network", RFC: "RFC 791 section 3.2"}
	case loopback:
		return Class{Name: "loopback", RFC: "RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3"}
	case private:
		return Class{Name: "private", RFC: "RFC 1918"}
	case linkLocal:
		return Class{Name: "link-local", RFC: "RFC 3927, RFC 4291 section 2.5.6"}
	case shared:
		return Class{Name: "carrier-grade NAT", RFC: "RFC 6598"}
	case ietf:
		return Class{Name: "IETF protocol assignments", RFC: "RFC 6890, RFC 2928"}
	case documentation:
		return Class{Name: "documentation", RFC: "RFC 5737, RFC 3849, RFC 9637"}
	case benchmarking:
		return Class{Name: "benchmarking", RFC: "RFC 2544, RFC 5180"}
	case as112:
		return Class{Name: "AS112", RFC: "RFC 7534, RFC 7535"}
	case amt:
		return Class{Name: "multicast tunnelling", RFC: "RFC 7450"}
	case multicast:
		return Class{Name: "multicast", RFC: "RFC 1112, RFC 4291 section 2.7"}
	case reserved:
		return Class{Name: "reserved", RFC: "RFC 1112 section 4"}
	case broadcast:
		return Class{Name: "broadcast", RFC: "RFC 919"}
	}
	return k.transitional()
}

// transitional names the rest: IPv4 inside IPv6, and IPv6 that routes nowhere.
func (k kind) transitional() Class {
	switch k {
	case relay6to4:
		return Class{Name: "6to4 relay anycast", RFC: "RFC 7526"}
	case from6to4:
		return Class{Name: "6to4", RFC: "RFC 3056"}
	case teredo:
		return Class{Name: "Teredo", RFC: "RFC 4380"}
	case v4Compatible:
		return Class{Name: "IPv4-compatible IPv6", RFC: "RFC 4291 section 2.5.5.1"}
	case v4Mapped:
		return Class{Name: "IPv4-mapped IPv6", RFC: "RFC 4291 section 2.5.5.2"}
	case v4Translated:
		return Class{Name: "IPv4-translated IPv6", RFC: "RFC 2765"}
	case nat64Local:
		return Class{Name: "local-use NAT64", RFC: "RFC 8215"}
	case discard:
		return Class{Name: "discard-only", RFC: "RFC 6666"}
	case dummy:
		return Class{Name: "dummy", RFC: "RFC 9780"}
	case orchid:
		return Class{Name: "ORCHID", RFC: "RFC 4843, RFC 7343"}
	case isatap:
		return Class{Name: "ISATAP", RFC: "RFC 5214"}
	case sixbone:
		return Class{Name: "6bone", RFC: "RFC 3701"}
	case segments:
		return Class{Name: "SRv6 segment", RFC: "RFC 9602"}
	case uniqueLocal:
		return Class{Name: "unique local", RFC: "RFC 4193"}
	case siteLocal:
		return Class{Name: "site-local", RFC: "RFC 3879"}
	case unallocated:
		return Class{Name: "outside global unicast", RFC: "RFC 4291 section 2.4"}
	}
	return Class{}
}

// Classify says what kind of address a is. An IPv4 address that is mapped into
// IPv6, or reached through the well-known NAT64 prefix, is what the IPv4 address
// is, because that is where the packet ends. 6to4 and ISATAP are never public;
// where the IPv4 address inside is worse (loopback, metadata), they are called by
// that.
// An address with a zone, and no address at all, have the zero Class.
func Classify(a netip.Addr) Class { return classify(a).class() }

func classify(a netip.Addr) kind {
	switch {
	case !a.IsValid() || a.Zone() != "":
		return unknown
	case a.Is4():
		return classify4(word4(a))
	case a.Is4In6():
		return classify4(word4(a.Unmap()))
	}
	hi, lo := words6(a)
	switch {
	case hi == 0x0064_ff9b_0000_0000 && lo>>32 == 0: // RFC 6052: 64:ff9b::/96
		return classify4(uint32(lo))
	case hi>>48 == 0x2002:
		if k := classify4(uint32(hi >> 16)); k != public {
			return k
		}
		return from6to4
	case hi>>32 == 0x2001_0000:
		// RFC 4380 section 4: the client's address is in the last 32 bits, inverted.
		if k := classify4(^uint32(lo)); k == metadata {
			return k
		}
		return teredo
	}
	k := classify6(hi, lo)
	if k == public && lo>>32&^0x0200_0000 == 0x5efe {
		// RFC 5214 section 6.1: whatever the prefix, a host that speaks ISATAP sends
		// this to the IPv4 address in the last 32 bits.
		if inner := classify4(uint32(lo)); inner != public {
			return inner
		}
		return isatap
	}
	return k
}

func classify4(v uint32) kind {
	rows := rows4()
	for i := range rows {
		if r := &rows[i]; v>>(32-r.bits) == r.head>>(32-r.bits) {
			return r.kind
		}
	}
	return public
}

func classify6(hi, lo uint64) kind {
	rows := rows6()
	for i := range rows {
		r := &rows[i]
		if r.bits <= 64 {
			if hi>>(64-r.bits) == r.hi>>(64-r.bits) {
				return r.kind
			}
			continue
		}
		if hi == r.hi && lo>>(128-r.bits) == r.lo>>(128-r.bits) {
			return r.kind
		}
	}
	return public // inside 2000::/3, all that is global unicast (RFC 4291 section 2.4)
}

func word4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func words6(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	for i := range 8 {
		hi = hi<<8 | uint64(b[i])
		lo = lo<<8 | uint64(b[i+8])
	}
	return hi, lo
}
