package refused

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// What one packet that the kernel refused was for.
type packet struct {
	Proto string // tcp, udp, icmp, icmp6, or "ip-" and the number
	Dst   netip.Addr
	Port  uint16 // 0 where the protocol has none
}

const (
	nlHeader    = 16     // struct nlmsghdr
	nfHeader    = 4      // struct nfgenmsg
	ulogPacket  = 0x0400 // NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET
	attrPayload = 9      // NFULA_PAYLOAD, linux/netfilter/nfnetlink_log.h
	attrMask    = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
	maxExtHdrs  = 8
)

// parsePackets reads what one read of an nflog socket gave: netlink messages, in
// each one packet as an attribute. Everything in the packets was made by the
// agent. What can't be read is counted, never guessed.
func parsePackets(b []byte) (found []packet, unreadable int) {
	for len(b) >= nlHeader {
		size := int(binary.NativeEndian.Uint32(b))
		if size < nlHeader || size > len(b) {
			return found, unreadable + 1
		}
		if binary.NativeEndian.Uint16(b[4:]) == ulogPacket {
			if p, ok := parsePacket(payload(b[nlHeader:size])); ok {
				found = append(found, p)
			} else {
				unreadable++
			}
		}
		b = b[min(align4(size), len(b)):]
	}
	return found, unreadable
}

func align4(n int) int { return (n + 3) &^ 3 }

// payload is the attribute that holds the packet, nil if there is none.
func payload(b []byte) []byte {
	if len(b) < nfHeader {
		return nil
	}
	b = b[nfHeader:]
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&attrMask == attrPayload {
			return b[4:size]
		}
		b = b[min(align4(size), len(b)):]
	}
	return nil
}

// parsePacket reads the head of one IP packet, which may be cut after any byte.
func parsePacket(b []byte) (packet, bool) {
	if len(b) == 0 {
		return packet{}, false
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	}
	return packet{}, false
}

// parse4 reads RFC 791 section 3.1.
func parse4(b []byte) (packet, bool) {
	if len(b) < 20 {
		return packet{}, false
	}
	head := int(b[0]&0xf) * 4
	if head < 20 || head > len(b) {
		return packet{}, false
	}
	p := packet{Dst: netip.AddrFrom4([4]byte(b[16:20])), Proto: protocol(b[9])}
	if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 { // only the first fragment has ports
		p.Port = port(b[9], b[head:])
	}
	return p, true
}

// parse6 reads RFC 8200 section 3 and walks over the extension headers of
// section 4, a bounded number of them.
func parse6(b []byte) (packet, bool) {
	if len(b) < 40 {
		return packet{}, false
	}
	p := packet{Dst: netip.AddrFrom16([16]byte(b[24:40]))}
	next, rest := b[6], b[40:]
	for range maxExtHdrs {
		size := 0
		switch {
		case next == 44 && len(rest) >= 8: // fragment
			if binary.BigEndian.Uint16(rest[2:])&0xfff8 != 0 {
				p.Proto = protocol(rest[0])
				return p, true
			}
			size = 8
		case (next == 0 || next == 43 || next == 60) && len(rest) >= 8: // hop-by-hop, routing, destination options
			size = (int(rest[1]) + 1) * 8
		}
		if size == 0 || size > len(rest) {
			break
		}
		next, rest = rest[0], rest[size:]
	}
	p.Proto, p.Port = protocol(next), port(next, rest)
	return p, true
}

func protocol(n byte) string {
	switch n {
	case 1:
		return "icmp"
	case 2:
		return "igmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmp6"
	case 132:
		return "sctp"
	}
	return "ip-" + strconv.Itoa(int(n))
}

// port is the destination port of TCP, UDP, DCCP, SCTP and UDP-Lite, which all
// keep it in the same place.
func port(proto byte, b []byte) uint16 {
	switch proto {
	case 6, 17, 33, 132, 136:
		if len(b) >= 4 {
			return binary.BigEndian.Uint16(b[2:])
		}
	}
	return 0
}
