// Package walls knows which kind of walls a bottle gets where nobody says, and makes
// those of a micro-VM.
package walls

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"bottle/internal/backend"
	"bottle/internal/backend/docker"
	"bottle/internal/backend/docker/image"
	"bottle/internal/backend/native"
	"bottle/internal/backend/smolvm"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/plan"
)

// Default is the kind of walls of a platform (runtime.GOOS): native on Linux; on macOS
// micro-VMs where smolvm is on the PATH, else containers.
func Default(goos, path string) string {
	switch {
	case goos == "linux":
		return native.Kind
	case goos == "darwin" && find("smolvm", path) != "":
		return smolvm.Kind
	}
	return "docker"
}

// find looks for a program in the absolute folders of a PATH; empty: it is not there.
func find(name, path string) string {
	for _, dir := range filepath.SplitList(path) {
		p := filepath.Join(dir, name)
		if fi, err := os.Stat(p); filepath.IsAbs(dir) && err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}

// Desk is what making the walls of a micro-VM needs of the operator's side.
type Desk struct {
	Env      func(name string) string          // the operator's environment; empty: not set
	Helper   func(name string) (string, error) // the path of a program beside the running one
	Terminal bool                              // somebody can be asked for a password
	Tell     func(string)                      // hears what sudo is about to be asked for
	Docker   *docker.Docker                    // makes images of recipes, and runs gateways that are containers
	Home     string                            // BOTTLE_HOME, where images are kept; empty: it is not known
}

// bundles are the engine's gateways as a micro-VM takes them.
type bundles struct{ *docker.Docker }

func (b bundles) Gateway(ctx context.Context, told plan.Bottle, at netip.Addr, gw plan.Gateway, secrets []byte) (smolvm.Gate, error) {
	g, err := b.Docker.Gateway(ctx, told, at, gw, secrets)
	if err != nil {
		return nil, err
	}
	return g, nil
}

// MicroVM makes them. Where smolvm, the image or the program for the VM is missing, the
// walls say so when a machine is looked at.
func MicroVM(d Desk) (backend.Backend, error) {
	pool, unread := loopback.ParseRange(d.Env("BOTTLE_LOOPBACK"))
	name := "bottle-jail"
	if runtime.GOOS != "linux" {
		name = "bottle-jail-linux" // it runs in the VM
	}
	jail, missing := d.Helper(name)
	if missing != nil {
		jail = "" // a start says so; whoever has no micro-VMs needs none
	}
	gateway, err := d.Helper("bottle-gateway")
	if err != nil {
		return nil, err
	}
	s := &smolvm.Smolvm{
		Program: find("smolvm", d.Env("PATH")), JailPath: jail, GatewayPath: gateway, Image: d.Env("BOTTLE_VM_IMAGE"), Filter: native.Filter,
		Pool: loopback.Pool{Range: pool, Unread: unread}, Ground: loopback.Ground{OS: runtime.GOOS, Terminal: d.Terminal, Tell: d.Tell},
	}
	if d.Docker != nil {
		s.Engine, s.Serve, s.Bundles, s.Pool.Bound = d.Docker, image.Serve, bundles{d.Docker}, d.Docker.Published
	}
	if d.Home != "" {
		s.Shelf.Dir = filepath.Join(d.Home, "cache", "images")
	}
	for _, v := range []string{"HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		if value := d.Env(v); value != "" {
			s.Env = append(s.Env, v+"="+value)
		}
	}
	return s, nil
}
