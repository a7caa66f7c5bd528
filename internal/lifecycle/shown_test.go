package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// TestSharedFoldersMakeOneBottle. The weakness: a folder that two bottles may
// write to is a way from one to the other, over a unix socket with SCM_RIGHTS.
// The attack: a bottle without routes takes a connection of one that has some.
// What this proves: of two live bottles, no folder of one lies in a folder of the
// other; one that has ended, and private views, are in nobody's way.
func TestSharedFoldersMakeOneBottle(t *testing.T) {
	f := newFixture(t)
	f.req.Spec.Workspace = "bind"
	below := filepath.Join(f.req.Workspace, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	second := func(name, mode, workspace string, mounts ...plan.Mount) error {
		req := f.req
		req.Agent.Name, req.Spec.Workspace, req.Workspace, req.Mounts = "second", mode, workspace, mounts
		p, err := f.house.Prepare(context.Background(), req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = f.house.Start(context.Background(), p, pipes())
		return err
	}
	elsewhere := t.TempDir()
	check := func() {
		for _, c := range []struct {
			name, mode, workspace string
			mounts                []plan.Mount
			refused               bool
		}{
			{"the same folder", "bind", f.req.Workspace, nil, true},
			{"a folder below", "bind", below, nil, true},
			{"a folder above", "bind", filepath.Dir(f.req.Workspace), nil, true},
			{"a writable mount of it", "none", elsewhere, []plan.Mount{{Source: below, Target: "/srv/x", Writable: true}}, true},
			{"a read-only mount of it", "none", elsewhere, []plan.Mount{{Source: below, Target: "/srv/x"}}, false},
			{"a private view of it", "overlay", f.req.Workspace, nil, false},
			{"another folder", "bind", elsewhere, nil, false},
		} {
			err := second(c.name, c.mode, c.workspace, c.mounts...)
			var problems bottle.Problems
			if c.refused && (!errors.As(err, &problems) || !strings.Contains(err.Error(), "is alive") || !strings.Contains(err.Error(), "bottle stop ")) {
				t.Errorf("%s: %v", c.name, err)
			}
			if !c.refused && err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
	var first atomic.Bool
	f.fake.Agent = func(context.Context, plan.Command, backend.Stdio) int {
		if first.CompareAndSwap(false, true) {
			check() // while the first is alive; the agents of the others just end
		}
		return 0
	}
	if _, err := f.start(); err != nil {
		t.Fatal(err)
	}
	if err := second("after its end", "bind", f.req.Workspace); err != nil {
		t.Error(err)
	}
	if f.fake.Standing() != 0 {
		t.Error("a bottle stands")
	}
	for _, e := range f.entries() {
		if e.Live || e.Metadata.Status == store.Running {
			t.Errorf("%+v", e)
		}
	}
}

// TestDoorsInWritableFolders: a program with another's rights stops a start, a
// socket is told of; in a private view neither matters.
func TestDoorsInWritableFolders(t *testing.T) {
	f := newFixture(t)
	tool, pipe := filepath.Join(f.req.Workspace, "tool"), filepath.Join(f.req.Workspace, "pipe")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(tool, nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	f.req.Spec.Workspace = "bind"
	if p := f.prepare(); !strings.Contains(strings.Join(p.Plan.Warnings, "\n"), "sockets or pipes (pipe)") {
		t.Errorf("the preflight warns of %q", p.Plan.Warnings)
	}
	if err := os.Chmod(tool, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	_, err := f.house.Prepare(context.Background(), f.req)
	var problems bottle.Problems
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "setuid") || !strings.Contains(err.Error(), "chmod ug-s "+tool) {
		t.Errorf("a setuid program that the agent may write to: %v", err)
	}
	f.req.Mounts = []plan.Mount{{Source: f.req.Workspace, Target: "/srv/ws", Writable: true}}
	for _, mode := range []string{"overlay", "none"} {
		f.req.Spec.Workspace = mode
		if _, err := f.house.Prepare(context.Background(), f.req); err == nil {
			t.Errorf("%s: the same in a writable mount was let through", mode)
		}
	}
	f.req.Mounts[0].Writable = false
	if p := f.prepare(); len(p.Plan.Warnings) != 0 {
		t.Errorf("a read-only mount: %q", p.Plan.Warnings)
	}
}

// TestPlanShowsRealPaths: the operator says y to what is there, not to a name of it.
func TestPlanShowsRealPaths(t *testing.T) {
	f := newFixture(t)
	real, err := filepath.EvalSymlinks(f.req.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	f.req.Workspace, f.req.Mounts = link, []plan.Mount{{Source: link, Target: "/srv/x"}}
	p := f.prepare()
	if *p.Plan.Workspace.Source != real || len(p.Plan.Mounts) != 1 || p.Plan.Mounts[0].Source != real {
		t.Errorf("%+v %+v, want %s", p.Plan.Workspace, p.Plan.Mounts, real)
	}
	f.req.Workspace = filepath.Join(link, "nothing")
	if _, err := f.house.Prepare(context.Background(), f.req); err == nil {
		t.Error("a workspace that is not there was prepared")
	}
}
