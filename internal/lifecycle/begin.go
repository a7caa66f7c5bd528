package lifecycle

import (
	"encoding/json"
	"io"
	"net"
	"time"

	"bottle/internal/plan"
)

const beginWait = 2 * time.Second

// begin tells the gateway that what it decided so far were the probes, so that it counts what
// the agent asks for. Where that does not reach it the numbers hold both, and nothing else
// depends on it.
func (s *starting) begin() {
	socket := s.res.Layout.Control
	if socket == "" {
		return
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(beginWait))
	if json.NewEncoder(c).Encode(plan.Control{Op: plan.OpBegin}) == nil {
		_, _ = io.ReadFull(c, make([]byte, 1)) // it has: the agent's first request is counted
	}
}
