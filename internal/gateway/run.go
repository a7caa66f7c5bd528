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
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	dlprule "bottle/internal/dlp/rule"
	"bottle/internal/egress"
	"bottle/internal/gateway/attend"
	"bottle/internal/gateway/desk"
	"bottle/internal/gateway/door"
	"bottle/internal/gateway/refused"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/store"
)

const (
	stopWait    = 2 * time.Second
	warmAfter   = 200 * time.Millisecond
	memoryLimit = 256 << 20 // bytes; the collector works harder before it is passed
	gcPercent   = 200       // the heap of an idle gateway is 2 MiB: collecting more often costs a tenth of the throughput, and saves 4 MiB
)

// Start is what a gateway process begins with.
type Start struct {
	Stdin     io.Reader // the protocol of internal/plan/gateway.go; its end means: shut down
	Stdout    io.Writer
	Inherited *os.File // the unix socket on descriptor 3; nil without one
	Version   string   // of this program
	Identity  string   // from the command line, where cleanup can see it

	rules func() (*dlprule.Set, error)           // of what looks like a secret; nil: dlp.DefaultRules. Tests have others
	fails func(service string, open opens) opens // how a test lets a service fail; nil: it has none
}

// gateway is one running gateway.
type gateway struct {
	Start
	told    told
	vault   *vault
	scanner *scanner
	updates chan update
	began   time.Time
	out     *json.Encoder
	ca      *egress.CA
	first   *policy.Policy // of the routes that it was started with; the firewall of the bottle knows these
	rule    atomic.Pointer[rule]
	proxy   *egress.Proxy
	git     *gitDoor
	ask     *askDoor
	queue   *store.Queue
	desk    *desk.Desk // nil: nobody can ask for anything
	log     *audit.Log
	rec     *recorder
	sockets *sockets
	packets *refused.Packets
	control *control

	reloading sync.Mutex               // one after the other
	watching  atomic.Pointer[[]string] // egress.watch as it was read last; nil: at the start
}

// Run serves one bottle until its standard input or ctx ends; then it finishes
// within two seconds and returns nil. An error has been said on Stdout, too, as
// the field "failed" of the line that was due.
func Run(ctx context.Context, s Start) error {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
	g := &gateway{Start: s, began: time.Now(), out: json.NewEncoder(s.Stdout), sockets: &sockets{}, updates: make(chan update, 1)}
	in := bufio.NewReader(s.Stdin)
	if err := g.hello(in); err != nil {
		_ = g.out.Encode(plan.Hello{Version: s.Version, Failed: err.Error()})
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.vault = newVault(g.told.secrets)
	go g.listen(ctx, in, cancel) // ends with standard input, which is the caller's to end
	if err := g.open(ctx); err != nil {
		err = errors.Join(err, g.close())
		_ = g.out.Encode(plan.Ready{Failed: err.Error()})
		return err
	}
	err := g.serve(ctx, cancel)
	return errors.Join(err, g.close())
}

// hello hears what to serve, makes the CA, and says so.
func (g *gateway) hello(in *bufio.Reader) (err error) {
	if g.told, err = hear(in, g.Version, g.Identity); err != nil {
		return err
	}
	if g.ca, err = egress.NewCA(g.Identity); err != nil {
		return err
	}
	hello := plan.Hello{Version: g.Version, CA: string(g.ca.PEM()), CAFingerprint: g.ca.Fingerprint()}
	if err := g.out.Encode(hello); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	return nil
}

// open makes everything that is served from. What it opened, close closes.
func (g *gateway) open(ctx context.Context) (err error) {
	if g.first, err = policy.Compile(g.told.Routes); err != nil {
		return fmt.Errorf("compile policy: %w", err)
	}
	g.first = g.first.WithGit(g.told.Repos, g.told.GitUser)
	g.rule.Store(&rule{g.first, g.told.Routes})
	if g.log, err = audit.Open(g.told.Audit); err != nil {
		return err
	}
	g.rec = &recorder{log: g.log, gate: func(open bool) { g.proxy.Suspend(!open) }}
	g.scanner = newScanner(g.told, func(r audit.Record) { _ = g.log.Append(r) }) // no decision: nothing depends on it
	if g.rules != nil {
		g.scanner.rules = g.rules
	}
	bounds := limits(g.told.Limits)
	if bounds.Conns, err = connections(bounds.Conns, door.Waiting(g.told.Door)); err != nil {
		return err
	}
	g.proxy, err = egress.New(egress.Config{
		Identity: g.Identity, Policy: g.first, CA: g.ca, Placeholders: g.told.Placeholders, Record: g.rec.egress, ProxyAuth: g.told.proxy,
		Limits: bounds, Onward: g.told.Onward, Inject: g.vault.get, DLP: g.scanner.newest, Ours: g.services(),
	})
	if err != nil {
		return err
	}
	if err := g.openGit(); err != nil {
		return err
	}
	g.rec.set(g.log.Room())
	if err := g.openDesk(); err != nil {
		return err
	}
	if err := g.openSupervise(); err != nil {
		return err
	}
	g.packets = &refused.Packets{Record: g.rec.write, Hash: g.hash}
	if g.told.Control != "" {
		if g.control, err = listenControl(g.told.Control, g.operations()); err != nil {
			return err
		}
	}
	if g.told.Inherit {
		if g.sockets, err = receive(ctx, g.Inherited); err == nil && g.told.Door != "" {
			g.proxy.Avoid(g.sockets.egress.Addr().(*net.TCPAddr).AddrPort()) // receive takes TCP alone
			err = g.sockets.behind(ctx, g.told.Door, plan.DoorGreeting+g.Identity)
		}
	} else {
		g.sockets, err = listen(ctx, g.told.Listen)
		if err == nil { // in a bottle's own network its addresses are no addresses of this host
			g.proxy.Avoid(g.sockets.egress.Addr().(*net.TCPAddr).AddrPort())
		}
	}
	if err != nil && g.sockets == nil {
		g.sockets = &sockets{}
	}
	return err
}

// limits are the manifest's as the egress takes them.
func limits(q bottle.Quota) egress.Limits {
	return egress.Limits{
		Conns: q.Connections, Tunnels: q.Tunnels, Requests: q.RequestsPerSecond, HeaderBytes: int(q.HeaderSize), URLBytes: int(q.URLSize),
		BytesOut: q.BytesOutPerHour, HostBytesOut: q.HostBytesOutPerHour,
	}
}

// listen makes the one socket of an explicit proxy.
func listen(ctx context.Context, address string) (*sockets, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plan.FailedListen, err)
	}
	return &sockets{egress: l, served: map[string]string{plan.SocketEgress: l.Addr().String()}}, nil
}

