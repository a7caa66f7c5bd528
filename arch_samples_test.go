package house_test

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// sample is a small house with one fault. The rule of that name must find it at
// that place: a test that cannot fail is a defect.
type sample struct {
	rule, file, source string
	line               int    // of the finding; 0: none must be found
	extra              string // a second file of the same package, if any
}

var samples = []sample{
	{"imports", "internal/bottle/x.go", "package bottle\nimport _ \"bottle/internal/plan\"\n", 2, ""},
	{"imports", "internal/policy/x.go", "package policy\nimport _ \"bottle/internal/audit\"\n", 2, ""},
	{"imports", "internal/dlp/x.go", "package dlp\nimport _ \"bottle/internal/policy\"\n", 2, ""},
	{"imports", "internal/policy/x.go", "package policy\nimport _ \"bottle/internal/dlp\"\n", 0, ""},
	{"imports", "internal/secret/x.go", "package secret\nimport _ \"bottle/internal/store\"\n", 2, ""},
	{"imports", "internal/egress/x.go", "package egress\nimport _ \"bottle/internal/backend\"\n", 2, ""},
	{"imports", "internal/egress/x.go", "package egress\nimport _ \"bottle/internal/backend/native\"\n", 2, ""},
	{"imports", "internal/backend/native/x.go", "package native\nimport _ \"bottle/internal/egress\"\n", 2, ""},
	{"imports", "internal/backend/native/x.go", "//go:build darwin\n\npackage native\nimport _ \"bottle/internal/backend/docker\"\n", 4, ""},
	{"imports", "internal/backend/docker/x.go", "package docker\nimport _ \"bottle/internal/backend/native\"\n", 2, ""},
	{"imports", "internal/backend/jail/x.go", "package jail\nimport _ \"bottle/internal/hostexec\"\n", 2, ""},
	{"imports", "internal/backend/jail/x.go", "package jail\nimport _ \"bottle/internal/plan\"\n", 0, ""},
	{"imports", "internal/lifecycle/x.go", "package lifecycle\nimport _ \"bottle/internal/backend/native\"\n", 2, ""},
	{"imports", "internal/lifecycle/x.go", "package lifecycle\nimport _ \"bottle/internal/gateway\"\n", 2, ""},
	{"imports", "internal/cli/start.go", "package cli\nimport _ \"bottle/internal/backend/native\"\n", 2, ""},
	{"imports", "internal/cli/deps.go", "package cli\nimport _ \"bottle/internal/backend/native\"\n", 0, ""},
	{"imports", "internal/cli/x.go", "package cli\nimport _ \"bottle/internal/egress\"\n", 2, ""},
	{"imports", "internal/gateway/x.go", "package gateway\nimport _ \"bottle/internal/backend\"\n", 2, ""},
	{"imports", "cmd/bottle/main.go", "package main\nimport _ \"bottle/internal/lifecycle\"\n", 2, ""},
	{"imports", "internal/util/x.go", "package util\n", 1, ""},
	{"imports", "internal/plan/x.go", "package plan\nimport _ \"bottle/internal/util\"\n", 2, ""},
	{"imports", "internal/plan/x.go", "package plan\nimport . \"strings\"\n", 2, ""},
	{"imports", "internal/policy/x.go", "package policy\nimport _ \"bottle/test/require\"\n", 2, ""},
	{"imports", "internal/policy/x_test.go", "package policy\nimport _ \"bottle/test/require\"\n", 0, ""},
	{"imports", "internal/policy/x_test.go", "package policy\nimport _ \"bottle/internal/audit\"\n", 2, ""},

	{"forbidden imports", "internal/policy/x.go", "package policy\nimport _ \"os\"\n", 2, ""},
	{"forbidden imports", "internal/policy/x.go", "package policy\nimport _ \"net/http\"\n", 2, ""},
	{"forbidden imports", "internal/policy/x.go", "package policy\nimport _ \"net/netip\"\n", 0, ""},
	{"forbidden imports", "internal/bottle/x.go", "package bottle\nimport _ \"math/rand/v2\"\n", 2, ""},
	{"forbidden imports", "internal/dlp/x.go", "package dlp\nimport _ \"log/slog\"\n", 2, ""},
	{"forbidden imports", "internal/plan/x.go", "package plan\nimport _ \"crypto/rand\"\n", 2, ""},
	{"forbidden imports", "internal/plan/x.go", "package plan\nimport _ \"syscall\"\n", 2, ""},
	{"forbidden imports", "internal/egress/x.go", "package egress\nimport _ \"os/exec\"\n", 2, ""},
	{"forbidden imports", "internal/egress/x.go", "package egress\nimport _ \"testing\"\n", 2, ""},
	{"forbidden imports", "internal/cli/x.go", "package cli\nimport \"C\"\n", 2, ""},

	{"modules", "internal/cli/x.go", "package cli\nimport _ \"example.com/new\"\n", 2, ""},
	{"modules", "internal/egress/x.go", "package egress\nimport _ \"github.com/spf13/cobra\"\n", 2, ""},
	{"modules", "internal/cli/x.go", "package cli\nimport _ \"github.com/spf13/cobra/doc\"\n", 0, ""},
	{"modules", "internal/plan/x.go", "package plan\nimport _ \"pgregory.net/rapid\"\n", 2, ""},
	{"modules", "internal/plan/x_test.go", "package plan\nimport _ \"pgregory.net/rapid\"\n", 0, ""},

	{"powers", "internal/cli/x.go", "package cli\nimport \"os/exec\"\nvar f = exec.Command\n", 3, ""},
	{"powers", "internal/cli/x.go", "package cli\nimport run \"os/exec\"\nfunc f() { run.CommandContext(nil, \"x\") }\n", 3, ""},
	{"powers", "internal/cli/x.go", "package cli\nimport \"os/exec\"\nfunc f() { _ = &exec.Cmd{} }\n", 3, ""},
	{"powers", "internal/cli/x.go", "package cli\nimport \"os/exec\"\nfunc f() { _ = new(exec.Cmd) }\n", 3, ""},
	{"powers", "internal/hostexec/x.go", "package hostexec\nimport \"os/exec\"\nfunc f() { exec.Command(\"x\") }\n", 0, ""},
	{"powers", "internal/cli/x.go", "package cli\nimport \"os/exec\"\nfunc f(exec T) { exec.Command(\"x\") }\n", 0, ""},
	{"powers", "internal/gateway/x.go", "package gateway\nimport \"net\"\nfunc f() { net.Dial(\"tcp\", \"\") }\n", 3, ""},
	{"powers", "internal/gateway/x.go", "package gateway\nimport \"net\"\nvar d net.Dialer\n", 3, ""},
	{"powers", "internal/gateway/x.go", "package gateway\nimport \"net\"\nfunc f() { net.DialUnix(\"unix\", nil, nil) }\n", 0, ""},
	{"powers", "internal/gateway/x.go", "package gateway\nimport \"net/http\"\nvar c = &http.Client{}\n", 3, ""},
	{"powers", "internal/backend/jail/init.go", "package jail\nimport \"net\"\nvar d net.Dialer\n", 3, ""},
	{"powers", "internal/backend/jail/probe_linux.go", "package jail\nimport \"golang.org/x/sys/unix\"\nvar c = unix.Connect\n", 0, ""},
	{"powers", "internal/cli/x.go", "package cli\nfunc f(v V) { v.Reveal() }\n", 2, ""},
	{"powers", "internal/egress/inject.go", "package egress\nfunc f(v V) { v.Reveal() }\n", 0, ""},
	{"powers", "internal/cli/x.go", "package cli\nimport \"os\"\nfunc f() { os.Exit(1) }\n", 3, ""},
	{"powers", "cmd/bottle/main.go", "package main\nimport \"os\"\nfunc main() { os.Exit(1) }\n", 0, ""},
	{"powers", "internal/store/x.go", "package store\nimport \"os\"\nvar h = os.Getenv(\"HOME\")\n", 3, ""},
	{"powers", "internal/backend/native/x.go", "package native\nimport \"os\"\nvar h = os.Environ()\n", 3, ""},
	{"powers", "internal/egress/x.go", "package egress\nimport \"net/http\"\nvar c = http.DefaultClient\n", 3, ""},
	{"powers", "internal/lifecycle/x.go", "package lifecycle\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", 3, ""},
	{"powers", "internal/lifecycle/x_test.go", "package lifecycle\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", 0, ""},
	{"powers", "internal/egress/x.go", "package egress\nimport \"crypto/tls\"\nvar c = tls.Config{InsecureSkipVerify: true}\n", 3, ""},
	{"powers", "internal/egress/x_test.go", "package egress\nfunc f() { c.InsecureSkipVerify = true }\n", 2, ""},

	{"init", "internal/cli/x.go", "package cli\n\nfunc init() {}\n", 3, ""},

	{"variables", "internal/cli/x.go", "package cli\n\nvar cache map[string]int\n", 3, ""},
	{"variables", "internal/cli/x.go", "package cli\n\nvar (\n\ta = 1\n)\n", 4, ""},
	{"variables", "internal/cli/x.go", "package cli\nimport \"errors\"\nvar A, B = errors.New(\"a\"), 1\n", 3, ""},
	{"variables", "internal/cli/x.go", "package cli\nimport \"errors\"\nvar ErrA = errors.New(\"a\")\n", 0, ""},
	{"variables", "internal/cli/x.go", "package cli\nvar _ I = T{}\n", 0, ""},
	{"variables", "internal/cli/x.go", "package cli\nimport _ \"embed\"\n//go:embed x.md\nvar text string\n", 0, ""},

	{"package docs", "internal/cli/x.go", "package cli\n", 1, ""},
	{"package docs", "internal/cli/x.go", "// Package cli is x.\npackage cli\n", 1, "// Package cli is y.\npackage cli\n"},
	{"package docs", "internal/cli/x.go", "// Package face is x.\npackage cli\n", 1, ""},
	{"package docs", "internal/cli/x.go", "// Package cli is x.\npackage cli\n", 0, "package cli\n"},

	{"sizes", "internal/cli/x.go", "package cli\nfunc f() {\n" + strings.Repeat("\n", maxFunc-1) + "}\n", 2, ""},
	{"sizes", "internal/cli/x.go", "package cli\nfunc f() {\n" + strings.Repeat("\n", maxFunc-2) + "}\n", 0, ""},
	{"sizes", "internal/cli/x.go", "package cli\n" + strings.Repeat("\n", maxFile), 1, ""},
	{"sizes", "internal/cli/x_test.go", "package cli\n" + strings.Repeat("\n", maxFile), 0, ""},

	{"doors", "cmd/bottle/main.go", "package main\n" + strings.Repeat("\n", maxMain), 1, ""},
	{"doors", "cmd/bottle/helper.go", "package main\n", 1, ""},

	{"dependencies", "go.mod", "module bottle\n", 1, ""},

	{"named tests", "docs/threat-model.md", "words\n`TestNoSuchThing`\n", 2, ""},
	{"named tests", "docs/threat-model.md", "`testdata/script/no-such.txtar`\n", 1, ""},
	{"invariants", "docs/threat-model.md", "| 1 | held | |\n" + strings.Repeat("| 2 | held | `TestX` |\n", invariants), 1, ""},
	{"invariants", "docs/threat-model.md", "| 1 | held | by hand |\n" + strings.Repeat("| 2 | held | `TestX` |\n", invariants), 1, ""},
	{"invariants", "docs/threat-model.md", strings.Repeat("| 2 | held | `TestX` |\n", invariants-1), 1, ""},
	{"invariants", "docs/threat-model.md", strings.Repeat("| 2 | held | `testdata/script/x.txtar` |\n", invariants), 0, ""},

	{"reasons", "internal/policy/x.go", "package policy\nconst Bad Reason = \"bad\"\n", 2, ""},
	{"reasons", "internal/gateway/x.go", "package gateway\nconst ReasonBad = \"bad\"\n", 2, ""},
	{"reasons", "internal/gateway/x.go", "package gateway\nconst Bad = \"bad\"\n", 0, ""},

	{"named tests", "docs/threat-model.md", "`TestThere`\n", 0, "package cli\nfunc TestThere() {}\n"},
}

