package smolvm

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bottle/internal/backend/smolvm/rootfs"
)

// The weakness: two first starts on an older smolvm pack the same image at once. The attack:
// the one is ready while the other still writes. This proves that what a machine is made
// from is whole, and that nothing is left beside it.
func TestTwoPackAtOnce(t *testing.T) {
	shelf := rootfs.Shelf{Dir: t.TempDir()}
	image := filepath.Join(t.TempDir(), "agent.tar")
	if err := os.WriteFile(image, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Each writes a half, waits for its turn, and writes the rest; the second one is slower.
	turn := t.TempDir()
	script := `for o; do :; done
mkdir ` + turn + `/first 2>/dev/null && wait=0.2 || wait=0.6
printf half >"$o"; /bin/sleep $wait; printf rest >>"$o"`
	s := &Smolvm{Program: scriptedAt(t, script), Shelf: shelf, Serve: func(string) (string, func(), error) { return "localhost/agent", func() {}, nil }}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			args, err := s.from(t.Context(), dialect{version: "0.8.0"}, image)
			if err != nil || len(args) != 2 {
				t.Errorf("%q, %v", args, err)
				return
			}
			if b, err := os.ReadFile(args[1]); err != nil || string(b) != "halfrest" {
				t.Errorf("a machine is made from %q, %v", b, err)
			}
		})
	}
	both.Wait()
	left, err := os.ReadDir(shelf.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if !strings.HasPrefix(e.Name(), "agent-") || strings.Contains(e.Name(), "new") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

func scriptedAt(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smolvm")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nPATH=/usr/bin:/bin\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
