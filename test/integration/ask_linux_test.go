package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/test/require"
)

// waiting are the proposals that an operator would be shown, once there are n.
func (h *house) waiting(n int) (out []struct{ ID, Says, Diff, Why, Status string }) {
	h.t.Helper()
	for end := time.Now().Add(limit); ; sleepABit() {
		var got struct {
			Proposals []struct{ ID, Says, Diff, Why, Status string }
		}
		if err := json.Unmarshal([]byte(h.tool("proposals", "--format", "json")), &got); err != nil {
			h.t.Fatal(err)
		}
		if len(got.Proposals) >= n {
			return got.Proposals
		}
		if time.Now().After(end) {
			h.t.Fatalf("%d proposals wait, not %d", len(got.Proposals), n)
		}
	}
}

// TestAskOnFirstUse: an agent that knows nothing of asking reaches for hosts that nobody
// listed. The operator is shown each once, whatever the storm; what is approved is not
// refused any more, a reload leaves it, and what is taken back is refused again. An agent
// that writes where the queue is outside of the bottle changes nothing.
func TestAskOnFirstUse(t *testing.T) {
	require.Tool(t, "curl")
	everybody(t, func(t *testing.T, uid int) {
		_, h := upstream(t, uid)
		h.edit("egress:\n", "egress:\n  unmatched: ask\n")
		queue := filepath.Join(h.home(), "state")
		b := h.begin(`mkdir -p ` + queue + ` 2>/dev/null; for id in $(ls ` + queue + ` 2>/dev/null) x-00000; do mkdir -p ` + queue + `/$id/proposals 2>/dev/null; echo '{"id":"p234567"}' > ` + queue + `/$id/proposals/p234567.json 2>/dev/null; done
` + asker)
		for range 5 {
			b.types("https://new.example.com/a")
		}
		b.types("https://api.example.com/v1/a")
		b.says("/v1/a gives 200")
		p := h.waiting(1)
		if len(p) != 1 || p[0].Says != "adds every method to new.example.com/* without a credential" || !strings.Contains(p[0].Diff, "+- host: new.example.com") {
			t.Fatalf("%+v", p)
		}
		if s := finish(t, h.command("approve", p[0].ID)); s.code != 2 || !strings.Contains(s.err, "--yes") {
			t.Errorf("nobody could say yes: %+v", s)
		}
		out := h.tool("approve", p[0].ID, "--yes", "--for", "15m")
		if !strings.Contains(out, "approved "+p[0].ID+", until ") {
			t.Error(out)
		}
		if s := finish(t, h.command("reject", p[0].ID)); s.code != 125 || !strings.Contains(s.err, "decided already: approved") {
			t.Errorf("the second operator: %+v", s)
		}
		b.types("https://new.example.com/b")
		b.says("new.example.com/b ")
		if strings.Contains(b.out.String(), "new.example.com/b gives 403") {
			t.Error("it is refused all the same")
		}
		if out := h.tool("reload", h.agent, "--yes"); !strings.Contains(out, "no route changed") {
			t.Errorf("a reload: %s", out)
		}
		grant := strings.Fields(h.tool("grants", h.agent))
		at := ""
		for _, w := range grant {
			if strings.HasPrefix(w, "g") && len(w) == 7 {
				at = w
			}
		}
		if out := h.tool("revoke", h.agent, at); !strings.Contains(out, "revoked "+at) {
			t.Error(out)
		}
		b.types("https://new.example.com/c")
		b.says("new.example.com/c ")

		// For good: it stands in the manifest, behind what is there, and is in force.
		b.types("https://kept.example.net/a")
		b.says("kept.example.net/a ")
		kept := ""
		for kept == "" {
			for _, q := range h.waiting(1) {
				if strings.Contains(q.Says, "kept.example.net") {
					kept = q.ID
				}
			}
		}
		h.tool("approve", kept, "--for", "always", "--method", "GET", "--yes")
		text, err := os.ReadFile(filepath.Join(h.home(), "bottles", "box.md"))
		if err != nil || !strings.Contains(string(text), "\n    - host: kept.example.net\n      methods: [GET]\n---\n") || !strings.Contains(string(text), "A box with one way out.") {
			t.Errorf("the manifest, %v:\n%s", err, text)
		}
		var again struct{ Old, New string }
		if err := json.Unmarshal([]byte(h.tool("reload", h.agent, "--yes", "--format", "json")), &again); err != nil || again.Old != again.New {
			t.Errorf("the manifest and the grant differ: %+v, %v", again, err)
		}
		if v := h.tool("explain", "box", "GET", "https://kept.example.net/"); !strings.Contains(v, "allow") {
			t.Error(v)
		}
		reasons := map[string]int{}
		for _, r := range h.records() {
			reasons[fmt.Sprint(r["reason"])]++
			if r["reason"] == "grant_started" || r["reason"] == "grant_revoked" {
				if r["policy_before"] == r["policy"] || !strings.Contains(fmt.Sprint(r["diff"]), "- host: new.example.com") && !strings.Contains(fmt.Sprint(r["diff"]), "- host: kept.example.net") {
					t.Errorf("%v", r)
				}
			}
		}
		if reasons["proposal_asked"] < 1 || reasons["proposal_approved"] != 1 || reasons["proposal_modified"] != 1 || reasons["grant_started"] != 2 || reasons["grant_revoked"] != 1 || reasons["proposal_set_aside"] != 0 {
			t.Errorf("%v", reasons)
		}
		id := string(h.identity())
		if _, err := os.Lstat(filepath.Join(queue, id, "proposals", "p234567.json")); err == nil {
			t.Error("the agent wrote into the queue")
		}
		b.types("bye")
		b.ends()
	})
}

