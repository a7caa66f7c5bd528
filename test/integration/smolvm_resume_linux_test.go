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

// talkingVM is an operator whose VMs have a claude that is fakeClaude as a script.
func talkingVM(t *testing.T, pool string, faults smolvmtest.Faults, spec string) (*house, *smolvmtest.Installed) {
	t.Helper()
	claude := "#!/bin/sh\nCONTINUED=false\nfor a; do [ \"$a\" = --continue ] && CONTINUED=true; last=$a; done\n" +
		"export CONTINUED PROJECTS=$HOME/.claude/projects\nexec /bin/sh -c \"$last\"\n"
	image := savedImage(t, "agent.tar", tiny(t, packedFile{name: "usr/local/bin/claude", body: []byte(claude), mode: 0o755}))
	h, i := fromImage(t, pool, image, faults)
	h.write("home/agents/"+h.agent+".md", "---\nbottle: box\n---\nA test.\n")
	h.write("home/bottles/box.md", "---\nsupervise: false\nagent_provider: {template: claude}\n"+spec+"---\nA box.\n")
	h.own()
	return h, i
}

// everyMachine runs test where the shares are root's in the VM, and where they are another
// user's, as on macOS.
func everyMachine(t *testing.T, test func(t *testing.T, f smolvmtest.Faults)) {
	for name, f := range map[string]smolvmtest.Faults{"root": {}, "remapped": {RemapUID: 501}} {
		t.Run(name, func(t *testing.T) { test(t, f) })
	}
}

// TestMicroVMResume: as on native, it goes on with its view, its conversation and its log, in
// each mode of the workspace.
func TestMicroVMResume(t *testing.T) {
	everyMachine(t, func(t *testing.T, f smolvmtest.Faults) {
		h, i := talkingVM(t, "127.9.70.16", f, "")
		if s := h.say(remember); s.code != 0 || !strings.Contains(s.err, "bottle resume "+string(h.identity())) {
			t.Fatalf("%+v", s)
		}
		if s := h.resume(`echo $CONTINUED; cat note "$PROJECTS/-workspace/s.jsonl"; echo more >>note`); s.code != 0 || s.out != "true\nmine\nit is 42, false\n" {
			t.Fatalf("%+v", s)
		}
		if s := h.resume(`echo $CONTINUED; cat note`, "--fresh"); s.code != 0 || s.out != "false\nmine\nmore\n" {
			t.Fatalf("%+v", s)
		}
		if list, _ := h.changes(); list["note"].Op != "added" || len(list) != 1 {
			t.Errorf("%+v", list)
		}
		if out := h.tool("audit", string(h.identity()), "--verify"); !strings.HasPrefix(out, "whole: ") {
			t.Error(out)
		}
		if m := i.Machines(); len(m) != 0 {
			t.Errorf("left: %+v", m)
		}
		h.cleanedUp("at the end")
		for _, mode := range []string{"bind", "none"} {
			h, _ := talkingVM(t, "127.9.70.17", f, "workspace: {mode: "+mode+"}\n")
			s := h.say(`mkdir -p $PROJECTS/p; echo talk >$PROJECTS/p/s`)
			if r := h.resume(`echo $CONTINUED; cat $PROJECTS/p/s`); s.code != 0 || r.code != 0 || r.out != "true\ntalk\n" {
				t.Errorf("%s: %+v %+v", mode, s, r)
			}
			fi, err := os.Lstat(h.state("kept/claude-projects/p/s"))
			if err != nil {
				t.Fatal(err)
			}
			if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != max(h.uid, 0) {
				t.Errorf("%s: the conversation belongs to %d", mode, st.Uid)
			}
		}
	})
}

