package smolvm

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/jail"
	"bottle/internal/backend/smolvm/guest"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

const (
	upTime     = time.Minute           // from the start of the machine to its jail
	pollEvery  = 20 * time.Millisecond // between two tries of exec
	shareTime  = 10 * time.Second      // until the VM must see what it is shown
	answersDue = 2                     // calls of exec that must answer: the first ones after a boot can be killed (0.8.0)
	headroom   = 96 << 20              // bytes of the VM's memory that its kernel and the relay take
)

// Create implements backend.Backend: the address, the gateway on it, then the machine.
// It returns once the gateway has said Hello; the machine comes up meanwhile.
func (s *Smolvm) Create(ctx context.Context, b plan.Bottle, gw plan.Gateway, secrets []byte) (backend.Bottle, error) {
	if err := s.fits(b); err != nil {
		return nil, err
	}
	x := &Box{s: s, cli: s.cli(), told: b, name: prefix + b.Identity, stood: make(chan struct{})}
	if err := x.start(ctx, gw, secrets); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

func (x *Box) start(ctx context.Context, gw plan.Gateway, secrets []byte) error {
	var up context.Context
	up, x.cancel = context.WithTimeout(context.WithoutCancel(ctx), upTime+imageTime)
	failed := func(err error) error {
		x.failed = err
		close(x.stood)
		return err
	}
	if err := x.s.Ground.EnsurePool(ctx, x.s.Pool.Range); err != nil {
		return failed(err)
	}
	var err error
	if x.dialect, err = x.cli.learn(ctx); err != nil {
		return failed(fmt.Errorf("ask smolvm what it takes: %w", err))
	}
	if len(x.dialect.missing) > 0 {
		return failed(fmt.Errorf("put up the bottle: smolvm %s has no %s; update it", x.dialect.version, strings.Join(x.dialect.missing, ", ")))
	}
	if _, err := rand.Read(x.token[:]); err != nil {
		return failed(fmt.Errorf("draw the token of the door: %w", err))
	}
	if err := x.gatewayUp(ctx, gw, secrets); err != nil {
		return failed(err)
	}
	go func() {
		defer close(x.stood)
		if x.failed = x.rise(up); x.failed == nil {
			x.failed = x.gateway.Await()
		}
		x.reader.Go(x.watch)
	}()
	return nil
}

// watch ends the bottle with its gateway. Its address is anybody's then, and the relay
// must not find another program there.
func (x *Box) watch() {
	_ = x.gateway.Wait() // how it ended is said by what comes of it
	x.lost.Store(!x.mute.Load())
	x.hangUp()
}

// gatewayUp takes an address and starts the gateway with the listener on it. What this
// process holds of the listener closes: from then on the gateway's life is the lock.
func (x *Box) gatewayUp(ctx context.Context, gw plan.Gateway, secrets []byte) error {
	if contained(x.told.Container) {
		return x.containerUp(ctx, gw, secrets)
	}
	pool := x.s.Pool
	pool.Bound = nil // the port is all that is wanted, and the kernel knows who has that
	lease, err := pool.Allocate(ctx)
	if err != nil {
		return err
	}
	defer lease.Close()
	x.addr = lease.Addr
	near, far, err := socketPair()
	if err != nil {
		return err
	}
	defer near.Close()
	defer far.Close()
	f, err := lease.Listener.File()
	if err != nil {
		return fmt.Errorf("hand the listener on: %w", err)
	}
	defer f.Close()
	if _, _, err := near.WriteMsgUnix([]byte(plan.SocketEgress), syscall.UnixRights(int(f.Fd())), nil); err != nil {
		return fmt.Errorf("hand the listener on: %w", err)
	}
	gw.Inherit, gw.Listen, gw.Door = true, "", plan.DoorHash(x.token)
	g, err := backend.StartGateway(x.s.GatewayPath, gw, secrets, far)
	if err != nil {
		return err
	}
	x.gateway = process{g}
	return g.Greet()
}

// socketPair is ours and the gateway's.
func socketPair() (*net.UnixConn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	ours, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		far.Close()
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	return c.(*net.UnixConn), far, nil
}

// rise makes the machine and puts the jail up in it.
func (x *Box) rise(ctx context.Context) error {
	sh, err := newShares(x.told)
	if err != nil {
		return err
	}
	inside, err := sh.fill(x.told, x.s.JailPath)
	if err != nil {
		return err
	}
	x.sealed = sh.sealed()
	filter, err := x.s.Filter()
	if err != nil {
		return err
	}
	path, release, err := x.s.source(x.told)
	x.release = release
	if err != nil {
		return err
	}
	image, err := x.s.from(ctx, x.dialect, path)
	if err != nil {
		return err
	}
	if _, err := x.cli.run(ctx, imageTime, x.creation(sh, image)...); err != nil {
		return fmt.Errorf("create the machine: %w", err)
	}
	if _, err := x.cli.run(ctx, callTime, "machine", "start", "--name", x.name); err != nil {
		return fmt.Errorf("start the machine: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, upTime)
	defer cancel()
	if err := x.answers(ctx); err != nil {
		return err
	}
	if err := sh.unchanged(); err != nil { // smolvm has opened them
		return err
	}
	inside.Special = onlyV4(inside.Special)
	spec := &jail.Spec{
		Bottle: inside, Filter: filter, Landlock: true, Added: inside.Added,
		ScratchSize: cmp.Or(x.told.Limits.Memory/2, defaultScratch), MaxProcs: uint64(cmp.Or(x.told.Limits.PIDs, defaultPIDs)),
	}
	if x.told.Workspace.Mode == "overlay" {
		spec.Upper = guest.Layers
	}
	return x.enter(ctx, guest.Begin{
		Identity: x.told.Identity, Version: bottle.Version, Door: x.door(), Token: x.token[:], Spec: jail.Request{Spec: spec},
	})
}

func (x *Box) door() string { return net.JoinHostPort(x.addr.String(), strconv.Itoa(loopback.Port)) }

// onlyV4: the firewall redirects IPv4 alone.
func onlyV4(prefixes []string) []string {
	var out []string
	for _, p := range prefixes {
		if !strings.Contains(p, ":") {
			out = append(out, p)
		}
	}
	return out
}

// creation is the call that makes the machine. Nothing of it is secret: every user of
// the host can read it.
func (x *Box) creation(sh *shares, image []string) []string {
	args := append(append(x.dialect.name("create", x.name), image...), "--allow-cidr", allowed(x.addr))
	for _, s := range sh.list {
		args = append(args, "-v", s.volume())
	}
	if m := x.told.Limits.Memory; m > 0 {
		args = append(args, "--mem", strconv.FormatInt((m+headroom+1<<20-1)>>20, 10))
	}
	if c := x.told.Limits.CPUs; c > 0 {
		args = append(args, "--cpus", strconv.Itoa(int(math.Ceil(c))))
	}
	return args
}

// answers polls until programs of ours run in the VM. A call that is killed, or that
// finds no VM yet, is made again; so is, for a while, one that finds no program: a
// share may come after the VM does.
func (x *Box) answers(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	begun := time.Now()
	for good := 0; good < answersDue; {
		said, err := x.cli.run(ctx, callTime, "machine", "exec", "--name", x.name, "--", guest.Self+"/"+guest.Program, "version")
		said = strings.TrimSpace(said)
		said = said[strings.LastIndexByte(said, '\n')+1:] // smolvm may have said something before
		switch {
		case err == nil && said == bottle.Version:
			good++
			continue
		case err == nil:
			return fmt.Errorf("start the machine: bottle-jail in it is version %.40q, and this is %s: install all programs from one build", said, bottle.Version)
		case (exits(err, 126) || exits(err, 127)) && time.Since(begun) > shareTime:
			return fmt.Errorf("start the machine: bottle-jail does not run in it; it must be built for Linux and the VM's processor: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the machine: %w", errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
	return nil
}