// TestPushIsAskedFor: a push that only an operator may let through is asked for with what it
// changes there; approval lets exactly those commits through, once.
func TestPushIsAskedFor(t *testing.T) {
	f, h := gated(t, -1, `{branches: ["agent/*"], force: own, protected: [".github/**"]}`)
	b := h.begin(`U=$(sed -n 's/.*insteadOf = "\(ssh:.*git\)"/\1/p' ~/.gitconfig | head -1); cd /tmp; git clone -q $U w || exit 10
cd w; printf '* -diff\n' > .gitattributes; mkdir .github; printf 'on: push\033[2J\n' > .github/ci.yml; for i in $(seq 3000); do echo noise $i >> a-noise; done; git add -A; git commit -q -m "harmless"
echo ready; while read x; do case $x in bye) break;; dry) git push -o bottle.dry-run origin HEAD:agent/p 2>&1; echo "dry $?";; push) git push origin HEAD:agent/p 2>&1; echo "pushed $?";; amend) git commit -q --amend --allow-empty -m "other"; git push origin HEAD:agent/p 2>&1; echo "amended $?";; undo) git push -q origin :agent/p 2>&1; echo "undone $?";; secret) echo AKIAQ3EGRZV5JTKLMN7W > s; echo more >> .github/ci.yml; git add -A; git commit -q -m s;  git push origin HEAD:agent/q 2>&1; echo "secret $?";; again) git push origin HEAD:agent/q 2>&1 | sed 's/^/again: /'; echo "again ended";; esac; done; exit 0`)
	b.types("dry")
	b.says("dry 1")
	if p := h.waiting(0); len(p) > 0 || !strings.Contains(b.out.String(), "a protected path needs an operator, who is asked when you push without -o bottle.dry-run") {
		t.Errorf("a dry run asks: %+v\n%s", p, b.out.String())
	}
	b.types("push")
	b.says("pushed 1")
	p := h.waiting(1)
	if !strings.Contains(b.out.String(), "the operator was asked ("+p[0].ID+"): push again, the same commits, when it is approved") {
		t.Error(b.out.String())
	}
	shown := h.tool("proposals", p[0].ID)
	if !strings.Contains(shown, `+on: push\u{1b}[2J`) || !strings.Contains(shown, "refs/heads/agent/p") || !strings.Contains(shown, ".github/ci.yml") || strings.Contains(shown, "noise") || strings.Contains(shown, "\x1b") {
		t.Errorf("the operator sees\n%s", shown)
	}
	h.tool("approve", p[0].ID, "--yes", "--note", "fine")
	b.types("amend")
	b.says("amended 1")
	if f.refs() != "refs/heads/trunk" {
		t.Errorf("another push got through: %s", f.refs())
	}
	b.types("push") // the amended one
	for end := time.Now().Add(limit); strings.Count(b.out.String(), "pushed 1") < 2 && time.Now().Before(end); sleepABit() {
	}
	second := h.waiting(1)
	if len(second) != 1 || second[0].ID == p[0].ID {
		t.Fatalf("%+v", second)
	}
	h.tool("approve", second[0].ID, "--yes")
	b.types("push")
	b.says("pushed 0")
	if got := f.refs(); got != "refs/heads/agent/p\nrefs/heads/trunk" {
		t.Errorf("upstream has %s", got)
	}
	if grants := h.tool("grants", h.agent, "--all"); !strings.Contains(grants, "it was used") {
		t.Error(grants)
	}
	b.types("undo") // what was approved is upstream's now, and as protected as the rest
	b.says("undone 1")
	undone := h.waiting(1)
	if got := f.refs(); got != "refs/heads/agent/p\nrefs/heads/trunk" || len(undone) != 1 {
		t.Fatalf("upstream has %s; %+v", got, undone)
	}
	h.tool("reject", undone[0].ID, "--reason", "keep it")
	b.types("secret")
	b.says("secret 1")
	if !strings.Contains(b.out.String(), "who is asked when nothing else is wrong") || len(h.waiting(0)) > 1 {
		t.Errorf("a secret is asked for, too:\n%s", b.out.String())
	}
	// An operator lets that value go to the repository's host, to which no route leads.
	_, print, _ := strings.Cut(b.out.String(), "(aws-access-token), fingerprint ")
	h.tool("approve", h.agent, print[:min(len(print), 32)], "--host", "git.example.com", "--yes")
	b.types("again")
	b.says("again ended")
	if _, again, _ := strings.Cut(b.out.String(), "again: "); strings.Contains(again, "[secret_found]") || !strings.Contains(again, "[protected_path]") || !strings.Contains(again, "the operator was asked") {
		t.Errorf("after the value was approved:\n%s", again)
	}
	b.types("bye")
	b.ends()
}

