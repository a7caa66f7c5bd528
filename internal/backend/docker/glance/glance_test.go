package glance

import (
	"maps"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// Each folder on the way is looked at, and what is shown itself may be a file.
func TestWays(t *testing.T) {
	got := ways(&container.HostConfig{Tmpfs: map[string]string{"/home/agent": "", "/srv/": ""}, Mounts: []mount.Mount{{Target: "/var/lib/bottle/jail"}, {Target: "/srv/x"}}})
	want := map[string]bool{"/home": true, "/home/agent": false, "/var": true, "/var/lib": true, "/var/lib/bottle": true, "/var/lib/bottle/jail": false, "/srv": true, "/srv/x": false}
	if !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
