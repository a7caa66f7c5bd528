package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/policy"
	"bottle/test/require"
)

// hook is one of upstream's.
func (p *proof) hook(name, script string) {
	p.t.Helper()
	path := filepath.Join(p.bare, "hooks", name)
	put(p.t, p.bare, "hooks/"+name, "#!/bin/sh\n"+script+"\n")
	if err := os.Chmod(path, 0o755); err != nil {
		p.t.Fatal(err)
	}
}

// TestGitGateUpstreamRefuses: upstream's words reach the terminal word for word, and
// nothing is kept of what it did not take.
func TestGitGateUpstreamRefuses(t *testing.T) {
	p := newProof(t)
	w := p.clone()
	p.hook("pre-receive", "echo 'GH006: the forge says: no, & \"never\"!' >&2; exit 1")
	p.write(w, "a", "a", "a")
	p.untouched(t, func() {
		out, err := p.try(w, "push", "origin", "HEAD:refs/heads/agent")
		if err == nil || !strings.Contains(out, `remote: GH006: the forge says: no, & "never"!`) || !strings.Contains(out, "(pre-receive hook declined)") {
			t.Errorf("%v %s", err, out)
		}
	})
	p.hook("pre-receive", "exit 0")
	p.hook("update", `[ "$1" = refs/heads/closed ] && { echo "closed for you" >&2; exit 1; }; exit 0`)
	before := p.ref("refs/heads/taken")
	for name, c := range map[string]struct {
		args []string
		some bool
	}{"each by itself": {[]string{"HEAD:refs/heads/one", "HEAD:refs/heads/closed"}, true}, "all or none": {[]string{"--atomic", "HEAD:refs/heads/two", "HEAD:refs/heads/closed"}, false}} {
		t.Run(name, func(t *testing.T) {
			id := p.write(w, "a", name, name)
			out, err := p.try(w, append([]string{"push", "origin"}, c.args...)...)
			if err == nil || !strings.Contains(out, "remote: closed for you") {
				t.Errorf("%v %s", err, out)
			}
			if got := p.ref("refs/heads/one") == id; got != c.some || p.ref("refs/heads/two")+p.ref("refs/heads/closed") != "" || p.ref("refs/heads/taken") != before {
				t.Errorf("one arrived: %v, want %v", got, c.some)
			}
		})
	}
	p.sound(t)
}

// TestGitGateUpstreamDies: upstream ends in the middle of the pack, behind the pack and
// before it changes a ref, behind that and before its report, and within the report. The
// agent hears of an error; the same push can be repeated; nothing is broken.
func TestGitGateUpstreamDies(t *testing.T) {
	t.Parallel()
	// receive-pack is the parent of its hooks.
	for name, c := range map[string]struct {
		fault string
		hook  string
		made  bool // the ref is there all the same
	}{
		"before a word":              {fault: "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) exit 1;; esac"},
		"in its list of refs":        {fault: "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) git-shell -c \"$SSH_ORIGINAL_COMMAND\" </dev/null | head -c 40; exit 1;; esac"},
		"silent in its list of refs": {fault: "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) git-shell -c \"$SSH_ORIGINAL_COMMAND\" | head -c 90; exit 1;; esac"},
		"within the pack":            {fault: "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) head -c 500000 | git-shell -c \"$SSH_ORIGINAL_COMMAND\"; exit 1;; esac"},
		"behind the pack":            {hook: "pre-receive"},
		"before the report":          {hook: "reference-transaction", made: true},
		"within the report":          {fault: "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) git-shell -c \"$SSH_ORIGINAL_COMMAND\" | dd bs=1 status=none count=$((SIZE + 20)); kill -9 $PPID;; esac", made: true},
		"while it is talking":        {fault: "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) echo no git at all; exit 1;; esac"},
		"before the next word":       {fault: "kill -9 $PPID"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProof(t)
			w := p.clone()
			id := p.write(w, "big", random(t, 2<<20), "big")
			trunk := p.ref("refs/heads/trunk")
			p.faulty("case $SSH_ORIGINAL_COMMAND in git-receive-pack*) git-shell -c \"$SSH_ORIGINAL_COMMAND\" | tee " + p.base + "/seen; exit 0;; esac")
			p.direct(w, "push", "-q", "--dry-run", "origin", "HEAD:refs/heads/agent")
			var seen []byte
			require.Eventually(t, 20*time.Second, "the list of refs, whole", func() (whole bool) {
				seen, _ = os.ReadFile(p.base + "/seen") // it may not be there yet
				return strings.HasSuffix(string(seen), "0000")
			})
			p.faulty(strings.ReplaceAll(c.fault, "SIZE", fmt.Sprint(len(seen))))
			if c.hook != "" {
				p.hook(c.hook, `case "$1" in ""|committed) kill -9 $PPID;; esac`)
			}
			began := time.Now()
			out, err := p.try(w, "push", "origin", "HEAD:refs/heads/agent")
			if err == nil || time.Since(began) > 30*time.Second {
				t.Errorf("after %v: %v %s", time.Since(began), err, out)
			}
			if made := p.ref("refs/heads/agent") == id; made != c.made || !made && p.ref("refs/heads/agent") != "" || p.ref("refs/heads/trunk") != trunk {
				t.Errorf("the ref is there: %v, want %v; %s", made, c.made, out)
			}
			if strings.Contains(out, p.base+"/mirrors") {
				t.Errorf("the agent is told a path of the operator's: %s", out)
			}
			p.noQuarantine(t)
			p.faulty("")
			if c.hook != "" {
				p.hook(c.hook, "exit 0")
			}
			if out, err := p.try(w, "push", "origin", "HEAD:refs/heads/agent"); err != nil || p.ref("refs/heads/agent") != id {
				t.Errorf("again: %v %s", err, out)
			}
			p.sound(t)
			if got := p.direct(p.clone(), "rev-parse", "origin/agent"); got != id {
				t.Errorf("the gate serves %s, want %s", got, id)
			}
		})
	}
}

