package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/gitgate/upstream"
	"bottle/test/require"
)

func TestRefreshFollowsUpstream(t *testing.T) {
	f := newForge(t)
	m := f.mirror(t.TempDir())
	refresh := func() {
		t.Helper()
		if err := m.Refresh(context.Background()); err != nil {
			t.Fatal(err)
		}
		f.same(m)
	}
	refresh()
	f.commit("two")
	f.git(f.work, "tag", "-a", "-m", "v1", "v1")
	f.git(f.work, "notes", "add", "-m", "a note")
	f.git(f.work, "push", "-q", f.bare, "main", "main:other", "v1", "refs/notes/*", "main:refs/pull/1/head")
	refresh()
	f.git(f.bare, "symbolic-ref", "HEAD", "refs/heads/other")
	f.git(f.work, "push", "-q", f.bare, ":main", ":v1")
	refresh()
	if got := f.git(m.Dir(), "symbolic-ref", "HEAD"); got != "refs/heads/other" {
		t.Errorf("HEAD is %s", got)
	}
	if n := len(m.Refs()); n != 2 { // refs/pull is the server's own
		t.Errorf("%d refs: %v", n, m.Refs())
	}
	before, _ := m.packs()
	refresh()
	if after, _ := m.packs(); after != before {
		t.Errorf("a refresh without news made a pack: %d, %d", before, after)
	}
}

// TestCallersShareARefresh: who comes while one waits for upstream's answer needs one that
// began later, and all of them share that one.
func TestCallersShareARefresh(t *testing.T) {
	f := newForge(t)
	m := f.mirror(t.TempDir())
	f.gate = make(chan struct{})
	ctx := context.Background()
	var wg sync.WaitGroup
	errs := make(chan error, 32)
	var came atomic.Int64
	call := func() { wg.Go(func() { came.Add(1); errs <- m.Refresh(ctx) }) }
	call()
	require.Eventually(t, 10*time.Second, "upstream is asked", func() bool { return f.asked.Load() == 1 })
	for range 30 {
		call()
	}
	require.Eventually(t, 10*time.Second, "all are there, and somebody waits for the next", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.next != nil && came.Load() == 31
	})
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := m.Refresh(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("who goes away waits: %v", err)
	}
	id := f.commit("late") // after the first has asked
	f.publish("main")
	time.Sleep(100 * time.Millisecond) // between being there and waiting is a moment
	close(f.gate)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if n := f.asked.Load(); n > 2 {
		t.Errorf("upstream was asked %d times", n)
	}
	if m.Refs()["refs/heads/main"] != id {
		t.Error("who came late got what was old")
	}
}

// TestQuarantineIsNoPartOfTheMirror: what was pushed is seen with the mirror's objects, and
// the mirror sees nothing of it until it was accepted.
func TestQuarantineIsNoPartOfTheMirror(t *testing.T) {
	f := newForge(t)
	m := f.mirror(t.TempDir())
	ctx := context.Background()
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	old := m.Refs()["refs/heads/main"]
	id := f.commit("two")
	q, err := m.Quarantine()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Take(ctx, bytes.NewReader(f.pack(id+"\n^"+old+"\n")), 1<<20); err != nil {
		t.Fatal(err)
	}
	if !q.Has(ctx, id) || !q.Has(ctx, old) || !q.Ancestor(ctx, old, id) || q.Ancestor(ctx, id, old) {
		t.Error("the quarantine does not see both")
	}
	if lacks, err := m.Missing(ctx, []string{id, old}); err != nil || len(lacks) != 1 || lacks[0] != id {
		t.Errorf("the mirror lacks %v (%v)", lacks, err)
	}
	var pack bytes.Buffer
	if err := q.Pack(ctx, []string{id}, &pack); err != nil || pack.Len() == 0 || pack.Bytes()[11] != 3 {
		t.Errorf("the pack for upstream: %v, %d bytes", err, pack.Len())
	}
	if files, err := q.Indexes(); err != nil || len(files) != 1 {
		t.Errorf("%d indexes, %v", len(files), err)
	}
	f.publish("main")
	if err := q.Accepted([]upstream.Command{{Ref: "refs/heads/main", Old: old, New: id}, {Ref: "refs/heads/gone", Old: old, New: zero}}, []string{id}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Drop(), q.Drop()); err != nil {
		t.Error(err)
	}
	f.same(m)
	if !m.Own([]string{id}) || m.Own([]string{id, old}) {
		t.Error("whose commits are which")
	}
	again := f.mirror(filepath.Dir(m.Dir())) // the gateway was started anew
	if !again.Own([]string{id}) || again.Refs()["refs/heads/main"] != id {
		t.Error("what was pushed is forgotten")
	}
	f.same(again)
}

const zero = "0000000000000000000000000000000000000000"

