package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bottle/internal/backend/native"
	"bottle/internal/bottle"
	"bottle/internal/lifecycle"
	"bottle/internal/store"
	"bottle/test/require"
)

// faultWord is the first argument of this program when it is a start that fails
// or dies at a step.
const faultWord = "integration-fault"

// faulty is `bottle start` with a fault: how is "kill" or "fail".
func faulty(base, agent, how, step string) int {
	exe, err := os.Executable()
	if err != nil {
		return 90
	}
	if how == "orphan" {
		// Cleanup looks at the program's name, too.
		_, err := os.StartProcess(filepath.Join(filepath.Dir(exe), "bottle-jail-orphan"), []string{"bottle-jail", "launch", "--identity", agent + "-abcde"}, &os.ProcAttr{Files: []*os.File{nil, nil, nil}})
		if err != nil {
			return 93
		}
		return 0
	}
	dir := filepath.Dir(exe)
	st, err := store.Open(filepath.Join(base, "home"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 91
	}
	none := func(string) (string, bool) { return "", false }
	h := &lifecycle.House{
		Backend: &native.Native{JailPath: dir + "/bottle-jail", GatewayPath: dir + "/bottle-gateway"}, Store: st, Host: none, Root: os.DirFS("/"),
		Before: func(s string) error {
			if s != step {
				return nil
			}
			if how == "kill" {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // it does not return
			}
			return errors.New("the fault at " + s)
		},
	}
	p, err := h.Prepare(context.Background(), lifecycle.Request{
		Agent:     bottle.Agent{Name: bottle.Name(agent), Bottle: "box", Command: []string{"/bin/sh", "-c", "(setsid sleep 600 &); echo changed >/workspace/new"}},
		Spec:      bottle.Spec{Name: "box", Workspace: "overlay", Provider: bottle.Provider{Template: "command"}},
		Workspace: filepath.Join(base, "work"), UserHome: filepath.Join(base, "user"), Skills: map[string]fs.FS{},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 92
	}
	out, err := h.Start(context.Background(), p, lifecycle.OnPipes(bytes.NewReader(nil), os.Stdout, os.Stderr))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	return out.Code
}

// TestInvariant7KillAtEveryStep kills the start at each step in turn, and once
// while the agent runs; what the kernel does not take away, cleanup finds.
func TestInvariant7KillAtEveryStep(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		steps := lifecycle.Steps()
		for _, step := range steps {
			t.Run(strings.ReplaceAll(step, " ", "_"), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, uid, "")
				s := finish(t, h.program(t.Context(), filepath.Join(h.bin, "inside"), faultWord, h.base, h.agent, "kill", step))
				if s.code != -1 {
					t.Fatalf("it was not killed: %+v", s)
				}
				h.cleanedUp("killed at " + step)
			})
		}
	})
}

// TestInvariant7FaultAtEveryStep: an error at each step in turn leaves nothing at
// all but the state folder, and needs no cleanup.
func TestInvariant7FaultAtEveryStep(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for _, step := range append(lifecycle.Steps(), "none") {
			t.Run(strings.ReplaceAll(step, " ", "_"), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, uid, "")
				s := finish(t, h.program(t.Context(), filepath.Join(h.bin, "inside"), faultWord, h.base, h.agent, "fail", step))
				if want := 125; step != "none" && (s.code != want || !strings.Contains(s.err, "the fault at "+step)) || step == "none" && s.code != 0 {
					t.Fatalf("%+v", s)
				}
				if left := h.traces(); len(left) != 0 {
					t.Errorf("left:\n%s", strings.Join(left, "\n"))
				}
				h.cleanedUp("fault at " + step)
			})
		}
	})
}

// TestInvariant7KilledWhileTheAgentRuns: no cleanup is needed for processes, mounts
// and namespaces: they end with the start.
func TestInvariant7KilledWhileTheAgentRuns(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		b := h.begin("(setsid sh -c 'trap \"\" TERM HUP; sleep 600' &) ; echo ready; sleep 600")
		if err := b.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		b.ends()
		for end := 0; len(h.pids("")) > 0; end++ {
			if end > 1000 {
				t.Fatalf("processes outlive their start: %v", h.traces())
			}
			sleepABit()
		}
		h.cleanedUp("killed while the agent ran")
	})
}

