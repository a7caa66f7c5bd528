package lifecycle_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// grants writes what the gateway of a bottle does when an operator approves a line.
func (f *fixture) grants(id bottle.Identity, line string) {
	f.t.Helper()
	q, _, err := store.OpenQueue(f.house.Store.Layout(id).Asked)
	if err != nil {
		f.t.Fatal(err)
	}
	defer q.Close()
	p, err := bottle.Proposal{Kind: bottle.ProposalImage, Image: bottle.SplitImage(line)}.Canonical()
	if err != nil {
		f.t.Fatal(err)
	}
	p.Created = time.Now().UTC()
	a, err := q.Add(p)
	if err != nil {
		f.t.Fatal(err)
	}
	a.Status, a.Decided, a.Grant = bottle.ProposalApproved, a.Created, "g"+a.ID[1:]
	a.Lease = &bottle.Grant{ID: a.Grant, Proposal: a.ID, Since: a.Created}
	if err := q.Put(a); err != nil {
		f.t.Fatal(err)
	}
}

// imaged is a fixture whose backend has images, made by the manifest's recipe.
func imaged(t *testing.T) (*fixture, *boxes) {
	t.Helper()
	f := newFixture(t)
	b := &boxes{Fake: f.fake}
	f.house.Backend = b
	f.req.Spec.Supervise, f.req.Spec.Provider.Dockerfile = true, filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(f.req.Spec.Provider.Dockerfile, []byte("FROM mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f, b
}

// A line that is approved while the agent runs leaves the bottle for a resume; the resume
// makes the image with it, says so before the question, and tells the gateway. Another
// bottle of the same manifest has none of it.
func TestApprovedLinesComeWithAResume(t *testing.T) {
	f, b := imaged(t)
	approve := true
	f.fake.Agent = func(context.Context, plan.Command, backend.Stdio) int {
		if approve {
			f.grants(f.entries()[0].Metadata.Identity, "RUN true")
		}
		return 0
	}
	out, err := f.start()
	first, _, _, _ := f.fake.Told()
	if err != nil || !strings.Contains(strings.Join(out.Notes, " "), "bottle resume "+string(f.entries()[0].Metadata.Identity)) {
		t.Fatalf("%+v, %v", out, err)
	}
	approve = false
	if e := f.entries()[0]; f.house.Store.Preserved(e) != store.LinesApproved {
		t.Errorf("preserved: %q", f.house.Store.Preserved(e))
	}
	plainly := f.prepare()
	m := f.entries()[0].Metadata
	f.req.Resume = &m
	p := f.prepare()
	if notes := strings.Join(p.Plan.Notes, "\n"); !strings.Contains(notes, "+ RUN true") || *p.Plan.Image == *plainly.Plan.Image {
		t.Errorf("%s, %s and %s", notes, *p.Plan.Image, *plainly.Plan.Image)
	}
	out, err = f.house.Start(t.Context(), p, pipes())
	if err != nil || len(out.Notes) > 0 || len(b.built) != 2 || b.built[1] != *p.Plan.Image {
		t.Fatalf("%+v, %v, %v", out, b.built, err)
	}
	if second, _, _, _ := f.fake.Told(); !first.Recipe || len(first.Lines) != 0 || !second.Recipe || len(second.Lines) != 1 {
		t.Errorf("the gateways are told %+v and %+v", first, second)
	}
	if e := f.entries()[0]; f.house.Store.Preserved(e) != "" {
		t.Errorf("preserved: %q", f.house.Store.Preserved(e))
	}
	f.req.Without = []string{"all"}
	if p := f.prepare(); *p.Plan.Image != *plainly.Plan.Image || strings.Contains(strings.Join(p.Plan.Notes, "\n"), "RUN true") {
		t.Errorf("without: %+v", p.Plan.Notes)
	}
}

// The weakness: while the operator reads what a resume would do, the bottle is resumed in
// another terminal and more is approved there; the yes was to other lines.
func TestLinesThatChangeBehindTheQuestion(t *testing.T) {
	f, _ := imaged(t)
	if _, err := f.start(); err != nil {
		t.Fatal(err)
	}
	m := f.entries()[0].Metadata
	f.grants(m.Identity, "RUN true")
	f.req.Resume = &m
	p := f.prepare()
	f.grants(m.Identity, "RUN false")
	if _, err := f.house.Start(t.Context(), p, pipes()); err == nil || !strings.Contains(err.Error(), "look again: bottle resume") {
		t.Error(err)
	}
	if _, err := f.start(); err != nil {
		t.Error(err)
	}
}

// A bottle that has no recipe any more is not started without the lines in silence.
func TestLinesWithoutARecipe(t *testing.T) {
	f, _ := imaged(t)
	if _, err := f.start(); err != nil {
		t.Fatal(err)
	}
	m := f.entries()[0].Metadata
	f.grants(m.Identity, "RUN true")
	m.Backend, f.req.Resume, f.house.Backend = f.fake.Kind(), &m, f.fake
	if _, err := f.house.Prepare(t.Context(), f.req); err == nil || !strings.Contains(err.Error(), "--without-image-changes") {
		t.Error(err)
	}
	f.req.Without = []string{"all"}
	f.prepare()
}
