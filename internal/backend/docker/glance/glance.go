// Package glance looks at an image before a container of it is shown something: it may say that
// the host has folders for it, and one that an agent had a part in may hold links where the
// engine makes places for mounts.
package glance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
)

// Through wants folders, and no symbolic link, on the way to all that h shows a container, and
// no link at its end. An engine follows one, and makes a place for the mount where it leads: as
// root, in any folder that the agent is shown, such as the operator's. bare is a container of the
// image that is shown nothing; it is made, never started, and removed. host is the engine's
// address as in docker.Docker. The end of ctx leaves bare where it is: it should have the labels
// by which a cleanup finds it.
func Through(ctx context.Context, host string, bare client.ContainerCreateOptions, h *container.HostConfig) (err error) {
	// Of a link that leads nowhere Podman says that nothing is there, and what it is, at once.
	nowhere := false
	opts := []client.Opt{client.WithHTTPResponseHook(func(r *http.Response) {
		nowhere = nowhere || r.StatusCode == http.StatusNotFound && r.Header.Get("X-Docker-Container-Path-Stat") != ""
	})}
	if host != "" {
		opts = append(opts, client.WithHost(host))
	}
	c, err := client.New(opts...)
	if err != nil {
		return fmt.Errorf("reach the Docker engine: %w", err)
	}
	defer c.Close()
	made, err := c.ContainerCreate(ctx, bare)
	if err != nil {
		return fmt.Errorf("look into the image: %w", err)
	}
	defer func() {
		_, gone := c.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		err = errors.Join(err, gone)
	}()
	above := ways(h)
	for _, at := range slices.Sorted(maps.Keys(above)) {
		got, err := c.ContainerStatPath(ctx, made.ID, client.ContainerStatPathOptions{Path: at})
		switch {
		case errdefs.IsNotFound(err) && !nowhere:
		case err != nil && !errdefs.IsNotFound(err):
			return fmt.Errorf("look into the image at %s: %w", at, err)
		case err != nil || got.Stat.Mode&fs.ModeSymlink != 0:
			return fmt.Errorf("the image has a symlink at %s, where the bottle has something of its own", at)
		case above[at] && !got.Stat.Mode.IsDir():
			return fmt.Errorf("the image has no folder at %s, and the bottle has something of its own below it", at)
		}
	}
	return nil
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

// Bound makes what the image calls volumes memory of the agent's, within its bounds: memory gives
// the options of one of size bytes. The engine would make each a folder of the host without any,
// whatever else is read-only.
func Bound(ctx context.Context, c *client.Client, image string, h *container.HostConfig, memory func(size int64) string) error {
	i, err := c.ImageInspect(ctx, image)
	if err != nil {
		return fmt.Errorf("look at the image %s: %w", image, err)
	}
	if i.Config == nil {
		return nil
	}
	size := h.ShmSize / int64(max(1, len(i.Config.Volumes)))
	for target := range i.Config.Volumes {
		target = path.Clean(target)
		ours := slices.ContainsFunc(h.Mounts, func(m mount.Mount) bool { return m.Target == target })
		if _, is := h.Tmpfs[target]; !is && !ours {
			h.Tmpfs[target] = memory(size)
		}
	}
	return nil
}
