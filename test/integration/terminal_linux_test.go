package integration

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"bottle/test/require"
)

// onTerminal starts the tool on a terminal of this test.
func (h *house) onTerminal(args ...string) (*background, *os.File) {
	h.t.Helper()
	return h.onTerminalOf(h.command(args...))
}

// onTerminalOf starts any program there.
func (h *house) onTerminalOf(cmd *exec.Cmd) (*background, *os.File) {
	h.t.Helper()
	master := startOnPTY(h.t, cmd)
	b := &background{house: h, cmd: cmd, in: master, out: &buffer{}, errs: &buffer{}, done: make(chan struct{})}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = b.out.Write(buf[:n]) // memory
			if err != nil {
				return // the other side is closed
			}
		}
	}()
	go func() {
		defer close(b.done)
		_ = cmd.Wait() // the test looks at the process's state
		select {
		case <-heard: // what it said last may be read later than it ends
		case <-time.After(limit): // somebody else holds the terminal
		}
	}()
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended in a test that passed
		<-b.done
		master.Close()
	})
	return b, master
}

// TestOnATerminal: the question, the size and its change, keys, the exit code.
func TestOnATerminal(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		b, master := h.onTerminal("start", h.agent)
		b.says("Start it?")
		b.types("y")
		b.says("$ ")
		b.types("test -t 0 && stty size")
		b.says("31 97")
		resize(t, master, 42, 142)
		require.Eventually(t, limit, "the new size arrives", func() bool {
			b.types("stty size")
			time.Sleep(10 * time.Millisecond)
			return strings.Contains(b.out.String(), "42 142")
		})
		b.types(`sh -c 'trap "exit 0" INT; echo in-$((1+1)); while :; do sleep 0.01; done'`)
		b.says("in-2")
		if _, err := master.WriteString("\x03"); err != nil { // ends that one, and not the shell
			t.Fatal(err)
		}
		require.Eventually(t, limit, "the shell is back", func() bool {
			b.types("echo back-$((1+1))")
			time.Sleep(10 * time.Millisecond)
			return strings.Contains(b.out.String(), "back-2")
		})
		b.types("exit 7")
		if code := b.ends(); code != 7 {
			t.Errorf("exit %d: %s", code, b.out)
		}
		h.nothingLeft("a session")
	})
}

// TestNoIsNo: nothing is made.
func TestNoIsNo(t *testing.T) {
	h := newHouse(t, -1, "")
	b, _ := h.onTerminal("start", h.agent)
	b.says("Start it?")
	b.types("n")
	if code := b.ends(); code == 0 {
		t.Error("exit 0 after a no")
	}
	if _, err := os.Stat(h.home() + "/state"); err == nil {
		t.Error("something was made")
	}
}

// TestInvariant7TerminalGoesAway: the window is closed while the agent works.
func TestInvariant7TerminalGoesAway(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for name, script := range map[string]string{"quiet": "echo ready; sleep 600", "loud": "echo ready; while :; do echo noise; done"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, uid, "")
				b, master := h.onTerminal("start", h.agent, "--yes", "--", "-c", script)
				b.says("ready")
				master.Close()
				if code := b.ends(); code == 0 {
					t.Error("exit 0")
				}
				h.nothingLeft("the terminal went away")
				h.cleanedUp("the terminal went away")
			})
		}
	})
}

// TestStopEndsAShell: a shell with a prompt heeds no SIGTERM. Its terminal goes, and so does
// it, long before it would have to be killed.
func TestStopEndsAShell(t *testing.T) {
	h := newHouse(t, -1, "")
	b, _ := h.onTerminal("start", h.agent, "--yes", "--", "-i")
	b.says("$ ")
	began := time.Now()
	h.tool("stop", string(h.identity()))
	if code := b.ends(); code != 129 || time.Since(began) > 6*time.Second {
		t.Errorf("exit %d after %v: %s", code, time.Since(began), b.out)
	}
	h.nothingLeft("stop of a shell")
}

// TestStopKills: who will not end when told is killed, and the operator hears why.
func TestStopKills(t *testing.T) {
	h := newHouse(t, -1, "")
	b := h.begin("trap '' TERM HUP; echo ready; while :; do sleep 0.02; done")
	if s := finish(t, h.command("stop", string(h.identity()))); s.code != 0 || !strings.Contains(s.err, "waiting up to 8s") {
		t.Errorf("%+v", s)
	}
	if code := b.ends(); code != 137 || !strings.Contains(b.errs.String(), "did not within 8s, and was killed") {
		t.Errorf("exit %d: %s", code, b.errs)
	}
	h.nothingLeft("a stop that kills")
}

// TestTerminalIsGivenBack: the operator's terminal is as it was, also after a failure.
func TestTerminalIsGivenBack(t *testing.T) {
	stty := require.Tool(t, "stty")
	h := newHouse(t, -1, "")
	for _, script := range []string{"exit 0", "kill -KILL $$", "stty raw -echo; exit 3"} {
		master, slave := openPTY(t)
		state := func() string {
			cmd := exec.Command(stty, "-a")
			cmd.Stdin = slave
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}
		before := state()
		cmd := h.command("start", h.agent, "--yes", "--", "-c", script)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := master.Read(buf); err != nil {
					return // closed below
				}
			}
		}()
		_ = cmd.Run() // some of the scripts fail
		if after := state(); after != before {
			t.Errorf("%s: the terminal is\n%s\nand was\n%s", script, after, before)
		}
		slave.Close()
		master.Close()
	}
}
