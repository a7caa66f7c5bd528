package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST, from
// linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h.
const soOriginalDst = 80

// Original asks the kernel where a redirected connection was going. The
// answer belongs to the socket's own network namespace, so it holds for sockets
// that were made in a bottle and are served from outside.
//
// A connection that says so itself, since another kernel redirected it, is believed.
func Original(c net.Conn) (netip.AddrPort, error) {
	if r, ok := c.(interface{ OriginalDst() netip.AddrPort }); ok {
		return r.OriginalDst(), nil
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return netip.AddrPort{}, errors.New("find original destination: not a TCP connection")
	}
	local, ok := tcp.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, errors.New("find original destination: no local address")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find original destination: %w", err)
	}
	var dst netip.AddrPort
	var opErr error
	err = raw.Control(func(fd uintptr) {
		if local.AddrPort().Addr().Unmap().Is4() {
			dst, opErr = originalDst4(int(fd))
		} else {
			dst, opErr = originalDst6(int(fd))
		}
	})
	if err := errors.Join(err, opErr); err != nil {
		return netip.AddrPort{}, fmt.Errorf("find original destination: %w", err)
	}
	return dst, nil
}

// Original4 reads a sockaddr_in of 16 bytes. IPv6Mreq is only a buffer that
// is large enough: 16 bytes of address, where the sockaddr_in lands.
func originalDst4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := m.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// Original6 reads a sockaddr_in6, which is how IPv6MTUInfo begins.
func originalDst6(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	// The port field holds network byte order in the host's integer.
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], m.Addr.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr).Unmap(), binary.BigEndian.Uint16(port[:])), nil
}
