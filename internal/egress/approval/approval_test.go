package approval

import (
	"fmt"
	"testing"
	"time"

	"bottle/internal/bottle"
)

// One value, one host, one time; what is taken back is gone at once, what is too much
// pushes out what ends first.
func TestBook(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	b := New(func() time.Time { return now })
	b.Add(Approval{Print: "p", Host: "a", Until: now.Add(2 * time.Minute), By: "ann"})
	b.Add(Approval{Print: "p", Host: "b", Until: now.Add(time.Minute)})
	b.Add(Approval{Print: "q", Host: "a", Until: now.Add(time.Hour)})
	if !b.Has("p", "a") || b.Has("q", "b") || b.Has("", "a") {
		t.Error("it mixes up what may go where")
	}
	if l := b.List(); len(l) != 3 || l[0].Host != "b" || l[1].By != "ann" || l[2].Print != "q" {
		t.Errorf("%+v", l)
	}
	if gone := b.Revoke("p", "a"); len(gone) != 1 || b.Has("p", "a") || !b.Has("p", "b") {
		t.Errorf("%+v", gone)
	}
	if gone := b.Revoke("p", "a"); len(gone) != 0 {
		t.Errorf("again: %+v", gone)
	}
	b.Add(Approval{Print: "p", Host: "a", Until: now.Add(time.Minute)})
	if gone := b.Revoke("p", ""); len(gone) != 2 || b.Has("p", "b") {
		t.Errorf("%+v", gone)
	}
	if now = now.Add(time.Hour); b.Has("q", "a") || len(b.List()) != 0 {
		t.Error("it has no end")
	}
	for i := range most + 10 {
		b.Add(Approval{Print: fmt.Sprint(i), Host: bottle.Host("h"), Until: now.Add(time.Duration(i+1) * time.Minute)})
	}
	if len(b.List()) != most || b.Has("9", "h") || !b.Has("10", "h") || !b.Has(fmt.Sprint(most+9), "h") {
		t.Errorf("%d are kept", len(b.List()))
	}
}
