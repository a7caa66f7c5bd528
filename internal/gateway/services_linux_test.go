package gateway

import (
	"errors"
	"net"
	"os"
	"strings"
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
