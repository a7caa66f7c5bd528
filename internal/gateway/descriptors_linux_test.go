package gateway

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// A process may have fewer descriptors than the limit of connections would need.
// Silent connections must not use them up, or nobody else gets in.
func TestFewDescriptorsStillLeaveRoom(t *testing.T) {
	r := inOwnProcess(t, nil)
	few := unix.Rlimit{Cur: 200, Max: 200}
	if err := unix.Prlimit(r.pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	u := newUpstream(t, r.dir)
	in, _, _, client := r.start(t, u)
	for range 300 {
		c, err := net.Dial("tcp", in.egress.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if status, _, err := get(t, client, "https://example.com/"); err != nil || status != 200 {
		t.Errorf("a good client among silent ones: %d %v", status, err)
	}
}

func TestTooFewDescriptorsAreAnError(t *testing.T) {
	r := inOwnProcess(t, nil)
	if err := unix.Prlimit(r.pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}, nil); err != nil {
		t.Fatal(err)
	}
	r.tell(t, r.what(newUpstream(t, r.dir)), plan.Secrets{Values: map[string]string{"API_TOKEN": realKey}})
	var hello plan.Hello
	r.hear(t, &hello)
	var ready plan.Ready
	r.hear(t, &ready)
	if !strings.Contains(ready.Failed, "limit of open files is 64") || !strings.Contains(ready.Failed, "ulimit") {
		t.Errorf("it said %+v", ready)
	}
}

// Whoever starts the gateway may have a small soft limit; the hard one is what counts.
func TestSoftLimitOfDescriptorsIsRaised(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	r := inOwnProcess(t, nil)
	r.start(t, newUpstream(t, r.dir))
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", r.pid))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(limits), "Max open files")
	f := strings.Fields(line)
	if len(f) < 2 || f[0] != f[1] || f[0] != fmt.Sprint(own.Max) {
		t.Errorf("soft and hard limit %v, hard limit here %d", f[:2], own.Max)
	}
}
