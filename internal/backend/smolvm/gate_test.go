package smolvm

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/plan"
)

// bundler is an engine that finds the first addresses taken.
type bundler struct {
	taken int
	fails error
	tried []string
	doors []string
}

func (b *bundler) HasBundle(context.Context) error { return b.fails }

func (b *bundler) Gateway(_ context.Context, _ plan.Bottle, at netip.Addr, gw plan.Gateway, _ []byte) (Gate, error) {
	b.tried, b.doors = append(b.tried, at.String()), append(b.doors, gw.Door)
	if len(b.tried) <= b.taken {
		return nil, backend.ErrTaken
	}
	return nil, b.fails
}

// Another start that is quicker gets the address, and this one the next. Each try is
// guarded by the token; nothing but a taken address is tried again.
func TestContainerTakesTheNextAddress(t *testing.T) {
	r, err := loopback.ParseRange("127.9.60.16-127.9.60.18")
	if err != nil {
		t.Fatal(err)
	}
	held := map[netip.Addr]string{}
	b := &bundler{}
	x := &Box{s: &Smolvm{Bundles: b, Pool: loopback.Pool{Range: r, Bound: func(context.Context) (map[netip.Addr]string, error) { return held, nil }}}, token: [32]byte{7}}
	b.taken = 1
	// The engine's list holds what the kernel does not: only after it was refused there.
	next := b
	x.s.Bundles = watching{next, func(at netip.Addr) { held[at] = "somebody" }}
	if err := x.containerUp(t.Context(), plan.Gateway{Listen: "0.0.0.0:1"}, nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.tried, []string{"127.9.60.16", "127.9.60.17"}) || x.addr.String() != "127.9.60.17" {
		t.Errorf("tried %v, has %s", b.tried, x.addr)
	}
	for _, d := range b.doors {
		if d != plan.DoorHash(x.token) {
			t.Errorf("a gateway without this bottle's token: %q", d)
		}
	}
	*b = bundler{fails: errors.New("no engine")}
	clear(held)
	if err := x.containerUp(t.Context(), plan.Gateway{}, nil); !errors.Is(err, b.fails) || len(b.tried) != 1 {
		t.Errorf("%v after %v", err, b.tried)
	}
	*b = bundler{taken: 100}
	if err := x.containerUp(t.Context(), plan.Gateway{}, nil); err == nil || len(b.tried) > 3 {
		t.Errorf("all taken: %v after %v", err, b.tried)
	}
	x.s.Bundles = nil
	if err := x.containerUp(t.Context(), plan.Gateway{}, nil); err == nil {
		t.Error("without an engine")
	}
}

// watching tells of each address that was tried.
type watching struct {
	Bundles
	tell func(netip.Addr)
}

func (w watching) Gateway(ctx context.Context, told plan.Bottle, at netip.Addr, gw plan.Gateway, secrets []byte) (Gate, error) {
	g, err := w.Bundles.Gateway(ctx, told, at, gw, secrets)
	if errors.Is(err, backend.ErrTaken) {
		w.tell(at)
	}
	return g, err
}

// A wish for a container that nobody can run is refused before anything is made.
func TestChooseRefusesAContainer(t *testing.T) {
	wish := plan.Container{Gateway: plan.GatewayInContainer}
	for _, s := range []*Smolvm{{Image: "/x"}, {Image: "/x", Bundles: &bundler{fails: errors.New("no image")}}} {
		if _, err := s.Choose(t.Context(), wish); err == nil || !strings.Contains(err.Error(), "needs Docker") {
			t.Errorf("%v", err)
		}
	}
	if c, err := (&Smolvm{Image: "/x", Bundles: &bundler{}}).Choose(t.Context(), wish); err != nil || !contained(c) {
		t.Errorf("%+v, %v", c, err)
	}
}
