package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bottle/internal/store"
	"bottle/test/require"
)

// fakeClaude is an agent whose last word is a script. That knows by CONTINUED whether it
// was told to go on with a conversation, and by PROJECTS where that is.
func fakeClaude(args []string) int {
	cmd := exec.Command("/bin/sh", "-c", args[len(args)-1])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), fmt.Sprintf("CONTINUED=%t", slices.Contains(args, "--continue")), "PROJECTS=/home/agent/.claude/projects")
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return 99
}

// talker is a house whose agent has a conversation.
func talker(t *testing.T, uid int, spec string) *house {
	t.Helper()
	h := newHouse(t, uid, "")
	h.write("home/agents/"+h.agent+".md", "---\nbottle: box\n---\nA test.\n")
	h.write("home/bottles/box.md", "---\nsupervise: false\nagent_provider: {template: claude}\n"+spec+"---\nA box.\n")
	h.own()
	h.env[0] = "PATH=" + h.bin + ":" + os.Getenv("PATH")
	return h
}

// say starts the agent with a script; resume goes on with the one bottle of the house.
func (h *house) say(script string) said {
	h.t.Helper()
	return finish(h.t, h.command("start", h.agent, "--yes", "--", script))
}

func (h *house) resume(script string, flags ...string) said {
	h.t.Helper()
	return finish(h.t, h.command(append(append([]string{"resume", string(h.identity()), "--yes"}, flags...), "--", script)...))
}

func (h *house) state(name string) string {
	return filepath.Join(h.home(), "state", string(h.identity()), name)
}

// remember is a first conversation, and a first change of the folder.
const remember = `mkdir -p "$PROJECTS/-workspace"; echo "it is 42, $CONTINUED" >"$PROJECTS/-workspace/s.jsonl"; echo mine >note`

const recall = `echo "$CONTINUED $WORD_NOW"; cat note "$PROJECTS/-workspace/s.jsonl"`

// TestResumeGoesOn: the same identity, view, conversation and log, under what the manifest
// says now.
func TestResumeGoesOn(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := talker(t, uid, "env: {WORD_NOW: before}\n")
		s := h.say(remember)
		id := string(h.identity())
		if s.code != 0 || !strings.Contains(s.err, "bottle resume "+id+"\n") {
			t.Fatalf("%+v", s)
		}
		h.write("home/bottles/box.md", "---\nsupervise: false\nagent_provider: {template: claude}\nenv: {WORD_NOW: after}\n---\nA box.\n")
		h.own()
		before := h.tool("list", "active", "--all", "--format", "json")
		dry := finish(t, h.command("resume", id, "--dry-run", "--format", "json"))
		if dry.code != 0 || !strings.Contains(dry.out, `"--continue"`) || !strings.Contains(dry.out, "its last conversation") || h.tool("list", "active", "--all", "--format", "json") != before {
			t.Fatalf("%+v", dry)
		}
		cmd := h.command("resume", id, "--yes", "--", recall+"; echo more >>note; echo and more >>$PROJECTS/-workspace/s.jsonl")
		cmd.Dir = h.base // where the operator stands does not matter
		if s := finish(t, cmd); s.code != 0 || s.out != "true after\nmine\nit is 42, false\n" || !strings.Contains(s.err, "resumed: the workspace and the decision log of "+id) {
			t.Fatalf("%+v", s)
		}
		if s := h.resume(recall, "--fresh"); s.code != 0 || s.out != "false after\nmine\nmore\nit is 42, false\nand more\n" {
			t.Fatalf("%+v", s)
		}
		if string(h.identity()) != id {
			t.Fatal("it is another bottle")
		}
		if list, _ := h.changes(); list["note"].Op != "added" || len(list) != 1 {
			t.Errorf("%+v", list)
		}
		if out := h.tool("audit", id, "--verify"); !strings.HasPrefix(out, "whole: ") {
			t.Error(out)
		}
		if out := h.tool("audit", id); strings.Count(out, "bottle_resumed") != 2 || strings.Count(out, "agent_started") != 3 {
			t.Error(out)
		}
		h.cleanedUp("at the end")
	})
}

