package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"bottle/internal/backend"
	"bottle/internal/cli/ui"
	"bottle/internal/cli/walls"
	"bottle/internal/demo"
	"bottle/internal/plan"
	"bottle/test/require"
)

// shown runs the demo as a person would, and gives its exit code and report.
func shown(t *testing.T, c demo.Config) (int, demo.Report) {
	t.Helper()
	require.Native(t)
	bin := require.Binaries(t)
	var out, errs bytes.Buffer
	d := system(os.Stdin, os.Stdout, os.Stderr)
	d.Stdin, d.Stdout, d.Stderr = strings.NewReader(""), &out, &errs
	d.Self = func() (string, error) { return filepath.Join(bin, "bottle"), nil }
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	c.Remove = true
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	code := ui.Report(&errs, ui.Plain, d.demo(cmd, c, true))
	var r demo.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", code, err, &out, &errs)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	return code, r
}

func brokenOf(r demo.Report) (ids []string) {
	for _, a := range r.Attempts {
		if !a.OK {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

func TestDemoHolds(t *testing.T) {
	code, r := shown(t, demo.Config{})
	if code != 0 || !r.OK || len(r.Attempts) < 13 || !r.Audit.Whole || r.Walls == 0 || r.Up <= 0 {
		t.Errorf("exit %d: %+v", code, r)
	}
}

// Without curl and git the demo shows the same with its own client.
func TestDemoNeedsNoOtherProgram(t *testing.T) {
	nothing := filepath.Join(t.TempDir(), "nothing")
	if err := os.WriteFile(nothing, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var c demo.Config
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"} {
		for _, name := range []string{"curl", "git"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				c.Mounts = append(c.Mounts, plan.Mount{Source: nothing, Target: filepath.Join(dir, name)})
			}
		}
	}
	code, r := shown(t, c)
	if code != 0 || len(r.Attempts) != 13 {
		t.Errorf("exit %d, %d attempts, broken %v: %+v", code, len(r.Attempts), brokenOf(r), r)
	}
}

// A demo that can't fail proves nothing: a bottle that is opened somewhere turns
// the verdicts of what went through there, and the exit code.
func TestDemoFailsWhereTheBottleIsWidened(t *testing.T) {
	const routes = "  routes:\n"
	for _, c := range []struct {
		name, old, new string
		want           []string
	}{
		{"every path", `      path_allowlist: ["/v1/"]` + "\n", "", []string{"admin"}},
		{"the pastebin", routes, routes + "    - {host: pastebin.demo.example, upstream: {address: \"@PASTE@\", ca_file: @CA@}}\n", []string{"paste", "dnspaste", "front"}},
		{"the host's loopback", routes, routes + "    - {host: 127.0.0.1, ports: [@PORT@], upstream: {address: \"@SERVICE@\"}}\n", []string{"service", "byproxy"}},
		{"the token in the environment", "env:\n", "env:\n  LEAK: \"@REALTOKEN@\"\n", []string{"env"}},
		{"another placeholder", "DEMO_TOKEN: ", "DEMO_TOKEN: x", []string{"env"}},
		{"the folder itself", "mode: overlay", "mode: bind", []string{"write"}},
		{"no route", "host: api.demo.example", "host: api2.demo.example", []string{"whoami", "admin", "direct", "front"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, r := shown(t, demo.Config{Edit: func(b []byte) []byte {
				text := string(b)
				if !strings.Contains(text, c.old) {
					t.Errorf("the manifest has no %q", c.old)
				}
				ca := text[strings.Index(text, "ca_file: ")+len("ca_file: ") : strings.Index(text, "}\ngit_user")]
				return []byte(strings.Replace(text, c.old, strings.ReplaceAll(c.new, "@CA@", ca), 1))
			}})
			want := c.want
			if c.name == "the folder itself" {
				if _, err := exec.LookPath("git"); err == nil {
					want = append(want, "commit")
				}
			}
			if got := brokenOf(r); code != ui.CodeNo || r.OK || !slices.Equal(got, want) {
				t.Errorf("exit %d, broken %v, want %v\n%+v", code, got, want, r.Attempts)
			}
		})
	}
}

// A machine that can't hold a bottle is told so in the doctor's words, and
// nothing of the demo is left.
func TestDemoWhereNoBottleCanStand(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	d, out, errs := fakeDeps(t, map[string]string{"TERM": "dumb"})
	d.Self = os.Executable
	d.Backends[walls.Default(runtime.GOOS, "")] = func(*deps) (backend.Backend, error) { return &fakeWall{missing: true}, nil }
	code := run(t.Context(), d, []string{"demo"})
	if code != ui.CodeFailed || !strings.Contains(errs.String(), "this machine cannot hold a bottle") || !strings.Contains(errs.String(), "bottle doctor") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// An interrupted demo leaves nothing, and its words say so.
func TestDemoInterrupted(t *testing.T) {
	require.Native(t)
	bin := require.Binaries(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	d, out, errs := fakeDeps(t, map[string]string{"TERM": "dumb"})
	real := system(os.Stdin, os.Stdout, os.Stderr)
	d.Self, d.Backends = func() (string, error) { return filepath.Join(bin, "bottle"), nil }, real.Backends
	d.Stdout = cutting{out, "whoami", cancel}
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	code := ui.Report(errs, ui.Plain, d.demo(cmd, demo.Config{}, false))
	if code != ui.CodeFailed || !strings.Contains(errs.String(), "interrupted") || strings.Contains(out.String(), "judged") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// cutting calls cut when a word is written.
type cutting struct {
	to   io.Writer
	word string
	cut  func()
}

func (c cutting) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.word)) {
		c.cut()
	}
	return c.to.Write(p)
}