func TestBadPacksLeaveNothing(t *testing.T) {
	f := newForge(t)
	m := f.mirror(t.TempDir())
	ctx := context.Background()
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	id := f.commit("two")
	good := f.pack(id + "\n^" + m.Refs()["refs/heads/main"] + "\n")
	for name, pack := range map[string]io.Reader{
		"cut off":   bytes.NewReader(good[:len(good)-5]),
		"damaged":   bytes.NewReader(append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1)),
		"no pack":   strings.NewReader("hello"),
		"too large": bytes.NewReader(good),
	} {
		q, err := m.Quarantine()
		if err != nil {
			t.Fatal(err)
		}
		most := int64(1 << 20)
		if name == "too large" {
			most = 20
		}
		if _, err := q.Take(ctx, pack, most); err == nil {
			t.Errorf("%s: taken", name)
		}
		if err := q.Drop(); err != nil {
			t.Error(err)
		}
	}
	if list, err := os.ReadDir(m.quarantines()); err != nil || len(list) > 0 {
		t.Errorf("left: %v %v", list, err)
	}
	f.same(m)
}

// TestBrokenMirrorIsMadeAnew: whatever is missing or damaged, the next refresh mends it,
// and what this bottle has pushed is not forgotten.
func TestBrokenMirrorIsMadeAnew(t *testing.T) {
	for name, damage := range map[string]func(m *Mirror, pack string) error{
		"a pack is gone":     func(_ *Mirror, pack string) error { return os.Remove(pack) },
		"a pack is cut":      func(_ *Mirror, pack string) error { return os.Truncate(pack, 40) },
		"the refs are empty": func(m *Mirror, _ string) error { return os.Truncate(filepath.Join(m.Dir(), packedRefs), 0) },
		"the refs are cut":   func(m *Mirror, _ string) error { return os.Truncate(filepath.Join(m.Dir(), packedRefs), 60) },
		"a write was cut": func(m *Mirror, _ string) error {
			return os.WriteFile(filepath.Join(m.Dir(), packedRefs+".new"), []byte("x"), 0o600)
		},
		"a making was cut": func(m *Mirror, _ string) error { return errors.Join(os.Rename(m.Dir(), m.Dir()+".new")) },
		"a half-migrated pack": func(m *Mirror, _ string) error {
			return os.WriteFile(filepath.Join(m.packFolder(), "pack-1.pack"), []byte("PACK"), 0o600)
		},
		"a pack half written": func(m *Mirror, _ string) error {
			return os.WriteFile(filepath.Join(m.packFolder(), "tmp_pack_x"), []byte("PACK"), 0o600)
		},
		"a quarantine is left":    func(m *Mirror, _ string) error { _, err := m.Quarantine(); return err },
		"the config is not git's": func(m *Mirror, _ string) error { return os.Truncate(filepath.Join(m.Dir(), "config"), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t)
			root := t.TempDir()
			m := f.mirror(root)
			ctx := context.Background()
			if err := m.Refresh(ctx); err != nil {
				t.Fatal(err)
			}
			if err := m.remember([]string{m.Refs()["refs/heads/main"]}); err != nil {
				t.Fatal(err)
			}
			packs, _ := filepath.Glob(filepath.Join(m.packFolder(), "*.pack"))
			if len(packs) != 1 {
				t.Fatalf("%d packs", len(packs))
			}
			if err := os.Chmod(packs[0], 0o600); err != nil {
				t.Fatal(err)
			}
			if err := damage(m, packs[0]); err != nil {
				t.Fatal(err)
			}
			m = f.mirror(root) // as after a crash
			m.Doubt()
			if err := m.Refresh(ctx); err != nil {
				t.Fatal(err)
			}
			f.same(m)
			if !m.Own([]string{m.Refs()["refs/heads/main"]}) {
				t.Error("what was pushed is forgotten")
			}
			for _, left := range []string{m.quarantines(), m.Dir() + ".new"} {
				if _, err := os.Stat(left); err == nil {
					t.Errorf("%s is left", left)
				}
			}
			if odd, _ := filepath.Glob(filepath.Join(m.packFolder(), "tmp_*")); len(odd) > 0 {
				t.Errorf("left: %v", odd)
			}
		})
	}
}

