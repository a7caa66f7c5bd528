package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHearing(t *testing.T) {
	var events []string
	h := &hearing{answers: map[string]Answer{}, tell: func(e Event) { events = append(events, fmt.Sprint(e.Kind, "|", e.Attempt, "|", e.Text)) }}
	out := "noise\ntry\twrite\nout\tA=b\ngot\twrite\twritten\ngot\twrite\trefused\ntry\tnothing known\ngot\tkeys\t\x1b[2J /x\ngot\ngot\tenv\n"
	for i := range len(out) { // however the pipe cuts it
		if n, err := h.Write([]byte(out[i : i+1])); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	fmt.Fprint(stderr{h}, "complaint\n")
	all, answers := h.said()
	if string(all) != out+"complaint\n" {
		t.Errorf("kept %q", all)
	}
	want := map[string]Answer{"write": {"written"}, "keys": {`\x1b[2J /x`}, "env": {}}
	if d := cmp.Diff(want, answers); d != "" {
		t.Error(d)
	}
	wantEvents := []string{
		"trying|write to the repository|", "got|write to the repository|README.md has a new line",
		`got|read the host's keys|found\x1b[2J /x`, "got|read every environment in reach| variables, DEMO_TOKEN=",
	}
	if d := cmp.Diff(wantEvents, events); d != "" {
		t.Error(d)
	}
}

// An agent that never ends a line, or never ends, fills no memory.
func TestHearingIsBounded(t *testing.T) {
	h := &hearing{answers: map[string]Answer{}, tell: func(Event) {}}
	for range 100 {
		if _, err := h.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.all) != maxOutput || len(h.line) > 8<<10 {
		t.Errorf("kept %d bytes and a line of %d", len(h.all), len(h.line))
	}
}

func TestTold(t *testing.T) {
	for want, a := range map[string]Answer{
		"200 {}":                          {"0", "200", "200", "0.1", "{} "},
		"no such name":                    {"6", "000", "000", "0.1", ""},
		"connection refused after 300µs":  {"7", "000", "000", "0.000312", ""},
		"403 from the gateway, no tunnel": {"56", "000", "403", "0.1", ""},
		"no answer in time":               {"28"},
		"failed (curl's exit code 60)":    {"60"},
		"nothing":                         nil,
		"403 a route lists this host, but not this path": {"0", "403", "200", "0.1", `{"reason":"path_not_listed","message":"x"}`},
	} {
		if got := a.told(); got != want {
			t.Errorf("%q: %q, want %q", []string(a), got, want)
		}
	}
}

func TestExample(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	e, err := newExample()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.write("127.0.0.1:4000", []byte("PEM\n"), nil); err != nil {
		t.Fatal(err)
	}
	agent, spec, problems := e.load("")
	if len(problems) > 0 || agent.Bottle != "demo" || len(spec.Routes) != 1 || spec.Routes[0].Upstream.Address != "127.0.0.1:4000" {
		t.Fatalf("%+v %+v %v", agent, spec, problems)
	}
	for _, path := range []string{e.bottleFile, e.agentFile} {
		if body, err := os.ReadFile(path); err != nil || strings.Contains(string(body), "@API@") {
			t.Errorf("%s: %v\n%s", path, err, body)
		}
	}
	if f, err := newExample(); err != nil || f.token == e.token || len(f.token) < 32 {
		t.Errorf("the token is always %s: %v", f.token, err)
	}
	if got, err := holding(e.dir, e.token); len(got) > 0 || err != nil {
		t.Errorf("the token is in %v (%v)", got, err)
	}
	if got, err := holding(e.dir, e.canary); !slices.Equal(got, []string{"home/key"}) || err != nil {
		t.Errorf("the key is in %v (%v)", got, err)
	}
	// Whatever happens to the folder is seen.
	for _, change := range []func() error{
		func() error { return os.WriteFile(filepath.Join(e.repo, "README.md"), []byte("x"), 0o644) },
		func() error { return os.Mkdir(filepath.Join(e.repo, "new"), 0o755) },
		func() error { return os.Chmod(e.script, 0o755) },
		func() error { return os.Remove(filepath.Join(e.repo, ".git", "HEAD")) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := snapshot(e.repo)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{".git/HEAD", "README.md", "agent.sh", "new"}, differences(e.before, after)); d != "" {
		t.Error(d)
	}
}

// What an agent left in the place of a file leads nowhere.
func TestPeekFollowsNothing(t *testing.T) {
	dir := t.TempDir()
	for name, to := range map[string]string{"out": "/etc/passwd", "in": "file"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"file": "x", "out": "", "in": "", "gone": "", "../x": ""} {
		if got := peek(dir, name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if peek("", "file") != "" {
		t.Error("no folder, and something in it")
	}
}

// The place is never one where no bottle could stand, nor one that is not there.
func TestPlace(t *testing.T) {
	dir := t.TempDir()
	for _, c := range [][2]string{{dir, "/nonexistent"}, {dir, "/proc"}, {"/nonexistent", "/proc"}} {
		if got := place(c[0], c[1]); got != c[0] {
			t.Errorf("%v: %s", c, got)
		}
	}
}
