//go:build !linux

package native

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"runtime"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Kind is the manifest's word for this backend.
const Kind = "native"

// Native is the backend; only Linux has the walls for it.
type Native struct {
	JailPath    string
	GatewayPath string
}

func missing() error {
	return errors.New("the native backend needs Linux; set `backend: docker` or `backend: smolmachines`")
}

// Kind implements backend.Backend.
func (n *Native) Kind() string { return Kind }

// Facts implements backend.Backend.
func (n *Native) Facts(context.Context) (backend.Facts, error) {
	return backend.Facts{Kind: Kind, Checks: []backend.Check{{Wall: "kernel", Needed: true, Found: missing().Error()}}}, nil
}

// Create implements backend.Backend.
func (n *Native) Create(context.Context, plan.Bottle, plan.Gateway, []byte) (backend.Bottle, error) {
	return nil, missing()
}

// Find implements backend.Backend.
func (n *Native) Find(context.Context) ([]backend.Leftover, error) { return nil, nil }

// Remove implements backend.Backend.
func (n *Native) Remove(context.Context, backend.Leftover) error { return missing() }

// programs are the seccomp programs for Linux on each processor, kept up to date by
// TestProgramsForOtherSystems.
//
//go:embed syscalls/*.bpf
var programs embed.FS

// Filter is the seccomp program for Linux on this machine's processor, as in a
// micro-VM, whose kernel is of the same kind.
func Filter() ([]byte, error) {
	b, err := programs.ReadFile("syscalls/" + runtime.GOARCH + ".bpf")
	if err != nil {
		return nil, fmt.Errorf("find the seccomp program of %s: %w", runtime.GOARCH, err)
	}
	return b, nil
}