// TestGitGateIsKilled: the gateway dies at each stage of a push. What starts after it
// finds a sound mirror and no quarantine, upstream is sound and has all or nothing, and the
// same push can be repeated.
func TestGitGateIsKilled(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	kill := func(name, fault, hook string, when func(w string, started time.Time)) {
		t.Run(name, func(t *testing.T) {
			w := p.clone()
			id := p.write(w, "big-"+name, random(t, 3<<20), name)
			before, _ := p.upstream()
			ref := "refs/heads/agent-" + strings.ReplaceAll(name, " ", "-")
			p.faulty(fault)
			if hook != "" {
				p.hook(hook, "touch "+p.base+"/now; sleep 3")
			}
			_ = os.Remove(p.base + "/now")
			var group sync.WaitGroup
			group.Go(func() { _, _ = p.try(w, "push", "origin", "HEAD:"+ref) }) // it is cut off, or was done before
			when(w, time.Now())
			p.kill()
			group.Wait()
			if hook != "" {
				_ = os.Remove(filepath.Join(p.bare, "hooks", hook))
			}
			p.faulty("")
			p.upstreamRests(t)
			p.start()
			if after, _ := p.upstream(); after != before && after != sortedLines(before, ref+" "+id) {
				t.Errorf("upstream has %s", after)
			}
			p.sound(t)
			p.noQuarantine(t)
			if out, err := p.try(w, "-c", "http.proxy="+p.proxy, "push", "origin", "HEAD:"+ref); err != nil || p.ref(ref) != id {
				t.Errorf("again: %v %s", err, out)
			}
			p.sound(t)
			if got := p.direct(p.clone(), "rev-parse", "origin/"+strings.TrimPrefix(ref, "refs/heads/")); got != id {
				t.Errorf("the gate serves %s, want %s", got, id)
			}
		})
	}
	now := func(string, time.Time) {
		require.Eventually(p.t, 20*time.Second, "upstream's hook", func() bool { _, err := os.Stat(p.base + "/now"); return err == nil })
	}
	kill("while it takes the pack", "", "", func(string, time.Time) {
		require.Eventually(p.t, 20*time.Second, "a pack that arrives", func() bool {
			parts, _ := filepath.Glob(filepath.Join(p.mirror(), "quarantine", "*", "pack", "*"))
			return len(parts) > 0
		})
	})
	kill("when upstream has the pack", "", "pre-receive", now)
	kill("when upstream has the ref", "", "post-receive", now)
	kill("while upstream is silent", "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) touch "+p.base+"/now; sleep 2;; esac", "", now)
	for i := range 8 { // wherever it happens to be
		kill(fmt.Sprintf("at the time %d", i), "", "", func(_ string, began time.Time) {
			time.Sleep(time.Until(began.Add(time.Duration(i) * 60 * time.Millisecond)))
		})
	}
}

// TestGitGateRace: two agents push to one branch at once. One wins; the other hears
// upstream's own words.
func TestGitGateRace(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	a, b := p.clone(), p.clone()
	for i := range 4 {
		p.direct(a, "fetch", "-q")
		p.direct(b, "fetch", "-q")
		name := fmt.Sprint("refs/heads/race", i/2) // created, and then moved
		start := "origin/trunk"
		if i%2 == 1 {
			start = fmt.Sprint("origin/race", i/2)
		}
		p.direct(a, "reset", "-q", "--hard", start)
		p.direct(b, "reset", "-q", "--hard", start)
		ids := []string{p.write(a, "a", fmt.Sprint(i), "a"), p.write(b, "b", fmt.Sprint(i), "b")}
		p.hook("pre-receive", "sleep 0.5")
		var group sync.WaitGroup
		outs, errs := make([]string, 2), make([]error, 2)
		for n, w := range []string{a, b} {
			group.Go(func() { outs[n], errs[n] = p.try(w, "push", "origin", "HEAD:"+name) })
		}
		group.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		if errs[won] != nil || errs[1-won] == nil || p.ref(name) != ids[won] {
			t.Errorf("%v %s\n%v %s", errs[0], outs[0], errs[1], outs[1])
		}
		if lost := outs[1-won]; !strings.Contains(lost, "failed to update ref") && !strings.Contains(lost, "fetch first") && !strings.Contains(lost, "remote: error: cannot lock ref") {
			t.Errorf("who lost is told %s", lost)
		}
	}
	p.sound(t)
}

