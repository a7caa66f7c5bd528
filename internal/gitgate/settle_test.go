package gitgate

import (
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

const reports = "\x00report-status side-band-64k delete-refs"

// behind makes one whose rules are may, and gives the folder of a person who pushes to
// upstream past the gate.
func behind(t *testing.T, scheme string, may bottle.Push) (w *world, person string) {
	w = newWorld(t, scheme, func(_ *limits, r *bottle.Repo) { r.Push = may })
	return w, filepath.Join(w.root, "seed")
}

// refused fails the test unless nothing was sent, and upstream is as before.
func (w *world) refused(what, before, answer string) {
	w.t.Helper()
	if n := w.posted.Load(); n != 0 || w.git(w.bare, "for-each-ref") != before {
		w.t.Errorf("%s: %d pushes were sent, and upstream is\n%s\nwas\n%s\n%.400q", what, n, w.git(w.bare, "for-each-ref"), before, answer)
	}
}

// TestWhatUpstreamHasDroppedIsNew: the weakness: what the mirror has is not looked at
// again. The attack: a commit with a secret that a person took out of upstream is pushed
// once more, before the mirror knows. This proves that it is judged as new.
func TestWhatUpstreamHasDroppedIsNew(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w, person := behind(t, scheme, bottle.Push{Branches: []string{"agent/*"}})
		oops := w.write(person, "leak", "token = "+kept+"\n")
		w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/oops")
		w.git(w.work, "fetch", "-q")
		w.git(person, "push", "-q", w.bare, ":refs/heads/oops")
		before := w.git(w.bare, "for-each-ref")
		answer := w.send(w.packOf(oops, "^"+oops), zeroID+" "+oops+" refs/heads/agent/again"+reports, "")
		w.refused("again", before, answer)
		if !strings.Contains(answer, "secret_found") {
			t.Errorf("the agent is told %q", answer)
		}
		w.rests()
	})
}

// TestOldIDIsUpstreams: the weakness: what a command loses is seen by its old id, which the
// client writes. The attack: an old id that is newer than the mirror, that upstream has
// no longer, or that is none but carries a secret. This proves that it is refused, and
// that a push that lost a race hears what to do.
func TestOldIDIsUpstreams(t *testing.T) {
	w, person := behind(t, "https", bottle.Push{Force: "any", Protected: []string{"guarded"}})
	first := w.ref("refs/heads/trunk")
	second := w.write(person, "guarded", "check\n")
	w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/trunk")
	before := w.git(w.bare, "for-each-ref")
	same := w.packOf(first, "^"+first)
	w.refused("newer than the mirror", before, w.send(same, second+" "+first+" refs/heads/trunk"+reports, ""))
	unknown := strings.Repeat("5", 40)
	w.refused("an id of nothing", before, w.send(same, unknown+" "+first+" refs/heads/x"+reports, ""))
	w.refused("deleted by an older id", before, w.send(nil, first+" "+zeroID+" refs/heads/trunk"+reports, ""))
	w.refused("a ref that is there is created", before, w.send(same, zeroID+" "+first+" refs/heads/trunk"+reports, ""))
	w.write(w.work, "mine", "mine\n")
	out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/trunk")
	if err == nil || !strings.Contains(out, "fetch first") {
		t.Errorf("%v %s", err, out)
	}
	w.rests()
}

// TestOthersMayPushMeanwhile: a person moves another branch between the agent's question
// and its push. That is judged anew, and goes.
func TestOthersMayPushMeanwhile(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w, person := behind(t, scheme, bottle.Push{Force: "never"})
		id := w.write(w.work, "mine", "mine\n")
		w.write(person, "theirs", "theirs\n")
		w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/trunk")
		if answer := w.send(w.pack(id), zeroID+" "+id+" refs/heads/agent"+reports, ""); w.ref("refs/heads/agent") != id {
			t.Errorf("%q", answer)
		}
		w.rests()
	})
}

// TestPushWithoutAQuestion: a client pushes before anyone has asked upstream for anything.
func TestPushWithoutAQuestion(t *testing.T) {
	w, _ := behind(t, "https", bottle.Push{Force: "never"})
	id := w.write(w.work, "mine", "mine\n")
	cfg := w.gate.cfg
	cfg.Folder = filepath.Join(w.root, "other mirrors")
	var err error
	if w.gate, err = limited(cfg, usual()); err != nil {
		t.Fatal(err)
	}
	if answer := w.send(w.packOf(id), zeroID+" "+id+" refs/heads/agent"+reports, ""); w.ref("refs/heads/agent") != id {
		t.Errorf("%q", answer)
	}
	w.rests()
}

// TestProtectedPathIsNotDeletedAway: the weakness: what a rewind gives up of a protected
// path is seen by the ref's old commit. The attack: the ref is deleted and created anew,
// alone or with another that holds the same. This proves that the deletion is refused, and
// that a branch goes whose commits another ref keeps, or that changes nothing protected.
func TestProtectedPathIsNotDeletedAway(t *testing.T) {
	w, person := behind(t, "ssh", bottle.Push{Force: "any", Tags: true, Protected: []string{"guarded"}})
	w.write(person, "guarded", "check\n")
	w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/release", "HEAD:refs/heads/twin")
	w.git(person, "checkout", "-q", "-b", "other", "HEAD~1")
	w.write(person, "free", "x\n")
	w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/free")
	w.git(w.work, "fetch", "-q")
	before := w.git(w.bare, "for-each-ref")
	out, err := w.try(w.work, "push", "origin", ":refs/heads/release", ":refs/heads/twin")
	w.refused("both", before, out)
	if err == nil || !strings.Contains(out, "protected_path") {
		t.Errorf("%v %s", err, out)
	}
	for _, ref := range []string{"free", "twin"} {
		if out, err := w.try(w.work, "push", "origin", ":refs/heads/"+ref); err != nil {
			t.Errorf("%s: %v %s", ref, err, out)
		}
	}
	out, err = w.try(w.work, "push", "origin", ":refs/heads/release")
	if err == nil || w.ref("refs/heads/release") == "" || !strings.Contains(out, "protected_path") {
		t.Errorf("the last that holds it: %v %s", err, out)
	}
	w.rests()
}

// TestPushOnTopOfWhatIsNotMirrored: a clone made elsewhere has commits of a pull request's
// ref, which the gate does not serve. It must send them, and they are judged.
func TestPushOnTopOfWhatIsNotMirrored(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w := newWorld(t, scheme)
		w.write(w.work, "pulled", "x")
		w.git(w.work, "push", "-q", w.bare, "HEAD:refs/pull/1/head")
		id := w.write(w.work, "top", "y")
		if out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent"); err != nil || w.ref("refs/heads/agent") != id {
			t.Errorf("%v %s", err, out)
		}
		w.git(w.work, "reset", "-q", "--hard", "origin/trunk")
		w.write(w.work, "secret", kept)
		w.git(w.work, "push", "-q", w.bare, "HEAD:refs/pull/2/head")
		w.write(w.work, "onit", "y")
		if out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/other"); err == nil || w.ref("refs/heads/other") != "" || w.last().Reason != policy.SecretFound {
			t.Errorf("%v %s", err, out)
		}
	})
}
