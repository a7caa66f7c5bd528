package docker

import (
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"bottle/internal/backend/docker/glance"
	"bottle/internal/plan"
)

// What an image calls a volume is no folder of the host without bounds.
func TestVolumesOfAnImageAreBounded(t *testing.T) {
	d := engineOf(t, map[string]string{"/images/a/json": quoted(t, map[string]any{"Id": "a", "Config": map[string]any{"Volumes": map[string]any{"/data/": struct{}{}, "/srv": struct{}{}, "/tmp": struct{}{}, "/workspace": struct{}{}}}})})
	x, err := d.box(t.Context(), plan.Bottle{Identity: "dev-aaaaa"})
	x.agentIs = user{1001, 100}
	if err != nil {
		t.Fatal(err)
	}
	defer x.c.Close()
	h := &container.HostConfig{}
	limited(h, plan.Limits{Memory: 64 << 20}, user{1001, 100})
	before := maps.Clone(h.Tmpfs)
	h.Mounts = append(h.Mounts, x.meeting())
	h.Mounts[0].Target = "/workspace"
	if err := glance.Bound(t.Context(), x.c, "a", h, x.memory); err != nil {
		t.Fatal(err)
	}
	before["/data"] = "rw,nosuid,nodev,size=1048576,mode=700,exec,uid=1001,gid=100"
	before["/srv"] = before["/data"]
	if !maps.Equal(h.Tmpfs, before) {
		t.Errorf("%v", h.Tmpfs)
	}
}

// A gateway that ended is why the helper did not meet it, and says so; one that says nothing,
// or is still there, is not blamed.
func TestUnmetGatewayIsHeard(t *testing.T) {
	const words = "bottle-gateway: it can't make its socket\n"
	first := errors.New("nobody is there")
	for _, c := range []struct {
		name, said string
		ends       bool
		want       string
	}{
		{"ended with a reason", words, true, strings.TrimSpace(words)},
		{"ended without one", "", true, first.Error()},
		{"is still there", "", false, first.Error()},
	} {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() {
			if c.said != "" {
				_, _ = io.WriteString(theirs, "\x02\x00\x00\x00\x00\x00\x00"+string(rune(len(c.said)))+c.said)
			}
			if c.ends {
				theirs.Close()
			}
		}()
		x := &Box{bundle: &piece{conn: client.HijackedResponse{Conn: ours}, out: &demux{from: ours}}}
		if err := x.unmet(t.Context(), first); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
