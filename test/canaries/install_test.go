package canaries

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bottle/test/npm"
	"bottle/test/require"
)

// install puts the pinned CLIs into the cache, once for all versions in
// versions.json, and returns the prefix: bin/, lib/node_modules/.
func install(t *testing.T) string {
	t.Helper()
	require.Canary(t)
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
	return npm.InstallThen(t, func(prefix string) { finish(t, prefix) }, specs...)
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

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}
