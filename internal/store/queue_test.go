package store

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/bottle"
)

func openQueue(t testing.TB, dir string) *Queue {
	t.Helper()
	q, aside, err := OpenQueue(dir)
	if err != nil || len(aside) > 0 {
		t.Fatal(err, aside)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func asking(t testing.TB, host string) bottle.Proposal {
	t.Helper()
	p, err := proposal(host, "x")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func proposal(host, why string) (bottle.Proposal, error) {
	p, err := bottle.Proposal{Kind: bottle.ProposalEgress, Route: &bottle.Route{Host: bottle.Pattern{Host: bottle.Host(host)}}, Why: why}.Canonical()
	p.Created = time.Now().UTC()
	return p, err
}

func add(t testing.TB, q *Queue, host string) bottle.Asked {
	t.Helper()
	a, err := q.Add(asking(t, host))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// settle gives or refuses what was asked for.
func settle(a bottle.Asked, status bottle.ProposalStatus) bottle.Asked {
	a.Status, a.Decided, a.By = status, time.Now().UTC(), "ann"
	if a.Approved() {
		a.Grant = "g234567"
		a.Lease = &bottle.Grant{ID: a.Grant, Proposal: a.ID, Since: a.Decided}
	}
	return a
}

// TestQueue: first in, first out; what was put in is there for the next process, for its
// owner only.
func TestQueue(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "proposals")
	q := openQueue(t, dir)
	var ids []string
	for i := range 5 {
		ids = append(ids, add(t, q, fmt.Sprintf("h%d.example.com", i)).ID)
	}
	b, _ := q.Get(ids[1])
	if err := q.Put(settle(b, bottle.ProposalApproved)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenQueue(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("two writers: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openQueue(t, dir)
	list := q.List()
	if len(list) != 5 {
		t.Fatalf("%d are there", len(list))
	}
	for i, a := range list {
		if a.ID != ids[i] || a.Seq != uint64(i+1) || a.Settled() != (i == 1) {
			t.Errorf("%d: %+v", i, a)
		}
	}
	if a, ok := q.Get(ids[1]); !ok || a.Lease == nil || a.By != "ann" {
		t.Errorf("%+v", a)
	}
	if a, ok := q.Find(asking(t, "h3.example.com").Key()); !ok || a.ID != ids[3] {
		t.Errorf("%+v", a)
	}
	if _, ok := q.Find(asking(t, "h9.example.com").Key()); ok {
		t.Error("found what nobody asked for")
	}
	other := list[0]
	other.Seq = 3
	if err := q.Put(other); err == nil {
		t.Error("it took another's place")
	}
	other.ID = "p234567"
	if err := q.Put(other); err == nil {
		t.Error("what nobody asked for was settled")
	}
	if next := add(t, q, "h9.example.com"); next.Seq != 6 {
		t.Errorf("place %d", next.Seq)
	}
	for _, path := range []string{dir, filepath.Join(dir, ids[0]+".json")} {
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
}

// TestQueueHoldsSoMany: a storm fills it, and nothing that waits is pushed out.
func TestQueueHoldsSoMany(t *testing.T) {
	q := openQueue(t, filepath.Join(t.TempDir(), "proposals"))
	first := add(t, q, "first.example.com")
	for i := range MaxPending - 1 {
		add(t, q, fmt.Sprintf("h%d.example.com", i))
	}
	if _, err := q.Add(asking(t, "more.example.com")); !errors.Is(err, ErrQueueFull) {
		t.Errorf("one too many: %v", err)
	}
	held := settle(first, bottle.ProposalApproved)
	if err := q.Put(held); err != nil {
		t.Fatal(err)
	}
	for i := range maxSettled + 50 {
		if err := q.Put(settle(add(t, q, fmt.Sprintf("s%d.example.com", i)), bottle.ProposalRejected)); err != nil {
			t.Fatal(err)
		}
	}
	list := q.List()
	if list[0].ID != first.ID || len(list) != maxSettled+MaxPending-1 {
		t.Errorf("%d are kept, the first is %s", len(list), list[0].ID)
	}
	names, err := folder(q.dir)
	if err != nil || len(names) != len(list)+1 {
		t.Errorf("%d files, %v", len(names), err)
	}
}

// TestQueueIsNotForged: what a queue did not write is not obeyed, and hides nothing.
func TestQueueIsNotForged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "proposals")
	q := openQueue(t, dir)
	good := add(t, q, "good.example.com")
	q.Close()
	b, err := os.ReadFile(filepath.Join(dir, good.ID+".json"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("p222222.json", strings.Replace(string(b), `"seq":1`, `"seq":5`, 1)) // a copy under another name
	write("p333333.json", strings.ReplaceAll(string(b), good.ID, "p333333"))   // in the place of another
	write("p444444.json", strings.ReplaceAll(strings.ReplaceAll(string(b), good.ID, "p444444"), `"pending"`, `"approved"`))
	write("p555555.json", strings.Repeat(" ", bottle.MaxProposal+1)+string(b))
	write("p666666.json", `{"id":"p666666"}`)
	write(".new-123", "half a prop")
	write("readme", "x")
	if err := os.Symlink(good.ID+".json", filepath.Join(dir, "p777777.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "p888888.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("p999999.json", strings.ReplaceAll(strings.ReplaceAll(string(b), good.ID, "p999999"), `"seq":1`, `"seq":9`))
	if err := os.Chmod(filepath.Join(dir, "p999999.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	q, aside, err := OpenQueue(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if len(aside) != 8 {
		t.Errorf("set aside: %q", aside)
	}
	list := q.List() // of two with one place the first that was read stands
	if len(list) != 1 || list[0].Route.Host.Host != "good.example.com" || list[0].Settled() {
		t.Errorf("%+v", list)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".new-123")); err == nil {
		t.Error("half a file is left")
	}
}

// TestQueueFolderOfAnother: one that others may enter, or that leads elsewhere.
func TestQueueFolderOfAnother(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/open", 0o700), os.Chmod(dir+"/open", 0o755), os.Mkdir(dir+"/real", 0o700), os.Symlink("real", dir+"/link"), os.WriteFile(dir+"/file", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"open", "link", "file", "none/below"} {
		if q, _, err := OpenQueue(filepath.Join(dir, name)); err == nil {
			q.Close()
			t.Errorf("%s was taken", name)
		}
	}
}

// TestAnothersQueue: a gateway may be another user than the operator who is root; a file of
// anybody else in its folder is not obeyed.
func TestAnothersQueue(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root reads what another wrote; the suite runs as root, too
	}
	dir := filepath.Join(t.TempDir(), "proposals")
	q := openQueue(t, dir)
	a := add(t, q, "a.example.com")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ folder, file, want int }{{0, 0, 1}, {65532, 65532, 1}, {65532, 65533, 0}, {0, 65532, 0}} {
		if err := errors.Join(os.Lchown(dir, c.folder, c.folder), os.Lchown(filepath.Join(dir, a.ID+".json"), c.file, c.file)); err != nil {
			t.Fatal(err)
		}
		if list, err := ReadQueue(dir); err != nil || len(list) != c.want {
			t.Errorf("%+v: %+v, %v", c, list, err)
		}
	}
}

// TestQueueForgetsRefusedLines: what was asked for and refused is whole on the disk, and takes no
// room in a gateway's memory; what was approved is there at once.
func TestQueueForgetsRefusedLines(t *testing.T) {
	q := openQueue(t, filepath.Join(t.TempDir(), "proposals"))
	for status, held := range map[string]bool{string(bottle.ProposalRejected): false, string(bottle.ProposalApproved): true} {
		p, err := bottle.Proposal{Kind: bottle.ProposalImage, Image: bottle.SplitImage("RUN " + status)}.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		p.Created = time.Now().UTC()
		a, err := q.Add(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Put(settle(a, bottle.ProposalStatus(status))); err != nil {
			t.Fatal(err)
		}
		if kept, ok := q.Find(p.Key()); !ok || kept.ID != a.ID || (len(kept.Image.Lines) == 1) != held {
			t.Errorf("%s: in memory %+v, %v", status, kept, ok)
		}
		if whole, ok := q.Get(a.ID); !ok || whole.Key() != p.Key() {
			t.Errorf("%s: on the disk %+v, %v", status, whole, ok)
		}
	}
}

// TestQueueRaces: many at once get ids and places of their own.
func TestQueueRaces(t *testing.T) {
	q := openQueue(t, filepath.Join(t.TempDir(), "proposals"))
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			a, err := q.Add(asking(t, fmt.Sprintf("h%d.example.com", i)))
			if err == nil {
				err = q.Put(settle(a, bottle.ProposalRejected))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, a := range q.List() {
		if a.Seq != uint64(i+1) || a.Status != bottle.ProposalRejected {
			t.Errorf("%+v", a)
		}
	}
}

const killedFolder = "BOTTLE_TEST_QUEUE"

// TestMain is also the process of the next test.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killedFolder); dir != "" {
		write(dir)
		os.Exit(1) // it should have been killed
	}
	os.Exit(m.Run())
}

// write tells what it has written when it has, until it is killed.
func write(dir string) {
	q, aside, err := OpenQueue(dir)
	if err != nil || len(aside) > 0 {
		fmt.Println("failed", err, aside)
		return
	}
	for i := 0; ; i++ {
		p, err := proposal(fmt.Sprintf("h%d.example.com", i), strings.Repeat("why", 400))
		if err != nil {
			fmt.Println("failed", err)
			return
		}
		a, err := q.Add(p)
		if err != nil {
			fmt.Println("failed", err)
			return
		}
		fmt.Println("asked", a.ID)
		if err := q.Put(settle(a, bottle.ProposalRejected)); err != nil {
			fmt.Println("failed", err)
			return
		}
		fmt.Println("settled", a.ID)
	}
}

// TestQueueSurvivesKill: the writer is killed at any moment (SIGKILL). What it told of is
// there, each proposal as it was before or after, and nothing else.
func TestQueueSurvivesKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "proposals")
	told := map[string]string{}
	for range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedFolder+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 1 + rand.IntN(30); lines.Scan(); left-- {
			what, id, _ := strings.Cut(lines.Text(), " ")
			if what == "failed" {
				t.Error(lines.Text())
			}
			if told[id] = what; left == 0 {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		q, aside, err := OpenQueue(dir)
		if err != nil || len(aside) > 0 {
			t.Fatal(err, aside)
		}
		for id, what := range told {
			a, ok := q.Get(id)
			if !ok || what == "settled" && !a.Settled() {
				t.Errorf("%s was %s and is %+v", id, what, a)
			}
		}
		q.Close()
	}
	if len(told) < 12 {
		t.Errorf("only %d were asked", len(told))
	}
}