// TestMicroVMResumeInAnothersFolder: the operator is not the owner of the folder.
func TestMicroVMResumeInAnothersFolder(t *testing.T) {
	h, _ := talkingVM(t, "127.9.71.16", smolvmtest.Faults{}, "")
	for _, p := range []string{h.work(), filepath.Join(h.work(), "README")} {
		if err := os.Lchown(p, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if s := h.say(remember); s.code != 0 {
		t.Fatalf("%+v", s)
	}
	if s := h.resume(`echo $CONTINUED; cat README note; stat -c %u README note`); s.code != 0 || s.out != "true\na project\nmine\n1000\n1000\n" {
		t.Fatalf("%+v", s)
	}
}

// TestMicroVMResumeAfterAKill: with the machine of before still there, and after a cleanup
// that took it and left the state, which is marked.
func TestMicroVMResumeAfterAKill(t *testing.T) {
	h, i := talkingVM(t, "127.9.72.16", smolvmtest.Faults{}, "")
	for _, cleanup := range []bool{false, true} {
		b := h.launch(h.command("start", h.agent, "--yes", "--", `mkdir -p $PROJECTS/-workspace; echo talk >$PROJECTS/-workspace/s; echo ready; sleep 100`))
		b.says("ready")
		if err := b.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-b.done
		if out := h.tool("list", "active"); !strings.Contains(out, "left behind: bottle resume "+string(h.identity())) {
			t.Error(out)
		}
		if cleanup {
			require.Eventually(t, limit, "no machine is left", func() bool {
				if s := finish(t, h.command("cleanup", "--yes")); !strings.Contains(s.err, "for a resume") {
					t.Fatalf("%+v", s)
				}
				return len(i.Machines()) == 0
			})
		}
		if s := h.resume(`echo $CONTINUED; cat $PROJECTS/-workspace/s`); s.code != 0 || s.out != "true\ntalk\n" {
			t.Fatalf("%+v", s)
		}
		if m := i.Machines(); len(m) != 0 {
			t.Errorf("left: %+v", m)
		}
		h.tool("cleanup", "--discard", "--yes")
	}
}

// TestMicroVMResumeAfterItFailed: a machine that dies by itself under its agent, as by a fault
// of its kernel or of smolvm, is preserved by a mark of its start, which lives on and tells: a
// cleanup leaves the conversation, and a resume goes on with it.
func TestMicroVMResumeAfterItFailed(t *testing.T) {
	everyMachine(t, func(t *testing.T, f smolvmtest.Faults) {
		h, i := talkingVM(t, "127.9.74.16", f, "workspace: {mode: none}\n")
		for _, whole := range []bool{true, false} {
			b := h.launch(h.command("start", h.agent, "--yes", "--", `mkdir -p $PROJECTS/-workspace; echo talk >$PROJECTS/-workspace/s; echo ready; sleep 100`))
			b.says("ready")
			if whole { // pid 1 of the machine, and so all of it
				i.Die(i.Machines()[0].Name)
			} else { // what runs in it of ours, as by its kernel's want of memory
				asRoot(t, i, i.Machines()[0].Name, "for p in /proc/[0-9]*; do [ ${p#/proc/} != 1 ] && [ ${p#/proc/} != $$ ] && kill -9 ${p#/proc/}; done")
			}
			if code := b.ends(); code != 125 {
				t.Fatalf("the bottle ended with %d: %s", code, b.errs)
			}
			if m := i.Machines(); len(m) != 0 {
				t.Errorf("left: %+v", m)
			}
			if _, err := os.Lstat(h.state(".preserve")); err != nil {
				t.Errorf("it is not marked: %v", err)
			}
			if out := h.tool("list", "active"); !strings.Contains(out, "left behind: bottle resume "+string(h.identity())) {
				t.Error(out)
			}
			if s := finish(t, h.command("cleanup", "--yes")); s.code != 0 || !strings.Contains(s.err, "for a resume") {
				t.Errorf("%+v", s)
			}
			if s := h.resume(`echo $CONTINUED; cat $PROJECTS/-workspace/s`); s.code != 0 || s.out != "true\ntalk\n" {
				t.Fatalf("%+v", s)
			}
			if _, err := os.Lstat(h.state(".preserve")); err == nil {
				t.Error("it is still marked after a clean end")
			}
			h.tool("cleanup", "--discard", "--yes")
		}
	})
}

// TestMicroVMHostileConversation: see TestHostileConversation.
func TestMicroVMHostileConversation(t *testing.T) {
	everyMachine(t, func(t *testing.T, f smolvmtest.Faults) {
		h, _ := talkingVM(t, "127.9.73.16", f, "workspace: {mode: none}\n")
		h.write("user/treasure", "a treasure of the host\n")
		treasure := filepath.Join(h.base, "user", "treasure")
		for name, script := range hostile {
			if s := h.say(strings.ReplaceAll(script, "HOST", treasure)); s.code != 0 {
				t.Fatalf("%s: %+v", name, s)
			}
			s := h.resume(`echo runs; timeout .3 cat $PROJECTS/p/* $PROJECTS /var/lib/bottle/kept/* 2>/dev/null; find / -name treasure 2>/dev/null; exit 0`)
			if s.code != 0 || !strings.HasPrefix(s.out, "runs\n") || strings.Contains(s.out, "treasure") {
				t.Fatalf("%s: %+v", name, s)
			}
			h.tool("cleanup", "--discard", "--yes")
			if b, err := os.ReadFile(treasure); err != nil || string(b) != "a treasure of the host\n" {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
	})
}
