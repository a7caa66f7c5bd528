package docker

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// A container has the labels of its image, whatever they say, and so has an image of what it
// is built on: neither makes the operator's own one that cleanup takes, or one that holds a bottle.
func TestLabelsOfAnImageAreNotOurs(t *testing.T) {
	imitated := names{"dev-aaaaa"}.labels(roleAgent)
	ours := maps.Clone(imitated)
	ours[labelStart] = ""
	composed := map[string]string{labelIdentity: "compose-aaaaa", labelRole: roleAgent}
	broken := map[string]string{labelIdentity: "\x1b[2J", labelRole: roleAgent}
	d := engineOf(t, map[string]string{
		"/containers/json": quoted(t, []map[string]any{
			{"Id": "1", "Names": []string{"/database"}, "Labels": imitated, "State": "running", "ImageID": "sha256:3"},
			{"Id": "4", "Names": []string{"/folder-agent-1"}, "Labels": composed, "State": "exited", "ImageID": "sha256:3"},
			{"Id": "2", "Names": []string{"/bottle-dev-aaaaa-agent"}, "Labels": ours, "State": "exited"},
			{"Id": "3", "Names": []string{"/bottle-\x1b[2J-agent"}, "Labels": broken, "State": "exited"},
		}),
		"/networks": "[]", "/volumes": "{}",
		"/images/json": quoted(t, []map[string]any{
			{"Id": "sha256:1", "RepoTags": []string{"bottle-agent:0123", "mine:latest"}, "Labels": map[string]string{labelVersion: "0.0.1", labelRole: roleImage}},
			{"Id": "sha256:2", "RepoTags": []string{"bottle-agent:0123"}, "Labels": map[string]string{labelVersion: "0.0.1", labelRole: roleImage}},
		}),
		"/containers/database/json": quoted(t, map[string]any{"Id": "1", "Image": "sha256:3", "Config": map[string]any{"Labels": imitated}}),
		"/images/sha256:3/json":     quoted(t, map[string]any{"Id": "sha256:3", "Config": map[string]any{"Labels": imitated}}),
		"/images/sha256:1/json":     quoted(t, map[string]any{"Id": "sha256:1", "RepoTags": []string{"mine:latest"}, "Config": map[string]any{"Labels": map[string]string{labelRole: roleImage}}}),
	})
	found, err := d.Find(t.Context())
	want := []backend.Leftover{
		{Identity: "compose-aaaaa", Resource: plan.Resource{Kind: "container", Name: "folder-agent-1"}},
		{Identity: "dev-aaaaa", Resource: plan.Resource{Kind: "container", Name: "bottle-dev-aaaaa-agent"}},
		{Resource: plan.Resource{Kind: "image", Name: "sha256:2"}},
	}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, l := range []backend.Leftover{
		{Identity: "dev-aaaaa", Resource: plan.Resource{Kind: "container", Name: "database"}},
		{Identity: bottle.Identity(""), Resource: plan.Resource{Kind: "image", Name: "sha256:1"}},
	} {
		if err := d.Remove(t.Context(), l); err == nil || !strings.Contains(err.Error(), "it is not of the bottle") {
			t.Errorf("remove %+v: %v", l, err)
		}
	}
}
