package loopback

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// socket is one that tries addresses until it has one: a bind that was refused leaves it as
// it was. A socket for each address would be four calls of the kernel more for each that is
// taken, and on a busy machine each may wait. The zero value is ready.
type socket struct{ file *os.File }

func (s *socket) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

func (s *socket) open() error {
	if s.file != nil {
		return nil
	}
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		// As package net has it: an address whose last connections are just closing is
		// free. One where somebody listens is not (socket(7)).
		if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
			_ = syscall.Close(fd)
		}
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	s.file = os.NewFile(uintptr(fd), "reservation")
	return nil
}

// listen takes a and Port. syscall.EADDRINUSE: somebody has it.
func (s *socket) listen(a netip.Addr) (*net.TCPListener, error) {
	if !a.Is4() {
		return nil, errors.New("listen: it is no IPv4 address")
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	fd := int(s.file.Fd())
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: Port, Addr: a.As4()}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	defer s.close() // it has the address, or is of no more use; what listens is a duplicate
	if err := syscall.Listen(fd, backlog); err != nil {
		return nil, os.NewSyscallError("listen", err) // two may bind, and one listens
	}
	l, err := net.FileListener(s.file)
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, errors.New("listen: it is no TCP socket")
	}
	return tcp, nil
}

// backlog is how many connections may wait for the gateway to accept them; the kernel has
// a bound of its own.
const backlog = 1024
