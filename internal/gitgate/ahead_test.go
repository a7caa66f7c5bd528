package gitgate

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
	"bottle/test/require"
)

func bothWays(t *testing.T, f func(t *testing.T, scheme string)) {
	for _, scheme := range []string{"https", "ssh"} {
		t.Run(scheme, func(t *testing.T) { f(t, scheme) })
	}
}

// TestRefusedPushSendsNothing: upstream is opened while a push is judged. One that is
// refused sends nothing over it, and it is closed.
func TestRefusedPushSendsNothing(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w := newWorld(t, scheme)
		good := w.git(w.work, "rev-parse", "HEAD")
		w.write(w.work, "leak", kept)
		before := w.state()
		w.onJudging(func() {
			require.Eventually(t, 10*time.Second, "upstream is opened ahead", func() bool { return w.asked.Load() == 2 })
		})
		out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent")
		if err == nil || !strings.Contains(out, string(policy.SecretFound)) {
			t.Errorf("%v %s", err, out)
		}
		w.rests()
		if n := w.posted.Load(); n != 0 || w.state() != before {
			t.Errorf("upstream was sent %d pushes and is\n%s\nwas\n%s", n, w.state(), before)
		}
		if out, err := w.try(w.work, "push", "origin", good+":refs/heads/agent"); err != nil || w.posted.Load() != 1 { // so the count counts
			t.Errorf("%d pushes, %v %s", w.posted.Load(), err, out)
		}
		w.rests()
	})
}

// TestSessionThatWaitedLongIsOpenedAnew: a server does not wait for ever, so one that
// waited longer than the limit for the judge is not used.
func TestSessionThatWaitedLongIsOpenedAnew(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		for name, c := range map[string]struct {
			limit time.Duration
			asked int64
		}{"the judge is quick": {time.Minute, 2}, "the judge is slow": {50 * time.Millisecond, 3}} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, scheme, func(l *limits, _ *bottle.Repo) { l.longOpen = c.limit })
				id := w.write(w.work, "a", "a")
				w.onJudging(func() { time.Sleep(100 * time.Millisecond) })
				if out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent"); err != nil || w.ref("refs/heads/agent") != id {
					t.Errorf("%v %s", err, out)
				}
				if n := w.asked.Load(); n != c.asked {
					t.Errorf("upstream was asked %d times, want %d", n, c.asked)
				}
				w.rests()
			})
		}
	})
}

// TestUpstreamThatCannotBeOpenedAhead: the judge's word comes first; a push that is clean
// hears of upstream.
func TestUpstreamThatCannotBeOpenedAhead(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w := newWorld(t, scheme)
		clean := w.write(w.work, "a", "a")
		w.write(w.work, "leak", kept)
		for from, want := range map[string]policy.Reason{"HEAD": policy.SecretFound, clean: policy.UpstreamUnreachable} {
			before, began := w.state(), w.dialled.Load()
			fails := func(n int64) error {
				if n <= began+2 { // the refs, for a reader and for a writer
					return nil
				}
				return &net.OpError{Op: "dial", Err: errors.New("no way")}
			}
			w.dial.Store(&fails)
			out, err := w.try(w.work, "push", "origin", from+":refs/heads/agent")
			last := w.last()
			if err == nil || last.Reason != want || last.Allowed || strings.Contains(out, string(policy.SecretFound)) != (want == policy.SecretFound) || strings.Contains(out, "no way") != (want != policy.SecretFound) {
				t.Errorf("%v %v %s", last, err, out)
			}
			if w.dialled.Load() != began+3 || w.state() != before || w.posted.Load() != 0 {
				t.Errorf("%d dialled; %s", w.dialled.Load()-began, w.state())
			}
			w.rests()
		}
		w.dial.Store(nil)
		if out, err := w.try(w.work, "push", "origin", clean+":refs/heads/agent"); err != nil || w.ref("refs/heads/agent") != clean {
			t.Errorf("again: %v %s", err, out)
		}
	})
}

