package docker

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"bottle/internal/backend"
	"bottle/internal/backend/docker/making"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// buildTimeout bounds the making of an image: its recipe may fetch much.
const buildTimeout = time.Hour

// agentImages begins the names of what recipes make.
const agentImages = "bottle-agent:"

// agentImage is the name of what a recipe makes. The same text with the same files has the
// same name, so it is made once. Agents write lines of such a text: who asks for two that have
// one name, and is given one of them, would have the other. So it is too long to be met by trying.
func agentImage(essence string) string {
	sum := sha256.Sum256([]byte(essence))
	return agentImages + hex.EncodeToString(sum[:16])
}

// Choose implements backend.Contained.
func (d *Docker) Choose(ctx context.Context, wish plan.Container) (plan.Container, error) {
	if wish.Gateway == plan.GatewayOnHost {
		return wish, bottle.Problems{{Message: "`gateway: host` has no meaning on docker: the gateway is a container", Hint: "remove it, or choose --backend smolmachines"}}
	}
	c, err := d.engine()
	if err != nil {
		return wish, err
	}
	defer c.Close()
	if wish.Runtime, err = chooseRuntime(ctx, c.Client, wish.Runtime); err != nil {
		return wish, err
	}
	if wish.Image = cmp.Or(d.Image, d.Bundle); wish.Recipe == "" {
		wish.Built = true // Facts has looked
		return wish, nil
	}
	wish.Image = agentImage(wish.Essence())
	_, err = c.ImageInspect(ctx, wish.Image)
	if err != nil && !errdefs.IsNotFound(err) {
		return wish, fmt.Errorf("look for the image %s: %w", wish.Image, err)
	}
	wish.Built = err == nil
	return wish, nil
}

// Build implements backend.Contained. The recipe, and what it copies, is all that the engine is sent.
func (d *Docker) Build(ctx context.Context, b plan.Container, say func(step, of int, what string)) error {
	if b.Built {
		return nil
	}
	c, err := d.engine()
	if err != nil {
		return err
	}
	defer c.Close()
	o := client.ImageBuildOptions{
		Tags: []string{b.Image}, Remove: true, ForceRemove: true,
		Labels: map[string]string{labelRole: roleImage, labelVersion: bottle.Version},
	}
	if b.Copied != nil {
		return making.NoBase(copied(ctx, c, b, say, o))
	}
	sent, err := archive(b.Recipe)
	if err != nil {
		return err
	}
	return making.NoBase(made(ctx, c, sent, say, o))
}

// copied has the engine make an image of a recipe that copies. What is packed is sent as it
// is read again; where it has changed, the engine gets no whole archive, and makes nothing.
func copied(ctx context.Context, c *engine, b plan.Container, say func(step, of int, what string), o client.ImageBuildOptions) error {
	o.Dockerfile = b.Copied.RecipeName()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := b.Copied.Pack(ctx, b.Recipe, w)
		packed <- err
		if err != nil {
			err = errors.New("the archive has no end") // net/http compares errors, and a list of findings can't be
		}
		w.CloseWithError(err)
	}()
	err := made(ctx, c, r, say, o)
	enough := errors.New("the engine takes no more")
	r.CloseWithError(enough)
	if why := <-packed; why != nil && !errors.Is(why, enough) && !errors.Is(why, io.ErrClosedPipe) { // the client closes what the engine does not take
		return why
	}
	return err
}

// BuildBundle has the engine make the gateway's image, named tag, on the image base, by the
// recipe among the files, a tar file. say hears of each step as in Build.
func (d *Docker) BuildBundle(ctx context.Context, files io.Reader, recipe, base, tag string, say func(step, of int, what string)) error {
	c, err := d.engine()
	if err != nil {
		return err
	}
	defer c.Close()
	version := bottle.Version
	_, lacks := c.ImageInspect(ctx, base)
	err = made(ctx, c, files, say, client.ImageBuildOptions{
		Tags: []string{tag}, Dockerfile: recipe, Remove: true, ForceRemove: true, BuildArgs: map[string]*string{"BASE": &base, "VERSION": &version},
	})
	if err != nil && errdefs.IsNotFound(lacks) {
		name := bottle.Printable(base)
		return bottle.Problems{{Message: "the engine has no image " + name + ", and does not get it: " + err.Error(), Hint: "docker pull " + name + ", or build --from one of: docker images"}}
	}
	return err
}