// TestGitGateUpstreamIsAway: nothing old is served in silence. A server that does not
// answer is an error within 15 s, one that is not there at once; HEAD follows upstream's.
func TestGitGateUpstreamIsAway(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	w := p.clone()
	addr := p.listener.Addr().String()
	p.direct(p.bare, "symbolic-ref", "HEAD", "refs/heads/taken")
	p.direct(w, "remote", "set-head", "origin", "-a")
	if got := p.direct(w, "symbolic-ref", "refs/remotes/origin/HEAD"); got != "refs/remotes/origin/taken" {
		t.Errorf("HEAD is %s", got)
	}
	p.direct(p.bare, "branch", "-D", "trunk")
	p.direct(w, "fetch", "-q", "--prune")
	if got := p.direct(w, "for-each-ref", "--format=%(refname)", "refs/remotes"); strings.Contains(got, "trunk") {
		t.Errorf("the gate still serves trunk: %s", got)
	}
	check := func(name string, least, most time.Duration) {
		for _, v := range []string{"0", "2"} {
			began := time.Now()
			out, err := p.try(w, "-c", "protocol.version="+v, "fetch", "origin")
			took := time.Since(began)
			if err == nil || !strings.Contains(out, string(policy.UpstreamUnreachable)) || !strings.Contains(out, "nothing older is served") || took < least || took > most {
				t.Errorf("%s, v%s: after %v %v %s", name, v, took, err, out)
			}
		}
	}
	_ = p.listener.Close()
	check("nobody there", 0, 5*time.Second)
	if out, err := p.try(w, "push", "origin", "HEAD:refs/heads/x"); err == nil || !strings.Contains(out, string(policy.UpstreamUnreachable)) {
		t.Errorf("a push: %v %s", err, out)
	}
	l, err := net.Listen("tcp", addr) // it takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !testing.Short() {
		check("silence", 10*time.Second, 18*time.Second)
	}
}

// TestGitGateClients: each way in which git reads and writes, by all protocol versions.
func TestGitGateClients(t *testing.T) {
	p := newProof(t)
	seed := p.base + "/seed"
	for i := range 20 {
		p.write(seed, "README", fmt.Sprint(i), fmt.Sprint(i))
	}
	p.direct(seed, "push", "-q", p.bare, "HEAD:trunk")
	for _, v := range []string{"0", "1", "2"} {
		for name, args := range map[string][]string{"whole": nil, "shallow": {"--depth=3"}, "partial": {"--filter=blob:none"}, "treeless": {"--filter=tree:0"}, "both": {"--depth=2", "--filter=blob:none"}, "single": {"--single-branch", "--no-tags"}} {
			t.Run("v"+v+"/"+name, func(t *testing.T) {
				w := p.clone(append([]string{"-c", "protocol.version=" + v}, args...)...)
				if got, want := p.direct(w, "rev-parse", "HEAD"), p.ref("refs/heads/trunk"); got != want {
					t.Fatalf("HEAD is %s, want %s", got, want)
				}
				id := p.write(w, "new-"+v+name, "new", "new")
				p.direct(w, "push", "-q", "-o", "ci.skip", "origin", "HEAD:refs/heads/"+name+v)
				if got := p.ref("refs/heads/" + name + v); got != id {
					t.Errorf("upstream has %s, want %s", got, id)
				}
				if name == "shallow" {
					p.direct(w, "fetch", "-q", "--deepen=5")
					p.direct(w, "fetch", "-q", "--unshallow")
					p.direct(w, "fsck", "--full")
				}
				bad := p.write(w, "bad", knownSecret, "bad")
				before, objects := p.upstream()
				if out, err := p.try(w, "push", "origin", "HEAD:refs/heads/"+name+v); err == nil || !strings.Contains(out, string(policy.SecretFound)) {
					t.Errorf("%v %s", err, out)
				}
				if after, now := p.upstream(); after != before || now != objects || strings.Contains(now, bad) {
					t.Error("upstream changed")
				}
			})
		}
	}
	p.sound(t)
}

// random is text that no compression makes smaller.
func random(t testing.TB, n int) string {
	t.Helper()
	b := make([]byte, n)
	f, err := os.Open("/dev/urandom")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.ReadFull(f, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}
