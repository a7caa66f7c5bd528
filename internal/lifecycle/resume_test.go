package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"bottle/internal/audit"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// ran is a fixture whose bottle has run and ended, as its metadata says.
func ran(t *testing.T, args ...string) (*fixture, store.Metadata) {
	t.Helper()
	f := newFixture(t)
	f.req.ExtraArgs = args
	if _, err := f.start(); err != nil {
		t.Fatal(err)
	}
	list, err := f.house.Store.List()
	if err != nil || len(list) != 1 || list[0].Problem != "" {
		t.Fatalf("%+v, %v", list, err)
	}
	return f, list[0].Metadata
}

// The weakness: what the operator typed made the metadata longer than what is read of it, and
// nothing could stop, list or resume that bottle.
func TestMetadataCanBeReadAgain(t *testing.T) {
	for arg, kept := range map[string]bool{"short": true, strings.Repeat("x", 100_000): false, strings.Repeat("<", 12_000): false, "no\xfftext": false} {
		if _, m := ran(t, arg); (len(m.Args) == 1) != kept {
			t.Errorf("of %d bytes, kept are %d words", len(arg), len(m.Args))
		}
	}
}

// The weakness: somebody who may write beside the folder (another bottle) puts a link in its
// place, and a resume shows, or lets change, what that leads to.
func TestResumeShowsNoOtherFolder(t *testing.T) {
	for _, mode := range []string{"bind", "overlay"} {
		f, m := ran(t)
		f.req.Spec.Workspace, f.req.Resume = mode, &m
		other := t.TempDir()
		if err := errors.Join(os.Remove(m.Workspace), os.Symlink(other, m.Workspace)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.house.Prepare(t.Context(), f.req); err == nil || !strings.Contains(err.Error(), other) {
			t.Errorf("%s: %v", mode, err)
		}
		if err := errors.Join(os.Remove(m.Workspace), os.Mkdir(m.Workspace, 0o700)); err != nil {
			t.Fatal(err)
		}
		p := f.prepare()
		r, now, err := f.house.Store.Again(m.Identity) // between the look and the lock it was another's
		if err != nil {
			t.Fatal(err)
		}
		now.Workspace = other
		if err := errors.Join(r.Write(now), r.Release()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.house.Start(t.Context(), p, pipes()); err == nil || !strings.Contains(err.Error(), other) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// sleeper is a process of this test, that may be signalled.
func sleeper(t *testing.T) (pid int, ended chan error) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd.Process.Pid, ended
}

// The weakness: kill(2) takes 0 and -1 for groups, and metadata is of the start before while
// a resume or a cleanup has only begun: its number may be another program's by now.
func TestStopSignalsTheOwnerAlone(t *testing.T) {
	f, m := ran(t)
	other, ended := sleeper(t)
	r, _, err := f.house.Store.Again(m.Identity)
	if err != nil {
		t.Fatal(err)
	}
	m.PID, m.Status = other, store.Running
	if err := errors.Join(r.Write(m), r.Release()); err != nil {
		t.Fatal(err)
	}
	release, err := f.house.Store.Hold(m.Identity)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.house.Stop(t.Context(), m.Identity); err == nil || !strings.Contains(err.Error(), "not running") {
		t.Error(err)
	}
	for _, pid := range []string{"0", "-1", "1", "", "x"} {
		if err := os.WriteFile(f.house.Store.Layout(m.Identity).Lock, []byte(pid), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.house.Stop(t.Context(), m.Identity); err == nil {
			t.Errorf("%q was signalled", pid)
		}
	}
	release()
	select {
	case err := <-ended:
		t.Error("a process that owns nothing has ended:", err)
	default:
	}
}

// The weakness: a bottle that is resumed while stop waits for its end is another start, and
// was killed, and its walls taken down, after the wait.
func TestStopLeavesTheNextStart(t *testing.T) {
	f, m := ran(t)
	first, ended := sleeper(t)
	r, _, err := f.house.Store.Again(m.Identity)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if err := os.WriteFile(r.Layout.Lock, []byte(strconv.Itoa(first)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.fake.Create(t.Context(), plan.Bottle{Identity: string(m.Identity)}, plan.Gateway{}, nil); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-ended // and its lock was taken before stop looked again
		_ = os.WriteFile(r.Layout.Lock, []byte(strconv.Itoa(os.Getpid())), 0o600)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), lifecycle.Farewell)
	defer cancel()
	if err := f.house.Stop(ctx, m.Identity); err != nil || f.fake.Standing() != 1 {
		t.Errorf("%v, %d stand", err, f.fake.Standing())
	}
}

// The weakness: cleanup lists what has ended and asks; meanwhile it is resumed, and ends again
// with changes that nobody took and nobody saw.
func TestCleanupLeavesWhatWasResumedSince(t *testing.T) {
	f, m := ran(t)
	rest, err := f.house.Leftovers(t.Context(), nil)
	if err != nil || len(rest) != 1 {
		t.Fatal(rest, err)
	}
	f.req.Resume = &m
	if _, err := f.start(); err != nil {
		t.Fatal(err)
	}
	lay := f.house.Store.Layout(m.Identity)
	if err := f.house.Clean(t.Context(), rest); !errors.Is(err, store.ErrResumed) {
		t.Error(err)
	}
	if _, err := os.Lstat(lay.Metadata); err != nil {
		t.Error(err)
	}
}

// The weakness: an agent that fills its decision log to the bound ended each resume in the
// gateway, after the question, without a word of what to do.
func TestResumeWithAFullLog(t *testing.T) {
	f, m := ran(t)
	f.req.Resume = &m
	log := f.house.Store.Layout(m.Identity).Audit
	if err := errors.Join(os.WriteFile(log, nil, 0o600), os.Truncate(log, audit.MaxSize-100)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.house.Prepare(t.Context(), f.req); err == nil || !strings.Contains(err.Error(), "bottle changes") {
		t.Error(err)
	}
	if err := os.Truncate(log, audit.MaxSize/2); err != nil {
		t.Fatal(err)
	}
	f.prepare()
}
