package guest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

const (
	maxRelayed = 1024             // connections at one time; more are closed at once
	doorTime   = 10 * time.Second // to connect and knock
	nameTime   = 5 * time.Second  // for one answer of the DNS
	maxSockets = 8
)

// relay leads what comes to the jail's sockets to the gateway's door.
type relay struct {
	door  string
	hello string // what the gateway says first
	token [32]byte
	slots chan struct{}
}

// take receives the jail's sockets, as a gateway on the same kernel would, and serves
// them until the process ends.
func (r *relay) take(meet *os.File) error {
	c, err := net.FileConn(meet)
	if err != nil {
		return fmt.Errorf("receive sockets: %w", err)
	}
	defer c.Close()
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("receive sockets: not a unix socket")
	}
	_ = uc.SetReadDeadline(time.Now().Add(30 * time.Second)) // a unix socket takes one
	data, oob := make([]byte, 4096), make([]byte, syscall.CmsgSpace(maxSockets*4))
	n, oobn, _, _, err := uc.ReadMsgUnix(data, oob)
	if err != nil || n == 0 {
		return fmt.Errorf("receive sockets: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return fmt.Errorf("receive sockets: %w", errors.Join(err, errors.New("not one message")))
	}
	fds, err := syscall.ParseUnixRights(&msgs[0])
	names := strings.Split(string(data[:n]), "\n")
	if err != nil || len(fds) != len(names) {
		return fmt.Errorf("receive sockets: %d names for %d descriptors: %w", len(names), len(fds), errors.Join(err, io.ErrUnexpectedEOF))
	}
	for i, fd := range fds {
		if err := r.serve(names[i], fd); err != nil {
			return fmt.Errorf("serve socket %.32q: %w", names[i], err)
		}
	}
	return nil
}

// serve takes one socket over.
func (r *relay) serve(name string, fd int) error {
	if err := syscall.SetNonblock(fd, true); err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	switch name {
	case plan.SocketNFLog:
		go r.refused(f)
		return nil
	case plan.SocketDNSUDP:
		defer f.Close()
		pc, err := net.FilePacketConn(f)
		if err == nil {
			go r.names(pc)
		}
		return err
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	switch name {
	case plan.SocketEgress:
		go r.lead(l, plan.DoorEgress)
	case plan.SocketTransparent:
		go r.lead(l, plan.DoorTransparent)
	case plan.SocketDNSTCP:
		go r.lead(l, plan.DoorDNS)
	default:
		return errors.New("no socket has that name")
	}
	return nil
}

// lead accepts, knocks for each connection, and joins the two.
func (r *relay) lead(l net.Listener, service byte) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case r.slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		go func() {
			defer func() { <-r.slots }()
			var dst netip.AddrPort
			if service == plan.DoorTransparent {
				if dst, err = original(c); err != nil {
					_ = c.Close()
					return
				}
			}
			up, err := r.knock(service, dst)
			if err != nil {
				reset(c)
				return
			}
			join(c, up)
		}()
	}
}

// knock connects to the door and opens it.
func (r *relay) knock(service byte, dst netip.AddrPort) (net.Conn, error) {
	c, err := net.DialTimeout("tcp4", r.door, doorTime)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(doorTime)) // a connection takes one
	if err = r.proved(c, plan.Knock{Service: service, Dst: dst}); err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// proved knocks, and wants this bottle's gateway to be who opens. It reads no further than
// that; what follows is the service's.
func (r *relay) proved(c net.Conn, k plan.Knock) error {
	got := make([]byte, len(r.hello)+plan.ChallengeSize)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	hello, challenge := got[:len(r.hello)], got[len(r.hello):]
	if string(hello) != r.hello {
		return errors.New("another bottle's gateway, or none, is at the door")
	}
	if _, err := rand.Read(k.Challenge[:]); err != nil {
		return err
	}
	hash, knock := sha256.Sum256(r.token[:]), k.Bytes()
	if _, err := c.Write(append(knock[:len(knock):len(knock)], plan.DoorProof(hash, plan.ProofOfKnock, [plan.ChallengeSize]byte(challenge), knock)...)); err != nil {
		return err
	}
	proof := make([]byte, plan.ProofSize)
	if _, err := io.ReadFull(c, proof); err != nil {
		return err
	}
	if !hmac.Equal(proof, plan.DoorProof(hash, plan.ProofOfDoor, k.Challenge, knock)) {
		return errors.New("who is at the door does not know this bottle's token")
	}
	return nil
}

// join copies both ways, and passes ends and resets on.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	one := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if w, ok := to.(*net.TCPConn); err == nil && ok {
			err = w.CloseWrite()
		}
		if err != nil {
			reset(a)
			reset(b)
		}
	}
	both.Go(func() { one(a, b) })
	one(b, a)
	both.Wait()
	_ = a.Close()
	_ = b.Close()
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// original asks the jail's kernel where a redirected connection was going
// (SO_ORIGINAL_DST of linux/netfilter_ipv4.h): a sockaddr_in in a buffer that is large
// enough.
func original(c net.Conn) (netip.AddrPort, error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return netip.AddrPort{}, errors.New("not a TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	const soOriginalDst = 80
	var dst netip.AddrPort
	var opErr error
	err = raw.Control(func(fd uintptr) {
		m, err := unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst)
		if opErr = err; err == nil {
			dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Multiaddr[4:8])), binary.BigEndian.Uint16(m.Multiaddr[2:4]))
		}
	})
	return dst, errors.Join(err, opErr)
}

// names answers the agent's queries over TCP, since a VM's datagrams may lead nowhere.
func (r *relay) names(pc net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		select {
		case r.slots <- struct{}{}:
		default:
			continue // as a resolver that is busy
		}
		query := append(binary.BigEndian.AppendUint16(nil, uint16(n)), buf[:n]...)
		go func() {
			defer func() { <-r.slots }()
			if a, err := r.name(query); err == nil {
				_, _ = pc.WriteTo(a, from)
			}
		}()
	}
}

// name asks one query, which has its length before it (RFC 1035, section 4.2.2).
func (r *relay) name(query []byte) ([]byte, error) {
	c, err := r.knock(plan.DoorDNS, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(nameTime)) // a connection takes one
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	a := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err = io.ReadFull(c, a)
	return a, err
}

// refused passes on what the jail's kernel refused, for the gateway to record.
func (r *relay) refused(f *os.File) {
	defer f.Close()
	var c net.Conn
	buf := make([]byte, 2+1<<16)
	for {
		n, err := f.Read(buf[2:])
		if errors.Is(err, syscall.ENOBUFS) { // the kernel dropped some: netlink(7)
			continue
		}
		if err != nil {
			return
		}
		if n > 1<<16-1 {
			continue
		}
		binary.BigEndian.PutUint16(buf, uint16(n))
		for range 2 { // once more on a new connection
			if c == nil {
				if c, err = r.knock(plan.DoorRefused, netip.AddrPort{}); err != nil {
					c = nil
					break
				}
			}
			if _, err = c.Write(buf[:2+n]); err == nil {
				break
			}
			_ = c.Close()
			c = nil
		}
	}
}
