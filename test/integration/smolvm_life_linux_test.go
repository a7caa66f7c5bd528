package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/test/require"
	"bottle/test/screen"
)

// A bottle in a micro-VM that is left alone has terminals like any other: two at once, the
// smaller one's size, which follows, although smolvm's own terminal has none; who detaches
// leaves the agent alone, and its exit code is told.
func TestMicroVMAttach(t *testing.T) {
	h, i := vmHouse(t, "127.9.61.16", smolvmtest.Faults{NoSize: true}, "")
	id := h.leave(anyShell)
	one := h.screen(100, 30, "attach", id)
	one.Shows("attached to "+id, "ok>")
	sized(one, "30 100")
	two := h.screen(80, 24, "attach", id)
	sized(two, "24 80")
	two.Types("echo two-$((1+1)) $(id -u)\n")
	two.Shows("two-2 1000")
	one.Shows("two-2 1000")
	two.Keys("C-]")
	two.Shows("detached from "+id, "exit code 0.")
	sized(one, "30 100")
	one.Tmux("resize-window", "-x", "90", "-y", "20")
	sized(one, "20 90")
	one.Types("exit 7\n")
	one.Shows(id+" has ended, with exit code 7", "exit code 7.")
	require.Eventually(t, screen.Patience, "the machine is gone", func() bool { return len(i.Machines()) == 0 })
	h.nothingLeft("an attached micro-VM")
}

// The dashboard shows it beside the others, and stops it.
func TestMicroVMOnTheDashboard(t *testing.T) {
	h, i := vmHouse(t, "127.9.62.16", smolvmtest.Faults{}, "")
	b := h.begin("echo ready; while :; do sleep 0.05; done")
	d := h.dashboard(120, 40)
	d.Shows("1 bottle", h.agent)
	d.Keys("q")
	d.Shows("exit code 0.")
	if m := i.Machines(); len(m) != 1 || m[0].State != "running" {
		t.Errorf("leaving the dashboard changed the machines: %+v", m)
	}
	h.tool("stop", string(h.identity()))
	b.ends()
	if m := i.Machines(); len(m) != 0 {
		t.Errorf("left: %+v", m)
	}
}

// The limits of a manifest are the machine's, and the jail's in it.
func TestMicroVMLimitsOfAManifest(t *testing.T) {
	h, i := vmHouse(t, "127.9.63.16", smolvmtest.Faults{}, "limits: {memory: 512MiB, cpus: 1.5, open_files: 77}\n")
	b := h.begin("ulimit -n; echo ready; read x")
	m := i.Machines()
	if len(m) != 1 {
		t.Fatalf("machines %+v", m)
	}
	if argv := strings.Join(m[0].Argv, " "); !strings.Contains(argv, "--mem 608") || !strings.Contains(argv, "--cpus 2") {
		t.Errorf("it was made with %s", argv)
	}
	b.types("go")
	if code := b.ends(); code != 0 || !strings.HasPrefix(b.out.String(), "77\n") {
		t.Errorf("%d %s%s", code, b.out, b.errs)
	}
}

// The workspace is a private view, the folder itself, or none, as everywhere.
func TestMicroVMWorkspaces(t *testing.T) {
	for mode, want := range map[string]struct{ out, file string }{
		"overlay": {"a project\n", "a project\n"}, "bind": {"a project\n", "changed\n"}, "none": {"nothing\n", "a project\n"},
	} {
		t.Run(mode, func(t *testing.T) {
			h, _ := vmHouse(t, "127.9.64.16", smolvmtest.Faults{}, "workspace: {mode: "+mode+"}\n")
			if s := h.start("cat /workspace/README 2>/dev/null || echo nothing; (echo changed >/workspace/README) 2>/dev/null; true"); s.code != 0 || s.out != want.out {
				t.Errorf("%+v", s)
			}
			if b, err := os.ReadFile(filepath.Join(h.work(), "README")); err != nil || string(b) != want.file {
				t.Errorf("the folder has %q, %v", b, err)
			}
			h.cleanedUp("after a start")
		})
	}
}
