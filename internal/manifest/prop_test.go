package manifest

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
)

// somePart draws what one file may say, out of few names so that parts collide.
func somePart(t *rapid.T, label string) part {
	word := func(of ...string) string { return rapid.SampledFrom(append(of, "")).Draw(t, label) }
	p := part{
		backend: word("native", "docker"), workspace: word("bind", "none"), runtime: word("runc", "runsc"),
		gitUser:  bottle.GitUser{Name: word("a", "b"), Email: word("c", "d")},
		provider: bottle.Provider{Template: word("codex", "command"), Dockerfile: word("x", "y")},
		limits:   bottle.Limits{Memory: rapid.Int64Range(0, 2).Draw(t, label), PIDs: rapid.Int64Range(0, 2).Draw(t, label)},
		egress:   bottle.Quota{Connections: rapid.IntRange(0, 2).Draw(t, label), HostBytesOutPerHour: rapid.Int64Range(0, 2).Draw(t, label)},
	}
	if on := rapid.IntRange(0, 2).Draw(t, label); on > 0 {
		v := on == 1
		p.supervise = &v
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"A", "B", "C"}), 0, 3, rapid.ID).Draw(t, label) {
		p.env = append(p.env, bottle.EnvVar{Name: n, Kind: bottle.EnvLiteral, Value: label})
		p.repos = append(p.repos, bottle.Repo{Name: n, Upstream: label})
		p.mounts = append(p.mounts, bottle.Mount{Path: "/" + n, Mode: label})
	}
	for _, h := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a.example.com", "b.example.com"}), 0, 2, rapid.ID).Draw(t, label) {
		p.routes = append(p.routes, bottle.Route{
			Host: bottle.Pattern{Host: bottle.Host(h)}, Rule: label,
			Paths: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"/1", "/2", "/3"}), 0, 3, rapid.ID).Draw(t, label),
		})
	}
	return p
}

func compare(t *rapid.T, want, got part) {
	opts := []cmp.Option{cmp.AllowUnexported(part{}, text{}, at{})}
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Fatal(diff)
	}
}

func TestMergeProperties(t *testing.T) {
	t.Run("with nothing", rapid.MakeCheck(func(t *rapid.T) {
		p := somePart(t, "p")
		compare(t, p, merge(part{}, p))
		compare(t, p, merge(p, part{}))
	}))
	t.Run("with itself", rapid.MakeCheck(func(t *rapid.T) {
		p := somePart(t, "p")
		compare(t, p, merge(p, p))
	}))
	t.Run("in steps", rapid.MakeCheck(func(t *rapid.T) {
		a, b, c := somePart(t, "a"), somePart(t, "b"), somePart(t, "c")
		compare(t, merge(merge(a, b), c), merge(a, merge(b, c)))
	}))
	t.Run("every grant has one author, the last", rapid.MakeCheck(func(t *rapid.T) {
		a, b := somePart(t, "a"), somePart(t, "b")
		m := merge(a, b)
		author := make(map[string]string)
		for _, p := range []part{a, b} {
			for _, r := range p.routes {
				for _, path := range rules.PathsOf(r) {
					author[string(r.Host.Host)+path] = r.Rule
				}
			}
		}
		for _, r := range m.routes {
			for _, path := range rules.PathsOf(r) {
				if want := author[string(r.Host.Host)+path]; want != r.Rule {
					t.Fatalf("%s%s is granted by %s, want %q", r.Host.Host, path, r.Rule, want)
				}
				delete(author, string(r.Host.Host)+path)
			}
		}
		if len(author) > 0 {
			t.Fatalf("lost: %v", author)
		}
	}))
}

// parseShape reads a frontmatter to its shape only.
func parseShape(kind, front string) bottle.Problems {
	var probs bottle.Problems
	s := &source{file: "x.md", probs: &probs}
	s.setFront([]byte(front))
	root := s.load([]byte(front))
	if root == nil {
		return probs
	}
	if kind == KindBottle {
		s.decode(root, &bottleFile{}, nil)
	} else {
		s.decode(root, &agentFile{}, nil)
	}
	return probs
}

func schemaSays(t interface{ Fatal(...any) }, kind, front string) error {
	sch, err := shapeSchema(kind)
	if err != nil {
		t.Fatal(err)
	}
	res, err := sch.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Load([]byte(front), &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var instance any
	if err := json.Unmarshal(text, &instance); err != nil {
		t.Fatal(err)
	}
	return res.Validate(instance)
}

// TestSchemaIsTheShape draws documents out of the format's own keys and some
// wrong ones, with values of every type, and asks the parser and the schema:
// both must say the same.
func TestSchemaIsTheShape(t *testing.T) {
	var accepted, refused int
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{KindBottle, KindAgent}).Draw(t, "kind")
		sch, err := shapeSchema(kind)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(drawObject(t, sch, 0))
		if err != nil {
			t.Fatal(err)
		}
		parser, schema := parseShape(kind, string(text)), schemaSays(t, kind, string(text))
		if parser.Fatal() != (schema != nil) {
			t.Fatalf("%s\nparser: %v\nschema: %v", text, parser, schema)
		}
		if schema == nil {
			accepted++
		} else {
			refused++
		}
	})
	if accepted < 5 || refused < 5 {
		t.Errorf("drew %d good and %d bad documents: that proves nothing", accepted, refused)
	}
}

