package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"bottle/internal/bottle"
	"bottle/internal/manifest"
	"bottle/internal/policy"
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

// TestWriteKeepsWhatIsThere: comments, order and form stay; the new routes stand behind the
// last one.
func TestWriteKeepsWhatIsThere(t *testing.T) {
	one := []bottle.Route{wanted(t, "*.example.com", func(r *bottle.Route) {
		r.Methods, r.Paths, r.Ports = []string{"GET", "HEAD"}, []string{"/v1", "/a:"}, []uint16{443, 8443}
		r.Auth = &bottle.Auth{Scheme: "header", Header: "X-Key", TokenRef: "cmd:op read \"x\""}
		r.DLP, r.Inbound, r.H2C, r.Upstream = "off", "block", true, &bottle.Upstream{Address: "10.0.0.1:8443"}
	})}
	item := func(in string) string {
		return in + "- host: \"*.example.com\"\n" + in + "  ports: [443, 8443]\n" + in + "  methods: [GET, HEAD]\n" + in + "  path_allowlist: [\"/v1\", \"/a:\"]\n" +
			in + "  auth: {scheme: \"header:X-Key\", token_ref: \"cmd:op read \\\"x\\\"\"}\n" + in + "  dlp: \"off\"\n" + in + "  inbound: block\n" + in + "  h2c: true\n" + in + "  upstream: {address: \"10.0.0.1:8443\"}\n"
	}
	for name, c := range map[string][2]string{
		"behind the last": {
			"---\n# mine\negress: # out\n  routes:\n    - host: a.example.org # first\n      methods: [GET]\n\n    - {host: b.example.org}\n\n  # how much\n  limits: {connections: 5}\nsupervise: true\n---\n# Text\n- host: no\n",
			"---\n# mine\negress: # out\n  routes:\n    - host: a.example.org # first\n      methods: [GET]\n\n    - {host: b.example.org}\n" + item("    ") + "\n  # how much\n  limits: {connections: 5}\nsupervise: true\n---\n# Text\n- host: no\n"},
		"items that are not indented": {
			"---\negress:\n  limits: {connections: 5}\n  routes:\n  - host: a.example.org\n---\n", "---\negress:\n  limits: {connections: 5}\n  routes:\n  - host: a.example.org\n" + item("  ") + "---\n"},
		"no routes": {"---\negress:\n  unmatched: ask\n  # end\nenv: {A: b}\n---\n", "---\negress:\n  unmatched: ask\n  routes:\n" + item("    ") + "  # end\nenv: {A: b}\n---\n"},
		"no egress": {"---\nenv: {A: b}\n---\nText\n", "---\nenv: {A: b}\negress:\n  routes:\n" + item("    ") + "---\nText\n"},
		"nothing":   {"---\n---\n", "---\negress:\n  routes:\n" + item("    ") + "---\n"},
	} {
		got, ok := write([]byte(c[0]), one)
		if !ok || string(got) != c[1] {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, ok, got, c[1])
		}
	}
	for name, text := range map[string]string{
		"on one line":        "---\negress: {routes: [{host: a.example.org}]}\n---\n",
		"routes on one line": "---\negress:\n  routes: [{host: a.example.org}]\n---\n",
		"no frontmatter":     "egress:\n  routes:\n    - host: a.example.org\n",
		"quoted keys":        "---\n\"egress\":\n  routes:\n    - host: a.example.org\n---\n",
		"an empty list":      "---\negress:\n  routes:\n  limits: {connections: 5}\n---\n",
		"an anchor":          "---\negress: &e\n  routes:\n    - host: a.example.org\n---\n",
		"empty":              "",
	} {
		if got, ok := write([]byte(text), one); ok {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// Whatever is added in whatever form: the manifest that is written decides as foreseen, or
// nothing is written.
func TestWrittenRoutesAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := func(of []string, label string) []string {
			return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 3, rapid.ID).Draw(t, label)
		}
		var add []bottle.Route
		for range rapid.IntRange(1, 3).Draw(t, "n") {
			p, _ := bottle.ParsePattern(rapid.SampledFrom([]string{"new.example.org", "*.example.net", "9.9.9.9", "no", "xn--bcher-kva.example", "1e3.example"}).Draw(t, "host"))
			add = append(add, bottle.Route{Host: p, Ports: rapid.SampledFrom([][]uint16{{443}, {80, 443}, {8080}}).Draw(t, "ports"),
				Methods: pick([]string{"GET", "POST", "PUT"}, "methods"), Paths: pick([]string{"/", "/a:", "/%20", "/'x'", "/*&!", "/@y", "/~", "/a,b", "/(c)=d"}, "paths"), TLS: "intercept", DLP: "block"})
		}
		have := rapid.SampledFrom([]string{"---\n---\n", "---\negress:\n  routes:\n  - host: a.example.org\n---\n", "---\negress:\n    routes:\n        - host: a.example.org\n          paths: x\nenv: {}\n---\n", "---\negress:\n  unmatched: ask\n---\n"}).Draw(t, "manifest")
		text, ok := write([]byte(have), add)
		if !ok {
			t.Fatal("not written")
		}
		if strings.Contains(have, "paths: x") { // was none before
			return
		}
		spec, problems := manifest.Tree{Home: fstest.MapFS{"bottles/dev.md": {Data: text}}}.Bottle("dev")
		var base []bottle.Route
		if strings.Contains(have, "a.example.org") {
			base = []bottle.Route{{Host: bottle.Pattern{Host: "a.example.org"}, Ports: []uint16{443}}}
		}
		want, err := policy.Compile(append(base, add...))
		if err != nil {
			t.Skip("it conflicts")
		}
		got, err := policy.Compile(spec.Routes)
		if !problems.Fatal() && (err != nil || got.Hash() != want.Hash()) {
			t.Fatalf("%v\n%s\n%v", err, text, policy.Diff(append(base, add...), spec.Routes))
		}
		if problems.Fatal() && !strings.Contains(problems.Error(), "twice") && !strings.Contains(problems.Error(), "same") {
			t.Fatalf("%v\n%s", problems, text)
		}
	})
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