// TestResumeWithoutConversation: a program that has none is run again as it was, in its view;
// other words may be given.
func TestResumeWithoutConversation(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		if s := h.start("echo again >>note; cat note"); s.code != 0 || s.out != "again\n" {
			t.Fatalf("%+v", s)
		}
		id := string(h.identity())
		if s := finish(t, h.command("resume", id, "--yes")); s.code != 0 || s.out != "again\nagain\n" {
			t.Fatalf("%+v", s)
		}
		if s := finish(t, h.command("resume", id, "--yes", "--", "-c", "wc -l <note; exit 7")); s.code != 7 || strings.TrimSpace(s.out) != "2" {
			t.Fatalf("%+v", s)
		}
		if _, err := os.Lstat(h.state("kept")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// TestResumeModes: a bind and no folder at all.
func TestResumeModes(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for _, mode := range []string{"bind", "none"} {
			h := talker(t, uid, "workspace: {mode: "+mode+"}\n")
			s := h.say(`mkdir -p $PROJECTS/p; echo talk >$PROJECTS/p/s; echo mine >note`)
			r := h.resume(`echo $CONTINUED; cat $PROJECTS/p/s; cat note`)
			if s.code != 0 || !strings.HasPrefix(r.out, "true\ntalk\n") || (r.code == 0) != (mode == "bind") {
				t.Errorf("%s: %+v %+v", mode, s, r)
			}
			if mode == "bind" {
				if err := os.Remove(filepath.Join(h.work(), "note")); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestResumeOfALiveBottle: refused, with what to type; of two at once, one wins.
func TestResumeOfALiveBottle(t *testing.T) {
	h := talker(t, -1, "")
	if s := h.say(remember); s.code != 0 {
		t.Fatalf("%+v", s)
	}
	id := string(h.identity())
	var both []*background
	for range 2 {
		both = append(both, h.launch(h.command("resume", id, "--yes", "--", "echo ready; read x; cat note")))
	}
	require.Eventually(t, limit, "one of them runs", func() bool {
		return strings.Contains(both[0].out.String()+both[1].out.String(), "ready")
	})
	if strings.Contains(both[1].out.String(), "ready") {
		both[0], both[1] = both[1], both[0]
	}
	if code := both[1].ends(); code != 125 || !strings.Contains(both[1].errs.String(), "bottle attach "+id) || both[1].out.String() != "" {
		t.Errorf("the second ended with %d: %s%s", code, both[1].out, both[1].errs)
	}
	if s := finish(t, h.command("resume", id, "--yes")); s.code != 125 || !strings.Contains(s.err, "is running") || !strings.Contains(s.err, "bottle stop "+id) {
		t.Errorf("%+v", s)
	}
	h.tool("cleanup", "--discard", "--yes")
	both[0].types("")
	if code := both[0].ends(); code != 0 || !strings.Contains(both[0].out.String(), "mine\n") {
		t.Errorf("after a cleanup beside it, the first ended with %d: %s%s", code, both[0].out, both[0].errs)
	}
}

// TestResumeAfterAKill: what a killed start leaves is shown, kept by cleanup, and gone on with.
func TestResumeAfterAKill(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := talker(t, uid, "")
		b := h.launch(h.command("start", h.agent, "--yes", "--", `mkdir -p $PROJECTS/-workspace; echo talk >$PROJECTS/-workspace/s; echo ready; sleep 100`))
		b.says("ready")
		id := string(h.identity())
		if err := b.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-b.done
		if out := h.tool("list", "active"); !strings.Contains(out, "left behind: bottle resume "+id) {
			t.Error(out)
		}
		var list []struct {
			Resumable bool
			Preserved string
		}
		if err := json.Unmarshal([]byte(h.tool("list", "active", "--format", "json")), &list); err != nil || len(list) != 1 || !list[0].Resumable || list[0].Preserved == "" {
			t.Errorf("%+v, %v", list, err)
		}
		if s := finish(t, h.command("resume")); s.code != 2 || !strings.Contains(s.err, "bottle resume "+id) || !strings.Contains(s.err, "its start was killed") {
			t.Errorf("%+v", s)
		}
		if s := finish(t, h.command("cleanup", "--yes")); s.code != 0 || !strings.Contains(s.err, "for a resume") || !strings.Contains(s.err, "--discard") {
			t.Errorf("%+v", s)
		}
		if s := h.resume(`echo $CONTINUED; cat $PROJECTS/-workspace/s`); s.code != 0 || s.out != "true\ntalk\n" {
			t.Fatalf("%+v", s)
		}
		h.nothingLeft("after the resumed one has ended")
		if s := finish(t, h.command("cleanup", "--yes")); s.code != 0 || strings.Contains(s.err, "kept") { // a clean end, and nothing changed
			t.Errorf("%+v", s)
		}
		if list, _ := filepath.Glob(filepath.Join(h.home(), "state", "[a-z]*")); len(list) != 0 {
			t.Error(list)
		}
	})
}

// TestResumeAfterItsGatewayWasKilled: a gateway that had no time to put anything away (no
// memory, no power, or a resume that ends what a killed start left) is in the way of no other.
func TestResumeAfterItsGatewayWasKilled(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := talker(t, uid, "")
		b := h.launch(h.command("start", h.agent, "--yes", "--", remember+`; echo ready; sleep 100`))
		b.says("ready")
		h.killGateway()
		if code := b.ends(); code != 125 {
			t.Fatalf("exit %d: %s", code, b.errs)
		}
		if s := h.resume(recall); s.code != 0 || !strings.HasPrefix(s.out, "true") {
			t.Errorf("%+v", s)
		}
	})
}

// TestResumeIsNoSecondTry: a killed bottle whose resume fails before its agent runs is still
// to be resumed, and says so.
func TestResumeIsNoSecondTry(t *testing.T) {
	h := talker(t, -1, "")
	b := h.launch(h.command("start", h.agent, "--yes", "--", remember+`; echo ready; sleep 100`))
	b.says("ready")
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-b.done
	audit := h.state("audit.jsonl")
	if err := os.Chmod(audit, 0o622); err != nil { // the gateway refuses to go on with it
		t.Fatal(err)
	}
	if s := h.resume("true"); s.code != 125 || !strings.Contains(s.err, "decision log") {
		t.Fatalf("%+v", s)
	}
	if out := h.tool("list", "active"); !strings.Contains(out, "left behind: bottle resume") {
		t.Error(out)
	}
	if err := os.Chmod(audit, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := h.resume(recall); s.code != 0 || !strings.HasPrefix(s.out, "true") {
		t.Errorf("%+v", s)
	}
}

// hostile is what an agent may leave where its conversation is kept.
var hostile = map[string]string{
	"links":   `mkdir -p $PROJECTS/p; ln -s HOST $PROJECTS/p/file; ln -s / $PROJECTS/p/root; ln -s ../../../../../../../../../../..HOST $PROJECTS/p/up; ln -s loop $PROJECTS/p/loop`,
	"pipes":   `rm -r /var/lib/bottle/kept/claude-projects; mkfifo /var/lib/bottle/kept/claude-projects /var/lib/bottle/kept/other`,
	"away":    `rm -r /var/lib/bottle/kept/claude-projects; ln -s HOST /var/lib/bottle/kept/claude-projects`,
	"dangles": `rm -r /var/lib/bottle/kept/claude-projects; ln -s /nowhere/at/all /var/lib/bottle/kept/claude-projects`,
	"closed":  `mkdir -p $PROJECTS/p/q; echo x >$PROJECTS/p/q/r; chmod 0 $PROJECTS/p/q $PROJECTS/p /var/lib/bottle/kept/claude-projects /var/lib/bottle/kept`,
	"file":    `rm -r /var/lib/bottle/kept/claude-projects; echo x >/var/lib/bottle/kept/claude-projects`,
}

// TestHostileConversation: whatever an agent leaves there, nothing of the host is read through
// it, nothing waits for it, the next agent runs, and a cleanup removes it and nothing else.
func TestHostileConversation(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for name, script := range hostile {
			t.Run(name, func(t *testing.T) {
				h := talker(t, uid, "workspace: {mode: none}\n")
				h.write("user/treasure", "a treasure of the host\n")
				h.own()
				treasure := filepath.Join(h.base, "user", "treasure")
				if s := h.say(strings.ReplaceAll(script, "HOST", treasure)); s.code != 0 {
					t.Fatalf("%+v", s)
				}
				if os.Geteuid() == 0 { // and somebody else's
					if err := errors.Join(os.Mkdir(h.state("kept/others"), 0o700), os.Lchown(h.state("kept/others"), 12345, 12345)); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					s := h.resume(`echo runs; timeout .3 cat $PROJECTS/p/* $PROJECTS /var/lib/bottle/kept/* 2>/dev/null; find / -name treasure 2>/dev/null; exit 0`)
					if s.code != 0 || !strings.HasPrefix(s.out, "runs\n") || strings.Contains(s.out, "treasure") {
						t.Fatalf("%+v", s)
					}
				}
				h.tool("list", "active", "--all")
				h.cleanedUp("with " + name)
				if b, err := os.ReadFile(treasure); err != nil || string(b) != "a treasure of the host\n" {
					t.Errorf("%q %v", b, err)
				}
			})
		}
	})
}

