package lifecycle_test

import (
	"slices"
	"strings"
	"testing"

	"bottle/internal/plan"
)

// Nobody answers an agent whose bottle no start looks after: it is given no server to ask,
// no port of it, and no way by which things would come in later; what is unlisted is refused.
func TestCarriedBottlesAskNobody(t *testing.T) {
	f := newFixture(t)
	f.house.Backend = &boxes{Fake: f.fake}
	f.req.Spec.Supervise, f.req.Spec.Unmatched, f.req.Spec.Wait = true, "ask", 90
	c, missing, err := f.house.Carry(t.Context(), f.req)
	if err != nil {
		t.Fatal(err)
	}
	g := c.Gateway
	if g.Supervise || g.Unmatched != "" || g.Wait != 0 || g.Asked+g.Added+g.Adding+c.Bottle.Added != "" || slices.Contains(c.Bottle.Ports, plan.SupervisePort) {
		t.Errorf("gateway %+v, bottle %+v", g, c.Bottle)
	}
	for _, said := range append(c.Command.Env, c.Command.Args...) {
		if strings.Contains(said, plan.SuperviseHost) || strings.Contains(said, plan.Added) {
			t.Errorf("the agent is told %s", said)
		}
	}
	for _, file := range c.Files {
		if strings.Contains(string(file.Content), plan.SuperviseHost) {
			t.Errorf("%s says where to ask", file.Path)
		}
	}
	if len(missing) != 1 || len(f.entries()) > 0 {
		t.Errorf("missing %q, made %v", missing, f.entries())
	}
}
