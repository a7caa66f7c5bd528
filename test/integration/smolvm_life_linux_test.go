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

// A person's session in a real terminal, with smolvm's own terminals as they should be and as
// some versions have them (0 by 0, and no change passed on): Ctrl-C and Ctrl-\\ are for what runs
// in it and not for its shell, Ctrl-Z stops it, keys pass raw, a program that asked hears of a
// new size by SIGWINCH, and the exit code passes.
func TestMicroVMOnATerminal(t *testing.T) {
	require.Tool(t, "tmux")
	for name, f := range map[string]smolvmtest.Faults{"1.9.3": {}, "no size": {NoSize: true}, "0.8.0": {Version: "0.8.0"}} {
		t.Run(name, func(t *testing.T) {
			h, i := vmHouse(t, "127.9.65.16", f, "")
			s := h.screen(100, 30, "start", h.agent, "--", "-c", "PS1='ok> ' exec bash --norc -i")
			s.Shows("Start it?")
			s.Types("y\n")
			s.Shows("ok>")
			sized(s, "30 100")
			s.Types("clear; test -t 0 && test -t 1 && test -t 2 && tty | cut -c1-9; ulimit -c 0\n")
			s.Shows("/dev/pts/")
			for key, code := range map[string]string{"C-c": "130", "C-\\": "131", "C-z": "148"} {
				s.Types("clear; sh -c 'echo go-$((1+" + code + ")) | tr 1-9 a-i; exec sleep 1000'\n") // once it speaks, the terminal is its own
				s.Shows(map[string]string{"130": "go-aca", "131": "go-acb", "148": "go-adi"}[code])
				s.Keys(key)
				s.Until("its prompt again", func(text string) bool { return strings.HasSuffix(strings.TrimSpace(text), "ok>") })
				s.Types("echo ended-$?\n")
				s.Shows("ended-" + code)
			}
			s.Types("clear; sh -c 'trap \"stty size\" WINCH; echo waits-$((1+1)); while :; do sleep 0.05; done'\n")
			s.Shows("waits-2")
			s.Tmux("resize-window", "-x", "91", "-y", "21")
			s.Shows("\n21 91")
			s.Tmux("resize-window", "-x", "70", "-y", "24")
			s.Shows("\n24 70")
			s.Keys("C-c")
			s.Until("its prompt again", func(text string) bool { return strings.HasSuffix(strings.TrimSpace(text), "ok>") })
			s.Types("clear; stty raw -echo; echo reads-$((1+1)); dd bs=1 count=3 2>/dev/null | od -An -c; stty sane; echo raw-$((1+1))\n")
			s.Shows("reads-2")
			s.Keys("C-c", "C-\\", "C-z")
			s.Shows("003", "034", "032", "raw-2")
			s.Types("exit 7\nexit 7\n") // a shell asks twice where a job stands still
			s.Shows("exit code 7.")
			require.Eventually(t, screen.Patience, "the machine is gone", func() bool { return len(i.Machines()) == 0 })
			h.nothingLeft("a session")
		})
	}
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
