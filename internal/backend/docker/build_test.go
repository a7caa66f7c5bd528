package docker

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/system"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// A runtime that is asked for is never another; auto is gVisor only where the gateway's
// sockets can be reached in it.
func TestRuntimes(t *testing.T) {
	with := func(args ...string) map[string]system.RuntimeWithStatus {
		var r system.RuntimeWithStatus
		r.Args = args
		return map[string]system.RuntimeWithStatus{"runc": {}, "runsc": r}
	}
	none := map[string]system.RuntimeWithStatus{"runc": {}}
	for name, c := range map[string]struct {
		has        map[string]system.RuntimeWithStatus
		wish, want string
	}{
		"auto, none":           {none, "auto", "runc"},
		"auto, own network":    {with(), "auto", "runc"},
		"auto, host's":         {with("--platform=systrap", "--network=host"), "auto", "runsc"},
		"wished":               {with("--network=host"), "runsc", "runsc"},
		"wished, own network":  {with("--network=sandbox"), "runsc", ""},
		"wished, none":         {none, "runsc", ""},
		"nothing of that name": {none, "kata", ""},
		"none said":            {with("--network=host"), "", "runc"},
	} {
		got, err := runtimeOf(system.Info{Runtimes: c.has, DefaultRuntime: "kata"}, c.wish)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		var p bottle.Problems
		if err != nil && !errors.As(err, &p) {
			t.Errorf("%s: no finding with a hint: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		has  map[string]system.RuntimeWithStatus
		ok   bool
		says string
	}{
		"none":        {none, false, "has no runtime runsc (gVisor); `runtime: auto` is runc"},
		"own network": {with("--network=sandbox"), false, "is registered without --network=host"},
		"auto":        {with("--network=host"), true, "`runtime: auto` is runsc"},
	} {
		k := ownKernel(system.Info{Runtimes: c.has})
		if k.OK != c.ok || k.Needed || !strings.Contains(k.Found, c.says) || (k.Fix == "") != c.ok {
			t.Errorf("%s: %+v", name, k)
		}
	}
	for _, wish := range []string{"", "auto", "crun"} { // Podman lists runtimes that it would know, if they were there
		got, err := runtimeOf(system.Info{Runtimes: with(), DefaultRuntime: "crun"}, wish)
		if got != "crun" || err != nil {
			t.Errorf("Podman, %q: %q, %v", wish, got, err)
		}
	}
}

// unstable is what has changed since it was looked at.
type unstable struct{}

func (unstable) Hash() string       { return "h" }
func (unstable) RecipeName() string { return "r" }
func (unstable) Pack(_ context.Context, _ string, to io.Writer) error {
	_, _ = to.Write(make([]byte, 1<<20))
	return bottle.Problems{{Message: "it has changed"}}
}

// What the recipe copies is part of the image's name; where it has changed, that is what
// is said, and not that the engine got half an archive.
func TestWhatIsCopiedNamesTheImage(t *testing.T) {
	plain := plan.Container{Recipe: "FROM x"}
	with := plan.Container{Recipe: "FROM x", Copied: unstable{}}
	if agentImage(plain.Essence()) == agentImage(with.Essence()) || plain.Essence() != "FROM x" {
		t.Error("the same name")
	}
	d := engineOf(t, map[string]string{"/build": `{"stream":"Step 1/1 : FROM x"}`})
	with.Image = "bottle-agent:1"
	if err := d.Build(t.Context(), with, func(int, int, string) {}); err == nil || err.Error() != "it has changed" {
		t.Errorf("%v", err)
	}
}

// What the engine is sent of a recipe is the recipe alone, and its name is the text's.
func TestRecipeIsAllThatIsSent(t *testing.T) {
	sent, err := archive("FROM x\n")
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(sent)
	h, err := r.Next()
	if err != nil || h.Name != "Dockerfile" {
		t.Fatal(h, err)
	}
	if body, err := io.ReadAll(r); err != nil || string(body) != "FROM x\n" {
		t.Errorf("%q, %v", body, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("more is sent: %v", err)
	}
	if one, again := agentImage("a"), agentImage("a"); one == agentImage("b") || one != again {
		t.Error("a name is not its text's")
	}
}

// TestGatewayOnHostIsRefused: a bottle of containers has no gateway that is a process of the host.
func TestGatewayOnHostIsRefused(t *testing.T) {
	if _, err := (&Docker{}).Choose(t.Context(), plan.Container{Gateway: plan.GatewayOnHost}); err == nil || !strings.Contains(err.Error(), "has no meaning on docker") {
		t.Error(err)
	}
}

// TestImageNamesAreLong. The attack: an agent tries lines until two sets of them give one name
// of an image, which takes 2³² tries of 64 bits, asks for the harmless ones where they are read
// with care, and gets the others, which it was given in another bottle.
func TestImageNamesAreLong(t *testing.T) {
	if bits := 4 * len(strings.TrimPrefix(agentImage("FROM x"), agentImages)); bits < 128 {
		t.Errorf("%d bits", bits)
	}
}
