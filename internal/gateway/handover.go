package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"bottle/internal/gateway/door"
	"bottle/internal/plan"
)

const (
	handoverFD   = 3
	handoverWait = 30 * time.Second // a backend that has not made its sockets by then has failed
	maxSockets   = 16
)

// sockets are what the bottle's side listens on. Any of them may be nil.
type sockets struct {
	egress, transparent, dnsTCP net.Listener
	dnsUDP                      net.PacketConn
	nflog                       *os.File
	door                        *door.Door        // its listener is egress, and the services stand behind it; nil: they are the bottle's own
	served                      map[string]string // name -> address, for plan.Ready
}

// Inherited is the unix socket on descriptor 3, or nil if there is none. It must
// be called before the program opens anything, and after Harden, which may start
// it anew. It looks before it touches: without a caller's socket there, the Go
// runtime keeps a descriptor of its own under that number.
func Inherited() *os.File {
	var st syscall.Stat_t
	if err := syscall.Fstat(handoverFD, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
		return nil
	}
	syscall.CloseOnExec(handoverFD)
	return os.NewFile(handoverFD, "handover")
}

// receive takes the sockets from the one message on inherited. It closes
// inherited and every descriptor that it does not hand out.
func receive(ctx context.Context, inherited *os.File) (_ *sockets, err error) {
	if inherited == nil {
		return nil, errors.New("receive sockets: descriptor 3 is not a unix socket")
	}
	conn, err := net.FileConn(inherited)
	inherited.Close()
	if err != nil {
		return nil, fmt.Errorf("receive sockets: %w", err)
	}
	defer conn.Close()
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("receive sockets: descriptor 3 is not a unix socket")
	}
	stop := context.AfterFunc(ctx, func() { _ = uc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if ctx.Err() == nil {
		_ = uc.SetReadDeadline(time.Now().Add(handoverWait))
	}
	data, oob := make([]byte, 4096), make([]byte, syscall.CmsgSpace(maxSockets*4))
	// The net package receives with MSG_CMSG_CLOEXEC.
	n, oobn, flags, _, err := uc.ReadMsgUnix(data, oob)
	fds, fdErr := rights(oob[:oobn])
	s := &sockets{served: map[string]string{}}
	defer func() {
		for _, f := range fds {
			f.Close() // what was adopted is a duplicate
		}
		if err != nil {
			s.close()
		}
	}()
	switch {
	case errors.Is(err, io.EOF), err == nil && n == 0:
		return nil, errors.New("receive sockets: the other side ended without sending any")
	case err != nil:
		return nil, fmt.Errorf("receive sockets: %w", err)
	case fdErr != nil:
		return nil, fmt.Errorf("receive sockets: %w", fdErr)
	case flags&(syscall.MSG_CTRUNC|syscall.MSG_TRUNC) != 0:
		return nil, errors.New("receive sockets: the message was cut")
	}
	names := strings.Split(strings.TrimSuffix(string(data[:n]), "\n"), "\n")
	if len(names) != len(fds) {
		return nil, fmt.Errorf("receive sockets: %d names for %d descriptors", len(names), len(fds))
	}
	for i, name := range names {
		if err := s.adopt(name, fds[i]); err != nil {
			return nil, fmt.Errorf("receive socket %.32q: %w", name, err)
		}
	}
	if s.egress == nil {
		return nil, fmt.Errorf("receive sockets: the socket %s is missing", plan.SocketEgress)
	}
	return s, nil
}

// rights opens every descriptor in a control message, so that all are closed
// even if some are not wanted.
func rights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range msgs {
		fds, err := syscall.ParseUnixRights(&msgs[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			if err := syscall.SetNonblock(fd, true); err != nil {
				return files, err
			}
			files = append(files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	return files, nil
}

// adopt takes one socket under its name, if it is of the kind that the name says.
func (s *sockets) adopt(name string, f *os.File) error {
	if _, twice := s.served[name]; twice {
		return errors.New("it came twice")
	}
	switch name {
	case plan.SocketEgress:
		return s.listener(name, f, &s.egress)
	case plan.SocketTransparent:
		return s.listener(name, f, &s.transparent)
	case plan.SocketDNSTCP:
		return s.listener(name, f, &s.dnsTCP)
	case plan.SocketDNSUDP:
		pc, err := net.FilePacketConn(f)
		if err != nil {
			return err
		}
		if pc.LocalAddr().Network() != "udp" {
			pc.Close()
			return errors.New("it is not a UDP socket")
		}
		s.dnsUDP, s.served[name] = pc, pc.LocalAddr().String()
		return nil
	case plan.SocketNFLog:
		nl, err := netlinkFile(f)
		if err != nil {
			return err
		}
		s.nflog, s.served[name] = nl, "netlink"
		return nil
	}
	return errors.New("no socket has that name")
}

func (s *sockets) listener(name string, f *os.File, into *net.Listener) error {
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	if l.Addr().Network() != "tcp" {
		l.Close()
		return errors.New("it is not a TCP socket")
	}
	*into, s.served[name] = l, l.Addr().String()
	return nil
}

// behind puts a door in front of the services: the one socket that came is no
// bottle's own, and every user of the host can reach it.
func (s *sockets) behind(ctx context.Context, hash, greeting string) error {
	if len(s.served) != 1 {
		return fmt.Errorf("open the door: %d sockets came, and a door is one", len(s.served))
	}
	d, err := door.New(s.egress.Addr(), hash, greeting)
	if err != nil {
		return err
	}
	if s.nflog, err = d.Packets(ctx); err != nil {
		return err
	}
	at := s.egress.Addr().String()
	s.door = d
	for _, name := range []string{plan.SocketTransparent, plan.SocketDNSTCP, plan.SocketNFLog} {
		s.served[name] = at
	}
	return nil
}

// close closes every socket; it may be called after they were closed elsewhere.
func (s *sockets) close() {
	for _, l := range []net.Listener{s.egress, s.transparent, s.dnsTCP} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.dnsUDP != nil {
		_ = s.dnsUDP.Close()
	}
	if s.nflog != nil {
		_ = s.nflog.Close()
	}
}
