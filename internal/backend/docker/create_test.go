package docker

import (
	"maps"
	"testing"

	"github.com/moby/moby/api/types/container"

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
	if err := x.bound(t.Context(), "a", h); err != nil {
		t.Fatal(err)
	}
	before["/data"] = "rw,nosuid,nodev,size=1048576,mode=700,exec,uid=1001,gid=100"
	before["/srv"] = before["/data"]
	if !maps.Equal(h.Tmpfs, before) {
		t.Errorf("%v", h.Tmpfs)
	}
}
