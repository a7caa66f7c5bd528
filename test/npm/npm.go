// Package npm installs pinned packages from the npm registry into a folder outside
// the tree, once for all tests and runs.
package npm

import (
	"context"
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

// Install installs specs, each a name@version, and returns the prefix: bin/,
// lib/node_modules/. It needs npm, and the registry if the packages are not there
// yet. BOTTLE_CANARY_DIR names another folder for them than bot-bottle-canaries in
// the user's cache folder (in /var/cache for root).
func Install(t testing.TB, specs ...string) string {
	t.Helper()
	return InstallThen(t, func(string) {}, specs...)
}

// InstallThen is Install that calls finish with the prefix before others see it.
func InstallThen(t testing.TB, finish func(prefix string), specs ...string) string {
	t.Helper()
	npm := require.Tool(t, "npm")
	specs = slices.Sorted(slices.Values(specs))
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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // 13 s where the registry is near
	defer cancel()
	if out, err := exec.CommandContext(ctx, npm, args...).CombinedOutput(); err != nil {
		t.Fatalf("npm %q: %v\n%s", args, err, out)
	}
	finish(fresh)
	if err := os.Chmod(fresh, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, prefix); err != nil {
		t.Fatal(err)
	}
	return prefix
}

// cacheDir is where the packages are kept. Root's own cache folder is closed to
// the ordinary user that a program runs as, so root uses /var/cache.
func cacheDir(t testing.TB) string {
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
func lock(t testing.TB, name string) func() {
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