// TestUpstreamDiesWhileAPushIsJudged: the session was opened, and it is gone when it is
// to be used.
func TestUpstreamDiesWhileAPushIsJudged(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w := newWorld(t, scheme)
		w.write(w.work, "a", "a")
		before := w.state()
		w.onJudging(func() {
			require.Eventually(t, 10*time.Second, "upstream is opened ahead", func() bool { return w.asked.Load() == 2 })
			time.Sleep(100 * time.Millisecond) // for its answer
			w.cut()
		})
		out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent")
		if err == nil || !strings.Contains(out, "the upstream cannot be reached") {
			t.Errorf("%v %s", err, out)
		}
		if last := w.last(); last.Allowed || last.Reason != policy.UpstreamUnreachable {
			t.Errorf("the record is %+v", last)
		}
		w.rests()
		if w.state() != before {
			t.Errorf("there is\n%s\nwas\n%s", w.state(), before)
		}
	})
}

// TestRefsMoveWhileAPushIsJudged: what the open session was told is old when it is used.
// Upstream holds the old id against what it has, and its words are what the agent hears.
func TestRefsMoveWhileAPushIsJudged(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w := newWorld(t, scheme)
		id := w.write(w.work, "a", "a")
		other := w.write(w.root+"/seed", "b", "b")
		w.onJudging(func() {
			require.Eventually(t, 10*time.Second, "upstream is opened ahead", func() bool { return w.asked.Load() == 2 })
			time.Sleep(100 * time.Millisecond) // for its answer
			w.git(w.root+"/seed", "push", "-q", w.bare, "HEAD:trunk")
		})
		out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/trunk")
		if err == nil || w.ref("refs/heads/trunk") != other || !strings.Contains(out, "[remote rejected] HEAD -> trunk") && !strings.Contains(out, "fetch first") {
			t.Errorf("upstream has %s: %v %s", w.ref("refs/heads/trunk"), err, out)
		}
		if last := w.last(); last.Allowed {
			t.Errorf("the record is %+v", last)
		}
		w.rests()
		if strings.Contains(w.state(), id) {
			t.Errorf("the mirror took over what upstream refused: %s", w.state())
		}
		w.git(w.work, "fetch", "-q", "origin")
		if got := w.git(w.work, "rev-parse", "origin/trunk"); got != other {
			t.Errorf("the gate serves %s", got)
		}
		w.git(w.work, "rebase", "-q", "origin/trunk")
		if out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/trunk"); err != nil || w.ref("refs/heads/trunk") == id {
			t.Errorf("after a rebase: %v %s", err, out)
		}
	})
}

// TestRefusedPushBreaksOffNoHandshake: an SSH server takes handshakes that are broken off for
// an attack, and shuts out whoever makes many. So one that a refused push no longer needs goes on
// to its end, and the agent does not wait for it.
func TestRefusedPushBreaksOffNoHandshake(t *testing.T) {
	w := newWorld(t, "ssh")
	good := w.git(w.work, "rev-parse", "HEAD")
	w.write(w.work, "leak", kept)
	meet, answered := make(chan struct{}, 8), make(chan struct{})
	w.onJudging(func() { <-meet })
	began := w.dialled.Load()
	hold := func() {
		if w.dialled.Load() == began+3 { // the first two are for the refs
			meet <- struct{}{}
			<-answered
		}
	}
	w.greet.Store(&hold)
	begun := time.Now()
	out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent")
	took := time.Since(begun)
	if w.open.Load() != 1 {
		t.Errorf("%d connections are open when the answer is there", w.open.Load())
	}
	close(answered)
	if err == nil || !strings.Contains(out, string(policy.SecretFound)) || took > 10*time.Second {
		t.Errorf("after %v: %v %s", took, err, out)
	}
	w.rests()
	if n := w.broken.Load(); n != 0 || w.posted.Load() != 0 {
		t.Errorf("%d handshakes were broken off, %d pushes sent", n, w.posted.Load())
	}
	if out, err := w.try(w.work, "push", "origin", good+":refs/heads/agent"); err != nil || w.broken.Load() != 0 {
		t.Errorf("%v %s", err, out)
	}
	w.rests()
}