// TestPacksStayFew: each fetch leaves a pack, and they are put together; what no ref
// reaches is dropped when it is much.
func TestPacksStayFew(t *testing.T) {
	f := newForge(t)
	m := f.mirror(t.TempDir())
	ctx := context.Background()
	for i := range maxPacks + 8 {
		f.commit(fmt.Sprint("commit ", i))
		f.publish("main")
		if err := m.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
	}
	idle := func() bool { m.mu.Lock(); defer m.mu.Unlock(); return !m.busy && m.flight == nil }
	require.Eventually(t, 20*time.Second, "the packs are put together", func() bool { n, _ := m.packs(); return idle() && n <= maxPacks })
	f.same(m)

	blob := make([]byte, 4<<20)
	for i := range blob {
		blob[i] = byte(rand.Uint32())
	}
	keep := f.git(f.work, "rev-parse", "HEAD")
	if err := os.WriteFile(filepath.Join(f.work, "blob"), blob, 0o644); err != nil {
		t.Fatal(err)
	}
	f.commit("big")
	f.publish("main:big")
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	f.git(f.work, "push", "-q", f.bare, ":big")
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	require.Eventually(t, 20*time.Second, "it rests", idle)
	q, err := m.Quarantine()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.whole(ctx); err == nil {
		t.Error("objects may vanish under a push")
	}
	if err := q.Drop(); err != nil {
		t.Fatal(err)
	}
	if err := m.whole(ctx); err != nil {
		t.Fatal(err)
	}
	if n, size := m.packs(); n != 1 || size > 1<<20 {
		t.Errorf("%d packs of %d bytes", n, size)
	}
	if !strings.Contains(f.git(m.Dir(), "log", "--format=%H", "main"), keep) {
		t.Error("what the refs reach is gone")
	}
	f.same(m)
}

// TestSilentUpstream: a refresh ends when upstream says nothing, and changes nothing.
func TestSilentUpstream(t *testing.T) {
	w := watch(context.Background(), 20*time.Millisecond)
	defer w.stop()
	select {
	case <-w.ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for ever")
	}
	long := watch(context.Background(), 2*time.Second)
	defer long.stop()
	out := long.over(io.Discard)
	for range 6 { // longer than the limit, but never silent
		time.Sleep(400 * time.Millisecond)
		_, _ = out.Write([]byte("x"))
	}
	if long.ctx.Err() != nil {
		t.Error("one that speaks is cut off")
	}
}

// victim refreshes and pushes until it is killed.
func victim(root, addr, dir string) error {
	ca, err := os.ReadFile(filepath.Join(dir, "ca"))
	if err != nil {
		return err
	}
	m, r, err := open(root, addr, ca)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := range 10_000 {
		if err := m.Refresh(ctx); err != nil {
			return err
		}
		pack, err := os.ReadFile(filepath.Join(dir, "pack"))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, "id"))
		if err != nil {
			return err
		}
		id := string(text)
		q, err := m.Quarantine()
		if err != nil {
			return err
		}
		if _, err := q.Take(ctx, bytes.NewReader(pack), 1<<20); err != nil {
			return err
		}
		c := upstream.Command{Ref: fmt.Sprintf("refs/heads/b%d", i%3), Old: m.Refs()[fmt.Sprintf("refs/heads/b%d", i%3)], New: id}
		if c.Old == "" {
			c.Old = zero
		} else {
			c.New = zero // in turn it is made and deleted
		}
		report, err := r.Push(ctx, upstream.Push{Commands: []upstream.Command{c}}, func(w io.Writer) error { return q.Pack(ctx, []string{id}, w) }, nil)
		if err != nil {
			return err
		}
		if report.Refs[0].OK {
			if err := q.Accepted([]upstream.Command{c}, []string{id}); err != nil {
				return err
			}
		}
		if err := q.Drop(); err != nil {
			return err
		}
	}
	return nil
}

// TestKilledAtAnyMoment: a gateway that is killed, whenever that is, leaves a mirror that
// the next one's first refresh makes what upstream is.
func TestKilledAtAnyMoment(t *testing.T) {
	f := newForge(t)
	root, dir := t.TempDir(), t.TempDir()
	old := f.git(f.work, "rev-parse", "HEAD")
	id := f.commit("two")
	for name, text := range map[string][]byte{"ca": f.ca, "pack": f.pack(id + "\n^" + old + "\n"), "id": []byte(id)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A push that upstream has taken goes on when its sender is dead, and the slower the
	// more often it does.
	if err := os.WriteFile(filepath.Join(f.bare, "hooks", "pre-receive"), []byte("#!/bin/sh\nsleep 0.2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	rounds := 25
	if testing.Short() || require.Race {
		rounds = 5
	}
	for range rounds {
		cmd := exec.Command(self, victimWord, root, f.addr, dir)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+rand.IntN(500)) * time.Millisecond)
		_ = cmd.Process.Kill()
		if _ = cmd.Wait(); said.Len() > 0 {
			t.Fatalf("it did not live until it was killed: %s", &said)
		}
		// What upstream was asked by the dead one it still does: to compare before that would
		// be to compare with something that moves.
		require.Eventually(t, 20*time.Second, "upstream is done with the dead one's requests", func() bool { return f.open.Load() == 0 })
		m := f.mirror(root)
		if err := m.Refresh(context.Background()); err != nil {
			t.Fatal(err)
		}
		f.same(m)
		if left, err := os.ReadDir(m.quarantines()); err == nil && len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}
