package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"bottle/internal/bottle"
)

// TestRepositoriesNeedGitAndTheirFiles: what the git gate would lack is told before
// anything is made, all at once and with what to do; a bottle without repositories starts
// on a machine without git.
func TestRepositoriesNeedGitAndTheirFiles(t *testing.T) {
	f := newFixture(t)
	f.house.Root = fstest.MapFS{"usr/bin/env": &fstest.MapFile{Mode: 0o755}}
	f.prepare()
	routes := f.req.Spec.Routes
	f.req.Spec.Routes = []bottle.Route{{Host: routes[0].Host, Ports: []uint16{443}, TLS: "passthrough", DLP: "off", Rule: "box.md:3"}}
	f.req.Spec.Repos = []bottle.Repo{{Name: "app", Upstream: "https://api.example.com/app.git"}}
	if _, err := f.house.Prepare(context.Background(), f.req); err == nil || !strings.Contains(err.Error(), "past the git gate") {
		t.Errorf("a route leads past the gate: %v", err)
	}
	f.req.Spec.Routes = routes

	key := filepath.Join(f.home, "key")
	if err := os.WriteFile(key, []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(f.home, "key.pub")
	if err := os.WriteFile(public, []byte("ssh-ed25519 AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.req.Spec.Repos = []bottle.Repo{
		{Name: "app", Upstream: "ssh://git@git.example.com/app.git", KeyFile: "/nonexistent/key"},
		{Name: "open", Upstream: "ssh://git@git.example.com/open.git", KeyFile: key},
		{Name: "public", Upstream: "ssh://git@git.example.com/public.git", KeyFile: public},
		{Name: "lib", Upstream: "https://git.example.com/lib.git", CAFile: "/nonexistent/ca.pem"},
	}
	_, err := f.house.Prepare(context.Background(), f.req)
	var problems bottle.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("%v", err)
	}
	text := ""
	for _, p := range problems {
		text += p.Message + " -> " + p.Hint + "\n"
	}
	for _, want := range []string{"git app: ", "/nonexistent/key", "git open: ", "chmod 600 " + key, "git public: the key_file ", "is the public half of a key -> write ", "git lib: read ca_file", "needs git on this machine", "apt-get install git"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if len(f.entries()) != 0 {
		t.Error("something was made")
	}
}
