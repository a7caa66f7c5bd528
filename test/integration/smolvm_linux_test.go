package integration

import (
	"os"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/backendtest"
	"bottle/internal/backend/native"
	"bottle/internal/backend/smolvm"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/test/require"
)

// microVMs is a backend over the stand-in; over a real smolvm where one is promised.
func microVMs(t *testing.T, faults smolvmtest.Faults) (func() backend.Backend, *smolvmtest.Installed) {
	t.Helper()
	s := smolvm.Smolvm{Filter: native.Filter, Pool: loopback.Pool{Range: loopback.Default()}, Ground: loopback.Ground{OS: "linux"}}
	dir := require.Binaries(t)
	s.JailPath, s.GatewayPath = dir+"/bottle-jail", dir+"/bottle-gateway"
	if strings.Contains(","+os.Getenv("BOTTLE_TEST_REQUIRE")+",", ",smolvm,") && faults == (smolvmtest.Faults{}) {
		s.Program, s.Image, s.Env = require.Tool(t, "smolvm"), os.Getenv("BOTTLE_TEST_IMAGE"), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
		if s.Image == "" {
			t.Fatal("set BOTTLE_TEST_IMAGE to the VM's root file system")
		}
		return func() backend.Backend { c := s; return &c }, nil
	}
	require.Root(t)
	require.Native(t)
	i := smolvmtest.Install(t, faults)
	s.Program, s.Image = i.Path, i.Rootfs
	return func() backend.Backend { c := s; return &c }, i
}

func microVM(t *testing.T) func() backend.Backend {
	be, _ := microVMs(t, smolvmtest.Faults{})
	return be
}

// TestInvariant7MicroVMLifeLeavesNothing: create, place, verify, run, close; exit codes;
// daemons; what is found and removed.
func TestInvariant7MicroVMLifeLeavesNothing(t *testing.T) { backendtest.Life(t, microVM(t)) }

// TestInvariant10MicroVMStreams: no descriptor, file or variable of the host comes in.
func TestInvariant10MicroVMStreams(t *testing.T) { backendtest.Streams(t, microVM(t)) }

// TestInvariant10MicroVMFiles: workspace and mounts, and nothing beside them.
func TestInvariant10MicroVMFiles(t *testing.T) { backendtest.Files(t, microVM(t)) }

// TestInvariant10MicroVMNeighbours: two bottles at once see nothing of each other.
func TestInvariant10MicroVMNeighbours(t *testing.T) { backendtest.Neighbours(t, microVM(t)) }

// TestInvariant10MicroVMTerminal: a terminal of the bottle's own.
func TestInvariant10MicroVMTerminal(t *testing.T) { backendtest.Terminal(t, microVM(t)) }

// TestMicroVMLimits: what an agent that wants too much gets.
func TestMicroVMLimits(t *testing.T) { backendtest.Limits(t, microVM(t), true) }

// TestInvariant10MicroVMEscapes: every attempt to get out, each a subtest.
func TestInvariant10MicroVMEscapes(t *testing.T) { backendtest.Escapes(t, microVM(t)) }
