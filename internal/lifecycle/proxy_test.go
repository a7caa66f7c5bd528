package lifecycle_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"bottle/internal/lifecycle"
	"bottle/internal/plan"
)

// TestProxyThatNeverServedLeavesNothing, whatever kept it from serving; only a taken
// address is told as one.
func TestProxyThatNeverServedLeavesNothing(t *testing.T) {
	gateway := func(body string) string {
		path := filepath.Join(t.TempDir(), "gateway")
		if err := os.WriteFile(path, []byte("#!/bin/sh\nread -r told\nread -r secrets\n"+body), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		gateway string
		listen  bool
	}{
		"no program":    {"/nonexistent", false},
		"no hello":      {gateway("echo broken >&2; exit 1\n"), false},
		"not ready":     {gateway("echo '{}'; echo '{\"failed\": \"no policy\"}'\n"), false},
		"address taken": {gateway("echo '{}'; echo '{\"failed\": \"" + plan.FailedListen + ": in use\"}'\n"), true},
	} {
		f := newFixture(t)
		err := f.house.Proxy(t.Context(), lifecycle.Solo{
			Spec: f.req.Spec, Gateway: c.gateway, Listen: "127.0.0.1:0",
			Up: func(lifecycle.Proxying) { t.Errorf("%s: it serves", name) },
		})
		if err == nil || errors.Is(err, lifecycle.ErrListen) != c.listen {
			t.Errorf("%s: %v", name, err)
		}
		if left := f.entries(); len(left) != 0 {
			t.Errorf("%s: it left %v", name, left)
		}
	}
}
