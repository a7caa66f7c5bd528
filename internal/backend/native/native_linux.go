package native

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
	"bottle/internal/backend/agent"
	"bottle/internal/backend/jail"
	"bottle/internal/bottle"
	"bottle/internal/hostexec"
	"bottle/internal/plan"
)

// Kind is the manifest's word for this backend.
const Kind = "native"

// grace is how long a helper that was told to end gets before it is killed.
const grace = 2 * time.Second

// upTimeout bounds each wait for a helper while a bottle is put up.
const upTimeout = 10 * time.Second

// Native is the backend. The zero value has no helpers and can create nothing.
type Native struct {
	JailPath    string // absolute path of bottle-jail
	GatewayPath string // absolute path of bottle-gateway
}

// Kind implements backend.Backend.
func (n *Native) Kind() string { return Kind }

// Box is one native bottle that stands.
type Box struct {
	identity string
	told     plan.Bottle
	cgroups  []group
	jail     *hostexec.Process
	gateway  *backend.Gateway
	wire     *jail.Wire
	replies  chan reply
	once     sync.Once
	reader   sync.WaitGroup
	reading  bool
	said     chan error    // one for each line of the gateway
	silent   chan struct{} // closed when the gateway has ended
	fell     error         // how, set before
	lines    int           // of the gateway, so far
	up       bool          // the jail says that the walls stand
}

type reply struct {
	agent.Reply
	files []*os.File
}

// Create implements backend.Backend: the jail and the gateway start side by side
// and meet over a socket pair; neither waits for a file or a port.
func (n *Native) Create(ctx context.Context, b plan.Bottle, gw plan.Gateway, secrets []byte) (backend.Bottle, error) {
	box := &Box{identity: b.Identity, told: b, replies: make(chan reply, 16), said: make(chan error, 2), silent: make(chan struct{})}
	if err := box.start(ctx, n, gw, secrets); err != nil {
		box.Close()
		return nil, inWords(err, b)
	}
	return box, nil
}

func (x *Box) start(ctx context.Context, n *Native, gw plan.Gateway, secrets []byte) error {
	ctl, err := pair()
	if err != nil {
		return err
	}
	defer ctl.far.Close()
	meet, err := pair()
	if err != nil {
		return err
	}
	defer meet.near.Close()
	defer meet.far.Close()
	x.wire = jail.NewWire(ctl.near)
	x.jail, err = hostexec.Start(context.Background(), hostexec.Cmd{
		Path: n.JailPath, Args: []string{"launch", "--identity", x.identity}, Dir: "/",
		ExtraFiles: []*os.File{ctl.far, meet.far}, NewGroup: true,
	})
	if err != nil {
		return err
	}
	x.reading = true
	x.reader.Go(x.read)
	spec, err := n.spec(x.told)
	if err != nil {
		return err
	}
	if spec.Cgroups, x.cgroups, err = makeCgroups(x.identity, spec.Bottle.Limits); err != nil {
		return err
	}
	if err := x.wire.Send(jail.Request{Spec: spec}); err != nil {
		return x.blame(err)
	}
	if x.gateway, err = backend.StartGateway(n.GatewayPath, gw, secrets, meet.near); err != nil {
		return x.blameFirst(err)
	}
	x.reader.Go(x.listen)
	x.reader.Go(x.attend)
	// The ends that went to the children close here, so that their death is seen.
	ctl.far.Close()
	meet.far.Close()
	meet.near.Close()
	return x.meet(ctx, func() bool { return x.lines > 0 })
}

// listen passes on what the gateway says until it serves.
func (x *Box) listen() {
	err := x.gateway.Greet()
	x.said <- err
	if err == nil {
		x.said <- x.gateway.Await()
	}
}

// stand waits until the walls are up and the gateway serves behind them.
func (x *Box) stand(ctx context.Context) error {
	return inWords(x.meet(ctx, func() bool { return x.up && x.lines == 2 }), x.told)
}

// meet hears the jail and the gateway until it is enough.
func (x *Box) meet(ctx context.Context, enough func() bool) error {
	if enough() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	for !enough() {
		replies := x.replies
		if x.up {
			replies = nil // what comes now answers a request
		}
		select {
		case r, ok := <-replies:
			if !ok {
				return errors.New("put up the bottle: it has ended")
			}
			if _, err := r.Said(); err != nil {
				return x.blame(err)
			}
			x.up = r.Up
		case err := <-x.said:
			if err != nil {
				return x.blameFirst(err)
			}
			x.lines++
		case <-ctx.Done():
			return fmt.Errorf("put up the bottle: %w", ctx.Err())
		}
	}
	return nil
}

// read passes the jail's replies on until its socket ends.
func (x *Box) read() {
	defer close(x.replies)
	for {
		var r reply
		r.files, r.Err = x.wire.Receive(&r.Reply.Reply)
		x.replies <- r
		if r.Err != nil {
			return
		}
	}
}

