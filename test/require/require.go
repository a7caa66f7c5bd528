// Package require says what a test needs of the machine. A missing thing skips
// the test; a missing thing that BOTTLE_TEST_REQUIRE lists fails it, so that a
// machine which should have it cannot quietly test less.
//
// BOTTLE_TEST_REQUIRE is a list of needs, joined by commas: native, userns,
// user, root, docker, network, the name of any program that Tool is asked for, and
// python-x for a Python module x. An unknown word simply never matches.
package require

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Marker begins every skip of this package, followed by the need and a colon.
// The test summary of .ci/run reads it to learn what was skipped for what.
const Marker = "needs "

// Missing ends t because the machine has no need (a single word): a failure when
// BOTTLE_TEST_REQUIRE lists it, else a skip. why is for a person.
func Missing(t testing.TB, need, why string) {
	t.Helper()
	if Promised(need) {
		t.Fatalf("%s%s, which BOTTLE_TEST_REQUIRE promises: %s", Marker, need, why)
	}
	t.Skipf("%s%s: %s", Marker, need, why)
}

// Promised reports whether BOTTLE_TEST_REQUIRE lists need: then a test of it may take its time.
func Promised(need string) bool { return slices.Contains(required(), need) }

func required() []string {
	words := strings.Split(os.Getenv("BOTTLE_TEST_REQUIRE"), ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	return words
}

// Tool needs every named program on PATH. It returns the path of the last one.
func Tool(t testing.TB, names ...string) string {
	t.Helper()
	found := ""
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			Missing(t, name, err.Error())
		}
		found = path
	}
	return found
}

// SystemPython is the interpreter that the distribution's Python packages belong to;
// a python3 that stands before it on PATH may know none of them.
const SystemPython = "/usr/bin/python3"

// Python needs modules of SystemPython. The need of the module x is called python-x.
func Python(t testing.TB, modules ...string) {
	t.Helper()
	for _, m := range modules {
		if out, err := exec.Command(SystemPython, "-c", "import "+m).CombinedOutput(); err != nil {
			Missing(t, "python-"+m, fmt.Sprintf("%s: import %s: %v %.300s", SystemPython, m, err, out))
		}
	}
}

// User needs an ordinary user: what works as root only would pass unseen.
func User(t testing.TB) {
	t.Helper()
	if os.Geteuid() <= 0 {
		Missing(t, "user", "this test runs as an ordinary user, not as root")
	}
}

// Root needs root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "root", "this test runs as root")
	}
}

// Native needs what the native backend stands on: Linux, and new user, mount,
// network, pid, ipc and uts namespaces with power inside them. Ubuntu's AppArmor
// rule lets a program make the namespace but not use it, so the probe mounts.
func Native(t testing.TB) {
	t.Helper()
	if err := probe(); err != nil {
		Missing(t, "native", err.Error())
	}
}

// Userns needs new user namespaces; it is Native under the kernel's name.
func Userns(t testing.TB) {
	t.Helper()
	if err := probe(); err != nil {
		Missing(t, "userns", err.Error())
	}
}

// Canary needs BOTTLE_RUN_CANARIES=1: the test fetches pinned software of others.
func Canary(t testing.TB) {
	t.Helper()
	if os.Getenv("BOTTLE_RUN_CANARIES") != "1" {
		Missing(t, "canaries", "set BOTTLE_RUN_CANARIES=1, or run make canaries")
	}
}

// Binaries gives the folder with bottle, bottle-gateway and bottle-jail, freshly
// built. BOTTLE_TEST_BIN names a folder where they stand already, for a test
// binary that runs where there is no Go and no source.
func Binaries(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("BOTTLE_TEST_BIN"); dir != "" {
		return dir
	}
	dir, err := build()
	if err != nil {
		t.Fatalf("build the binaries: %v", err)
	}
	return dir
}

// Module gives the folder of go.mod, from any package's folder.
func Module(t testing.TB) string {
	t.Helper()
	dir, err := module()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Eventually calls ok until it returns true; it fails t after limit. It is for
// facts of other processes that nobody announces, and never for our own.
func Eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func module() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("find module: no go.mod above the working folder")
		}
		dir = up
	}
}

// build is done once a process. The folder is the module's bin/, so that a build
// that is up to date costs no linking, under a lock, since several packages are
// tested at a time.
var build = sync.OnceValues(func() (string, error) {
	root, err := module()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/...: %w\n%s", err, out)
	}
	return dir, nil
})
