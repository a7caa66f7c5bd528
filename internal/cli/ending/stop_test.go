package ending

import (
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/store"
)

// A bottle that was killed has no mark that lines for its image were approved, and one whose
// resume was killed has another mark: a cleanup leaves both.
func TestCleanupLeavesLinesOfAKilledBottle(t *testing.T) {
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[bottle.Name]bool{"with": true, "without": false} {
		id, err := st.Draw(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := st.Reserve(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(store.Metadata{Identity: id, Agent: name, Bottle: "b", Backend: "docker", Started: time.Now(), PID: 1, Workspace: "/", Version: "0", Status: store.Running}); err != nil {
			t.Fatal(err)
		}
		if lines {
			approve(t, r.Layout.Asked)
		}
		if err := r.Release(); err != nil {
			t.Fatal(err)
		}
		for _, mark := range []string{"", "its start was killed"} {
			if mark != "" {
				if err := st.MarkPreserved(id, mark); err != nil {
					t.Fatal(err)
				}
			}
			list, err := st.List()
			if err != nil {
				t.Fatal(err)
			}
			w := worth{store: st}
			for _, e := range list {
				if got := w.keeping(e); e.Metadata.Identity == id && got != lines {
					t.Errorf("%s lines, marked %q: kept: %t", name, mark, got)
				}
			}
		}
	}
}

func approve(t *testing.T, dir string) {
	t.Helper()
	q, _, err := store.OpenQueue(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	a, err := q.Add(bottle.Proposal{Kind: bottle.ProposalImage, Image: bottle.SplitImage("RUN true"), Created: time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	a.Status, a.Decided, a.Grant = bottle.ProposalApproved, a.Created, "g"+a.ID[1:]
	a.Lease = &bottle.Grant{ID: a.Grant, Proposal: a.ID, Since: a.Created}
	if err := q.Put(a); err != nil {
		t.Fatal(err)
	}
}