func TestEachRuleFindsItsFault(t *testing.T) {
	tried := map[string]bool{}
	for i, s := range samples {
		t.Run(fmt.Sprintf("%d %s", i, s.rule), func(t *testing.T) {
			tried[s.rule] = tried[s.rule] || s.line > 0
			found := findings(t, s.rule, s.fs())
			switch {
			case s.line == 0 && len(found) > 0:
				t.Errorf("found a fault where there is none: %v\n%s", found, s.source)
			case s.line > 0 && len(found) != 1:
				t.Errorf("found %d faults, want one: %v\n%s", len(found), found, s.source)
			case s.line > 0 && !strings.HasSuffix(found[0].at, fmt.Sprintf(":%d", s.line)):
				t.Errorf("found %v, want line %d\n%s", found[0], s.line, s.source)
			case s.line > 0 && (found[0].what == "" || found[0].do == ""):
				t.Errorf("found %#v: say what is wrong and what to do", found[0])
			}
		})
	}
	for _, r := range rules {
		if !tried[r.name] {
			t.Errorf("rule %q has no bad sample", r.name)
		}
	}
}

// TestPackageSize is apart: it takes several files.
func TestPackageSize(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range maxPackage/maxFile + 1 {
		fsys[fmt.Sprintf("internal/cli/x%d.go", i)] = &fstest.MapFile{Data: []byte("package cli\n" + strings.Repeat("\n", maxFile-1))}
	}
	if found := findings(t, "sizes", fsys); len(found) != 1 || !strings.Contains(found[0].what, "internal/cli has 3000 lines") {
		t.Errorf("found %v, want the package to be too large", found)
	}
}

