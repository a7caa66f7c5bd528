package smolvm

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/backend/smolvm/guest"
	"bottle/internal/plan"
)

// within wants do to come to its end in time.
func within(t *testing.T, limit time.Duration, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("it does not come to its end")
	}
}

// The weakness: a call of smolvm ends, and what it started (the VM's own process) holds its
// streams; or it hangs, and so does a child of it. This proves that neither is waited for:
// the first has ended well, the second is ended with all its children.
func TestCallsAreNotHeldByTheirChildren(t *testing.T) {
	within(t, 5*time.Second, func() {
		said, err := scripted(t, "echo started; /bin/sleep 7.31 & exit 0").run(t.Context(), time.Minute, "machine", "start")
		if err != nil || said != "started\n" {
			t.Errorf("a machine that goes on: %q, %v", said, err)
		}
	})
	pids := filepath.Join(t.TempDir(), "pid")
	within(t, 5*time.Second, func() {
		if _, err := scripted(t, "/bin/sleep 7.32 & echo $! >"+pids+"; wait").run(t.Context(), 300*time.Millisecond, "machine", "start"); err == nil {
			t.Error("a call that hangs ended well")
		}
	})
	pid, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the child of a call that was ended goes on")
}

// The weakness: the list of machines stands below a key, beside other lists and nulls. Which
// is it was drawn by lot; that is what cleanup looks at. This proves that one is told.
func TestListAmongOtherThings(t *testing.T) {
	for _, said := range []string{
		`{"machines":[{"name":"bottle-a-abcde"}],"next":null}`, `{"machines":[{"name":"bottle-a-abcde"}],"warnings":[]}`,
		`{"images":[{"tag":"x"}],"machines":[{"name":"bottle-a-abcde"}],"warnings":["name"]}`,
	} {
		c := scripted(t, "echo '"+said+"'")
		for range 8 {
			if got, err := c.list(t.Context()); err != nil || !slices.Equal(got, []string{"bottle-a-abcde"}) {
				t.Fatalf("%s: %q, %v", said, got, err)
			}
		}
	}
	for _, said := range []string{`{"error":null}`, `[{"id":"bottle-a-abcde"}]`, `[null]`, `["bottle-a-abcde"]`, `{"machines":[{"id":"x"}],"warnings":[]}`, `{"a":[{"name":"x"}],"b":[{"name":"y"}]}`, `{}`, `7`} {
		if got, err := scripted(t, "echo '"+said+"'").list(t.Context()); err == nil {
			t.Errorf("%s was read as %q", said, got)
		}
	}
	for _, said := range []string{`[]`, `null`, `{"machines":[]}`, `{"machines":null}`, `{"machines":[],"warnings":[]}`} {
		if got, err := scripted(t, "echo '"+said+"'").list(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("%s was read as %q, %v", said, got, err)
		}
	}
}

// The weakness: a smolvm that says that it deleted a machine, and did not. This proves that
// it is not believed.
func TestRemoveLooksWhetherItIsGone(t *testing.T) {
	const there = `case "$2" in ls) echo '[{"name":"bottle-a-abcde"}]';; esac`
	if err := scripted(t, there).remove(t.Context(), dialect{version: "1.9.3", named: true}, "bottle-a-abcde"); err == nil || !strings.Contains(err.Error(), "still") {
		t.Errorf("a machine that is still there: %v", err)
	}
}

// The weakness: a smolvm that goes on after its guest spoke nonsense, and one that is gone
// between two calls. This proves that the start ends, whatever becomes of them.
func TestEnterIsNotHeld(t *testing.T) {
	for name, cli := range map[string]command{
		"goes on": scripted(t, `trap "" TERM; printf 'c\000\000\000\002{}'; exec >/dev/null; while :; do /bin/sleep 1; done`),
		"is gone": {path: "/nowhere/at/all/smolvm"},
	} {
		x := &Box{s: &Smolvm{}, cli: cli, name: "bottle-a-abcde", told: plan.Bottle{Identity: "a-abcde"}}
		within(t, 8*time.Second, func() {
			if err := x.enter(t.Context(), guest.Begin{}); err == nil {
				t.Errorf("%s: it stood", name)
			}
		})
	}
	// One that is killed each time is not asked without a pause.
	count := filepath.Join(t.TempDir(), "count")
	x := &Box{s: &Smolvm{}, cli: scripted(t, "echo x >>"+count+"; exit 137"), name: "bottle-a-abcde", told: plan.Bottle{Identity: "a-abcde"}}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	within(t, 5*time.Second, func() { _ = x.enter(ctx, guest.Begin{}) })
	if b, _ := os.ReadFile(count); len(b)/2 > 30 {
		t.Errorf("it was asked %d times in half a second", len(b)/2)
	}
}

// The weakness: between the look at a file and its second name somebody swaps it, for a link
// or for another file. This proves that what is shown is what was allowed.
func TestSharedFileIsTheOneThatWasAllowed(t *testing.T) {
	dir := t.TempDir()
	good, other := filepath.Join(dir, "good"), filepath.Join(dir, "other")
	for _, p := range []string{good, other} {
		if err := os.WriteFile(p, []byte(p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	is := inode(t, good)
	for name, from := range map[string]string{"another": other, "a link": link} {
		if err := secondName(plan.Mount{Source: from, Is: is}, filepath.Join(t.TempDir(), "x"), 0o600); err == nil {
			t.Errorf("%s was shown as a second name", name)
		}
		to := filepath.Join(t.TempDir(), "x")
		if err := place(from, to, 0o600, &is); err == nil {
			t.Errorf("%s was shown as a copy", name)
		}
		if _, err := os.Lstat(to); err == nil {
			t.Errorf("of %s something was left", name)
		}
	}
}

// deafened is a machine that stood, and from then on reads and says nothing.
func deafened(t *testing.T) *Box {
	t.Helper()
	x := &Box{s: &Smolvm{}, name: "bottle-a-abcde", told: plan.Bottle{Identity: "a-abcde"}, stood: make(chan struct{})}
	close(x.stood)
	x.cli = scripted(t, `printf 'c\000\000\000\013{"up":true}'; exec /bin/sleep 60`)
	if err := x.try(t.Context(), guest.Begin{}); err != nil {
		t.Fatal(err)
	}
	x.reader.Go(x.link.Hear)
	t.Cleanup(func() { x.hangUp(); x.exec.Stop(0); x.reader.Wait() })
	return x
}

// The weakness: a machine that stood reads nothing any more, or never says how the wall check
// went. This proves that the end of the start (Ctrl-C) is not held up by it.
func TestAMachineThatFallsSilent(t *testing.T) {
	for name, do := range map[string]func(*Box, context.Context) error{
		"place": func(x *Box, ctx context.Context) error {
			return x.Place(ctx, []plan.File{{Path: "/home/agent/x", Content: make([]byte, 1<<20)}})
		},
		"verify": func(x *Box, ctx context.Context) error {
			_, err := x.Verify(ctx, plan.Probes{Identity: "a-abcde", Sentinel: "127.0.0.1:1"})
			return err
		},
	} {
		x := deafened(t)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		within(t, 5*time.Second, func() {
			if err := do(x, ctx); err == nil {
				t.Errorf("%s: it went well", name)
			}
		})
	}
}
