package fence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// HasIPv6 asks the kernel, through the /proc that is in sight.
func HasIPv6() bool { return unix.Access("/proc/net/if_inet6", unix.F_OK) == nil }

// Loopback brings lo up with plan.BottleAddr on it and routes everything there.
// There is no other interface, so nothing can leave but what the gateway's sockets
// take.
//
// The source address matters: with 127.0.0.1 as the source the kernel drops its
// own refusals as martians and a connect would hang instead of failing.
func Loopback(ipv6 bool) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer c.Close()
	own := net.ParseIP(plan.BottleAddr).To4()
	const lo = 1 // the first interface of every network namespace
	if err := rtAddr(c, lo, own); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	if err := rtDefault(c, unix.AF_INET, lo, own); err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	if !ipv6 {
		return nil
	}
	if err := rtDefault(c, unix.AF_INET6, lo, nil); err != nil {
		return fmt.Errorf("add IPv6 route: %w", err)
	}
	return nil
}

// rtAddr is RTM_NEWADDR with a /32 (rtnetlink(7)).
func rtAddr(c *netlink.Conn, link uint32, ip net.IP) error {
	head := []byte{unix.AF_INET, 32, 0, unix.RT_SCOPE_UNIVERSE}
	head = binary.NativeEndian.AppendUint32(head, link)
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.IFA_LOCAL, Data: ip}, {Type: unix.IFA_ADDRESS, Data: ip},
	})
	if err != nil {
		return err
	}
	return rtSend(c, unix.RTM_NEWADDR, append(head, attrs...))
}

// rtDefault is RTM_NEWROUTE for the default route through link (rtnetlink(7)).
func rtDefault(c *netlink.Conn, family byte, link uint32, source net.IP) error {
	head := []byte{family, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	list := []netlink.Attribute{{Type: unix.RTA_OIF, Data: binary.NativeEndian.AppendUint32(nil, link)}}
	if source != nil {
		list = append(list, netlink.Attribute{Type: unix.RTA_PREFSRC, Data: source})
	}
	attrs, err := netlink.MarshalAttributes(list)
	if err != nil {
		return err
	}
	return rtSend(c, unix.RTM_NEWROUTE, append(head, attrs...))
}

func rtSend(c *netlink.Conn, kind netlink.HeaderType, body []byte) error {
	_, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl},
		Data:   body,
	})
	return err
}

// HandOver opens, inside the bottle, what the gateway serves from outside (a
// socket stays in the network namespace where it was made), and sends it over gw:
// one message with the names, the descriptors in the same order.
func HandOver(gw *os.File) error {
	names, files, err := sockets()
	if err != nil {
		return err
	}
	nums := make([]int, len(files))
	for i, f := range files {
		defer f.Close()
		nums[i] = int(f.Fd())
	}
	err = unix.Sendmsg(int(gw.Fd()), []byte(strings.Join(names, "\n")), unix.UnixRights(nums...), nil, unix.MSG_NOSIGNAL)
	if err != nil {
		return fmt.Errorf("hand sockets to the gateway: %w", err)
	}
	return nil
}

func sockets() (names []string, files []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	for _, s := range []struct {
		name string
		open func() (int, error)
	}{
		{plan.SocketEgress, func() (int, error) { return inet(unix.SOCK_STREAM, plan.EgressPort) }},
		{plan.SocketTransparent, func() (int, error) { return inet(unix.SOCK_STREAM, plan.TransparentPort) }},
		{plan.SocketDNSUDP, func() (int, error) { return inet(unix.SOCK_DGRAM, 53) }},
		{plan.SocketDNSTCP, func() (int, error) { return inet(unix.SOCK_STREAM, 53) }},
		{plan.SocketNFLog, nflog},
	} {
		fd, err := s.open()
		if err != nil {
			return nil, files, fmt.Errorf("open socket %s: %w", s.name, err)
		}
		names, files = append(names, s.name), append(files, os.NewFile(uintptr(fd), s.name))
	}
	return names, files, nil
}

// inet binds 127.0.0.1:port and, for a stream, listens.
func inet(kind, port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	fail := func(err error) (int, error) {
		unix.Close(fd)
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fail(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fail(err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 1024); err != nil {
			return fail(err)
		}
	}
	return fd, nil
}

// nflog opens the socket on which the kernel tells what the firewall refused:
// NFULNL_MSG_CONFIG with bind, then copy of the packet's head (linux/netfilter/nfnetlink_log.h).
func nflog() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, err
	}
	if err := nflogConfig(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, unix.SetNonblock(fd, true)
}

func nflogConfig(fd int) error {
	const (
		msgConfig     = unix.NFNL_SUBSYS_ULOG<<8 | 1 // NFULNL_MSG_CONFIG
		attrCmd       = 1                            // NFULA_CFG_CMD
		attrMode      = 2                            // NFULA_CFG_MODE
		attrThreshold = 5                            // NFULA_CFG_QTHRESH
		cmdBind       = 1                            // NFULNL_CFG_CMD_BIND
		copyPacket    = 2                            // NFULNL_COPY_PACKET
		packetBytes   = 128                          // enough for IP, extension and transport heads
	)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	// struct nfgenmsg: family, version, resource id (the group, big-endian)
	head := []byte{unix.AF_UNSPEC, 0, 0, plan.NFLogGroup}
	mode := append(binary.BigEndian.AppendUint32(nil, packetBytes), copyPacket, 0)
	// Without a threshold of one the kernel may hold a packet back for a second.
	one := binary.BigEndian.AppendUint32(nil, 1)
	for _, a := range []netlink.Attribute{
		{Type: attrCmd, Data: []byte{cmdBind}}, {Type: attrMode, Data: mode}, {Type: attrThreshold, Data: one},
	} {
		attrs, err := netlink.MarshalAttributes([]netlink.Attribute{a})
		if err != nil {
			return err
		}
		body := append(append([]byte{}, head...), attrs...)
		msg := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
		msg = binary.NativeEndian.AppendUint16(msg, msgConfig)
		msg = binary.NativeEndian.AppendUint16(msg, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
		msg = append(msg, make([]byte, 8)...) // sequence, port id
		if err := unix.Sendto(fd, append(msg, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		if err := nlAck(fd); err != nil {
			return fmt.Errorf("configure log group: %w", err)
		}
	}
	return nil
}

// nlAck reads one NLMSG_ERROR answer.
func nlAck(fd int) error {
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("unexpected netlink answer")
	}
	if code := int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
