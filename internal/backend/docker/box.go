package docker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"bottle/internal/backend"
	"bottle/internal/backend/agent"
	"bottle/internal/backend/jail"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// gatewayGrace is how long a gateway whose input ended gets.
const gatewayGrace = 3 * time.Second

// hearTime is how long a gateway may take to read what it is told.
const hearTime = 5 * time.Second

// downTimeout bounds the whole way down.
const downTimeout = 30 * time.Second

// Box is one bottle of containers.
type Box struct {
	d        *Docker
	c        *client.Client
	podman   bool
	rootless bool
	n        names
	agentIs  user
	told     plan.Bottle
	at       netip.Addr // of the host, where the bundle's door is published; the zero value: it has no door, and meets a helper
	mounts   []mount.Mount
	cas      []string   // files that the bundle is shown, for upstreams
	volumes  []string   // beside the meeting place
	held     []*os.File // sources, until the containers stand
	etc      *os.Root

	cancel        context.CancelFunc
	stood         chan struct{} // closed once it stands or failed
	failed        error         // set before
	agent, bundle *piece
	fence         *piece
	hello         plan.Hello
	ready         plan.Ready

	link    *agent.Remote // to the jail
	control string        // path of the gateway's control socket, as the bundle has it
	silent  chan struct{} // closed when the gateway that served has ended

	once   sync.Once
	closed error
	tell   sync.Mutex
	torn   bool
}

// stand waits until all of it stands.
func (x *Box) stand(ctx context.Context) error {
	select {
	case <-x.stood:
		return x.failed
	case <-ctx.Done():
		return fmt.Errorf("put up the bottle: %w", ctx.Err())
	}
}

// Hello implements backend.Bottle.
func (x *Box) Hello() plan.Hello { return x.hello }

// Ready implements backend.Bottle.
func (x *Box) Ready() plan.Ready {
	if x.stand(context.Background()) != nil { // whoever asks for more gets the error
		return plan.Ready{}
	}
	return x.ready
}

// Place implements backend.Bottle. What is the agent's is written inside, as the
// agent; the rest into folders that the container is shown read-only.
func (x *Box) Place(ctx context.Context, files []plan.File) error {
	var agents []plan.File
	for _, f := range files {
		if f.Agent {
			agents = append(agents, f)
			continue
		}
		if err := x.placeSystem(f); err != nil {
			return fmt.Errorf("place %s: %w", f.Path, err)
		}
	}
	if err := x.stand(ctx); err != nil || len(agents) == 0 {
		return err
	}
	_, err := x.link.Ask(ctx, jail.Request{Place: agents})
	return err
}

func (x *Box) placeSystem(f plan.File) error {
	name := strings.TrimPrefix(f.Path, "/")
	ok := false
	for _, dir := range systemDirs() {
		ok = ok || strings.HasPrefix(f.Path, dir+"/") && path.Clean(f.Path) == f.Path
	}
	if !ok {
		return fmt.Errorf("only files below %s can be placed for the agent to read", strings.Join(systemDirs(), ", "))
	}
	if err := x.etc.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	body := f.Content
	if f.Path == plan.BundlePath {
		body = append(hostBundle(), body...)
	}
	return x.etc.WriteFile(name, body, os.FileMode(f.Mode)&os.ModePerm)
}

// hostBundle is what this machine trusts.
func hostBundle() []byte {
	for _, p := range plan.HostBundles() {
		if b, err := os.ReadFile(p); err == nil {
			return append(b, '\n')
		}
	}
	return nil
}

// Verify implements backend.Bottle.
func (x *Box) Verify(ctx context.Context, p plan.Probes) ([]plan.ProbeResult, error) {
	if err := x.stand(ctx); err != nil {
		return nil, err
	}
	return x.link.Verify(ctx, p)
}

// Run implements backend.Bottle.
func (x *Box) Run(ctx context.Context, c plan.Command, s backend.Stdio) (int, error) {
	if err := x.stand(ctx); err != nil {
		return 0, err
	}
	return agent.Attended(ctx, x.silent, func(ctx context.Context) (int, error) { return x.link.Run(ctx, c, s) }, x.agent.hangUp, x.lost)
}

// listen takes what the gateway says that has nothing more to say, so that it never waits, and
// knows of its end: a gateway speaks as long as it lives.
func (x *Box) listen() {
	x.bundle.drain()
	close(x.silent)
}

// lost is the error of a bottle whose gateway has ended. An engine that ended itself took the
// agent along.
func (x *Box) lost() error {
	ctx, cancel := context.WithTimeout(context.Background(), hearTime)
	defer cancel()
	if _, down := x.c.Ping(ctx, client.PingOptions{}); down != nil {
		return agent.ErrEnded
	}
	return agent.Lost(x.n.identity, x.bundle.blame)
}

// Tell implements backend.Bottle.
func (x *Box) Tell(line []byte) error {
	x.tell.Lock()
	defer x.tell.Unlock()
	if x.torn || x.bundle == nil {
		return errors.New("tell the gateway: it did not take the line before")
	}
	whole := append(bytes.Clone(line), '\n')
	defer clear(whole)
	err := x.bundle.conn.Conn.SetWriteDeadline(time.Now().Add(hearTime))
	if err == nil {
		_, err = x.bundle.conn.Conn.Write(whole)
	}
	if err != nil {
		x.torn = true
		return fmt.Errorf("tell the gateway: %w", err)
	}
	return nil
}

// Close implements backend.Bottle. The agent goes first: no request of it may find
// the gateway half gone.
func (x *Box) Close() error {
	x.once.Do(func() {
		x.cancel()
		<-x.stood
		if x.link != nil {
			x.link.Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
		defer cancel()
		x.agent.hangUp()
		x.fence.hangUp()
		x.closed = errors.Join(x.end(ctx, x.agent), x.end(ctx, x.fence), x.endBundle(ctx))
		x.closed = errors.Join(x.closed, leaveNetwork(ctx, x.c, x.n.of(roleEgress)))
		for _, v := range append(x.volumes, x.n.of(roleMeet)) {
			x.closed = errors.Join(x.closed, dropVolume(ctx, x.c, bottle.Identity(x.told.Identity), v))
		}
		if client.IsErrConnectionFailed(x.closed) {
			x.closed = errors.New("take the bottle down: the Docker engine does not answer; when it does again, `bottle cleanup` removes what is left")
		}
		x.letGo()
		if x.etc != nil {
			x.etc.Close()
		}
		x.c.Close()
	})
	return x.closed
}

func (x *Box) end(ctx context.Context, p *piece) error {
	if p == nil {
		return nil
	}
	return take(ctx, x.c, p.id)
}

// endBundle lets the gateway write its last records.
func (x *Box) endBundle(ctx context.Context) error {
	if x.bundle == nil {
		return nil
	}
	soon, cancel := context.WithTimeout(ctx, gatewayGrace)
	defer cancel()
	gone := x.c.ContainerWait(soon, x.bundle.id, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
	if err := x.bundle.conn.CloseWrite(); err != nil {
		x.bundle.hangUp()
	}
	_ = settled(gone) // too late is what take is for
	err := x.end(ctx, x.bundle)
	x.bundle.hangUp()
	return err
}

// line reads one JSON line of the container's output into v.
func (p *piece) line(v any) error {
	if p.lines == nil {
		p.lines = bufio.NewReaderSize(p.out, 64<<10)
	}
	line, err := p.lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// drain takes what a container says that has nothing to say, so that it never waits.
func (p *piece) drain() { _, _ = io.Copy(io.Discard, p.lines) }

var _ backend.Bottle = (*Box)(nil)
