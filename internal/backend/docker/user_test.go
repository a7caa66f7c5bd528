package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/plan"
)

// The agent is the operator where he is an ordinary user, and never root nor of root's group.
func TestAgentIsTheOperator(t *testing.T) {
	for name, c := range map[string]struct {
		d        Docker
		rootless bool
		want     user
	}{
		"root":              {Docker{}, false, user{1000, 1000}},
		"second user":       {Docker{UID: 1001, GID: 1001}, false, user{1001, 1001}},
		"another group":     {Docker{UID: 1001, GID: 100}, false, user{1001, 100}},
		"of root's group":   {Docker{UID: 1001}, false, user{1001, 1000}},
		"a rootless engine": {Docker{UID: 1001, GID: 1001}, true, user{1000, 1000}},
	} {
		if got := c.d.agentUser(c.rootless); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Without an entry ssh and much of Node says that there is no such user.
func TestAgentHasAName(t *testing.T) {
	etc := t.TempDir()
	x := &Box{agentIs: user{1001, 100}}
	if err := x.nameAgent(etc); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{"passwd": "\nagent:x:1001:100:agent:" + plan.Home + ":/bin/sh\n", "group": "\nagent:x:100:\n"} {
		text, err := os.ReadFile(filepath.Join(etc, "etc", name))
		if want := "root:x:0:"; err != nil || string(text[:len(want)]) != want || !strings.Contains(string(text), line) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, m := range x.mounts {
		if !m.ReadOnly || goodTarget(m.Target) == nil {
			t.Errorf("%+v", m)
		}
	}
	if first := (&Box{agentIs: user{1000, 1000}}); first.nameAgent(etc) != nil || len(first.mounts) > 0 || len(x.mounts) != 2 {
		t.Errorf("%v, %v", first.mounts, x.mounts)
	}
}
