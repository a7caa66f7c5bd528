package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// verdicts are the records of the gate: of each push, its verdict, reason and note.
func (p *proof) verdicts() (out []string) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.base, "audit.jsonl"))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r struct{ Kind, Method, Verdict, Reason, Note string }
		if json.Unmarshal([]byte(line), &r) == nil && r.Kind == "git" && r.Method == "push" {
			out = append(out, r.Verdict+" "+r.Reason+" "+r.Note)
		}
	}
	return out
}

// TestGitGateDryRun: a push with -o bottle.dry-run is received and judged as any, and the
// agent is told how it would end. Upstream, the mirror and the agent's own view of upstream
// stay as they are.
func TestGitGateDryRun(t *testing.T) {
	t.Parallel()
	p := newProof(t, func(r *bottle.Repo) { r.Push.Branches, r.Push.Force = []string{"agent*", "taken"}, "any" })
	w := p.clone()
	p.direct(w, "tag", "v1")
	p.write(w, "a", "a", "a")
	p.write(w, "b", "b", "b")
	p.direct(w, "push", "-q", "origin", "HEAD:refs/heads/agent-there")
	p.direct(w, "fetch", "-q")
	good := p.write(w, "c", "c", "c")
	for name, c := range map[string]struct {
		args []string
		want []string
		note string
	}{
		"one branch":        {[]string{"HEAD:refs/heads/agent"}, []string{"dry run: this push would be accepted", "1 new commit and 3 objects were judged", "[remote rejected] HEAD -> agent (dry run: this push would be accepted)", "nothing was sent to git.example.com"}, "deny dry_run dry run; "},
		"it moves":          {[]string{"HEAD:refs/heads/agent-there"}, []string{"1 new commit and", "agent-there (dry run: this push would be accepted)"}, "deny dry_run"},
		"several, atomic":   {[]string{"--atomic", "HEAD:refs/heads/agent", "HEAD~1:refs/heads/agent2"}, []string{"agent (dry run: this push would be accepted)", "agent2 (dry run: this push would be accepted)"}, "deny dry_run"},
		"a deletion":        {[]string{":refs/heads/agent-there"}, []string{"0 new commits and 0 objects", "agent-there (dry run: this push would be accepted)"}, "deny dry_run"},
		"forced":            {[]string{"-f", "HEAD~2:refs/heads/agent-there"}, []string{"would be accepted"}, "deny dry_run"},
		"nothing that new":  {[]string{"origin/agent-there:refs/heads/agent"}, []string{"0 new commits"}, "deny dry_run"},
		"with another":      {[]string{"-o", "ci.skip", "HEAD:refs/heads/agent"}, []string{"would be accepted"}, "deny dry_run"},
		"an unknown option": {[]string{"-o", "bottle.dryrun", "HEAD:refs/heads/agent"}, []string{"would be refused", "it knows only bottle.dry-run", "1 problem ", string(policy.BadRequest)}, "deny bad_request dry run; "},
		"all that is wrong": {[]string{"-o", "bottle.x", "HEAD:refs/heads/main", "v1", "HEAD:refs/heads/agent"}, []string{"dry run: this push would be refused", "2 problems", string(policy.RefNotListed), string(policy.BadRequest),
			"main (dry run: ref_not_listed"}, "deny ref_not_listed dry run; "},
	} {
		t.Run(name, func(t *testing.T) {
			mine := p.direct(w, "for-each-ref")
			p.untouched(t, func() {
				out, err := p.try(w, append([]string{"push", "-o", "bottle.dry-run", "origin"}, c.args...)...)
				for _, want := range c.want {
					if !strings.Contains(out, want) {
						t.Errorf("not told %q", want)
					}
				}
				if err == nil || t.Failed() {
					t.Errorf("%v %s", err, out)
				}
			})
			if now := p.direct(w, "for-each-ref"); now != mine {
				t.Errorf("the agent's refs were\n%s\nand are\n%s", mine, now)
			}
			all := p.verdicts()
			if last := all[len(all)-1]; !strings.HasPrefix(last, c.note) || !strings.Contains(last, "dry run; ") {
				t.Errorf("the record says %q", last)
			}
		})
	}
	t.Run("a secret", func(t *testing.T) {
		p.write(w, "leak", knownSecret, "leak")
		defer p.direct(w, "reset", "-q", "--hard", good)
		p.untouched(t, func() {
			out, err := p.try(w, "push", "-o", "bottle.dry-run", "origin", "HEAD:refs/heads/agent", "HEAD:refs/heads/main")
			if err == nil || !strings.Contains(out, "2 problems") || !strings.Contains(out, string(policy.SecretFound)) || !strings.Contains(out, string(policy.RefNotListed)) || strings.Contains(out, "would be accepted") {
				t.Errorf("%v %s", err, out)
			}
		})
	})
	t.Run("upstream moves meanwhile", func(t *testing.T) {
		trunk := p.ref("refs/heads/trunk")
		_, answer, err := p.raw(t, strings.NewReader(command(trunk, noID, "refs/heads/agent-there")+flush+pkt("bottle.dry-run")+flush))
		if err != nil || !strings.Contains(answer, "ng refs/heads/agent-there dry run: upstream has changed this ref: git fetch first") || !strings.Contains(answer, "has changed its refs meanwhile") {
			t.Errorf("%v %q", err, answer)
		}
	})
	t.Run("git's own dry run is not judged", func(t *testing.T) { // which is why there is another
		if out, err := p.try(w, "push", "--dry-run", "origin", "HEAD:refs/heads/main"); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	if out, err := p.try(w, "push", "-o", "ci.skip", "origin", "HEAD:refs/heads/agent"); err != nil || p.ref("refs/heads/agent") != good {
		t.Errorf("the same push in earnest: %v %s", err, out)
	}
	if got := p.direct(w, "rev-parse", "origin/agent"); got != good {
		t.Errorf("git sees %s upstream", got)
	}
	p.sound(t)
}

// TestGitGateRefusesOptionsThatUpstreamTakesNot: an option is never dropped in silence. A
// dry run needs none of upstream's.
func TestGitGateRefusesOptionsThatUpstreamTakesNot(t *testing.T) {
	p := newProof(t)
	p.direct(p.bare, "config", "receive.advertisePushOptions", "false")
	w := p.clone()
	id := p.write(w, "a", "a", "a")
	p.untouched(t, func() {
		for _, args := range [][]string{{"-o", "ci.skip"}, {"-o", "ci.skip", "-o", "bottle.dry-run"}} {
			out, err := p.try(w, append(append([]string{"push"}, args...), "origin", "HEAD:refs/heads/agent")...)
			if err == nil || !strings.Contains(out, "takes no push options") || strings.Contains(out, "would be accepted") {
				t.Errorf("%q: %v %s", args, err, out)
			}
		}
		out, err := p.try(w, "push", "-o", "bottle.dry-run", "origin", "HEAD:refs/heads/agent")
		if err == nil || !strings.Contains(out, "this push would be accepted") {
			t.Errorf("%v %s", err, out)
		}
		if out, err := p.try(w, "push", "-o", "bottle.x", "origin", "HEAD:refs/heads/agent"); err == nil || !strings.Contains(out, "refused, and nothing was sent") || !strings.Contains(out, "bottle.dry-run") {
			t.Errorf("%v %s", err, out)
		}
	})
	if out, err := p.try(w, "push", "origin", "HEAD:refs/heads/agent"); err != nil || p.ref("refs/heads/agent") != id {
		t.Errorf("without an option: %v %s", err, out)
	}
}