// serve runs every service until ctx ends or one of them is given up.
func (g *gateway) serve(ctx context.Context, cancel context.CancelFunc) error {
	services, put, err := g.lives()
	if err != nil {
		return err
	}
	defer put()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for _, s := range services {
		wg.Go(func() {
			if err := (attend.Keeper{Died: g.died}).Run(ctx, s.name, s.life); err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
				cancel() // a bottle with half a gateway is no bottle
			}
		})
	}
	wg.Go(func() { g.keepUp(ctx) })
	if g.desk != nil {
		wg.Go(func() { g.desk.Run(ctx) })
	}
	if nflog := g.sockets.nflog; nflog != nil {
		stop := context.AfterFunc(ctx, func() { _ = nflog.Close() })
		defer stop()
		wg.Go(func() { g.packets.Serve(nflog) })
	}
	if err := g.out.Encode(plan.Ready{PolicyHash: g.hash(), Services: g.sockets.served}); err != nil {
		cancel()
	}
	if len(g.told.Routes) > 0 {
		wg.Go(func() { g.warm(ctx) })
	}
	<-ctx.Done()
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(stopWait):
		return fmt.Errorf("stop within %v: some connection did not end", stopWait)
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}

// warm makes the engine that looks for secrets, some 35 ms, and reads the system's
// certificates, some 28, before the first request waits for them: but not while the
// bottle's own start wants the processor, and not in a bottle that is over by then.
func (g *gateway) warm(ctx context.Context) {
	t := time.NewTimer(warmAfter)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
		g.scanner.newest()
		egress.Warm()
		debug.FreeOSMemory() // what that needed for a moment is two fifths of what an idle gateway would hold
	}
}

// close gives back what open took. The log is last: what ends is recorded.
func (g *gateway) close() error {
	g.sockets.close()
	if g.control != nil {
		_ = g.control.listener.Close() // removes the socket's file; it may be closed already
	}
	if g.queue != nil {
		_ = g.queue.Close()
	}
	if g.log == nil {
		return nil
	}
	return g.log.Close()
}

func (g *gateway) status() Status {
	why := ""
	cause := g.rec.recording()
	if cause != nil {
		why = cause.Error()
	}
	return Status{
		Identity: g.told.Identity, Bottle: g.told.Bottle, Version: g.Version, PID: os.Getpid(),
		PolicyHash: g.hash(), UptimeMS: time.Since(g.began).Milliseconds(),
		Pending: g.pending(), Allowed: g.rec.allowed.Load(), Denied: g.rec.denied.Load(), Unreadable: g.packets.Lost.Load(),
		Audit: g.log.Head(), Recording: cause == nil, NotRecording: why,
	}
}
