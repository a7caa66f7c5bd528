package desk

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"bottle/internal/store"
	"bottle/test/require"
)

// crammed is a desk whose proposals lie on a disk of their own, which fill fills and empties.
func crammed(t *testing.T) (o *office, id string, fill func(bool)) {
	t.Helper()
	require.Root(t)
	disk := t.TempDir()
	if err := syscall.Mount("full", disk, "tmpfs", 0, "size=128k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	o = newOffice(t, listed("a.example.com", "GET"))
	o.dir, o.recipe = filepath.Join(disk, "proposals"), true
	o.start()
	fill = func(full bool) {
		path := filepath.Join(disk, "the agent's")
		if !full {
			_ = os.Remove(path)
		} else if os.WriteFile(path, make([]byte, 1<<20), 0o600) == nil {
			t.Error("the disk is not full")
		}
	}
	return o, o.must(o.Ask(t.Context(), lines("RUN true"), 0)).ID, fill
}

// hold are the lines that a resume would find.
func (o *office) hold() (n int) {
	o.t.Helper()
	asked, err := store.ReadQueue(o.dir)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, a := range asked {
		if a.Grows(time.Now()) {
			n++
		}
	}
	return n
}

// TestLinesRevokedOnAFullDisk. The attack: an agent fills the disk of the state folder by its
// private view, so that a grant cannot be written as ended; the next resume would have its lines.
func TestLinesRevokedOnAFullDisk(t *testing.T) {
	o, id, fill := crammed(t)
	out, err := o.Decide(Decision{ID: id, Verdict: Approve})
	if err != nil || o.hold() != 1 {
		t.Fatal(err)
	}
	fill(true)
	if gone, err := o.Revoke(out.Asked.Lease.ID, "ann"); err != nil || gone.Recorded || o.hold() != 0 {
		t.Errorf("%+v, %v, and %d hold", gone, err, o.hold())
	}
	fill(false)
	o.anew = true
	if o.start(); o.hold() != 0 {
		t.Error("it holds again")
	}
}

// TestLinesApprovedOnAFullDisk: between the decision and its record there is no room any more,
// so the operator is told that nothing was approved.
func TestLinesApprovedOnAFullDisk(t *testing.T) {
	o, id, fill := crammed(t)
	o.crash = func(string) { fill(true); o.full = true }
	if _, err := o.Decide(Decision{ID: id, Verdict: Approve}); err == nil || o.hold() != 0 {
		t.Errorf("%v, and %d hold", err, o.hold())
	}
}
