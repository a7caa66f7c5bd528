package docker

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
)

// engine is a client, and what it heard about whom it talks with.
type engine struct {
	*client.Client
	libpod atomic.Bool
}

// hear notes who answers. Podman's Docker-compatible API says so in no body that a
// start asks for anyway; it does in each answer's Server header (RFC 9110, section 10.2.4).
func (e *engine) hear(r *http.Response) {
	if strings.HasPrefix(r.Header.Get("Server"), "Libpod/") {
		e.libpod.Store(true)
	}
}

// name is what a person calls the engine that answered.
func (e *engine) name() string {
	if e.libpod.Load() {
		return "Podman"
	}
	return "Docker Engine"
}

// podman asks the engine, once, whether it is Podman.
func (e *engine) podman(ctx context.Context) (bool, error) {
	if _, err := e.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return false, err
	}
	return e.libpod.Load(), nil
}

// forPodman says the same in the words that Podman takes. U is its word for a tmpfs that
// belongs to the container's user, who is the agent; and it would copy what the image has
// at that path into each, which Docker does not. Who asks it for one limit of a process
// gets its own high idea of others besides, which an engine without CAP_SYS_RESOURCE
// can't set; the jail sets them too, before the agent runs.
func forPodman(h *container.HostConfig, a user) error {
	h.Ulimits = nil
	if len(h.MaskedPaths) > 0 { // in the request's own field it overhears them
		h.SecurityOpt = append(h.SecurityOpt, "mask="+strings.Join(h.MaskedPaths, ":"))
	}
	for path, options := range h.Tmpfs {
		h.Tmpfs[path] = strings.Replace(options, a.owned(), "U", 1) + ",notmpcopyup"
	}
	for _, m := range h.Mounts {
		for _, path := range []string{m.Source, m.Target} {
			if unsayable(path) {
				return fmt.Errorf("show %q: Podman can't be told of a name with a comma, a quote or a line's end; rename it, or set XDG_STATE_HOME if it is the bottle's own", path)
			}
		}
	}
	return nil
}

// unsayable tells whether Podman would misread a path: it makes one line of
// comma-separated values of a mount, where the rest of a name could be an option.
func unsayable(path string) bool { return strings.ContainsAny(path, ",\"\r\n") }

// makeVolumes makes the volumes of a container before it, since Podman overhears what
// the request for a container says of a volume: labels, and where it leads.
func (x *Box) makeVolumes(ctx context.Context, mounts []mount.Mount) error {
	for _, m := range mounts {
		if m.Type != mount.TypeVolume || m.VolumeOptions == nil {
			continue
		}
		o := client.VolumeCreateOptions{Name: m.Source, Labels: m.VolumeOptions.Labels}
		if d := m.VolumeOptions.DriverConfig; d != nil {
			o.Driver, o.DriverOpts = d.Name, d.Options
		}
		if _, err := x.c.VolumeCreate(ctx, o); err != nil {
			return fmt.Errorf("create volume %s: %w", m.Source, err)
		}
	}
	return nil
}
