package integration

import (
	"regexp"
	"strings"
	"testing"
)

// TestGitGateApproves: in a bottle with repositories and no route, a push with a value that
// only looks like a secret is refused; the command that `bottle audit` shows lets it pass,
// to the repository's host and no other, and the push then ends upstream.
func TestGitGateApproves(t *testing.T) {
	f, h := gated(t, -1, `{branches: ["agent/*"], force: never}`)
	b := h.begin(`cd /tmp; U=$(sed -n 's/.*insteadOf = "\(ssh:.*git\)"/\1/p' ~/.gitconfig | head -1); git clone -q $U w || exit 10; cd w
echo 'key = AKIAQ3EGRZV5JTKLMN7W' > sample.txt; git add .; git commit -q -m sample; echo ready
while read step; do case $step in
push) git push -q origin HEAD:agent/one 2>&1; echo "push gives $?";;
bye) exit 0;;
esac; done`)
	b.says("ready")
	b.types("push")
	b.says("push gives 1")
	id := string(h.identity())
	found := regexp.MustCompile(`bottle (approve ` + id + ` [0-9a-f]{32} --host git\.example\.com)`).FindStringSubmatch(h.tool("audit", id, "--denied", "--kind", "git"))
	if found == nil {
		t.Fatalf("the audit has no command: %s", h.tool("audit", id, "--denied", "--kind", "git"))
	}
	command := strings.Fields(found[1])
	elsewhere := append(append([]string{}, command[:4]...), "other.example.com", "--yes")
	if s := finish(t, h.command(elsewhere...)); s.code == 0 || !strings.Contains(s.err, "no route or git repository of "+id+" leads to other.example.com") {
		t.Errorf("another host: %+v", s)
	}
	if s := finish(t, h.command(append(command, "--yes")...)); s.code != 0 || !strings.Contains(s.out, "passes to git.example.com until") || !strings.Contains(s.err, "by git push: app") {
		t.Fatalf("approve: %+v", s)
	}
	b.types("push")
	b.says("push gives 0")
	b.types("bye")
	b.ends()
	if got, want := f.refs(), "refs/heads/agent/one\nrefs/heads/trunk"; got != want {
		t.Errorf("upstream has %q, want %q", got, want)
	}
	if t.Failed() {
		t.Logf("%s", b.out.String())
	}
}
