package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Gateway is a bundle alone: the gateway of a bottle whose other walls are not the
// engine's. It has one door, published on an address of the host, and ends when its
// start does. Its container and network are found by their label like a bottle's.
type Gateway struct {
	x     *Box
	ended chan struct{}
}

// publish binds the door's port at an address of the host. The port is fixed: the binding
// is what holds the address, and an engine gives none twice.
func publish(cfg *container.Config, h *container.HostConfig, at netip.Addr) {
	port := network.MustParsePort(strconv.Itoa(plan.DoorPort) + "/tcp")
	cfg.ExposedPorts = network.PortSet{port: {}}
	h.PortBindings = network.PortMap{port: {{HostIP: at, HostPort: strconv.Itoa(plan.DoorPort)}}}
}

// HasBundle asks the engine for the gateway's image.
func (d *Docker) HasBundle(ctx context.Context) error {
	return d.asked(ctx, reachTime, func(ctx context.Context, c *engine) error {
		if _, err := c.ImageInspect(ctx, d.Bundle); errdefs.IsNotFound(err) {
			return fmt.Errorf("the gateway's image %s is not there; run: %s", d.Bundle, makeBundle)
		} else if err != nil {
			return fmt.Errorf("ask the Docker engine for %s: %w; run: %s", d.Bundle, err, d.reach(err))
		}
		return nil
	})
}

// Gateway starts the bundle of b with its door on at, and returns once it has said
// Hello. gw and secrets go to its standard input, as Create has it. An address that is
// taken is a backend.ErrTaken, and nothing is left.
func (d *Docker) Gateway(ctx context.Context, b plan.Bottle, at netip.Addr, gw plan.Gateway, secrets []byte) (*Gateway, error) {
	switch {
	case d.Bundle == "" || b.Identity == "" || b.State == "":
		return nil, errors.New("start the gateway's container: its image, identity or state folder is not named")
	case !at.Is4() || !at.IsLoopback(), gw.Door == "":
		return nil, errors.New("start the gateway's container: it has no loopback address of its own, or no token")
	}
	x, err := d.box(ctx, b)
	if err != nil {
		return nil, err
	}
	x.at = at
	x.within(&gw)
	close(x.stood)
	up, cancel := context.WithTimeout(context.WithoutCancel(ctx), upTimeout)
	x.cancel = cancel
	err = d.giveState(b.State)
	var line []byte
	if err == nil {
		line, err = json.Marshal(gw)
	}
	if err == nil {
		lines := append(append(append(line, '\n'), secrets...), '\n')
		err = x.bundleUp(up, lines)
		clear(lines)
	}
	if err != nil {
		if taken(err) {
			err = fmt.Errorf("%w: %w", backend.ErrTaken, err)
		}
		return nil, errors.Join(err, x.Close())
	}
	return &Gateway{x: x, ended: make(chan struct{})}, nil
}

// taken knows the engine's words for a port that somebody has: another container, or a
// process of the host.
func taken(err error) bool {
	s := err.Error()
	return strings.Contains(s, "port is already allocated") || strings.Contains(s, "address already in use")
}

// Said is what it said: Hello at once, Ready once Await has returned.
func (g *Gateway) Said() (plan.Hello, plan.Ready) { return g.x.hello, g.x.ready }

// Await returns when it serves.
func (g *Gateway) Await() error {
	ctx, stop := context.WithTimeout(context.Background(), upTimeout)
	defer stop()
	if err := g.x.hearReady(ctx); err != nil {
		close(g.ended)
		return err
	}
	go func() {
		defer close(g.ended)
		g.x.bundle.drain()
	}()
	return nil
}

// Wait returns when it has ended, after Await.
func (g *Gateway) Wait() error { <-g.ended; return nil }

// Tell says one more line; see backend.Bottle.
func (g *Gateway) Tell(line []byte) error { return g.x.Tell(line) }

// Close ends it and removes what was made for it. It is idempotent.
func (g *Gateway) Close() error { return g.x.Close() }

// Published tells which loopback addresses of the host the ports of containers hold, and
// the name of one that does. An engine that cannot be reached holds none.
func (d *Docker) Published(ctx context.Context) (map[netip.Addr]string, error) {
	if near(d.Host) != nil {
		return nil, nil // its ports are not here
	}
	var list client.ContainerListResult
	err := d.asked(ctx, reachTime, func(ctx context.Context, c *engine) (err error) {
		list, err = c.ContainerList(ctx, client.ContainerListOptions{})
		return err
	})
	if client.IsErrConnectionFailed(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	held := map[netip.Addr]string{}
	for _, k := range list.Items {
		for _, p := range k.Ports {
			if p.IP.IsLoopback() && len(k.Names) > 0 {
				held[p.IP.Unmap()] = strings.TrimPrefix(k.Names[0], "/")
			}
		}
	}
	return held, nil
}
