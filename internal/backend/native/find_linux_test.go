package native

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

// dressed starts a program that waits, under an argv of our choice.
func dressed(t *testing.T, argv ...string) int {
	t.Helper()
	sh := require.Tool(t, "sh")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: sh, Args: argv, Stdin: r, SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() {
		w.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // its way of ending is ours
	})
	go func() { _, _ = cmd.Process.Wait() }() // a zombie has no argv
	return cmd.Process.Pid
}

// TestFindBelievesOnlyWholeArgvs: the shell below reads commands from its input
// when its arguments are -s --, so its argv can look almost like a helper's.
func TestFindBelievesOnlyWholeArgvs(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want bool
	}{
		{[]string{"bottle-jail", "-s", "--", "shell-abcde"}, false},
		{[]string{"bottle-gateway", "-s"}, false},
		{[]string{"sh", "-s", "--identity", "shell-abcde"}, false},
	} {
		if h, ok := helperOf(dressed(t, c.argv...)); ok != c.want {
			t.Errorf("%q: %+v %v", c.argv, h, ok)
		}
	}
	for _, pid := range []int{0, -1, os.Getpid(), 1 << 30} {
		if h, ok := helperOf(pid); ok {
			t.Errorf("pid %d is %+v", pid, h)
		}
	}
}

// TestRemoveLooksAgain: a number that belongs to another by now is left alone.
func TestRemoveLooksAgain(t *testing.T) {
	pid := dressed(t, "sh", "-s")
	n := &Native{}
	for _, l := range []backend.Leftover{
		{Identity: "shell-abcde", PID: pid, Resource: plan.Resource{Kind: "process", Name: "bottle-jail launch"}},
		{Identity: "shell-abcde", PID: 1 << 30, Resource: plan.Resource{Kind: "process", Name: "bottle-jail launch"}},
		{Identity: "shell-abcde", Resource: plan.Resource{Kind: "cgroup", Name: filepath.Join(t.TempDir(), "gone")}},
	} {
		if err := n.Remove(context.Background(), l); err != nil {
			t.Error(err)
		}
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("another's process was ended: %v", err)
	}
	if err := n.Remove(context.Background(), backend.Leftover{Resource: plan.Resource{Kind: "file", Name: "/etc/passwd"}}); err == nil {
		t.Error("it removes files, too")
	}
}

// TestZeroNativeCreatesNothing: invariant 1.
func TestZeroNativeCreatesNothing(t *testing.T) {
	b, err := (&Native{}).Create(context.Background(), plan.Bottle{Identity: "shell-abcde", Workspace: plan.WorkspaceMount{Mode: "none"}}, plan.Gateway{Identity: "shell-abcde"}, []byte("{}"))
	if err == nil {
		b.Close()
		t.Fatal("a bottle without helpers was created")
	}
	for _, h := range cgroupHomes() {
		if fileExists(filepath.Join(h.dir, cgroupPrefix+"shell-abcde")) {
			t.Errorf("a control group is left in %s", h.dir)
		}
	}
}

func TestBottleUIDsAreOutOfTheWay(t *testing.T) {
	seen := map[int]bool{}
	for i := range 500 {
		id, err := bottle.NewIdentity("x", []byte{byte(i), byte(i >> 8), 3, 4, 5, 6, 7, 8})
		if err != nil {
			t.Fatal(err)
		}
		uid := bottleUID(string(id))
		if uid < 1879048192 || uid >= 1879048192+1<<24 {
			t.Fatalf("uid %d", uid)
		}
		seen[uid] = true
	}
	if len(seen) < 495 {
		t.Errorf("%d uids of 500 identities", len(seen))
	}
}

func TestCgroupFiles(t *testing.T) {
	l := plan.Limits{Memory: 1 << 30, PIDs: 7, CPUs: 1.5}
	for _, c := range []struct {
		home cgroupHome
		want string
	}{
		{cgroupHome{unified: true, controllers: "cpu memory pids"}, "cpu.max=150000 100000 memory.max=1073741824 pids.max=7"},
		{cgroupHome{controllers: "memory"}, "memory.limit_in_bytes=1073741824"},
		{cgroupHome{controllers: "cpu"}, "cpu.cfs_quota_us=150000"},
		{cgroupHome{controllers: "pids"}, "pids.max=7"},
	} {
		got := c.home.files(l)
		for _, w := range []string{"cpu.max", "memory.max", "pids.max", "memory.limit_in_bytes", "cpu.cfs_quota_us"} {
			has := strings.Contains(c.want, w+"="+got[w])
			if _, ok := got[w]; ok && !has {
				t.Errorf("%+v: %s is %q", c.home, w, got[w])
			}
		}
		if len(got) != strings.Count(c.want, "=") {
			t.Errorf("%+v: %v", c.home, got)
		}
		if none := c.home.files(plan.Limits{}); len(none) != 0 {
			t.Errorf("without limits: %v", none)
		}
	}
}

// TestRemoveCgroupIsBounded: a folder that cannot go is an error, not a hang.
func TestRemoveCgroupIsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := removeCgroup(dir); err == nil {
		t.Error("a full folder was removed")
	}
	if time.Since(start) > 5*time.Second {
		t.Errorf("it took %v", time.Since(start))
	}
}

// TestHeldGroupIsNobodysLeftover: the lock says that a start is alive.
func TestHeldGroupIsNobodysLeftover(t *testing.T) {
	dir := t.TempDir()
	if groupHeld(dir) {
		t.Error("nobody holds it")
	}
	lock, err := lockGroup(dir, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	if !groupHeld(dir) {
		t.Error("it is held")
	}
	lock.Close()
	if groupHeld(dir) || groupHeld(filepath.Join(dir, "gone")) {
		t.Error("nobody holds it any more")
	}
}

// TestFindKnowsItsOwnHelpers. The weakness: a helper is found by its argv, which
// anybody can choose. The attack: a process that calls itself a launcher of mine
// and whose parent lives would hide my leftover from my cleanup; one of another
// user's would make my cleanup fail. What this proves: the program, the pid
// namespace and the user count too.
func TestFindKnowsItsOwnHelpers(t *testing.T) {
	pid := dressed(t, "bottle-jail", "-s") // another word would end it at once
	if what := "bottle-jail launch"; runsIt(pid, what) {
		t.Errorf("a shell runs %s", what)
	}
	for what, want := range map[string]bool{"bottle-jail launch": false, "bottle-gateway serve": false, "bottle-jail init": false, "sh": false} {
		if user, ok := placed(pid, what); ok != want || user != os.Geteuid() {
			t.Errorf("a shell is placed as %s: %v, of user %d", what, ok, user)
		}
	}
	if got := owner(bottleUID("shell-abcde")); got != 0 {
		t.Errorf("root's bottle belongs to %d", got)
	}
	if owner(1000) != 1000 || owner(bottleUIDs+bottleUIDCount) == 0 || owner(bottleUIDs-1) == 0 {
		t.Error("an ordinary user's bottle is root's")
	}
	if !mine(os.Geteuid()) || mine(os.Geteuid()+1) != (os.Geteuid() == 0) {
		t.Error("mine is not this user's")
	}
}