func TestExamplesFitTheSchema(t *testing.T) {
	for _, kind := range []string{KindBottle, KindAgent} {
		ar, err := txtar.ParseFile("testdata/" + kind + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			if f.Name != "full.md" {
				continue
			}
			var probs bottle.Problems
			front, _, ok := (&source{probs: &probs}).split(f.Data)
			if !ok {
				t.Fatal(probs)
			}
			if err := schemaSays(t, kind, string(front)); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		text, err := Schema(kind)
		if err != nil || !json.Valid(text) {
			t.Errorf("schema of %s: %v", kind, err)
		}
	}
	if _, err := Schema("policy"); err == nil {
		t.Error("a schema of an unknown kind")
	}
}

// TestBombs: whatever the text, reading it takes little time and memory.
func TestBombs(t *testing.T) {
	laughs := "---\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	const size = maxFile - 100
	tests := map[string]string{
		"billion laughs": laughs + "---\n",
		"itself":         "---\na: &a [*a]\n---\n",
		"brackets":       "---\na: " + strings.Repeat("[", size) + "\n---\n",
		"many keys":      "---\n" + strings.Repeat("k: 1\n", size/5) + "---\n",
		"one long line":  "---\na: [" + strings.Repeat("1,", size/2) + "]\n---\n",
		"long key":       "---\n" + strings.Repeat("k", size) + ": 1\n---\n",
		"many items":     "---\negress:\n  routes:\n" + strings.Repeat("  - {}\n", size/9) + "---\n",
		"many routes":    "---\negress:\n  routes:\n" + strings.Repeat("  - {host: a.example.com}\n", size/27) + "---\n",
		"no end":         "---\n" + strings.Repeat("a\n", size/2),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := worked(t)
			probs := tree(nil).ValidateBytes("bottles/x.md", []byte(text), "")
			took := worked(t) - start
			runtime.ReadMemStats(&after)
			if !probs.Fatal() || len(probs) > maxProblems+1 {
				t.Errorf("%d problems", len(probs))
			}
			if took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 600 {
				t.Errorf("allocated %d MiB", got)
			}
			t.Logf("%v, %d MiB", took, (after.TotalAlloc-before.TotalAlloc)>>20)
		})
	}
}

// worked is the processor time of this process: a busy machine does not make it longer.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func FuzzParse(f *testing.F) {
	for _, kind := range []string{KindBottle, KindAgent} {
		ar, err := txtar.ParseFile("testdata/" + kind + ".txtar")
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if strings.HasSuffix(file.Name, ".md") {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tr := goldenTree()
		start := time.Now()
		tr.Home.(fstest.MapFS)["bottles/fuzz.md"] = &fstest.MapFile{Data: data, Mode: 0o644}
		tr.Home.(fstest.MapFS)["agents/fuzz.md"] = &fstest.MapFile{Data: data, Mode: 0o644}
		spec, probs := tr.Bottle("fuzz")
		for _, p := range probs {
			if strings.ContainsFunc(p.String(), func(r rune) bool { return r < 0x20 }) {
				t.Fatalf("a control character in a problem: %q", p.String())
			}
		}
		if !probs.Fatal() {
			again, _ := tr.Bottle("fuzz")
			if diff := cmp.Diff(spec, again); diff != "" {
				t.Fatalf("a second reading differs:\n%s", diff)
			}
			checkSpec(t, spec)
		}
		tr.Load("fuzz")
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

// checkSpec holds what every accepted bottle must have, and that its canonical
// values read as themselves.
func checkSpec(t *testing.T, s bottle.Spec) {
	for _, r := range s.Routes {
		pattern := string(r.Host.Host)
		if r.Host.Sub {
			pattern = "*." + pattern
		}
		if p, err := bottle.ParsePattern(pattern); err != nil || p != r.Host {
			t.Fatalf("host %q reads as %v, %v", pattern, p, err)
		}
		if len(r.Ports) == 0 || r.TLS == "" || r.DLP == "" || r.Rule == "" {
			t.Fatalf("a default is missing: %+v", r)
		}
		if r.TLS == "passthrough" && (r.Auth != nil || len(r.Paths)+len(r.Methods) > 0) {
			t.Fatalf("a passthrough with rules: %+v", r)
		}
		for _, path := range r.Paths {
			if p, err := bottle.ParsePath(path); err != nil || p != path {
				t.Fatalf("path %q reads as %q, %v", path, p, err)
			}
		}
		if r.Auth != nil && (r.Auth.Scheme == "" || r.Auth.TokenRef == "") {
			t.Fatalf("half a credential: %+v", r.Auth)
		}
	}
	for _, m := range s.Mounts {
		if m.Path == "/" || m.Path == "/home/op" || strings.HasPrefix(m.Path, "/home/op/.ssh") || !strings.HasPrefix(m.Path, "/") {
			t.Fatalf("mount %q", m.Path)
		}
	}
	if s.Workspace == "" || s.Provider.Template == "" || !slices.Contains([]string{"", "native", "docker", "smolmachines"}, s.Backend) {
		t.Fatalf("%+v", s)
	}
}

func BenchmarkLoad(b *testing.B) {
	ar, err := txtar.ParseFile("testdata/bottle.txtar")
	if err != nil {
		b.Fatal(err)
	}
	full := string(ar.Files[0].Data)
	tr := tree(map[string]string{
		"agents/a.md":              "---\nbottle: dev\nskills: [init-prd]\n---\nYou look things up.\n",
		"bottles/dev.md":           full,
		"bottles/base.md":          strings.Replace(full, "extends: base\n", "", 1),
		"skills/init-prd/SKILL.md": "x",
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, probs := tr.Load("a"); len(probs) > 0 {
			b.Fatal(probs)
		}
	}
}
