//go:build !linux

package native

import (
	"context"
	"errors"

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

// Filter is the seccomp program for this machine; only Linux has one.
func Filter() ([]byte, error) { return nil, missing() }
