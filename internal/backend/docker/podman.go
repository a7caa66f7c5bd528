package docker

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/moby/moby/api/types/container"
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
func forPodman(h *container.HostConfig) {
	h.Ulimits = nil
	for path, options := range h.Tmpfs {
		h.Tmpfs[path] = strings.Replace(options, owned, "U", 1) + ",notmpcopyup"
	}
}