// TestInvariant7CleanupEndsOrphans: a helper whose start is gone, and of which no
// state tells.
func TestInvariant7CleanupEndsOrphans(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		if s := finish(t, h.program(t.Context(), filepath.Join(h.bin, "inside"), faultWord, h.base, h.agent, "orphan", "")); s.code != 0 {
			t.Fatalf("%+v", s)
		}
		if len(h.pids("launch")) != 1 {
			t.Fatal("there is no orphan: this test proves nothing")
		}
		h.cleanedUp("an orphan")
	})
}

// TestInvariant7CleanupIsNotStoppedByOthers: what another user dressed up as a
// helper is neither shown nor touched, and does not make a cleanup fail.
func TestInvariant7CleanupIsNotStoppedByOthers(t *testing.T) {
	require.Root(t)
	other, h := newHouse(t, -1, ""), newHouse(t, nobody, "")
	if s := finish(t, other.program(t.Context(), filepath.Join(h.bin, "inside"), faultWord, other.base, other.agent, "orphan", "")); s.code != 0 {
		t.Fatalf("%+v", s)
	}
	if out := h.tool("cleanup", "--discard", "--yes"); strings.Contains(out, other.agent) {
		t.Errorf("an ordinary user's cleanup found root's: %s", out)
	}
	if len(other.pids("launch")) != 1 {
		t.Error("root's process is gone")
	}
	other.cleanedUp("root's own")
}

// TestInvariant7NobodyHidesALeftover. The weakness: what a live start holds is no
// leftover, and a start is known by its processes. The attack: another user
// calls a process of his like a launcher of mine that is alive. What this proves: my cleanup finds my leftover all the same.
func TestInvariant7NobodyHidesALeftover(t *testing.T) {
	require.Root(t)
	for name, uid := range map[string]int{"an ordinary user's": nobody, "root's": -1} {
		t.Run(name, func(t *testing.T) {
			h, thief := newHouse(t, uid, ""), newHouse(t, nobody-1, "")
			cmd := thief.program(t.Context(), filepath.Join(h.bin, "bottle-jail-orphan"))
			cmd.Args = []string{"bottle-jail", "launch", "--identity", h.agent + "-abcde"}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Kill() // it waits for that
				_ = cmd.Wait()
			})
			if s := finish(t, h.program(t.Context(), filepath.Join(h.bin, "inside"), faultWord, h.base, h.agent, "orphan", "")); s.code != 0 {
				t.Fatalf("%+v", s)
			}
			if n := len(h.pids("launch")); n != 2 {
				t.Fatalf("%d processes are dressed: this test proves nothing", n)
			}
			if out := h.tool("cleanup", "--discard", "--yes"); !strings.Contains(out, h.agent) {
				t.Errorf("cleanup says %s", out)
			}
			require.Eventually(t, limit, "the leftover goes", func() bool { return len(h.pids("launch")) == 1 })
			if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the thief's process is gone: %v", err)
			}
		})
	}
}

// TestInvariant7CleanupLeavesTheLivingAlone: also those whose state is in another home.
func TestInvariant7CleanupLeavesTheLivingAlone(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h, other := newHouse(t, uid, ""), newHouse(t, uid, "")
		b := h.begin("echo ready; read x; echo still here")
		for _, who := range []*house{other, h} {
			out := who.tool("cleanup", "--discard", "--yes")
			if strings.Contains(out, h.agent) {
				t.Errorf("cleanup says %s", out)
			}
		}
		b.types("")
		if code := b.ends(); code != 0 || !strings.Contains(b.out.String(), "still here") {
			t.Errorf("exit %d, %s%s", code, b.out, b.errs)
		}
		h.cleanedUp("after its end")
	})
}
