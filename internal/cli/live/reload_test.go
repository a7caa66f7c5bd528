package live

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// TestReloadTellsWhatWaitsForAStart: what a person changed and a reload does not put
// in force is never answered by silence.
func TestReloadTellsWhatWaitsForAStart(t *testing.T) {
	proxy := bottle.UpstreamProxy{Host: "proxy.example.com", Port: 3128, Auth: &bottle.Auth{Scheme: "Basic", TokenRef: "LOGIN"}}
	same, other := proxy, proxy
	same.Auth = &bottle.Auth{Scheme: "Basic", TokenRef: "LOGIN"}
	other.Auth = &bottle.Auth{Scheme: "Basic", TokenRef: "ANOTHER"}
	now := plan.InForce{Limits: bottle.Quota{Connections: 5}, Onward: &proxy, Watch: []string{"~/.aws"}}
	for name, c := range map[string]struct {
		spec bottle.Spec
		want []string
	}{
		"the same":     {bottle.Spec{Egress: bottle.Quota{Connections: 5}, Onward: &same}, nil},
		"a limit":      {bottle.Spec{Egress: bottle.Quota{Connections: 6}, Onward: &same}, []string{"egress.limits"}},
		"no proxy":     {bottle.Spec{Egress: bottle.Quota{Connections: 5}}, []string{"egress.upstream_proxy"}},
		"another auth": {bottle.Spec{Egress: bottle.Quota{Connections: 5}, Onward: &other}, []string{"egress.upstream_proxy"}},
		"both":         {bottle.Spec{}, []string{"egress.limits", "egress.upstream_proxy"}},
		"a file":       {bottle.Spec{Egress: bottle.Quota{Connections: 5}, Onward: &same, Watch: []string{".env", "~/.aws"}}, nil},
	} {
		if c.spec.Watch == nil {
			c.spec.Watch = now.Watch
		}
		if got := waiting(now, c.spec); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	say := func(keys []string, meta store.Metadata) string {
		var errs bytes.Buffer
		Desk{Err: &errs, Style: func(io.Writer) plan.Style { return ui.Plain }}.tellWaiting(keys, meta)
		return errs.String()
	}
	meta := store.Metadata{Identity: "worker-abcde", Agent: "worker", Bottle: "dev", Backend: "native"}
	if got := say([]string{"egress.limits"}, meta); !strings.Contains(got, "egress.limits changed, and not in the running bottle") || !strings.Contains(got, "bottle stop worker-abcde && bottle start worker\n") {
		t.Errorf("a bottle: %s", got)
	}
	meta.Backend = "proxy"
	if got := say([]string{"egress.limits"}, meta); !strings.Contains(got, "&& bottle proxy dev\n") {
		t.Errorf("a proxy: %s", got)
	}
	if got := say(nil, meta); !strings.Contains(got, "are those of the bottle's start") || strings.Contains(got, "changed") {
		t.Errorf("nothing known to wait: %s", got)
	}
}

// TestReloadRefusesAKeyThatCannotBeUsed: another key_file is not said to be in force while
// the gateway goes on with the key from before. One that stays where it was, or waits for a
// start, holds up nothing.
func TestReloadRefusesAKeyThatCannotBeUsed(t *testing.T) {
	d := Desk{Key: func(r bottle.Repo) bottle.Problems {
		if r.KeyFile == "bad" {
			return bottle.Problems{{Message: "git " + r.Name + ": no key"}}
		}
		return nil
	}}
	repos := []bottle.Repo{{Name: "app", KeyFile: "bad"}, {Name: "web", KeyFile: "good"}, {Name: "old", KeyFile: "bad"}, {Name: "later", KeyFile: "bad"}}
	changes := []plan.GitChange{{Repo: "app", Key: "key_file", New: "bad"}, {Repo: "web", Key: "key_file", New: "good"}, {Repo: "old", Key: "push.force"}, {Repo: "later", Key: "key_file", Waits: true}}
	if got := d.keyless(changes, repos); len(got) != 1 || got[0].Message != "git app: no key" || !got.Fatal() {
		t.Errorf("%v", got)
	}
	if got := d.keyless(changes[1:], repos); got != nil {
		t.Errorf("%v", got)
	}
}

// TestReloadSaysWhatIsInForce: on a line that a terminal does not break, and of a bottle
// without routes nothing is said of routes alone.
func TestReloadSaysWhatIsInForce(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	for name, c := range map[string]struct {
		change change
		before plan.InForce
		want   string
	}{
		"git alone": {change{Bottle: "dev", Reloaded: plan.Reloaded{Old: hash, New: hash, Recorded: true}}, plan.InForce{Hash: hash}, "nothing changed of routes and git: those of dev are in force, policy 0a0a0a0a0a0a0a0…\n"},
		"routes":    {change{Bottle: "dev", Reloaded: plan.Reloaded{Old: hash, New: hash, Recorded: true}}, plan.InForce{Hash: hash, Routes: []bottle.Route{{}}}, "no route changed: those of dev are in force, policy 0a0a0a0a0a0a0a0…\n"},
		"applied":   {change{Bottle: "dev", Reloaded: plan.Reloaded{Old: hash, New: hash, Recorded: true, Applied: true}}, plan.InForce{Hash: hash}, "in force: policy 0a0a0a0a0a0a0a0…\n"},
	} {
		var out, errs bytes.Buffer
		d := Desk{Out: &out, Err: &errs, Style: func(io.Writer) plan.Style { return ui.Plain }}
		if err := d.done(c.change, c.before, false); err != nil || out.String() != c.want || errs.Len() > 0 {
			t.Errorf("%s: %v: %q %q", name, err, out.String(), errs.String())
		}
	}
}