// blame adds what the jail said on its way out, in words where they are known.
func (x *Box) blame(err error) error {
	x.jail.Stop(grace)
	if said := strings.TrimSpace(x.jail.Stderr()); said != "" && !strings.Contains(said, err.Error()) {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return inWords(fmt.Errorf("put up the walls: %w", err), x.told)
}

// blameFirst tells who failed first when the gateway did not get its sockets:
// the jail, if the kernel refused it something, else the gateway itself.
func (x *Box) blameFirst(err error) error {
	x.jail.Stop(grace)
	var known bottle.Problems
	if errors.As(inWords(errors.New(x.jail.Stderr()), x.told), &known) {
		return known
	}
	return err
}

// Hello implements backend.Bottle.
func (x *Box) Hello() plan.Hello { return x.gateway.Hello }

// Ready implements backend.Bottle.
func (x *Box) Ready() plan.Ready {
	if x.stand(context.Background()) != nil { // whoever asks for more gets the error
		return plan.Ready{}
	}
	return x.gateway.Ready
}

// ask sends one request and waits for its reply. The first may be on its way
// before the walls stand: init finds it as soon as they do.
func (x *Box) ask(ctx context.Context, req jail.Request, files ...*os.File) (reply, error) {
	sent := x.wire.Send(req, files...)
	if err := x.stand(ctx); err != nil {
		return reply{}, err
	}
	if sent != nil {
		return reply{}, x.blame(sent)
	}
	select {
	case r, ok := <-x.replies:
		if !ok {
			return reply{}, errors.New("the bottle has ended")
		}
		if _, err := r.Said(); err != nil {
			return reply{}, x.blame(err)
		}
		return r, nil
	case <-ctx.Done():
		return reply{}, fmt.Errorf("wait for the bottle: %w", ctx.Err())
	}
}

// Place implements backend.Bottle.
func (x *Box) Place(ctx context.Context, files []plan.File) error {
	if len(files) == 0 {
		return x.stand(ctx)
	}
	_, err := x.ask(ctx, jail.Request{Place: files})
	return err
}

// Verify implements backend.Bottle.
func (x *Box) Verify(ctx context.Context, p plan.Probes) ([]plan.ProbeResult, error) {
	r, err := x.ask(ctx, jail.Request{Verify: &p})
	if err != nil {
		return nil, err
	}
	return agent.Results(r.Reply.Reply)
}

// Tell implements backend.Bottle.
func (x *Box) Tell(line []byte) error { return x.gateway.Tell(line) }

// Close implements backend.Bottle. The jail goes first: no request of the agent
// may find the gateway half gone.
func (x *Box) Close() error {
	x.once.Do(func() {
		if x.wire != nil {
			x.wire.Close()
		}
		if x.jail != nil {
			x.jail.Stop(grace)
		}
		if x.gateway != nil {
			x.gateway.Close()
		}
		if x.reading {
			for range x.replies { // whatever the reader still holds; it closes the channel
				continue
			}
		}
		x.reader.Wait()
	})
	return removeCgroups(x.cgroups)
}

// spec turns the plan into what the jail is told.
func (n *Native) spec(b plan.Bottle) (*jail.Spec, error) {
	prog, err := Filter()
	if err != nil {
		return nil, err
	}
	s := &jail.Spec{
		Bottle: b, HostUID: os.Geteuid(), HostGID: os.Getegid(), Filter: prog,
		Landlock: landlockABI() > 0,
		// Half of the memory: a full /tmp is an error, a full control group is a death.
		ScratchSize: b.Limits.Memory / 2, Added: b.Added,
	}
	if s.ScratchSize == 0 {
		s.ScratchSize = defaults().Scratch
	}
	// The firewall redirects IPv4 alone, and the message is read twice on the way up.
	s.Bottle.Special = slices.DeleteFunc(slices.Clone(b.Special), func(p string) bool { return strings.Contains(p, ":") })
	if b.Workspace.Mode == "overlay" {
		s.Upper = filepath.Join(b.State, "overlay")
	}
	if s.HostUID == 0 {
		s.Staged = true
		s.HostUID = bottleUID(b.Identity)
		s.HostGID = s.HostUID
	}
	if most := cmp.Or(b.Limits.PIDs, defaults().PIDs); kernelAtLeast(5, 14) {
		s.MaxProcs = uint64(most)
	}
	return s, nil
}

// The limits of a bottle whose manifest names none. An agent that goes wild must
// not take the machine with it; what builds and tests need is far below.
const (
	defaultPIDs    = 4096
	defaultScratch = 4 << 30
)

// defaults implements what is said there: no more than half of the machine's memory.
func defaults() backend.Defaults {
	d := backend.Defaults{Scratch: defaultScratch}
	if kernelAtLeast(5, 14) { // before, RLIMIT_NPROC counts all that the user runs
		d.PIDs = defaultPIDs
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		d.Scratch = min(d.Scratch, int64(uint64(info.Totalram)*uint64(info.Unit)/2))
	}
	return d
}

// The host uids of the bottles that root starts: a range that no distribution
// hands out (systemd's "Users, Groups, UIDs and GIDs" lists 1879048192 and up as unused).
const (
	bottleUIDs     = 1879048192
	bottleUIDCount = 1 << 24
)

// bottleUID is the unprivileged host uid of a bottle that root starts: one of its own.
func bottleUID(identity string) int {
	h := fnv.New32a()
	_, _ = io.WriteString(h, identity) // a hash does not fail
	return bottleUIDs + int(h.Sum32()%bottleUIDCount)
}

type socketPair struct{ near, far *os.File }

// pair makes a unix stream socket pair; the near end is for this process.
func pair() (socketPair, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return socketPair{}, fmt.Errorf("make socket pair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return socketPair{}, fmt.Errorf("make socket pair: %w", err)
	}
	return socketPair{os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")}, nil
}
