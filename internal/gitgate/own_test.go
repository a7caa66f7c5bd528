package gitgate

import (
	"strings"
	"testing"

	"bottle/internal/bottle"
)

// TestOwnIsWhatTheBottlePutThere: the weakness: force "own" looks at the commits that are
// lost. The attack: a ref of another's that another ref keeps, so that no commit is lost,
// is deleted and created elsewhere; a person's tag on a commit of the bottle's is moved; a
// copy of a person's commit is pushed, and their branch is rewound; so is a branch that a
// person moved to the bottle's commits. This proves that a ref is the bottle's only where
// the bottle has put it, and that such a one can be moved and deleted.
func TestOwnIsWhatTheBottlePutThere(t *testing.T) {
	w, person := behind(t, "ssh", bottle.Push{Force: "own", Tags: true})
	first := w.ref("refs/heads/trunk")
	mine := w.write(w.work, "mine", "mine\n")
	w.git(w.work, "push", "-q", "origin", "HEAD:refs/heads/agent/a", "HEAD:refs/tags/mine")
	w.git(person, "fetch", "-q", w.bare, "agent/a")
	w.git(person, "tag", "-a", "-m", "checked and released", "v2", mine)
	w.git(person, "push", "-q", w.bare, "v2", mine+":refs/heads/adopted")
	second := w.write(person, "two", "2\n")
	w.git(person, "tag", "-a", "-m", "release", "v1", second)
	w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/trunk", "v1", "HEAD:refs/heads/stable")
	w.git(person, "checkout", "-q", "-b", "pull")
	theirs := w.write(person, "theirs", "theirs\n")
	w.git(person, "push", "-q", w.bare, "HEAD:refs/pull/7/head") // such refs are not in the mirror
	w.git(w.work, "fetch", "-q", w.bare, "refs/pull/7/head")
	w.git(w.work, "fetch", "-q", "--tags")
	if answer := w.send(w.packOf(theirs, "^"+first), zeroID+" "+theirs+" refs/heads/agent/copy"+reports, ""); w.ref("refs/heads/agent/copy") != theirs {
		t.Fatalf("%q", answer)
	}
	w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/feature")
	w.git(w.work, "fetch", "-q")
	evil := w.write(w.work, "evil", "evil\n")
	posted := w.posted.Load()
	for _, spec := range []string{":refs/tags/v1", ":refs/heads/stable", "+" + evil + ":refs/tags/v1", "+" + first + ":refs/heads/stable", "+" + evil + ":refs/tags/v2", ":refs/tags/v2",
		"+" + first + ":refs/heads/feature", ":refs/heads/feature", "+" + first + ":refs/heads/adopted", ":refs/heads/adopted"} {
		before := w.git(w.bare, "for-each-ref")
		out, err := w.try(w.work, "push", "origin", spec)
		if err == nil || w.posted.Load() != posted || w.git(w.bare, "for-each-ref") != before || !strings.Contains(out, "force_push") {
			t.Errorf("%s: %v %s", spec, err, out)
			posted = w.posted.Load()
		}
	}
	for _, spec := range []string{"+" + first + ":refs/heads/agent/a", "+" + evil + ":refs/heads/agent/a", "+" + evil + ":refs/tags/mine", ":refs/tags/mine", ":refs/heads/agent/a"} {
		if out, err := w.try(w.work, "push", "origin", spec); err != nil {
			t.Errorf("its own: %s: %v %s", spec, err, out)
		}
	}
	w.git(person, "push", "-q", w.bare, mine+":refs/heads/agent/a") // now it is the person's
	w.git(w.work, "fetch", "-q")
	if out, err := w.try(w.work, "push", "origin", ":refs/heads/agent/a"); err == nil {
		t.Errorf("a person's branch of the same name is deleted: %s", out)
	}
	w.rests()
}

// TestDeleteByAnOldIDThatIsGone: upstream's git deletes a ref unchecked where it does not
// have the old id. The attack: that of a commit of the bottle's own.
func TestDeleteByAnOldIDThatIsGone(t *testing.T) {
	w, person := behind(t, "ssh", bottle.Push{Force: "own"})
	own := w.write(w.work, "mine", "mine\n")
	w.git(w.work, "push", "-q", "origin", "HEAD:refs/heads/mine")
	w.git(w.work, "push", "-q", "origin", ":refs/heads/mine")
	theirs := w.write(person, "theirs", "theirs\n")
	w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/colleague")
	w.git(w.work, "fetch", "-q")
	w.git(w.bare, "reflog", "expire", "--expire=now", "--all")
	w.git(w.bare, "gc", "-q", "--prune=now")
	posted := w.posted.Load()
	answer := w.send(nil, own+" "+zeroID+" refs/heads/colleague"+reports, "")
	if w.ref("refs/heads/colleague") != theirs || w.posted.Load() != posted {
		t.Errorf("%q", answer)
	}
	w.rests()
}
