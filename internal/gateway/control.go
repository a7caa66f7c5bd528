package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/egress/crowd"
	"bottle/internal/egress/measure"
	"bottle/internal/metric"
	"bottle/internal/plan"
)

const (
	controlConns = 8                // at one time; more are closed at once
	controlLine  = 4 << 10          // bytes of a request, unless its operation takes more
	controlIdle  = 10 * time.Second // between two requests
)

// Status is the answer to {"op":"status"} on the control socket.
type Status struct {
	Identity   bottle.Identity `json:"identity"`
	Bottle     bottle.Name     `json:"bottle"`
	Version    string          `json:"version"`
	PID        int             `json:"pid"`
	PolicyHash string          `json:"policy_hash"`
	UptimeMS   int64           `json:"uptime_ms"`
	Allowed    uint64          `json:"allowed"`
	Denied     uint64          `json:"denied"`
	Unreadable uint64          `json:"unreadable_packets"`
	Pending    int             `json:"pending"`   // proposals that wait for an operator
	Audit      audit.Head      `json:"audit"`     // keep it: the log can be held against it later
	Recording  bool            `json:"recording"` // false: the log can't be written, everything is denied

	NotRecording string `json:"not_recording,omitempty"` // why
}

// refusal is the answer to what is not a request.
type refusal struct {
	Error string `json:"error"`
}

// operation is one thing that the control socket does.
type operation struct {
	name   string
	most   int // bytes of its request
	answer func(plan.Control) any
}

// operations are all of them, as internal/plan/control.go says them.
func (g *gateway) operations() []operation {
	return []operation{
		{plan.OpStatus, controlLine, func(plan.Control) any { return g.status() }},
		{plan.OpBegin, controlLine, g.begin},
		{plan.OpMetrics, controlLine, func(c plan.Control) any { return g.metrics(c.Format) }},
		{plan.OpPolicy, controlLine, func(plan.Control) any { return g.inForce() }},
		{plan.OpReload, plan.MaxReload, func(c plan.Control) any { return g.reload(c) }},
		{plan.OpAdmit, controlLine, g.admit},
		{plan.OpWatch, plan.MaxWatch, g.watch},
		{plan.OpAdmits, controlLine, func(plan.Control) any { return approvals(g.proxy.Approved().List()) }},
		{plan.OpRevoke, controlLine, g.revoke},
		{plan.OpProposals, controlLine, g.proposals},
		{plan.OpDecide, plan.MaxDecide, g.decide},
		{plan.OpGrants, controlLine, g.grants},
	}
}

// begin hears that the agent starts now. Heard late, it is no longer true.
func (g *gateway) begin(c plan.Control) any {
	now := time.Now()
	if late := now.Sub(c.At); late < 0 || late > plan.BeginWait/2 {
		return refusal{"it comes too late: the agent runs already"}
	}
	if !g.rec.begin(now, g.hash()) {
		return refusal{"it has begun already"}
	}
	g.proxy.Measured().Begun()
	if g.desk != nil {
		g.desk.Begun()
	}
	return g.status()
}

// metrics are the gateway's numbers, as data or as text.
func (g *gateway) metrics(format string) any {
	families := g.proxy.Measured().Families(measure.About{
		Identity: string(g.told.Identity), Bottle: string(g.told.Bottle), Version: g.Version, Policy: g.hash(),
	})
	switch format {
	case "":
		return plan.Metrics{Families: families}
	case plan.FormatPrometheus:
		var text strings.Builder
		_ = metric.Write(&text, families) // a Builder takes everything
		return plan.Metrics{Text: text.String()}
	}
	return refusal{fmt.Sprintf("no format %.32q; there is: %s", format, plan.FormatPrometheus)}
}

// control serves the control socket: JSON lines, one answer to each request,
// from processes of our own user only.
type control struct {
	listener   net.Listener
	operations []operation
}

// listenControl makes the socket with mode 0600. What is already at path is
// never removed: it may be another gateway's.
func listenControl(path string, operations []operation) (*control, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	// The folder is 0700, so nobody else could connect before this line.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("close control socket to others: %w", err)
	}
	return &control{listener: crowd.Patient(l), operations: operations}, nil
}

// serve answers until ctx ends; then it removes the socket, cuts who is connected, and
// returns when its goroutines have. Whoever is cut and finds no socket knows that all is in order.
func (c *control) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	open, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := context.AfterFunc(ctx, func() {
		defer cut()
		_ = c.listener.Close()
	})
	defer stop()
	slots := make(chan struct{}, controlConns)
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("serve control socket: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			stop := context.AfterFunc(open, func() { _ = conn.Close() })
			defer stop()
			defer conn.Close()
			if ours(conn) {
				c.talk(conn)
			}
		})
	}
}

// ours asks the kernel who connected: the mode of the socket is the first wall,
// this is the second. Root, who can do all of it without asking, may: his gateways in
// containers run as another user.
func ours(conn net.Conn) bool {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return false
	}
	uid, peerErr := -1, error(nil)
	err = raw.Control(func(fd uintptr) { uid, peerErr = peerUID(int(fd)) })
	return err == nil && peerErr == nil && (uid == 0 || uid == os.Geteuid())
}

func (c *control) talk(conn net.Conn) {
	in := bufio.NewReaderSize(conn, controlLine)
	out := json.NewEncoder(conn)
	for {
		_ = conn.SetDeadline(time.Now().Add(controlIdle))
		line, err := c.line(in)
		if errors.Is(err, errTooLong) {
			_ = out.Encode(refusal{"the request is too long"})
		}
		if err != nil && (err != io.EOF || len(line) == 0) {
			return
		}
		if out.Encode(c.answer(line)) != nil || err != nil {
			return
		}
	}
}

var errTooLong = errors.New("read request: it is too long")

// line reads one request, as long as the longest that any operation takes.
func (c *control) line(in *bufio.Reader) (line []byte, err error) {
	most := controlLine
	for _, o := range c.operations {
		most = max(most, o.most)
	}
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > most {
			return nil, errTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// answer obeys a request that is exactly one, and no longer than its operation takes.
func (c *control) answer(line []byte) any {
	var of struct {
		Op string `json:"op"`
	}
	if err := json.Unmarshal(line, &of); err != nil {
		return refusal{"the request is not a JSON object"}
	}
	var names []string
	for _, o := range c.operations {
		names = append(names, o.name)
		if o.name != of.Op {
			continue
		}
		var req plan.Control
		if len(line) > o.most {
			return refusal{"the request is too long"}
		}
		if err := strictly(line, &req); err != nil {
			return refusal{fmt.Sprintf("the request can't be read: %v", err)}
		}
		return o.answer(req)
	}
	return refusal{fmt.Sprintf("no operation %.32q; there is: %s", of.Op, strings.Join(names, ", "))}
}
