package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/backendtest"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// boxes is a backend of images.
type boxes struct {
	*backendtest.Fake
	built []string
	fail  error
}

func (b *boxes) Kind() string { return "boxes" }

func (b *boxes) Choose(_ context.Context, wish plan.Container) (plan.Container, error) {
	wish.Image, wish.Runtime = fmt.Sprintf("image-%d", len(wish.Recipe)), "runc"
	wish.Built = slices.Contains(b.built, wish.Image)
	return wish, nil
}

func (b *boxes) Build(_ context.Context, c plan.Container, say func(step, of int, what string)) error {
	say(1, 1, "FROM somewhere")
	b.built = append(b.built, c.Image)
	return b.fail
}

// The manifest's recipe wins over the provider's; it is made once, after the yes and
// before anything else is, and the backend is told of it. What is no recipe is a finding.
func TestAnImageIsMadeOnceAndBeforeTheRest(t *testing.T) {
	f := newFixture(t)
	b := &boxes{Fake: f.fake}
	f.house.Backend = b
	file := filepath.Join(t.TempDir(), "Dockerfile")
	text := "FROM mine\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := f.prepare()
	f.req.Spec.Provider.Dockerfile = file
	p := f.prepare()
	if want := fmt.Sprintf("image-%d", len(text)); p.Plan.Image == nil || *p.Plan.Image != want || theirs.Plan.Image == nil || *theirs.Plan.Image == want {
		t.Fatalf("images %v and %v", p.Plan.Image, theirs.Plan.Image)
	}
	if !strings.Contains(strings.Join(p.Plan.Notes, " "), "FROM mine") || len(b.built) > 0 || len(f.entries()) > 0 {
		t.Errorf("a plan: %q, %v", p.Plan.Notes, b.built)
	}
	var steps, said []string
	f.house.Before = func(s string) error { steps = append(steps, s); return nil }
	f.house.Building = func(_, _ int, what string) { said = append(said, what) }
	if _, err := f.house.Start(context.Background(), p, pipes()); err != nil {
		t.Fatal(err)
	}
	if slices.Index(steps, "make the agent's image") != 1 || len(b.built) != 1 || len(said) != 1 {
		t.Errorf("steps %q, built %q, said %q", steps, b.built, said)
	}
	if _, err := f.house.Start(context.Background(), f.prepare(), pipes()); err != nil || len(b.built) != 1 {
		t.Errorf("again: %v, %q", err, b.built)
	}
	b.built, b.fail = nil, errors.New("no such image")
	had := len(f.entries())
	if _, err := f.house.Start(context.Background(), f.prepare(), pipes()); !errors.Is(err, b.fail) || len(f.entries()) != had {
		t.Errorf("a recipe that fails: %v", err)
	}
	for name, bad := range map[string]string{"empty": "  \n", "endless": strings.Repeat("#", 1<<20+1)} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.house.Prepare(context.Background(), f.req); err == nil || !strings.Contains(err.Error(), "dockerfile") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"Dockerfile", file + ".gone"} {
		f.req.Spec.Provider.Dockerfile = bad
		if _, err := f.house.Prepare(context.Background(), f.req); err == nil || !strings.Contains(err.Error(), "dockerfile") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// away is a backend that cannot be asked.
type away struct{ backend.Backend }

func (away) Kind() string { return "away" }
func (away) Find(context.Context) ([]backend.Leftover, error) {
	return nil, fmt.Errorf("list: %w", backend.ErrUnreachable)
}

// What one backend left is found beside what another left, and removed by who found it. A
// backend that cannot be asked stops nobody; the state of its bottles stays, and only
// where there is some is it spoken of.
func TestCleanupLooksAtEveryBackend(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	second := &boxes{Fake: &backendtest.Fake{}}
	f.house.Others = []backend.Backend{second, away{second}}
	for id, b := range map[string]*backendtest.Fake{"tester-aaaaa": f.fake, "tester-bbbbb": second.Fake} {
		if _, err := b.Create(ctx, plan.Bottle{Identity: id}, plan.Gateway{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var unasked []string
	f.house.Unasked = func(kind string, _ error) { unasked = append(unasked, kind) }
	rest, err := f.house.Leftovers(ctx, nil)
	if err != nil || len(rest) != 2 || len(unasked) != 0 {
		t.Fatalf("%+v, %v, %v", rest, unasked, err)
	}
	if err := f.house.Clean(ctx, rest); err != nil || f.fake.Standing()+second.Standing() != 0 {
		t.Errorf("left %d and %d, %v", f.fake.Standing(), second.Standing(), err)
	}
	r, err := f.house.Store.Reserve("tester-ccccc")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(r.Write(store.Metadata{Identity: "tester-ccccc", Agent: "tester", Bottle: "box", Backend: "away", PID: os.Getpid(), Status: store.Running}), r.Release())
	if err != nil {
		t.Fatal(err)
	}
	if rest, err = f.house.Leftovers(ctx, nil); err != nil || len(rest) != 0 || !slices.Equal(unasked, []string{"away"}) {
		t.Errorf("%+v, %v, %v", rest, unasked, err)
	}
	f.house.Backend = away{second}
	if _, err := f.house.Remains(ctx, "tester-ccccc"); !errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("remains: %v", err)
	}
}
