package canaries

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/test/require"
)

// install puts the pinned CLIs into the cache, once for all versions in
// versions.json, and returns the prefix: bin/, lib/node_modules/.
func install(t *testing.T) string {
	t.Helper()
	require.Canary(t)
	npm := require.Tool(t, "npm")
	text, err := os.ReadFile("versions.json")
	if err != nil {
		t.Fatal(err)
	}
	var pins struct {
		Packages map[string]string `json:"packages"`
	}
	if err := json.Unmarshal(text, &pins); err != nil {
		t.Fatal(err)
	}
	var specs []string
	for name, version := range pins.Packages {
		specs = append(specs, name+"@"+version)
	}
	slices.Sort(specs)
	dir := cacheDir(t)
	prefix := filepath.Join(dir, strings.NewReplacer("/", "-", "@", "_").Replace(strings.Join(specs, "+")))
	unlock := lock(t, filepath.Join(dir, "lock"))
	defer unlock()
	if _, err := os.Stat(prefix); err == nil {
		return prefix
	}
	fresh, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	args := append([]string{"install", "--global", "--prefix", fresh, "--no-audit", "--no-fund", "--ignore-scripts=false"}, specs...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // 13 s where the registry is near
	defer cancel()
	run(t, exec.CommandContext(ctx, npm, args...))
	finish(t, fresh)
	if err := os.Chmod(fresh, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, prefix); err != nil {
		t.Fatal(err)
	}
	return prefix
}

// finish runs Claude Code's install script where npm's policy did not: until
// then bin/claude.exe is a stub.
func finish(t *testing.T, prefix string) {
	t.Helper()
	pkg := filepath.Join(prefix, "lib/node_modules/@anthropic-ai/claude-code")
	head := make([]byte, 4)
	f, err := os.Open(filepath.Join(pkg, "bin/claude.exe"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(head); err == nil && bytes.Equal(head, []byte("\x7fELF")) {
		return
	}
	cmd := exec.Command(require.Tool(t, "node"), "install.cjs")
	cmd.Dir = pkg
	run(t, cmd)
}

// cacheDir is where the CLIs are kept. Root's own cache folder is closed to the
// ordinary user that a CLI runs as, so root uses /var/cache.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("BOTTLE_CANARY_DIR")
	if dir == "" {
		base, err := os.UserCacheDir()
		if os.Geteuid() == 0 {
			base, err = "/var/cache", nil
		}
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(base, "bot-bottle-canaries")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lock holds an exclusive lock on a file until the returned function is called.
func lock(t *testing.T, name string) func() {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(fmt.Errorf("lock %s: %w", name, err))
	}
	return func() { f.Close() }
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}
