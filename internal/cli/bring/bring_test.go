package bring

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/packages"
	"bottle/internal/plan"
	"bottle/internal/store"
)

func asked(names ...string) plan.Proposal {
	p := plan.Proposal{}
	p.ID, p.Kind, p.Capability = "p234567", bottle.ProposalCapability, &bottle.CapabilityAsk{Packages: names}
	return p
}

// TestNothingIsLookedUpBeforeYes. The weakness: a package's name goes to a registry, and
// the agent chose it, so a look-up tells somebody outside what the agent wants to tell.
// What this proves: who says no has sent nothing, and nothing is left on the disk.
func TestNothingIsLookedUpBeforeYes(t *testing.T) {
	lay := store.Layout{Adding: t.TempDir()}
	d := Desk{Out: io.Discard, Err: io.Discard, Style: plain, Terminal: func(any) bool { return false },
		Confirm: func(string, bool) (bool, error) { return false, nil },
		Store: func() (*store.Store, error) {
			t.Error("something was about to be fetched")
			return nil, errors.New("none")
		}}
	b, err := d.Bring(t.Context(), "worker-abc12", asked("npm:x"), false, false)
	if entries, _ := os.ReadDir(lay.Adding); b != nil || err != nil || len(entries) > 0 {
		t.Errorf("%+v, %v, %v", b, err, entries)
	}
	d.Confirm, d.Lookup = func(string, bool) (bool, error) { return true, nil }, func(string) (string, bool) { return "", false }
	if _, err := d.fetch(t.Context(), store.Layout{Adding: lay.Adding + "/none"}, asked("npm:x"), nil); err == nil {
		t.Error("there is no place to unpack")
	}
	if _, err := d.fetch(t.Context(), lay, plan.Proposal{}, nil); err == nil {
		t.Error("it asks for something else")
	}
}

func plain(io.Writer) plan.Style { return func(_ plan.Role, s string) string { return s } }

// TestEnvironmentOfTheFetchers: what loads code into them, and all secrets of the operator
// but npm's own, stay out of their environment; npm's is not apt's.
func TestEnvironmentOfTheFetchers(t *testing.T) {
	d := Desk{Lookup: func(name string) (string, bool) { return "of " + name, true }}
	apt, npm := d.environment(known()), d.environment(knownToNPM())
	for _, name := range []string{"NODE_OPTIONS", "LD_PRELOAD", "LD_LIBRARY_PATH", "PERL5OPT", "npm_config_script_shell", "ANTHROPIC_API_KEY", "BASH_ENV"} {
		if slices.ContainsFunc(append(apt, npm...), func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			t.Errorf("%s reaches them", name)
		}
	}
	if slices.Contains(apt, "NPM_TOKEN=of NPM_TOKEN") || !slices.Contains(npm, "NPM_TOKEN=of NPM_TOKEN") || !slices.Contains(apt, "APT_CONFIG=of APT_CONFIG") {
		t.Errorf("%q, %q", apt, npm)
	}
}

// TestShownHarmlessly: what a registry says of a package cannot write on the operator's terminal.
func TestShownHarmlessly(t *testing.T) {
	var out bytes.Buffer
	d := Desk{Out: &out, Style: plain, Terminal: func(any) bool { return false }}
	d.show(list(&packages.Load{Notes: []string{"a\x1b[2Jb\u202e"}, Bill: bottle.Bill{Programs: []string{"x"}, Items: []bottle.BillItem{{Ecosystem: "npm", Name: "x", Version: "1", From: "http://r.example.com/\u202e"}}}}))
	if strings.ContainsAny(out.String(), "\x1b\u202e") || !strings.Contains(out.String(), "programs: x\n") {
		t.Errorf("%q", out.String())
	}
}

// TestNoLineIsLeftToTheTerminal: an address that a registry chose is as long as it likes, and
// what goes on of it stands further in than this program's lines.
func TestNoLineIsLeftToTheTerminal(t *testing.T) {
	var out bytes.Buffer
	long := strings.Repeat("x", 300)
	show(&out, plain(nil), 80, []Line{{plan.Plain, "    " + long}, {plan.Plain, "short"}})
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if n := strings.Count(out.String(), "x"); n != 300 || len(lines) < 5 || lines[len(lines)-1] != "  short" {
		t.Errorf("%d\n%s", n, out.String())
	}
	for i, l := range lines[:len(lines)-1] {
		if len(l) > 80 || !strings.HasPrefix(l, "      ") {
			t.Errorf("line %d: %q", i, l)
		}
	}
}
