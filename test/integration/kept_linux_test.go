package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/test/require"
)

// everyKeeper runs test on each kind of walls that keeps a conversation, with an operator
// whose agent has one.
func everyKeeper(t *testing.T, pool string, test func(t *testing.T, h *house)) {
	t.Run("native", func(t *testing.T) {
		everybody(t, func(t *testing.T, uid int) { test(t, talker(t, uid, "workspace: {mode: none}\n")) })
	})
	t.Run("docker", func(t *testing.T) { test(t, mooredTalker(t, -1, "workspace: {mode: none}\n").house) })
	t.Run("smolmachines", func(t *testing.T) {
		in := func(t *testing.T, f smolvmtest.Faults) {
			h, _ := talkingVM(t, pool, f, "workspace: {mode: none}\n")
			test(t, h)
		}
		everyMachine(t, in)
		t.Run("ordinary user", func(t *testing.T) { everyMachine(t, in) })
	})
}

// The weakness: what an agent keeps lies on the operator's disk, and goes from bottle to
// bottle. The attack: an agent that keeps without end, in bytes or folders in one another,
// and one that is told to end and does not. (Names: TestLook.) This proves that its bottle ends, in words, that what was there before stays, and
// that a resume says the same until the operator has made room.
func TestKeptIsBounded(t *testing.T) {
	everyKeeper(t, "127.9.80.16", func(t *testing.T, h *house) {
		if s := h.say(`mkdir -p $PROJECTS/p; echo talk >$PROJECTS/p/s`); s.code != 0 {
			t.Fatalf("%+v", s)
		}
		for name, c := range map[string]struct{ script, words string }{
			"bytes":   {`fallocate -l 1100M $PROJECTS/p/more/big`, "more than 1024 MiB"},
			"deaf":    {`trap "" TERM HUP INT; cd $PROJECTS/p/more; for i in $(seq 100); do mkdir d && cd d || exit 3; done; echo made; while :; do sleep .1; done`, "folders in one another, more than 64 deep"},
			"folders": {`cd $PROJECTS/p/more; for i in $(seq 100); do mkdir d && cd d || exit 3; done`, "folders in one another, more than 64 deep"},
		} {
			s := h.resume("mkdir $PROJECTS/p/more && " + c.script + "; echo made; sleep 600")
			if s.code != 125 || !strings.HasPrefix(s.out, "made\n") || !strings.Contains(s.err, "has come to its bound: "+c.words) || !strings.Contains(s.err, "nothing of it was removed") {
				t.Fatalf("%s: %+v", name, s)
			}
			id := string(h.identity())
			if out := h.tool("list", "active"); !strings.Contains(out, "left behind: bottle resume "+id) {
				t.Errorf("%s: %s", name, out)
			}
			if s := h.resume("echo the agent ran"); s.code != 125 || strings.Contains(s.out, "ran") || !strings.Contains(s.err, c.words) {
				t.Errorf("%s: a resume of what is full: %+v", name, s)
			}
			if b, err := os.ReadFile(h.state("kept/claude-projects/p/s")); err != nil || string(b) != "talk\n" {
				t.Errorf("%s: what was there before is %q, %v", name, b, err)
			}
			run(t, "rm", "-rf", h.state("kept/claude-projects/p/more"))
			if s := h.resume("echo $CONTINUED; cat $PROJECTS/p/s"); s.code != 0 || s.out != "true\ntalk\n" {
				t.Errorf("%s: once there is room: %+v", name, s)
			}
		}
		// Who ends by himself before anybody looks is told of.
		if s := h.resume("cd $PROJECTS/p; for i in $(seq 100); do mkdir d && cd d || exit 3; done; exit 7"); s.code != 7 || !strings.Contains(s.err, "more than 64 deep") {
			t.Errorf("%+v", s)
		}
		h.tool("cleanup", "--discard", "--yes")
		if _, err := os.Lstat(h.home() + "/state/" + string(h.agent)); err == nil {
			t.Error("something is left")
		}
	})
}

