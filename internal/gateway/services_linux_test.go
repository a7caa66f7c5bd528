package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/audit"
	"bottle/internal/plan"
	"bottle/test/require"
)

// TestServiceThatDiesIsServedAgain: a socket is shut under its service, as by a kernel's fault.
// The service comes back on the same address, which is on record; one that keeps dying takes
// the gateway with it, and then nobody answers.
func TestServiceThatDiesIsServedAgain(t *testing.T) {
	r := inProcess(t)
	u := newUpstream(t, r.dir)
	in := newInside(t)
	for i, l := range []**net.TCPListener{&in.egress, &in.transparent, &in.dnsTCP} {
		in.files[i].Close()
		*l = bound(t, *l)
		var err error
		if in.files[i], err = (*l).File(); err != nil {
			t.Fatal(err)
		}
	}
	var same []*os.File
	for _, s := range []interface{ File() (*os.File, error) }{in.egress, in.dnsTCP} {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		same = append(same, f)
	}
	what := r.what(u)
	_, _, _, client := r.startIn(t, what, in)
	failures := func() []audit.Record { return logged(t, what.Audit, reasonDied) }
	shut := func(f *os.File) {
		t.Helper()
		had := len(failures())
		require.Eventually(t, 20*time.Second, "the service is known to have failed", func() bool {
			if err := unix.Shutdown(int(f.Fd()), unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) { // ENOTCONN: shut, and not listening again
				t.Fatal(err)
			}
			return len(failures()) > had
		})
	}
	for i, f := range same {
		shut(f)
		require.Eventually(t, 20*time.Second, "it serves again", func() bool {
			status, _, err := get(t, client, "https://example.com/v1/models")
			return err == nil && status == 200
		})
		resolve(t, in, "example.com", true)
		if list := failures(); len(list) != i+1 || list[i].Verdict != audit.Deny || !strings.Contains(list[i].Note, []string{plan.SocketEgress, "dns"}[i]+" failed: ") {
			t.Errorf("%+v", list)
		}
	}
	for range 5 { // the sixth in a row
		shut(same[0])
	}
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "egress failed 6 times in a row") {
		t.Errorf("it ended with %v", err)
	}
	if list := failures(); len(list) != 7 || !strings.Contains(list[6].Note, "the gateway ends") {
		t.Errorf("%+v", list)
	}
	for _, f := range same {
		f.Close()
	}
	nothingLeft(t, in, what)
}

// TestServiceBehindADoorIsServedAgain: so it is where the services share one listener, which is
// the bottle's hold on its address: while any of them is between two lives, nobody else can
// take it, and who is let in waits. One that keeps dying takes the gateway with it.
func TestServiceBehindADoorIsServedAgain(t *testing.T) {
	var mu sync.Mutex
	now := map[string]net.Listener{}
	r := inProcess(t, func(s *Start) {
		s.fails = func(service string, open opens) opens {
			return func() (net.Listener, error) {
				l, err := open()
				mu.Lock()
				defer mu.Unlock()
				now[service] = l
				return l, err
			}
		}
	})
	token := [32]byte{7}
	var log string
	address := r.behindDoor(t, token, func(w *plan.Gateway) { log = w.Audit })
	failures := func() []audit.Record { return logged(t, log, reasonDied) }
	names := []string{"door", plan.SocketEgress, plan.SocketTransparent, "dns"}
	died := 0
	die := func(name string) {
		t.Helper()
		died++
		require.Eventually(t, 8*time.Second, name+" is known to have failed", func() bool {
			mu.Lock()
			if l := now[name]; l != nil { // its first life has begun
				_ = l.Close() // the life's own: what is kept of the socket stays
			}
			mu.Unlock()
			return len(failures()) >= died
		})
		if died == len(names)+5 { // the last one of all: the gateway ends
			return
		}
		if l, err := net.Listen("tcp4", address); err == nil {
			l.Close()
			t.Fatalf("without its %s the bottle's address was anybody's", name)
		}
	}
	for _, name := range names {
		die(name)
		if body, err := page(t, knock(t, address, token, plan.Knock{Service: plan.DoorEgress})); err != nil || !strings.Contains(body, identity) {
			t.Errorf("after the end of %s: %q, %v", name, body, err)
		}
		c := knock(t, address, token, plan.Knock{Service: plan.DoorDNS})
		query := []byte("\x42\x42\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05other\x07invalid\x00\x00\x01\x00\x01")
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
		answer := make([]byte, 14)
		if _, err := io.ReadFull(c, answer); err != nil || answer[2] != 0x42 {
			t.Errorf("after the end of %s a name: %x, %v", name, answer, err)
		}
	}
	for i, f := range failures() {
		if f.Verdict != audit.Deny || !strings.HasPrefix(f.Note, names[i]+" failed: ") || !strings.Contains(f.Note, "begins again") {
			t.Errorf("%+v", f)
		}
	}
	for range 5 { // the sixth in a row
		die(plan.SocketEgress)
	}
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "egress failed 6 times in a row") {
		t.Errorf("it ended with %v", err)
	}
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatalf("the address of a gateway that ended is held: %v", err)
	}
	l.Close()
}

// TestDoorThatIsShutIsServedAgain: its socket is shut under it, as by a kernel's fault. It comes
// back on the same address.
func TestDoorThatIsShutIsServedAgain(t *testing.T) {
	r := inProcess(t)
	token := [32]byte{7}
	var log string
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	again := bound(t, l.(*net.TCPListener))
	f, err := again.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	address := r.behindDoorOn(t, again, token, func(w *plan.Gateway) { log = w.Audit })
	require.Eventually(t, 20*time.Second, "the door is known to have failed", func() bool {
		if err := unix.Shutdown(int(f.Fd()), unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
			t.Fatal(err)
		}
		return len(logged(t, log, reasonDied)) > 0
	})
	require.Eventually(t, 20*time.Second, "it listens again", func() bool {
		c, err := net.Dial("tcp4", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if body, err := page(t, knock(t, address, token, plan.Knock{Service: plan.DoorEgress})); err != nil || !strings.Contains(body, identity) {
		t.Errorf("%q, %v", body, err)
	}
}

// bound is l anew, at its port by name: one that the kernel chose is lost with a shutdown.
func bound(t *testing.T, l *net.TCPListener) *net.TCPListener {
	t.Helper()
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	again, err := net.ListenTCP("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return again
}