// TestEveryPowerFindsItsUses tries each name of the powers table in a room that
// may not use it, so that a misspelt line does not stand there asleep.
func TestEveryPowerFindsItsUses(t *testing.T) {
	for _, p := range powers {
		for _, use := range p.uses {
			dot := strings.LastIndex(use, ".")
			pkg, name := use[:dot], use[dot+1:]
			text := "package plan\nvar x = v." + name + "\n"
			if pkg != "" {
				text = "package plan\nimport p \"" + pkg + "\"\nvar x = p." + name + "\n"
			}
			fsys := fstest.MapFS{"internal/plan/x.go": {Data: []byte(text)}}
			if found := findings(t, "powers", fsys); len(found) != 1 {
				t.Errorf("%s: found %v, want one fault", use, found)
			}
		}
	}
}

func TestReasonIsNamedByATestOrAScript(t *testing.T) {
	reason := &fstest.MapFile{Data: []byte("package policy\nconst NotThere Reason = \"not_there\"\n")}
	plain := &fstest.MapFile{Data: []byte("package policy\nconst Slow Reason = \"slow\"\n")}
	for text, want := range map[string]int{
		"package x\nimport \"bottle/internal/policy\"\nvar x = policy.Slow\n": 0,
		"package x\nvar x = other.Slow\n":                                     1,
		"package x\nvar x = \"slow\"\n":                                       0,
		"package x\nvar x = `{\"reason\":\"slow\"}`\n":                        0,
		"package x\nvar x = \"a slow peer\"\n":                                1,
	} {
		fsys := fstest.MapFS{"internal/policy/x.go": plain, "test/x/x_test.go": {Data: []byte(text)}}
		if found := findings(t, "reasons", fsys); len(found) != want {
			t.Errorf("found %v, want %d for %s", found, want, text)
		}
	}
	for text, want := range map[string]int{
		"package policy\nvar x = NotThere\n":                     0,
		"package policy\nvar x = `{\"reason\":\"not_there\"}`\n": 0,
		"package policy\nvar x = \"not_there_at_all\"\n":         1,
	} {
		fsys := fstest.MapFS{"internal/policy/x.go": reason, "internal/policy/x_test.go": {Data: []byte(text)}}
		if found := findings(t, "reasons", fsys); len(found) != want {
			t.Errorf("found %v, want %d for %s", found, want, text)
		}
	}
	fsys := fstest.MapFS{"internal/policy/x.go": reason, "testdata/script/x.txtar": {Data: []byte("stdout 'not_there'\n")}}
	if found := findings(t, "reasons", fsys); len(found) != 0 {
		t.Errorf("found %v, though a script names it", found)
	}
}