// made has the engine make one image.
func made(ctx context.Context, c *engine, sent io.Reader, say func(step, of int, what string), o client.ImageBuildOptions) error {
	ctx, stop := context.WithTimeout(ctx, buildTimeout) // its end ends the making, too
	defer stop()
	r, err := c.ImageBuild(ctx, sent, o)
	if err != nil {
		return fmt.Errorf("make the image %s: %w", o.Tags[0], err)
	}
	defer r.Body.Close()
	if err := making.Follow(r.Body, say); err != nil {
		return fmt.Errorf("make the image %s: %w", o.Tags[0], err)
	}
	return nil
}

// archive is a build context that holds the recipe and nothing else.
func archive(recipe string) (*bytes.Buffer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "Dockerfile", Mode: 0o644, Size: int64(len(recipe))})
	if err == nil {
		_, err = io.WriteString(w, recipe)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("pack the recipe: %w", err)
	}
	return &buf, nil
}

// chooseRuntime makes auto a runtime that the engine has. gVisor has a network stack of
// its own, in which the gateway's sockets are not; with the host's, which is that of the
// container's namespace, it sees them. So auto takes it where it is registered so, and
// nothing falls back once a person was told which it is.
func chooseRuntime(ctx context.Context, c *client.Client, wish string) (string, error) {
	if wish == runc {
		return wish, nil
	}
	info, err := c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", fmt.Errorf("ask the engine for its runtimes: %w", err)
	}
	return runtimeOf(info.Info, wish)
}

// runtimeOf takes the engine's default only if that is crun, which Podman brings instead
// of runc: another may be one with a network stack of its own, or with less walls.
func runtimeOf(info system.Info, wish string) (string, error) {
	usual, has := runc, info.Runtimes
	if info.DefaultRuntime == crun {
		usual = crun
	}
	name := wish
	switch wish {
	case "", usual:
		return usual, nil
	case "auto":
		name = gvisor
	}
	r, ok := has[name]
	if ok && (name != gvisor || slices.Contains(r.Args, hostStack)) {
		return name, nil
	}
	if wish == "auto" {
		return usual, nil
	}
	why := "the engine has no runtime " + bottle.Printable(wish)
	if ok {
		why = "the engine's runtime " + gvisor + " has a network of its own, in which no gateway can be reached"
	}
	return "", bottle.Problems{{Message: why, Hint: "register it in the engine's daemon.json with runtimeArgs [\"" + hostStack + "\"], or write `runtime: auto`"}}
}

// ownKernel tells what `runtime: auto` is on this engine, and why it is not gVisor.
func ownKernel(info system.Info) backend.Check {
	name, err := runtimeOf(info, "auto")
	if err == nil && name == gvisor {
		return backend.Check{Wall: "gvisor", OK: true, Found: "`runtime: auto` is " + gvisor + ": a bottle has a kernel of its own"}
	}
	found := "the engine has no runtime " + gvisor + " (gVisor)"
	if _, ok := info.Runtimes[gvisor]; ok {
		found = "the engine's " + gvisor + " is registered without " + hostStack + ", and so no gateway could be reached in it"
	}
	return backend.Check{Wall: "gvisor", Found: found + "; `runtime: auto` is " + bottle.Printable(name) + ", by which a bottle shares this machine's kernel",
		Fix: "in the engine's daemon.json: \"runtimes\": {\"" + gvisor + "\": {\"path\": \"/usr/local/bin/runsc\", \"runtimeArgs\": [\"" + hostStack + "\"]}} (docs/engines.md)"}
}

// The runtimes of containers that share the kernel; gVisor's, which do not, and its flag for
// the network stack of the container's namespace.
const (
	runc      = "runc"
	crun      = "crun"
	gvisor    = plan.GVisor
	hostStack = "--network=host"
)
