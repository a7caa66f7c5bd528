package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// roleLook is of the container that is never started: through it the image is looked into.
const roleLook = "look"

// straight wants no symbolic link on the way to what an image's container is shown, where lines
// that an agent asked for made the image. An engine follows one, and makes a place for the
// mount where it leads: as root, in any folder that the agent is shown, such as the operator's.
func (x *Box) straight(ctx context.Context, image string, h *container.HostConfig) (err error) {
	if len(x.told.Container.Lines) == 0 {
		return nil
	}
	c, err := x.d.engine()
	if err != nil {
		return err
	}
	defer c.Close()
	whole, stop := context.WithTimeout(context.WithoutCancel(ctx), upTimeout) // see begin
	defer stop()
	cfg := speaking(image, x.agentIs.String(), []string{"/never"}, x.n.labels(roleLook))
	bare := bare()
	bare.NetworkMode, bare.AutoRemove = "none", false
	made, err := c.ContainerCreate(whole, client.ContainerCreateOptions{Name: x.n.of(roleLook), Config: cfg, HostConfig: bare})
	if err != nil {
		return fmt.Errorf("look into the image %s: %w", image, err)
	}
	defer func() {
		_, gone := c.ContainerRemove(whole, made.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		err = errors.Join(err, gone)
	}()
	above := ways(h)
	for _, at := range slices.Sorted(maps.Keys(above)) {
		got, err := c.ContainerStatPath(whole, made.ID, client.ContainerStatPathOptions{Path: at})
		switch {
		case errdefs.IsNotFound(err) && !c.nowhere.Load():
		case err != nil && !errdefs.IsNotFound(err):
			return fmt.Errorf("look into the image %s: %w", image, err)
		case err != nil || got.Stat.Mode&fs.ModeSymlink != 0:
			return fmt.Errorf("the lines that you approved for the image make %s a symlink, and the bottle has something of its own there", at)
		case above[at] && !got.Stat.Mode.IsDir():
			return fmt.Errorf("the lines that you approved for the image make %s no folder, and the bottle has something of its own below it", at)
		}
	}
	return nil
}

// without says how to go on where a container does not stand whose image has lines.
func (x *Box) without(err error) error {
	if err == nil || len(x.told.Container.Lines) == 0 {
		return err
	}
	return fmt.Errorf("%w\nto go on without the lines that were approved for its image: bottle resume %s --without-image-changes", err, x.n.identity)
}

// ways are the paths at which a container is shown something, and, true, the folders above them.
func ways(h *container.HostConfig) map[string]bool {
	all := map[string]bool{}
	targets := slices.Collect(maps.Keys(h.Tmpfs))
	for _, m := range h.Mounts {
		targets = append(targets, m.Target)
	}
	for _, t := range targets {
		t = path.Clean(t)
		for at := t; strings.HasPrefix(at, "/") && at != "/"; at = path.Dir(at) {
			all[at] = all[at] || at != t
		}
	}
	return all
}
