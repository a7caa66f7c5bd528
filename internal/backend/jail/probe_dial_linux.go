package jail

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// probeWait bounds the waiting for all attempts. A wall answers at once; silence
// is a failure too.
const probeWait = 2 * time.Second

var errSilent = errors.New("no answer, where an error was due at once")

// dial is one connection under way. Nothing blocks while it is made, so that one
// thread has them all under way at once; threads and a poller for a hundred
// microseconds of work would take a millisecond to start.
type dial struct {
	fd    int
	err   error // unix.EINPROGRESS: not known yet
	until time.Time
}

// begin connects a socket of this kind: unix.SOCK_STREAM or unix.SOCK_DGRAM.
func begin(domain, kind int, to unix.Sockaddr) *dial {
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, to)
	}
	return &dial{fd: fd, err: err, until: time.Now().Add(probeWait)}
}

// beginInet connects to an address and port.
func beginInet(kind int, to netip.AddrPort) *dial {
	if to.Addr().Is4() {
		return begin(unix.AF_INET, kind, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	return begin(unix.AF_INET6, kind, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
}

func (d *dial) close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
}

// ready waits for the events of poll(2).
func (d *dial) ready(events int16) error {
	for {
		left := time.Until(d.until)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: events}}, max(0, int(left.Milliseconds())))
		switch {
		case errors.Is(err, unix.EINTR) && left > 0:
			continue
		case err != nil:
			return err
		case n == 0:
			return errSilent
		}
		return nil
	}
}

// connected waits until the connection stands (nil) or failed.
func (d *dial) connected() error {
	if !errors.Is(d.err, unix.EINPROGRESS) {
		return d.err
	}
	if d.err = d.ready(unix.POLLOUT); d.err != nil {
		return d.err
	}
	code, err := unix.GetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if d.err = err; err == nil && code != 0 {
		d.err = unix.Errno(code)
	}
	return d.err
}

// send writes once the connection stands.
func (d *dial) send(b []byte) error {
	if err := d.connected(); err != nil {
		return err
	}
	_, err := unix.Write(d.fd, b)
	return err
}

// receive waits for bytes; zero of them are the end of a stream.
func (d *dial) receive(b []byte) (int, error) {
	if err := d.ready(unix.POLLIN); err != nil {
		return 0, err
	}
	return unix.Read(d.fd, b)
}

// refused connects and wants an error at once.
func refused(addr string) outcome {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return known("there is no sentinel to try", false)
	}
	d := beginInet(unix.SOCK_STREAM, to)
	return func() (string, bool) {
		defer d.close()
		err := d.connected()
		switch {
		case err == nil:
			return "connected to " + addr, false
		case errors.Is(err, errSilent):
			return "connect to " + addr + " hung instead of failing", false
		}
		return addr + ": " + err.Error(), true
	}
}

// udpRefused sends a datagram and wants an error, not silence.
func udpRefused(addr string) outcome {
	d := beginInet(unix.SOCK_DGRAM, netip.MustParseAddrPort(addr))
	sent := d.send([]byte("probe"))
	return func() (string, bool) {
		defer d.close()
		if sent != nil {
			return addr + ": " + sent.Error(), true
		}
		_, err := d.receive(make([]byte, 1))
		if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EPERM) {
			return addr + ": " + err.Error(), true
		}
		return fmt.Sprintf("sent to %s, then %v", addr, err), false
	}
}

// metadata tries the cloud's metadata address, but only where nothing but lo
// exists: from a broken wall the request must not get out either.
func metadata(plan.Probes) outcome {
	if detail, held := interfaces(); !held {
		return known("not tried: "+detail, false)
	}
	return refused("169.254.169.254:80")
}

// abstract wants the host's abstract sockets out of reach. A full queue (EAGAIN)
// is a socket that was reached.
func abstract(p plan.Probes) outcome {
	if p.Abstract == "" {
		return known("there is no sentinel to try", false)
	}
	d := begin(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: p.Abstract})
	defer d.close()
	if d.err == nil || errors.Is(d.err, unix.EAGAIN) {
		return known("connected to the host's abstract socket", false)
	}
	return known(d.err.Error(), true)
}

// deniedName asks the bottle's DNS for a name that no policy can hold; it wants no address.
func deniedName(plan.Probes) outcome {
	d := beginInet(unix.SOCK_DGRAM, netip.MustParseAddrPort("127.0.0.1:53"))
	label, top, _ := strings.Cut(plan.ProbeName, ".")
	sent := d.send([]byte("\x42\x42\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + string(rune(len(label))) + label + string(rune(len(top))) + top + "\x00\x00\x01\x00\x01"))
	return func() (string, bool) {
		defer d.close()
		if sent != nil {
			return sent.Error(), false
		}
		buf := make([]byte, 512)
		n, err := d.receive(buf)
		if err != nil || n < 12 {
			return fmt.Sprintf("no answer: %v", err), false
		}
		answers := int(buf[6])<<8 | int(buf[7])
		rcode := int(buf[3] & 0xf)
		return "rcode " + strconv.Itoa(rcode) + ", answers " + strconv.Itoa(answers), rcode != 0 && answers == 0
	}
}

// gateway asks the gateway's own page and wants this bottle's identity.
func gateway(p plan.Probes) outcome {
	d := beginInet(unix.SOCK_STREAM, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), plan.EgressPort))
	sent := d.send([]byte("GET http://" + plan.GatewayHost + "/ HTTP/1.1\r\nHost: " + plan.GatewayHost + "\r\nConnection: close\r\n\r\n"))
	return func() (string, bool) {
		defer d.close()
		if sent != nil {
			return sent.Error(), false
		}
		var page []byte
		for buf := make([]byte, 4096); len(page) < 64<<10; {
			n, err := d.receive(buf)
			if err != nil {
				return err.Error(), false
			}
			if n == 0 {
				break
			}
			page = append(page, buf[:n]...)
		}
		line, _, _ := bytes.Cut(page, []byte("\r\n"))
		held := bytes.Contains(line, []byte(" 200 ")) && bytes.Contains(page, []byte(strconv.Quote(p.Identity)))
		return string(line), held
	}
}