// The weakness: whatever looks at what an agent keeps may wait, follow or obey it. The attack:
// pipes, sockets and device files (as the root of a machine makes them), names of control
// bytes and of 255, hard links, files with holes, what is closed and closed again. This proves
// that the agent runs again, that no terminal is repainted, and that a cleanup takes all of it.
func TestKeptHostileNames(t *testing.T) {
	const script = `mkdir -p $PROJECTS/p; cd $PROJECTS/p
		mkfifo pipe; ln -s /dev/zero zero; ln -s . self; echo x >hard; ln hard hard2
		dd if=/dev/null of=holes bs=1 seek=1000000000000 2>/dev/null
		touch "$(printf '\033]0;owned\007\r\n\033[2J')" "$(printf '%0255d' 0)" -- -rf
		mknod device c 1 5 2>/dev/null && echo a device
		mkdir -p closed/in; chmod 0 closed/in closed; echo done`
	everyKeeper(t, "127.9.81.16", func(t *testing.T, h *house) {
		if s := h.say(script); s.code != 0 || s.out != "done\n" || strings.Contains(s.err, "bound") {
			t.Fatalf("%+v", s)
		}
		for range 2 {
			s := h.resume(`sleep 3; echo runs; ls $PROJECTS/p >/dev/null`) // longer than from one look to the next
			if s.code != 0 || s.out != "runs\n" || strings.Contains(s.err, "\x1b]0;") || strings.Contains(s.err, "bound") {
				t.Fatalf("%+v", s)
			}
		}
		out := h.tool("list", "active", "--all")
		if strings.Contains(out, "\x1b]0;") {
			t.Errorf("%q", out)
		}
		h.tool("cleanup", "--discard", "--yes")
		if left, err := filepath.Glob(h.home() + "/state/" + h.agent + "*"); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// An agent that broke out of its jail is the root of its machine: what it makes in the share is
// then the operator's to live with. Nothing on the host opens a device, or waits for a pipe.
func TestMicroVMRootInTheConversation(t *testing.T) {
	everyMachine(t, func(t *testing.T, f smolvmtest.Faults) {
		h, i := talkingVM(t, "127.9.82.16", f, "workspace: {mode: none}\n")
		b := h.launch(h.command("start", h.agent, "--yes", "--", "mkdir -p $PROJECTS/p; echo talk >$PROJECTS/p/s; echo ready; read x; sleep 3"))
		b.says("ready")
		share := ""
		for j, a := range i.Machines()[0].Argv {
			if parts := strings.Split(a, ":"); j > 0 && i.Machines()[0].Argv[j-1] == "-v" && len(parts) == 2 {
				if real, err := filepath.EvalSymlinks(parts[0]); err == nil && filepath.Base(real) == "kept" {
					share = parts[1]
				}
			}
		}
		said := asRoot(t, i, i.Machines()[0].Name, "cd "+share+"/claude-projects/p && mknod zero c 1 5; mkfifo pipe; mkdir -m 0 closed; ln -s / root; ln -s /etc/shadow shadow; echo made")
		if !strings.Contains(said, "made") {
			t.Fatal(said)
		}
		b.types("go")
		if code := b.ends(); code != 0 {
			t.Errorf("%d: %s", code, b.errs)
		}
		fi, err := os.Lstat(h.state("kept/claude-projects/p/zero"))
		if err != nil || fi.Mode()&os.ModeDevice == 0 {
			t.Logf("no device came to be: %v, %v", fi, err)
		}
		s := h.resume(`echo $CONTINUED; cat $PROJECTS/p/s; timeout .3 dd if=$PROJECTS/p/zero of=/dev/null count=1 2>/dev/null && echo a device can be read; timeout .3 cat $PROJECTS/p/pipe; cat $PROJECTS/p/shadow 2>/dev/null; exit 0`)
		if s.code != 0 || s.out != "true\ntalk\n" {
			t.Errorf("%+v", s)
		}
		h.tool("cleanup", "--discard", "--yes")
	})
}

// The weakness: the state folder is on a disk that ends. The attack: an agent that fills it from
// where its conversation is kept. This proves that it gets an error, that what was said before
// stays whole, and that a cleanup needs no room.
func TestKeptOnAFullDisk(t *testing.T) {
	require.Root(t)
	everyKeeper(t, "127.9.83.16", func(t *testing.T, h *house) {
		state := filepath.Join(h.home(), "state")
		if err := os.MkdirAll(state, 0o700); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(h.home())
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("small", state, "tmpfs", 0, "size=16m,mode=700"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
		if st := fi.Sys().(*syscall.Stat_t); os.Chown(state, int(st.Uid), int(st.Gid)) != nil {
			t.Fatal("chown")
		}
		if s := h.say(`mkdir -p $PROJECTS/p; echo talk >$PROJECTS/p/s`); s.code != 0 {
			t.Fatalf("%+v", s)
		}
		s := h.resume(`dd if=/dev/zero of=$PROJECTS/p/big bs=65536 2>/dev/null; echo filled $?; sleep 3`)
		if s.out != "filled 1\n" || s.code != 0 && s.code != 125 {
			t.Fatalf("%+v", s)
		}
		t.Logf("a full disk: exit %d, %s", s.code, s.err)
		if b, err := os.ReadFile(h.state("kept/claude-projects/p/s")); err != nil || string(b) != "talk\n" {
			t.Errorf("what was said before is %q, %v", b, err)
		}
		s = h.resume(`echo runs`)
		t.Logf("a resume: exit %d, %s%s", s.code, s.out, s.err)
		if s.code != 0 && !strings.Contains(s.err, "no space") {
			t.Errorf("a resume on a full disk: %+v", s)
		}
		h.tool("cleanup", "--discard", "--yes")
		if left, err := filepath.Glob(state + "/" + h.agent + "*"); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}