func TestDependencyNeedsItsSentence(t *testing.T) {
	fsys := fstest.MapFS{
		"go.mod": {Data: []byte("module bottle\n\nrequire example.com/a v1.0.0\nrequire (\n\texample.com/b/v2 v2.0.0 // indirect\n)\n")},
		decision: {Data: []byte("| `example.com/a` | because |\n")},
	}
	found := findings(t, "dependencies", fsys)
	if len(found) != 1 || found[0].at != "go.mod:5" {
		t.Errorf("found %v, want go.mod:5 alone", found)
	}
	fsys[decision] = &fstest.MapFile{Data: []byte("`example.com/b/v2`\n| `example.com/a` | because |\n| `example.com/gone` | because |\n")}
	if found := findings(t, "dependencies", fsys); len(found) != 1 || found[0].at != decision+":3" {
		t.Errorf("found %v, want the row of a module that is gone", found)
	}
	delete(fsys, decision)
	if found := findings(t, "dependencies", fsys); len(found) != 1 {
		t.Errorf("found %v, want the missing document", found)
	}
}

// TestTablesAreSound: every room that a table names is a room.
func TestTablesAreSound(t *testing.T) {
	named := map[string]string{}
	for _, r := range rooms {
		for _, d := range slices.Concat(r.beside, r.only, r.onlyFrom) {
			named[d] = "rooms, " + r.dir
		}
	}
	for _, p := range powers {
		for _, d := range p.where {
			named[d] = "powers, " + p.name
		}
	}
	for _, m := range modules {
		for _, d := range m.rooms {
			named[d] = "modules, " + m.path
		}
	}
	for _, d := range slices.Sorted(maps.Keys(named)) {
		dir := d
		if i := strings.LastIndex(d, "/"); strings.HasSuffix(d, ".go") {
			dir = d[:i]
		}
		if _, ok := roomOf(dir); !ok && dir != "cmd" {
			t.Errorf("%s names %s, which is no room", named[d], d)
		}
	}
}

func (s sample) fs() fs.FS {
	fsys := fstest.MapFS{s.file: {Data: []byte(s.source)}}
	if s.extra != "" && strings.HasSuffix(s.file, ".md") {
		fsys["internal/cli/z_test.go"] = &fstest.MapFile{Data: []byte(s.extra)}
	} else if s.extra != "" {
		fsys[s.file[:strings.LastIndex(s.file, "/")]+"/z.go"] = &fstest.MapFile{Data: []byte(s.extra)}
	}
	return fsys
}

func findings(t *testing.T, rule string, fsys fs.FS) []finding {
	t.Helper()
	h, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.name == rule {
			return r.check(h)
		}
	}
	t.Fatalf("no rule %q", rule)
	return nil
}
