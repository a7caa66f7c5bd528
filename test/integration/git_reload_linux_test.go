package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/test/require"
)

// TestGitGateReload: rules of pushing, and a key, are taken over while a bottle runs, and
// a push that upstream is thinking about ends well. What waits for a start is said. A
// repository that is taken out is served no more.
func TestGitGateReload(t *testing.T) {
	f, h := gated(t, -1, `{branches: ["agent/*"], force: never}`)
	slow, done := filepath.Join(h.base, "slow"), filepath.Join(h.base, "done")
	hook := filepath.Join(f.bare, "hooks", "update")
	script := "#!/bin/sh\n[ \"$1\" = refs/heads/agent/slow ] || exit 0\ntouch " + slow + "; n=0; while [ ! -e " + done + " ] && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done; exit 0\n"
	if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	b := h.begin(`cd /tmp; U=$(sed -n 's/.*insteadOf = "\(ssh:.*git\)"/\1/p' ~/.gitconfig | head -1); git clone -q $U w || exit 10; cd w; echo ready
while read step args && test "$step" != bye; do case $step in
push) git commit -q --allow-empty -m x; git push -q origin HEAD:$args 2>&1; echo "push $args gives $?";;
later) git commit -q --allow-empty -m x; (git push -q origin HEAD:$args 2>&1; echo "push $args gives $?") & echo begun;;
policy) curl -s http://git.bottle/app/policy; echo "policy told";;
large) head -c 2000000 /dev/zero > large; git add large; git commit -q -m large; git push -q origin HEAD:docs 2>&1; echo "large gives $?"; git reset -q --hard HEAD~;;
fetch) git fetch -q origin 2>&1; echo "$args fetch gives $?";;
esac; done`)
	b.says("ready")
	id := string(h.identity())
	reload := func(wantOut, wantErr string) {
		t.Helper()
		if s := finish(t, h.command("reload", id, "--yes")); s.code != 0 || !strings.Contains(s.out, wantOut) || !strings.Contains(s.err, wantErr) {
			t.Fatalf("reload: %+v", s)
		}
	}
	b.types("push docs")
	b.says("push docs gives 1")
	b.types("later agent/slow")
	b.says("begun")
	require.Eventually(t, 20*time.Second, "upstream is asked", func() bool { _, err := os.Stat(slow); return err == nil })

	h.edit(`branches: ["agent/*"]`, `branches: [docs], max_file: 1MiB`)
	reload("in force: policy ", "~ git app  push.branches: agent/* → docs")
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.says("push agent/slow gives 0") // by the rules that it began with
	b.types("push docs")
	b.says("push docs gives 0")
	b.types("push agent/two")
	b.says("push agent/two gives 1")
	b.types("policy")
	b.says("the largest file: 1MiB")
	b.types("large")
	b.says("the file has 2000000 bytes, and 1048576 are allowed")
	b.says("large gives 1")

	// Another key, and one that is meant for another server.
	good := string(f.key)
	h.write("key", good+"\n")
	reload("git app: another key is used from now on", "")
	b.types("fetch new-key")
	b.says("new-key fetch gives 0")
	h.write("key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHWlnVZDoYlWrKKmtzXYmfl1WeQ2JqpsJfJQiJP5pvEj\n")
	reload("", "warning: git app: there is no private key in the key_file")
	b.types("fetch old-key")
	b.says("old-key fetch gives 0")
	// A key_file that is not there: the old one's use is not to be told as the new one's.
	if s := finish(t, h.command("reload", id, "--yes")); !strings.Contains(s.err, "the key from before stays in use") {
		t.Errorf("no word of the old key: %+v", s)
	}
	h.edit("/key\"", "/nix\"")
	if s := finish(t, h.command("reload", id, "--yes")); s.code == 0 || !strings.Contains(s.err, "git app: read key_file") || !strings.Contains(s.err, "nothing was changed") {
		t.Errorf("a missing key_file: %+v", s)
	}
	h.edit("/nix\"", "/key\"")
	h.edit("/team/app.git", "/team/other.git")
	h.edit("branches: [docs], max_file: 1MiB, force: never", `branches: ["*"], force: any`)
	h.write("key", "-----BEGIN OPENSSH PRIVATE KEY-----\nfor the other one, which has more than enough letters\n-----END OPENSSH PRIVATE KEY-----\n")
	reload("nothing changed of routes and git", "git app upstream changed, and not in the running bottle: that needs a new start")
	b.types("fetch held")
	b.says("held fetch gives 0") // that key is not used here
	b.types("push agent/three")
	b.says("push agent/three gives 1")
	h.edit("/team/other.git", "/team/app.git")
	h.edit(`branches: ["*"], force: any`, "branches: [docs], max_file: 1MiB, force: never")
	h.write("key", good)
	h.edit("git_user: {name: app-bot", "git_user: {name: other-bot")
	var look struct {
		Waiting []string `json:"needs_start"`
		Git     []struct {
			Key   string
			Waits bool `json:"needs_start"`
		}
	}
	if err := json.Unmarshal([]byte(h.tool("reload", id, "--format", "json")), &look); err != nil || len(look.Git) != 1 || look.Git[0].Key != "git_user" || !look.Git[0].Waits || len(look.Waiting) != 1 {
		t.Errorf("for machines: %+v %v", look, err)
	}

	h.edit("git:\n", "git:\n  - {name: new, upstream: \"https://new.example.com/x.git\"}\n")
	reload("", "git new (new)")
	h.edit("  - name: app\n", "  - name: gone\n")
	reload("in force: policy ", "- git app  ssh://")
	b.types("fetch gone")
	b.says("gone fetch gives 128")
	h.edit("  - name: gone\n", "  - name: app\n")
	reload("in force: policy ", "+ git app  ssh://")
	b.types("fetch back")
	b.says("back fetch gives 0")
	b.types("bye")
	b.ends()
	if got, want := f.refs(), "refs/heads/agent/slow\nrefs/heads/docs\nrefs/heads/trunk"; got != want {
		t.Errorf("upstream has %q, want %q", got, want)
	}
	noted := 0
	for _, r := range h.records() {
		if note, _ := r["note"].(string); r["reason"] == "policy_reloaded" && strings.Contains(note, "git app") {
			noted++
		}
	}
	if noted != 3 {
		t.Errorf("%d reloads of git in the log", noted)
	}
	if t.Failed() {
		t.Logf("%s", b.out.String())
	}
}
