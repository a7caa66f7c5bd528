package loopback

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
)

// The weakness: another user of the host binds the port on an address, and listens to nobody.
// Whoever connects is refused, as on a free address. This proves that the start does not call
// it free, and that no address is given twice.
func TestBoundAndDeafIsNotFree(t *testing.T) {
	linux(t)
	r, _ := ParseRange("127.9.7.16")
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: Port, Addr: r.First.As4()}); err != nil {
		t.Fatal(err)
	}
	l, err := Pool{Range: r}.Allocate(t.Context())
	var full *Exhausted
	if !errors.As(err, &full) {
		if l != nil {
			l.Close()
		}
		t.Fatalf("it was given: %v", err)
	}
	if strings.Contains(err.Error(), "free") || !full.Slots[0].Taken || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}

// The attack: another user listens at the port on all addresses. This proves that the words
// do not send the operator to a larger range or to cleanup, which change nothing.
func TestAStrangerOnAllAddresses(t *testing.T) {
	linux(t)
	r, _ := ParseRange("127.9.8.16-127.9.8.17")
	for _, a := range r.All() {
		l, err := net.Listen("tcp4", net.JoinHostPort(a.String(), "9097"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	_, err := Pool{Range: r}.Allocate(t.Context())
	if err == nil || strings.Contains(err.Error(), "bottle cleanup") || strings.Contains(err.Error(), "BOTTLE_LOOPBACK") || !strings.Contains(err.Error(), "no bottle") || !strings.Contains(err.Error(), "9097") {
		t.Error(err)
	}
}

// What is called a larger range is one.
func TestLargerRangeIsLarger(t *testing.T) {
	for s, want := range map[string]string{
		"127.0.0.16-127.0.0.31": "a larger range: BOTTLE_LOOPBACK=127.0.0.16-127.0.0.79", "127.0.0.64-127.0.0.95": "127.0.0.64-127.0.0.191",
		"127.8.0.0-127.8.0.255": "another range: BOTTLE_LOOPBACK=127.8.1.0-127.8.1.255", "127.255.255.200-127.255.255.254": "another range: BOTTLE_LOOPBACK=127.0.0.16-127.0.0.79",
		"127.255.255.0-127.255.255.254": "another range: BOTTLE_LOOPBACK=127.0.0.16-127.0.0.79",
	} {
		r, err := ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		got := r.Larger()
		_, set, _ := strings.Cut(got, "BOTTLE_LOOPBACK=")
		if _, err := ParseRange(set); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
}
