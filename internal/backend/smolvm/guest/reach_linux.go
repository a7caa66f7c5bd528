package guest

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bottle/internal/plan"
)

// reachTime bounds one attempt. A wall that says nothing holds too, if late.
const reachTime = 2 * time.Second

// reach tries what an agent with all of the VM's power would. See Reach.
func reach(r Reach) []plan.ProbeResult {
	results := together(r.Never, func(to string) plan.ProbeResult { return refused("vm-reaches "+to, to) })
	var shares []plan.ProbeResult
	for _, dir := range r.Closed {
		shares = append(shares, unwritten(dir))
	}
	own := plan.ProbeResult{Name: "vm-gateway"}
	c, err := net.DialTimeout("tcp4", r.Own, reachTime)
	if own.OK = err == nil; own.OK {
		own.Detail = "connected to " + r.Own
		_ = c.Close()
	} else {
		own.Detail = err.Error()
	}
	for _, to := range r.UDP { // whether it came is the host's to say
		if c, err := net.Dial("udp4", to); err == nil {
			_, _ = c.Write([]byte("probe"))
			_ = c.Close()
		}
	}
	for _, p := range results {
		if !p.OK {
			return append(append(results, own, plan.ProbeResult{Name: "vm-outer", Detail: "not tried: the allow-list does not hold"}), shares...)
		}
	}
	results = append(append(results, own), shares...)
	return append(results, together(r.Outer, func(to string) plan.ProbeResult { return refused("vm-reaches "+to, to) })...)
}

// unwritten tries to write into a share that was to be read-only.
func unwritten(dir string) plan.ProbeResult {
	name := filepath.Join(dir, ".bottle-probe-"+rand.Text())
	err := os.Mkdir(name, 0o700)
	if err != nil {
		return plan.ProbeResult{Name: "vm-writes " + dir, OK: true, Detail: err.Error()}
	}
	return plan.ProbeResult{Name: "vm-writes " + dir, Detail: "made a folder in it, and removed it: " + fmt.Sprint(os.Remove(name) == nil)}
}

func together(list []string, try func(string) plan.ProbeResult) []plan.ProbeResult {
	out := make([]plan.ProbeResult, len(list))
	var all sync.WaitGroup
	for i, to := range list {
		all.Go(func() { out[i] = try(to) })
	}
	all.Wait()
	return out
}

func refused(name, to string) plan.ProbeResult {
	c, err := net.DialTimeout("tcp4", to, reachTime)
	if err != nil {
		return plan.ProbeResult{Name: name, OK: true, Detail: err.Error()}
	}
	_ = c.Close()
	return plan.ProbeResult{Name: name, Detail: fmt.Sprintf("connected to %s", to)}
}