// TestResumeKeepsNoSecret: no value of env, of a credential or of what is watched is in the
// state folder, also where the operator has typed it.
func TestResumeKeepsNoSecret(t *testing.T) {
	h := newHouse(t, -1, "")
	const token, asked = "q9Vw3mXs8Lk5Tz2RfNb7", "Zt4Kp8Wq2Xc6Vb1N"
	h.write("home/bottles/box.md", "---\nsupervise: false\nagent_provider: {template: command}\nenv: {ASKED: \"${HOST_ASKED}\"}\n"+
		"egress:\n  routes:\n    - host: api.example.com\n      auth: {scheme: Bearer, token_ref: API_TOKEN}\n---\nA box.\n")
	h.env = append(h.env, "API_TOKEN="+token, "HOST_ASKED="+asked)
	for _, typed := range []string{"", "; : " + token, "; : " + asked} {
		s := h.start("echo here" + typed)
		if s.code != 0 || strings.Contains(s.err, "holds a secret") != (typed != "") {
			t.Fatalf("%+v", s)
		}
		if s := finish(t, h.command("resume", string(h.identity()), "--yes", "--no-tty")); (s.out == "here\n") != (typed == "") {
			t.Errorf("%+v", s)
		}
		err := filepath.WalkDir(filepath.Join(h.home(), "state"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), token) || strings.Contains(string(b), asked) {
				t.Errorf("%s holds a secret", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		h.tool("cleanup", "--discard", "--yes")
	}
}

// TestResumeTrustsNoMore: an agent of the same name that the repository ships meanwhile is not
// what was started, and the repository's own is not taken unseen.
func TestResumeTrustsNoMore(t *testing.T) {
	h := newHouse(t, -1, "")
	if s := h.start("true"); s.code != 0 {
		t.Fatalf("%+v", s)
	}
	id := string(h.identity())
	h.write("home/bottles/other.md", "---\nsupervise: false\nagent_provider: {template: command}\nenv: {A: wide}\n---\nAnother.\n")
	file := filepath.Join("work/.bot-bottle/agents", h.agent+".md")
	if err := os.MkdirAll(filepath.Join(h.base, filepath.Dir(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	h.write(file, "---\nbottle: other\ncommand: [\"/bin/sh\", \"-c\", \"echo theirs\"]\n---\nTheirs.\n")
	for _, flags := range [][]string{{"--yes"}, {"--dry-run"}, {"--yes", "--repo-agent", "other"}} {
		if s := finish(t, h.command(append([]string{"resume", id}, flags...)...)); s.code != 125 || strings.Contains(s.out, "theirs") || !strings.Contains(s.err, "epository") {
			t.Errorf("%q: %+v", flags, s)
		}
	}
	h.tool("cleanup", "--discard", "--yes")
	if s := finish(t, h.command("start", h.agent, "--yes", "--repo-agent", "other")); s.code != 0 || s.out != "theirs\n" {
		t.Fatalf("%+v", s)
	}
	id = string(h.identity())
	if s := finish(t, h.command("resume", id, "--yes")); s.code != 125 || !strings.Contains(s.err, "--repo-agent") {
		t.Errorf("%+v", s)
	}
	if s := finish(t, h.command("resume", id, "--yes", "--repo-agent", "other")); s.code != 0 || s.out != "theirs\n" {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(filepath.Join(h.base, file)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(h.home(), "agents", h.agent+".md")); err != nil {
		t.Fatal(err)
	}
	if s := finish(t, h.command("resume", id, "--yes")); s.code != 125 || !strings.Contains(s.err, h.agent) {
		t.Errorf("%+v", s)
	}
}

// TestResumeDetached: it runs on in the background, on its own terminal.
func TestResumeDetached(t *testing.T) {
	h := talker(t, -1, "")
	if s := h.say(remember); s.code != 0 {
		t.Fatalf("%+v", s)
	}
	id := string(h.identity())
	if s := finish(t, h.command("resume", id, "--yes", "--detach", "--", "echo $CONTINUED >note; sleep 100")); s.code != 0 || strings.TrimSpace(s.out) != id {
		t.Fatalf("%+v", s)
	}
	require.Eventually(t, limit, "it was told to go on", func() bool {
		b, _ := os.ReadFile(h.state("overlay/upper/note"))
		return string(b) == "true\n"
	})
	h.tool("stop", id)
	st, err := store.Open(h.home())
	if err != nil {
		t.Fatal(err)
	}
	if m, err := st.Load(h.identity()); err != nil || m.Status != store.Stopped || m.Resumed.IsZero() || !m.Started.Before(m.Resumed) {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestResumeAfterItFailed: a bottle that breaks under its agent is preserved.
func TestResumeAfterItFailed(t *testing.T) {
	h := talker(t, -1, "")
	b := h.launch(h.command("start", h.agent, "--yes", "--", remember+"; rm note; echo ready; sleep 100"))
	b.says("ready")
	for _, pid := range h.pids("init") {
		_ = syscall.Kill(pid, syscall.SIGKILL) // of several, one is pid 1 inside
	}
	if code := b.ends(); code != 125 {
		t.Fatalf("the bottle ended with %d: %s", code, b.errs)
	}
	if out := h.tool("list", "active"); !strings.Contains(out, "left behind: bottle resume") {
		t.Error(out)
	}
	if s := finish(t, h.command("cleanup", "--yes")); !strings.Contains(s.err, "for a resume") {
		t.Errorf("%+v", s)
	}
	if s := h.resume("echo $CONTINUED"); s.code != 0 || s.out != "true\n" {
		t.Errorf("%+v", s)
	}
}

// TestNoResumeWhileChangesAreTaken: an agent that lives again could change what is being read,
// so a resume and `bottle changes --apply` hold the same lock.
func TestNoResumeWhileChangesAreTaken(t *testing.T) {
	h := talker(t, -1, "")
	if s := h.say(remember); s.code != 0 {
		t.Fatalf("%+v", s)
	}
	st, err := store.Open(h.home())
	if err != nil {
		t.Fatal(err)
	}
	release, err := st.Hold(h.identity()) // as each of the two does
	if err != nil {
		t.Fatal(err)
	}
	if s := h.resume("echo runs"); s.code != 125 || s.out != "" || !strings.Contains(s.err, string(h.identity())) {
		t.Errorf("%+v", s)
	}
	if s := finish(t, h.command("changes", string(h.identity()), "--apply", "--yes")); s.code != 125 {
		t.Errorf("%+v", s)
	}
	release()
	h.tool("changes", string(h.identity()), "--apply", "--yes")
	if body, err := os.ReadFile(filepath.Join(h.work(), "note")); err != nil || string(body) != "mine\n" {
		t.Errorf("%q %v", body, err)
	}
	if s := h.resume("cat note"); s.code != 0 || s.out != "mine\n" {
		t.Errorf("%+v", s)
	}
}
