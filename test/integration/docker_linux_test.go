package integration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/backendtest"
	"bottle/internal/backend/docker"
	"bottle/internal/backend/docker/image"
	"bottle/internal/backend/native"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

// dockerWalls needs an engine, and root: the engine obeys whoever is that anyway,
// and the workspaces of the suite must be given to the agent.
func dockerWalls(t testing.TB) func() backend.Backend { return dockerWallsOf(t, 0) }

// dockerWallsOf are those of an operator with this uid. The suite itself runs as root.
func dockerWallsOf(t testing.TB, uid int) func() backend.Backend {
	t.Helper()
	host, agent := require.Docker(t)
	require.Root(t)
	dir := require.Binaries(t)
	bundle, err := bundleImage(host, dir)
	if err != nil {
		t.Fatal(err)
	}
	runtime := os.Getenv("BOTTLE_TEST_RUNTIME") // the engine's, such as runsc
	return func() backend.Backend {
		return givenToAgent{runtime, uid, &docker.Docker{JailPath: dir + "/bottle-jail", Image: agent, Bundle: bundle, Host: host, Filter: native.Filter, UID: uid, GID: uid}}
	}
}

// bundleImage builds and loads the gateway's image, once a process: without a base,
// since no test of the suite needs git in it.
func bundleImage(host, dir string) (string, error) {
	bundleOnce.Do(func() {
		h := sha256.New()
		for _, name := range []string{"bottle-gateway", "bottle-jail"} {
			body, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				bundleErr = err
				return
			}
			h.Write(body)
		}
		bundleRef = "bottle-gateway-test:" + hex.EncodeToString(h.Sum(nil)[:8])
		img, err := image.Bundle{Gateway: dir + "/bottle-gateway", Jail: dir + "/bottle-jail", Version: bottle.Version, Arch: runtime.GOARCH}.Build()
		if err != nil {
			bundleErr = err
			return
		}
		r, w := io.Pipe()
		go func() { w.CloseWithError(image.Write(w, bundleRef, img)) }()
		bundleErr = (&docker.Docker{Host: host}).Load(context.Background(), r)
		r.Close()
	})
	return bundleRef, bundleErr
}

var (
	bundleOnce sync.Once
	bundleRef  string
	bundleErr  error
)

// givenToAgent gives the workspaces of the suite to the agent's uid, as an operator's
// are who is an ordinary user, and to him the state folder.
type givenToAgent struct {
	runtime string
	uid     int // the operator's
	backend.Backend
}

// AgentIs tells the suite who the agent must be.
func (g givenToAgent) AgentIs() int {
	if g.uid > 0 {
		return g.uid
	}
	return 1000
}

func (g givenToAgent) Create(ctx context.Context, b plan.Bottle, gw plan.Gateway, secrets []byte) (backend.Bottle, error) {
	give, to := []string{}, g.AgentIs()
	if g.uid > 0 {
		give = append(give, b.State)
	}
	if b.Workspace.Mode != "none" {
		give = append(give, b.Workspace.Source)
	}
	for _, m := range b.Mounts {
		if m.Writable {
			give = append(give, m.Source)
		}
	}
	for _, dir := range give {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, to, to)
		})
		if err != nil {
			return nil, err
		}
	}
	b.Container.Runtime = g.runtime
	return g.Backend.Create(ctx, b, gw, secrets)
}

// TestDockerLife: create, place, verify, run, close, find, remove.
func TestDockerLife(t *testing.T) { backendtest.Life(t, dockerWalls(t)) }

// TestDockerStreams: no descriptor, file or variable of the host comes in.
func TestDockerStreams(t *testing.T) { backendtest.Streams(t, dockerWalls(t)) }

// TestDockerFiles: workspace and mounts, and nothing beside them.
func TestDockerFiles(t *testing.T) { backendtest.Files(t, dockerWalls(t)) }

// TestDockerNeighbours: two bottles at once see nothing of each other.
func TestDockerNeighbours(t *testing.T) { backendtest.Neighbours(t, dockerWalls(t)) }

// TestDockerTerminal: a terminal of the bottle's own.
func TestDockerTerminal(t *testing.T) { backendtest.Terminal(t, dockerWalls(t)) }

// TestDockerLimits: what an agent that wants too much gets.
func TestDockerLimits(t *testing.T) { backendtest.Limits(t, dockerWalls(t), true) }

// TestDockerEscapes: every attempt to get out, from inside. docs/decisions/0011-docker.md
// says what holds where native has more: an engine lets nobody say nosuid and nodev of a
// bind or of the root, and has a user namespace only if it runs in one.
func TestDockerEscapes(t *testing.T) {
	backendtest.Escapes(t, dockerWalls(t), "flags of ", "own namespace user")
}

// TestDockerSecondUser: all of that for an operator with another uid than an agent's usual.
func TestDockerSecondUser(t *testing.T) {
	walls := dockerWallsOf(t, 1001)
	t.Run("life", func(t *testing.T) { backendtest.Life(t, walls) })
	t.Run("streams", func(t *testing.T) { backendtest.Streams(t, walls) })
	t.Run("files", func(t *testing.T) { backendtest.Files(t, walls) })
	t.Run("terminal", func(t *testing.T) { backendtest.Terminal(t, walls) })
	t.Run("escapes", func(t *testing.T) { backendtest.Escapes(t, walls, "flags of ", "own namespace user") })
}
