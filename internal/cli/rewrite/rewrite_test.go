package rewrite

import (
	"errors"
	"fmt"
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

func route(t testing.TB, host string, change func(*bottle.Route)) bottle.Route {
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

// written is the text with routes behind its last one.
func written(text string, add []bottle.Route) (string, bool) {
	lines := strings.SplitAfter(text, "\n")
	e, ok := behind(lines, add)
	if !ok {
		return "", false
	}
	b, ok := apply(lines, []edit{e})
	return string(b), ok
}

// TestWriteKeepsWhatIsThere: comments, order and form stay; the new routes stand behind the
// last one.
func TestWriteKeepsWhatIsThere(t *testing.T) {
	one := []bottle.Route{route(t, "*.example.com", func(r *bottle.Route) {
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
		got, ok := written(c[0], one)
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
		if got, ok := written(text, one); ok {
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
		text, ok := written(have, add)
		if !ok {
			t.Fatal("not written")
		}
		if strings.Contains(have, "paths: x") { // was none before
			return
		}
		spec, problems := manifest.Tree{Home: fstest.MapFS{"bottles/dev.md": {Data: []byte(text)}}}.Bottle("dev")
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

// TestTakeKeepsWhatStays: what goes is one route, one method or one path; comments, order and
// form of all else stay. What is written in another form is left to the operator.
func TestTakeKeepsWhatStays(t *testing.T) {
	const block = "---\negress:\n  routes:\n    # first\n    - host: a.example.org # a\n      methods:\n        # reads\n        - GET\n        - \"POST\" # writes\n      path_allowlist: [\"/a\", /b, '/c'] # three\n\n    # second\n    - {host: b.example.org, methods: [GET, PUT], path_allowlist: [/x, /y]} # b\n\n  limits: {connections: 50}\n---\nText\n"
	for name, c := range map[string]struct {
		gone []Gone
		want string // of block: what is otherwise, as old=>new
	}{
		"a route":           {[]Gone{{Rule: "bottles/dev.md:5", Whole: true}}, "    - host: a.example.org # a\n      methods:\n        # reads\n        - GET\n        - \"POST\" # writes\n      path_allowlist: [\"/a\", /b, '/c'] # three\n=>"},
		"the last":          {[]Gone{{Rule: "bottles/dev.md:13", Whole: true}}, "    - {host: b.example.org, methods: [GET, PUT], path_allowlist: [/x, /y]} # b\n=>"},
		"a method":          {[]Gone{{Rule: "bottles/dev.md:5", Methods: []string{"POST"}}}, "        - \"POST\" # writes\n=>"},
		"paths":             {[]Gone{{Rule: "bottles/dev.md:5", Paths: []string{"/a", "/c"}}}, "[\"/a\", /b, '/c'] # three=>[/b] # three"},
		"both in one line":  {[]Gone{{Rule: "bottles/dev.md:13", Methods: []string{"PUT"}, Paths: []string{"/x"}}}, "[GET, PUT], path_allowlist: [/x, /y]=>[GET], path_allowlist: [/y]"},
		"one that is not":   {[]Gone{{Rule: "bottles/dev.md:5", Methods: []string{"PUT"}}}, ""},
		"all of a list":     {[]Gone{{Rule: "bottles/dev.md:13", Methods: []string{"GET", "PUT"}}}, ""},
		"no route is there": {[]Gone{{Rule: "bottles/dev.md:4", Whole: true}}, ""},
		"past the end":      {[]Gone{{Rule: "bottles/dev.md:99", Whole: true}}, ""},
		"no line":           {[]Gone{{Rule: "bottles/dev.md", Whole: true}}, ""},
		"below zero":        {[]Gone{{Rule: "bottles/dev.md:-3", Whole: true}}, ""},
	} {
		lines := strings.SplitAfter(block, "\n")
		edits, ok := take(lines, c.gone)
		got := []byte{}
		if ok {
			got, ok = apply(lines, edits)
		}
		if c.want == "" {
			if ok {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		old, repl, _ := strings.Cut(c.want, "=>")
		if want := strings.Replace(block, old, repl, 1); !ok || string(got) != want || want == block {
			t.Errorf("%s: %v\n%s", name, ok, got)
		}
		if d := difference("dev.md", block, string(got)); patched(t, block, d) != string(got) {
			t.Errorf("%s: the diff says otherwise:\n%s", name, d)
		}
	}
}

// patched is what patch(1) makes of a text and a unified diff.
func patched(t *testing.T, text, diff string) string {
	t.Helper()
	lines := strings.SplitAfter(text, "\n")
	var out strings.Builder
	at := 0
	for line := range strings.Lines(diff) {
		var from, n, to, m int
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
		case strings.HasPrefix(line, "@@"):
			if _, err := fmt.Sscanf(line, "@@ -%d,%d +%d,%d @@", &from, &n, &to, &m); err != nil {
				t.Fatal(err)
			}
			if n == 0 { // of no line, the one before is told
				from++
			}
			if m == 0 {
				to++
			}
			out.WriteString(strings.Join(lines[at:from-1], ""))
			if at = from - 1; strings.Count(out.String(), "\n") != to-1 {
				t.Errorf("the hunk %q begins at line %d", line, strings.Count(out.String(), "\n")+1)
			}
		case line[0] == '+':
			out.WriteString(line[1:])
		default:
			if lines[at] != line[1:] {
				t.Fatalf("line %d is %q, not %q", at+1, lines[at], line[1:])
			}
			if at++; line[0] == ' ' {
				out.WriteString(line[1:])
			}
		}
	}
	return out.String() + strings.Join(lines[at:], "")
}

// TestProposeHoldsTheOutcome: a change that decides otherwise than it was asked to is none,
// and a file that is a link is not opened.
func TestProposeHoldsTheOutcome(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bottles"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bottles", "dev.md")
	const text = "---\negress:\n  routes:\n    - host: a.example.org\n      methods: [GET]\n---\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := manifest.Tree{Home: os.DirFS(dir), HomeDir: dir}
	spec, problems := tree.Bottle("dev")
	if problems.Fatal() {
		t.Fatal(problems)
	}
	added := []bottle.Route{route(t, "b.example.org", nil)}
	c, err := Propose(tree, "dev", nil, added, append(added, spec.Routes...))
	if err != nil || len(c.Added) != 1 || !strings.Contains(c.Diff, "+    - host: b.example.org\n") || patched(t, text, c.Diff) != string(c.text) {
		t.Errorf("%v %+v", err, c)
	}
	for name, want := range map[string][]bottle.Route{"less": spec.Routes, "more": append(added, route(t, "c.example.org", nil), spec.Routes[0])} {
		if c, err := Propose(tree, "dev", nil, added, want); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v %+v", name, err, c)
		}
	}
	if _, err := Propose(tree, "dev", []Gone{{Rule: "dev.md:4", Whole: true}}, nil, nil); !errors.Is(err, ErrForm) {
		t.Errorf("the last route: %v", err) // an empty list is no manifest
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != text {
		t.Errorf("it was written: %s", now)
	}
	if err := errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := Propose(tree, "dev", nil, added, added); err == nil {
		t.Error("a link was followed")
	}
}

// FuzzTake: whatever a manifest's text and the places in it are, taking out does not fail, adds
// no line, and what its diff says is what it does.
func FuzzTake(f *testing.F) {
	f.Add("---\negress:\n  routes:\n    - host: a.example.org\n      methods: [GET, POST]\n      path_allowlist:\n        - /a\n        - \"/b\" # c\n---\n", 4, "POST", "/b", false)
	f.Add("    - {host: a, methods: [GET, PUT], path_allowlist: [/x, /y]}\n- \n---", 1, "PUT", "/x", false)
	f.Add("- a\n\n# b\n- c", 1, "", "", true)
	f.Fuzz(func(t *testing.T, text string, line int, method, path string, whole bool) {
		lines := strings.SplitAfter(text, "\n")
		edits, ok := take(lines, []Gone{{Rule: fmt.Sprintf("dev.md:%d", line), Whole: whole, Methods: []string{method}, Paths: []string{path}}})
		if !ok {
			return
		}
		got, ok := apply(lines, edits)
		if !ok {
			t.Fatalf("edits that overlap: %+v", edits)
		}
		if len(got) >= len(text) && len(edits) > 0 {
			t.Fatalf("%q became %q", text, got)
		}
		if strings.HasSuffix(text, "\n") && !strings.Contains(text, "\r") {
			if d := difference("dev.md", text, string(got)); patched(t, text, d) != string(got) {
				t.Fatalf("%q became %q; the diff says\n%s", text, got, d)
			}
		}
	})
}
