package canaries

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/provider"
	"bottle/test/require"
)

const (
	realAnthropic = "sk-ant-api03-REAL-the-operators-own-key-that-no-bottle-may-see-AA"
	realOAuth     = "sk-ant-oat01-REAL-the-operators-own-token-that-no-bottle-may-see-AA"
	realOpenAI    = "sk-proj-REAL-the-operators-own-key-that-no-bottle-may-see"
	answer        = "the fake says hello"
	limit         = 90 * time.Second
)

// nobody is who a CLI runs as when the test runs as root: Claude Code refuses to
// run unattended as root.
const nobody = 65534

// scratch is a folder that the ordinary user owns.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "canary-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a program that lost its terminal writes its state once more
		require.Eventually(t, 10*time.Second, "the scratch folder goes", func() bool { return os.RemoveAll(dir) == nil })
	})
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	own(t, dir)
	return dir
}

func own(t *testing.T, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(name, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name string, content []byte, mode os.FileMode) string {
	t.Helper()
	for _, dir := range missing(filepath.Dir(name)) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		own(t, dir)
	}
	if err := os.WriteFile(name, content, mode); err != nil {
		t.Fatal(err)
	}
	own(t, name)
	return name
}

// missing lists the folders of a path that are not there yet, outermost first.
func missing(dir string) []string {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	return append(missing(filepath.Dir(dir)), dir)
}

// bare is one CLI outside any bottle, prepared by the provider, in a scratch home.
type bare struct {
	home string
	dir  string // its workspace
	args []string
	env  []string
	keys map[string]string // token_ref -> placeholder
}

// prepare asks the provider for a CLI and places its files below a scratch home
// instead of /home/agent. swap replaces further text in files and environment.
func prepare(t *testing.T, prefix, template, role string, extra []string, swap ...string) bare {
	t.Helper()
	node := filepath.Dir(require.Tool(t, "node"))
	result := provider.Prepare(provider.Request{
		Spec: bottle.Spec{
			Provider: bottle.Provider{Template: template},
			Routes:   []bottle.Route{{Role: role, Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "KEY"}}},
		},
		Agent:     bottle.Agent{Name: "canary", File: "canary.md", Prompt: "- You are a canary.\n"},
		Root:      os.DirFS("/"),
		Path:      []string{filepath.Join(prefix, "bin"), node},
		UserHome:  "/home/operator",
		ExtraArgs: extra,
		Seed:      []byte("0123456789abcdef"),
	})
	if len(result.Problems) > 0 {
		t.Fatal(result.Problems)
	}
	b := bare{home: scratch(t), keys: result.Placeholders}
	b.dir = filepath.Join(b.home, "work")
	write(t, filepath.Join(b.dir, "README.md"), []byte("a workspace\n"), 0o644)
	replace := strings.NewReplacer(append([]string{"/home/agent", b.home, "/workspace", b.dir}, swap...)...)
	for _, f := range result.Files {
		write(t, replace.Replace(f.Path), []byte(replace.Replace(string(f.Content))), os.FileMode(f.Mode))
	}
	b.args = result.Args
	b.env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + b.home, "USER=agent", "SHELL=/bin/sh", "TERM=xterm-256color", "LANG=C.UTF-8", "TMPDIR=" + b.home}
	for _, kv := range result.Env {
		b.env = append(b.env, replace.Replace(kv))
	}
	return b
}

// command is a process of the ordinary user with an environment of its own.
func command(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, env
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// output runs a command to its end and returns its standard output.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second // a grandchild may hold the pipe
	began := time.Now()
	err := cmd.Run()
	t.Logf("%s ran for %v", filepath.Base(cmd.Args[0]), time.Since(began).Round(time.Millisecond))
	if err != nil {
		t.Fatalf("%.300q: %v\n%s\n%s", cmd.Args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// bottled is one bottle with one route to a fake.
type bottled struct {
	binary string
	home   string // BOTTLE_HOME
	dir    string // the operator's current folder
	env    []string
}

// target is what a bottle's one route leads to.
type target struct {
	template, host, scheme, role, secret, addr string
	ca                                         []byte
}

// manifest writes a bottle and an agent, both named canary, and the operator's environment.
func manifest(t *testing.T, prefix string, to target) bottled {
	t.Helper()
	binary := os.Getenv("BOTTLE_BIN")
	if binary == "" {
		binary = filepath.Join(require.Binaries(t), "bottle")
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp("", "canary-bottle-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	b := bottled{binary: binary, home: filepath.Join(root, "home"), dir: filepath.Join(root, "work")}
	plain := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ca := filepath.Join(root, "ca.pem")
	plain(ca, string(to.ca))
	plain(filepath.Join(b.dir, "README.md"), "a workspace\n")
	plain(filepath.Join(b.home, "agents", "canary.md"), "---\nbottle: canary\n---\n- You are a canary.\n")
	plain(filepath.Join(b.home, "bottles", "canary.md"), fmt.Sprintf(`---
egress:
  routes:
    - host: %s
      path_allowlist: ["/v1/"]
      auth: {scheme: %q, token_ref: CANARY_KEY}
      role: %s
      upstream: {address: %q, ca_file: %q}
agent_provider: {template: %s}
---
A bottle for the canaries.
`, to.host, to.scheme, to.role, to.addr, ca, to.template))
	b.env = []string{
		"PATH=" + filepath.Join(prefix, "bin") + ":" + os.Getenv("PATH"), "HOME=" + root, "TERM=xterm-256color", "LANG=C.UTF-8",
		"BOTTLE_HOME=" + b.home, "CANARY_KEY=" + to.secret,
	}
	return b
}

// start is `bottle start canary --yes -- args…`, run to its end.
func (b bottled) start(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.binary, append([]string{"start", "canary", "--yes", "--"}, args...)...)
	cmd.Dir, cmd.Env = b.dir, b.env
	return output(t, cmd)
}

// resume is `bottle resume canary --yes -- args…`, run to its end.
func (b bottled) resume(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.binary, append([]string{"resume", "canary", "--yes", "--"}, args...)...)
	cmd.Dir, cmd.Env = filepath.Dir(b.dir), b.env
	return output(t, cmd)
}