// TestOperatorsRaceAndDie: for each proposal several operators decide at once, in processes of
// their own, and one of them is killed (SIGKILL) on the way. Exactly one decision stands,
// whoever lost is told, and what is in force is what was decided.
func TestOperatorsRaceAndDie(t *testing.T) {
	require.Tool(t, "curl")
	_, h := upstream(t, -1)
	h.edit("egress:\n", "egress:\n  unmatched: ask\n")
	b := h.begin(asker)
	const n = 6
	for i := range n {
		b.types(fmt.Sprintf("https://www.host%d.example/a", i))
	}
	for i, p := range h.waiting(n) {
		killed := h.command("approve", p.ID, "--yes")
		if err := killed.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		_ = killed.Process.Kill()
		_ = killed.Wait()
		results := make(chan said, 4)
		for j := range cap(results) {
			cmd := h.command([]string{"approve", "reject"}[j%2], p.ID)
			if j%2 == 0 {
				cmd.Args = append(cmd.Args, "--yes")
			}
			go func() { results <- finish(t, cmd) }()
		}
		won, told := 0, 0
		for range cap(results) {
			switch s := <-results; {
			case s.code == 0:
				won++
			case strings.Contains(s.err, "decided already: "):
				told++
			default:
				t.Errorf("%+v", s)
			}
		}
		var all struct {
			Proposals []struct{ ID, Status string }
		}
		if err := json.Unmarshal([]byte(h.tool("proposals", h.agent, "--all", "--format", "json")), &all); err != nil {
			t.Fatal(err)
		}
		status := ""
		for _, q := range all.Proposals {
			if q.ID == p.ID {
				status = q.Status
			}
		}
		if won > 1 || won+told != cap(results) || won == 0 && status != "approved" {
			t.Errorf("%d won, %d were told, it is %s", won, told, status)
		}
		host := strings.TrimSuffix(strings.TrimPrefix(p.Says, "adds every method to "), "/* without a credential")
		b.types("https://" + host + "/b")
		b.says(host + "/b ")
		if refused := strings.Contains(b.out.String(), host+"/b gives 403") || strings.Contains(b.out.String(), host+"/b gives 000"); status == "rejected" && !refused && !strings.Contains(b.out.String(), host+"/b fails") {
			t.Errorf("%s is %s and let through", host, status)
		} else if status == "approved" && strings.Contains(b.out.String(), host+"/b gives 403") {
			t.Errorf("%s is %s and refused", host, status)
		}
	}
	counts := map[string]int{}
	for _, r := range h.records() {
		if strings.HasPrefix(fmt.Sprint(r["reason"]), "proposal_") {
			counts[fmt.Sprint(r["reason"])]++
		}
	}
	if counts["proposal_approved"]+counts["proposal_rejected"] != n {
		t.Errorf("%v", counts)
	}
	if s := finish(t, h.command("audit", h.agent, "--verify")); s.code != 0 {
		t.Errorf("%+v", s)
	}
	b.types("bye")
	b.ends()
}

// TestKilledOnTheWayToTheManifest: whoever approves for good is killed (SIGKILL) at some
// step, and says it again. What was approved is in force once and in the manifest once, its
// other lines are as they were, and a new start reads it.
func TestKilledOnTheWayToTheManifest(t *testing.T) {
	require.Tool(t, "curl")
	_, h := upstream(t, -1)
	h.edit("egress:\n", "egress:\n  unmatched: ask\n")
	path := filepath.Join(h.home(), "bottles", "box.md")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := h.begin(asker)
	const n = 8
	for i := range n {
		b.types(fmt.Sprintf("https://www.host%d.example/a", i))
	}
	for i, p := range h.waiting(n) {
		killed := h.command("approve", p.ID, "--for", "always", "--yes")
		if err := killed.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 3 * time.Millisecond)
		_ = killed.Process.Kill()
		_ = killed.Wait()
		h.tool("approve", p.ID, "--for", "always", "--yes")
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var again struct{ Old, New string }
	if err := json.Unmarshal([]byte(h.tool("reload", h.agent, "--yes", "--format", "json")), &again); err != nil || again.Old != again.New {
		t.Errorf("the manifest and the grants differ: %+v, %v", again, err)
	}
	for i := range n {
		host := fmt.Sprintf("www.host%d.example", i)
		if c := strings.Count(string(after), "    - host: \""+host+"\"\n"); c != 1 {
			t.Errorf("%s is there %d times", host, c)
		}
		if c := strings.Count(h.tool("grants", h.agent), host); c != 1 {
			t.Errorf("%s is granted %d times", host, c)
		}
	}
	for l := range strings.SplitSeq(string(before), "\n") {
		if !strings.Contains(string(after), l) {
			t.Errorf("a line is lost: %s", l)
		}
	}
	if s := finish(t, h.command("validate")); s.code != 0 {
		t.Errorf("%+v", s)
	}
	b.types("bye")
	b.ends()
}
