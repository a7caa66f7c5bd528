// Package integration drives real sandboxes and the real programs.
package integration

import (
	"os"
	"syscall"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/backendtest"
	"bottle/internal/backend/native"
	"bottle/test/require"
)

func TestMain(m *testing.M) {
	if code, ran := backendtest.Inside(os.Args); ran {
		os.Exit(code)
	}
	syscall.Umask(0o022) // some systems give files to the group, and such manifests are refused
	os.Exit(m.Run())
}

func nativeWalls(t *testing.T) func() backend.Backend {
	t.Helper()
	require.Native(t)
	dir := require.Binaries(t)
	return func() backend.Backend {
		return &native.Native{JailPath: dir + "/bottle-jail", GatewayPath: dir + "/bottle-gateway"}
	}
}

// TestNativeLife: create, place, verify, run, close; exit codes; daemons; what is found.
func TestInvariant7NativeLifeLeavesNothing(t *testing.T) { backendtest.Life(t, nativeWalls(t)) }

func TestNativeStreams(t *testing.T) { backendtest.Streams(t, nativeWalls(t)) }

func TestNativeFiles(t *testing.T) { backendtest.Files(t, nativeWalls(t)) }

func TestInvariant10NativeNeighbours(t *testing.T) { backendtest.Neighbours(t, nativeWalls(t)) }

func TestNativeTerminal(t *testing.T) { backendtest.Terminal(t, nativeWalls(t)) }

func TestNativeLimits(t *testing.T) { backendtest.Limits(t, nativeWalls(t)) }

// TestInvariant10NativeEscapes: every attempt to get out, each a subtest.
func TestInvariant10NativeEscapes(t *testing.T) { backendtest.Escapes(t, nativeWalls(t)) }
