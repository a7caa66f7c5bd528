package integration

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/backendtest"
	"bottle/internal/backend/docker"
	"bottle/internal/backend/native"
	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/test/programs"
	"bottle/test/require"
)

func TestMain(m *testing.M) {
	if code, ran := backendtest.Inside(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := smolvmtest.Main(os.Args); ran {
		os.Exit(code)
	}
	syscall.Umask(0o022) // some systems give files to the group, and such manifests are refused
	if filepath.Base(os.Args[0]) == "claude" {
		os.Exit(fakeClaude(os.Args[1:]))
	}
	if filepath.Base(os.Args[0]) == "bottle-jail" { // an orphan of ours, dressed up
		time.Sleep(limit)
		return
	}
	if len(os.Args) == 6 && os.Args[1] == faultWord {
		os.Exit(faulty(os.Args[2], os.Args[3], os.Args[4], os.Args[5]))
	}
	if len(os.Args) == 4 && os.Args[1] == dockerFaultWord {
		os.Exit(dockerFaulty(&docker.Docker{
			JailPath: os.Getenv("BOTTLE_FAULT_BIN") + "/bottle-jail", Image: os.Getenv("BOTTLE_FAULT_IMAGE"), Bundle: os.Getenv("BOTTLE_FAULT_BUNDLE"), Host: os.Getenv("DOCKER_HOST"), Filter: native.Filter,
		}, os.Args[2], os.Args[3]))
	}
	code := m.Run()
	programs.Remove()
	os.Exit(code)
}

func nativeWalls(t *testing.T) func() backend.Backend {
	t.Helper()
	require.Native(t)
	dir := require.Binaries(t)
	return func() backend.Backend {
		return &native.Native{JailPath: dir + "/bottle-jail", GatewayPath: dir + "/bottle-gateway"}
	}
}

// TestInvariant7NativeLifeLeavesNothing: create, place, verify, run, close; exit
// codes; daemons; what is found and removed.
func TestInvariant7NativeLifeLeavesNothing(t *testing.T) { backendtest.Life(t, nativeWalls(t)) }

// TestInvariant10NativeStreams: no descriptor, file or variable of the host comes in.
func TestInvariant10NativeStreams(t *testing.T) { backendtest.Streams(t, nativeWalls(t)) }

// TestInvariant10NativeFiles: workspace and mounts, and nothing beside them.
func TestInvariant10NativeFiles(t *testing.T) { backendtest.Files(t, nativeWalls(t)) }

// TestInvariant10NativeNeighbours: two bottles at once see nothing of each other.
func TestInvariant10NativeNeighbours(t *testing.T) { backendtest.Neighbours(t, nativeWalls(t)) }

// TestInvariant10NativeTerminal: a terminal of the bottle's own.
func TestInvariant10NativeTerminal(t *testing.T) { backendtest.Terminal(t, nativeWalls(t)) }

// TestNativeLimits: what an agent that wants too much gets.
func TestNativeLimits(t *testing.T) { backendtest.Limits(t, nativeWalls(t), true) }

// TestInvariant10NativeEscapes: every attempt to get out, each a subtest.
func TestInvariant10NativeEscapes(t *testing.T) { backendtest.Escapes(t, nativeWalls(t)) }
