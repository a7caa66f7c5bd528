package smolvm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"bottle/internal/backend"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Gate is a bottle's gateway, wherever it runs. It has said Hello.
type Gate interface {
	// Said is its Hello, and its Ready once Await has returned.
	Said() (plan.Hello, plan.Ready)
	Await() error           // until it serves
	Wait() error            // until it has ended
	Tell(line []byte) error // see backend.Bottle
	Close() error           // ends it; idempotent
}

// Bundles runs gateways as containers.
type Bundles interface {
	// HasBundle asks for the gateway's image; the error says what would mend it.
	HasBundle(ctx context.Context) error
	// Gateway starts one whose door is on at and loopback.Port. An address that somebody
	// has by then is a backend.ErrTaken.
	Gateway(ctx context.Context, b plan.Bottle, at netip.Addr, gw plan.Gateway, secrets []byte) (Gate, error)
}

// process is a gateway that is a process of this host.
type process struct{ *backend.Gateway }

func (p process) Said() (plan.Hello, plan.Ready) { return p.Hello, p.Ready }

func (p process) Close() error {
	p.Gateway.Close()
	return nil
}

// contained tells whether the gateway is to be a container.
func contained(c plan.Container) bool { return c.Gateway == plan.GatewayInContainer }

// bundled refuses a wish that nobody can fulfil.
func (s *Smolvm) bundled(ctx context.Context, wish plan.Container) error {
	if !contained(wish) {
		return nil
	}
	err := errors.New("there is no Docker engine")
	if s.Bundles != nil {
		err = s.Bundles.HasBundle(ctx)
	}
	if err != nil {
		return bottle.Problems{{Message: "`gateway: container` needs Docker: " + err.Error(), Hint: "or remove `gateway` from the bottle: the gateway is a process of this machine then"}}
	}
	return nil
}

// containerUp starts the gateway as a container on the lowest free address. The engine
// binds it: between the look and that another start may take it, and the next one is
// tried.
func (x *Box) containerUp(ctx context.Context, gw plan.Gateway, secrets []byte) error {
	if x.s.Bundles == nil {
		return errors.New("start the gateway's container: there is no Docker engine")
	}
	gw.Inherit, gw.Listen, gw.Door = true, "", plan.DoorHash(x.token)
	var err error
	for range len(x.s.Pool.Range.All()) {
		var lease *loopback.Lease
		if lease, err = x.s.Pool.Allocate(ctx); err != nil {
			return err
		}
		x.addr = lease.Addr
		if err = lease.Close(); err != nil {
			return fmt.Errorf("hand the address on: %w", err)
		}
		x.gateway, err = x.s.Bundles.Gateway(ctx, x.told, x.addr, gw, secrets)
		if !errors.Is(err, backend.ErrTaken) {
			return err
		}
	}
	return err
}
