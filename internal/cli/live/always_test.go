package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/manifest"
)

func wanted(t testing.TB, host string, change func(*bottle.Route)) bottle.Route {
	t.Helper()
	p, err := bottle.ParsePattern(host)
	if err != nil {
		t.Fatal(err)
	}
	r := bottle.Route{Host: p, Ports: []uint16{443}, TLS: "intercept", DLP: "block"}
	if change != nil {
		change(&r)
	}
	return r
}

// home gives the counter's bottle a manifest.
func (c *counter) home(t *testing.T, text string) (path string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "bottles", "dev.md")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	c.Tree = func() (manifest.Tree, error) { return manifest.Tree{Home: os.DirFS(dir), HomeDir: dir}, nil }
	return path
}

const mine = "---\n# my routes\negress:\n  routes:\n    - host: api.example.com # the API\n      methods: [GET]\n---\nMine.\n"

// TestAlwaysIsWrittenAfterASight: the lines are shown before the question; a no changes
// nothing; what is written is in force at once and after the bottle; saying it again does
// what was left undone.
func TestAlwaysIsWrittenAfterASight(t *testing.T) {
	c := newCounter(t)
	path := c.home(t, mine)
	read := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	c.ask(t, "p222222", "x")
	c.answer = false
	if err := c.run("p222222", "--for", "always"); err == nil || read() != mine || len(c.heard()) > 0 {
		t.Errorf("a no: %v\n%s", err, read())
	}
	if !strings.Contains(c.out.String(), "  +    - host: api.example.com\n  +      methods: [POST]\n") || c.question != "Approve it for this bottle and all that are started after it?" {
		t.Errorf("%q\n%s", c.question, c.out.String())
	}
	c.answer = true
	if err := c.run("p222222", "--for", "always"); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(mine, "---\nMine", "    - host: api.example.com\n      methods: [POST]\n---\nMine", 1)
	if asked := c.heard(); read() != want || len(asked) != 1 || asked[0].Verdict != "approve" || asked[0].Seconds != 0 {
		t.Errorf("%+v\n%s", asked, read())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := c.run("p222222", "--for", "always", "--yes"); err != nil || read() != want || len(c.heard()) != 1 {
		t.Errorf("again: %v\n%s", err, read())
	}
	if err := os.WriteFile(path, []byte(mine), 0o640); err != nil { // killed before it was written
		t.Fatal(err)
	}
	if err := c.run("p222222", "--for", "always", "--yes"); err != nil || read() != want || len(c.heard()) != 1 {
		t.Errorf("what was left undone: %v\n%s", err, read())
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestAlwaysRefuses: what can't be written is told before anything is approved.
func TestAlwaysRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"---\negress: {routes: [{host: api.example.com, methods: [GET]}]}\n---\n": "another form",
		"---\negress: {rotes: []}\n---\n":                                         "unknown key",
		"---\negress:\n  routes:\n    - {host: api.example.com, methods: [GET], path_allowlist: [/a], auth: {scheme: Bearer, token_ref: X}}\n    - {host: api.example.com, methods: [GET], path_allowlist: [/b]}\n---\n": "nobody can tell",
	} {
		c := newCounter(t)
		path := c.home(t, text)
		c.ask(t, "p222222", "x")
		if err := c.run("p222222", "--for", "always", "--yes"); err == nil || !strings.Contains(err.Error(), want) || len(c.heard()) > 0 {
			t.Errorf("%v, want %q", err, want)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%s", b)
		}
	}
	c := newCounter(t)
	c.home(t, mine)
	c.ask(t, "p222222", "x")
	c.waiting[0].Route = nil
	c.waiting[0].Content = &bottle.ContentAsk{Host: "api.example.com"}
	if err := c.run("p222222", "--for", "always", "--yes"); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("%v", err)
	}
	r := wanted(t, "api.example.com", nil)
	c.waiting[0].Route, c.waiting[0].Status = &r, bottle.ProposalRejected
	if err := c.run("p222222", "--for", "always", "--yes"); err == nil || !strings.Contains(err.Error(), "is rejected, and nothing of it is in force") {
		t.Errorf("%v", err)
	}
}
