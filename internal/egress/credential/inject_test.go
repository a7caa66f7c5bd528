package credential

import (
	"fmt"
	"net/http"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/secret"
)

func TestInjectRefuses(t *testing.T) {
	for _, auth := range []bottle.Auth{{}, {Scheme: "digest"}, {Scheme: "header"}} {
		h := http.Header{}
		if err := Inject(h, &auth, secret.New([]byte("x"))); err == nil || len(h) != 0 {
			t.Errorf("%+v injected %v", auth, h)
		}
	}
}

// The zero guard of a bottle without credentials finds and stars nothing; one that
// learns more and more values knows the last 32, and forgets no route.
func TestGuardKnowsTheLastValues(t *testing.T) {
	none := New(nil, nil)
	route := &bottle.Route{Host: bottle.Pattern{Host: "api.example.com"}, Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "T"}}
	none.Learn([]*bottle.Route{route})
	if _, err := none.Value(route.Auth); err == nil || !none.Masks().Empty() || !none.Near("api.example.com", route) || none.Near("other.example.com", route) {
		t.Error("a guard of nothing")
	}
	starred := 0
	g := New(func(ref string) (secret.Value, bool) { return value(0), ref == "T" }, func(n int) { starred += n })
	if !g.Masks().Empty() {
		t.Error("it knows before it learns")
	}
	g.Learn([]*bottle.Route{route})
	for i := range 40 {
		g.Relearn(map[string]secret.Value{"T": value(i), "OTHER": value(1000 + i)})
		g.Relearn(map[string]secret.Value{"T": value(i)}) // the same again is no other
	}
	g.Learn([]*bottle.Route{route})
	for i := range 40 {
		if got, want := g.Masks().Contains([]byte("it is "+value(i).Reveal())), i >= 40-mostValues; got != want {
			t.Errorf("value %d: known %v", i, got)
		}
	}
	if g.Masks().Contains([]byte(value(1039).Reveal())) {
		t.Error("it looks for a credential that no route injects")
	}
	if b := []byte(value(39).Reveal()); !g.Masks().Bytes(b) || starred != 1 {
		t.Errorf("%d places", starred)
	}
}

func value(i int) secret.Value { return secret.New(fmt.Appendf(nil, "value-%08d-of-the-operator", i)) }
