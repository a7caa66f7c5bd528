package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"bottle/internal/bottle"
)

func TestLoadFillsDefaults(t *testing.T) {
	tr := tree(map[string]string{
		"bottles/dev.md":           "---\negress:\n  routes:\n    - host: API.Example.com.\n---\n# Dev\n",
		"agents/researcher.md":     "---\nbottle: dev\nskills: [init-prd]\ngit_user: {email: r@example.com}\n---\n\nYou look things up.\n",
		"skills/init-prd/SKILL.md": "x",
	})
	a, spec, probs := tr.Load("researcher")
	if len(probs) != 0 {
		t.Fatal(probs)
	}
	wantAgent := bottle.Agent{
		Name: "researcher", Bottle: "dev", Skills: []string{"init-prd"}, Prompt: "You look things up.",
		File: "~/.bot-bottle/agents/researcher.md", GitUser: bottle.GitUser{Email: "r@example.com"},
	}
	if diff := cmp.Diff(wantAgent, a); diff != "" {
		t.Error(diff)
	}
	want := bottle.Spec{
		Name: "dev", Supervise: true, Workspace: "overlay", Runtime: "auto", Provider: bottle.Provider{Template: "claude"},
		GitUser: bottle.GitUser{Email: "r@example.com"}, Files: []string{"~/.bot-bottle/bottles/dev.md"},
		Routes: []bottle.Route{{
			Host: bottle.Pattern{Host: "api.example.com"}, Ports: []uint16{443}, TLS: "intercept", DLP: "block",
			Rule: "~/.bot-bottle/bottles/dev.md:4",
		}},
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Error(diff)
	}
}

func TestExtendsMerges(t *testing.T) {
	tr := tree(map[string]string{
		"bottles/root.md": `---
env: {A: root, B: root, C: root}
supervise: false
limits: {memory: 1GiB, pids: 100}
git_user: {name: root, email: root@example.com}
agent_provider: {template: codex}
egress:
  routes:
    - {host: api.example.com, path_allowlist: [/v1, /v2]}
    - {host: any.example.com}
  limits: {connections: 100, requests_per_second: 5, bytes_out_per_hour: 1GiB}
git:
  - {name: app, upstream: "https://h.example.com/root"}
mounts: [{path: /opt/x}, {path: /opt/y}]
---
`,
		"bottles/left.md":  "---\nextends: root\nenv: {B: left, C: left}\nworkspace: {mode: bind}\n---\n",
		"bottles/right.md": "---\nextends: root\nenv: {C: right}\nworkspace: {mode: none}\n---\n",
		"bottles/dev.md": `---
extends: [left, right]
env: {D: dev}
limits: {pids: 200}
git_user: {name: dev}
egress:
  routes:
    - {host: api.example.com, path_allowlist: [/v1], methods: [GET]}
  limits: {requests_per_second: 10, url_size: 8KiB}
git:
  - {name: app, upstream: "https://h.example.com/dev"}
mounts: [{path: /opt/x, mode: rw}]
---
`,
	})
	spec, probs := tr.Bottle("dev")
	if len(probs) != 0 {
		t.Fatal(probs)
	}
	env := map[string]string{}
	for _, e := range spec.Env {
		env[e.Name] = e.Value
	}
	if diff := cmp.Diff(map[string]string{"A": "root", "B": "left", "C": "right", "D": "dev"}, env); diff != "" {
		t.Error("env:", diff)
	}
	if spec.Supervise || spec.Workspace != "none" || spec.Provider.Template != "codex" {
		t.Errorf("scalars: %+v", spec)
	}
	if want := (bottle.Limits{Memory: 1 << 30, PIDs: 200}); spec.Limits != want {
		t.Errorf("limits: %+v", spec.Limits)
	}
	if want := (bottle.Quota{Connections: 100, RequestsPerSecond: 10, URLSize: 8 << 10, BytesOutPerHour: 1 << 30}); spec.Egress != want {
		t.Errorf("egress.limits: %+v", spec.Egress)
	}
	if want := (bottle.GitUser{Name: "dev", Email: "root@example.com"}); spec.GitUser != want {
		t.Errorf("git_user: %+v", spec.GitUser)
	}
	var routes []string
	for _, r := range spec.Routes {
		routes = append(routes, string(r.Host.Host)+" "+strings.Join(r.Paths, ",")+" "+strings.Join(r.Methods, ","))
	}
	// The child narrowed /v1 to GET: the parent's route must keep only /v2.
	if diff := cmp.Diff([]string{"api.example.com /v1 GET", "api.example.com /v2 ", "any.example.com  "}, routes); diff != "" {
		t.Error("routes:", diff)
	}
	if len(spec.Repos) != 1 || spec.Repos[0].Upstream != "https://h.example.com/dev" {
		t.Errorf("repos: %+v", spec.Repos)
	}
	if diff := cmp.Diff([]bottle.Mount{{Path: "/opt/x", Mode: "rw"}, {Path: "/opt/y", Mode: "ro"}}, spec.Mounts); diff != "" {
		t.Error("mounts:", diff)
	}
	files := []string{"root", "left", "right", "dev"}
	for i := range files {
		files[i] = "~/.bot-bottle/bottles/" + files[i] + ".md"
	}
	if diff := cmp.Diff(files, spec.Files); diff != "" {
		t.Error("files:", diff)
	}
}

func TestProblemsOfTrees(t *testing.T) {
	const agent = "---\nbottle: dev\n---\n"
	tests := map[string]struct {
		files map[string]string
		tree  func(*Tree)
		want  string
	}{
		"cycle": {
			files: map[string]string{"agents/a.md": agent, "bottles/dev.md": "---\nextends: b\n---\n", "bottles/b.md": "---\nextends: c\n---\n", "bottles/c.md": "---\nextends: [b]\n---\n"},
			want:  "~/.bot-bottle/bottles/c.md:2:11: `extends` goes round in a circle: b -> c -> b (remove one of the links)",
		},
		"missing parent": {
			files: map[string]string{"agents/a.md": agent, "bottles/dev.md": "---\nextends: mid\n---\n", "bottles/mid.md": "---\nextends: bsae\n---\n", "bottles/base.md": "---\n---\n"},
			want:  "~/.bot-bottle/bottles/mid.md:2:10: there is no bottle bsae, wanted by `extends`: dev -> mid -> bsae (did you mean base?)",
		},
		"all files at once": {
			files: map[string]string{"agents/a.md": "---\nbottle: dev\nx: 1\n---\n", "bottles/dev.md": "---\nextends: base\ny: 1\n---\n", "bottles/base.md": "---\nz: 1\n---\n"},
			want: "~/.bot-bottle/agents/a.md:3:1: unknown key `x` (known here: bottle, skills, command, git_user, name, description, model, color, memory)\n" +
				"~/.bot-bottle/bottles/dev.md:3:1: unknown key `y` (known here: extends, backend, env, egress, git, git_user, supervise, supervise_wait, mounts, workspace, limits, runtime, gateway, agent_provider)\n" +
				"~/.bot-bottle/bottles/base.md:2:1: unknown key `z` (known here: extends, backend, env, egress, git, git_user, supervise, supervise_wait, mounts, workspace, limits, runtime, gateway, agent_provider)",
		},
		"no agent": {
			files: map[string]string{"agents/ab.md": agent, "repo/agents/other.md": agent, "bottles/dev.md": "---\n---\n"},
			want:  "~/.bot-bottle/agents/a.md: there is no agent a (did you mean ab?)",
		},
		"nothing at all": {want: "~/.bot-bottle/agents/a.md: there is no agent a (`bottle init` writes the first one)"},
		"no bottle at all": {
			files: map[string]string{"agents/a.md": agent},
			want:  "~/.bot-bottle/agents/a.md:2:9: there is no bottle dev (bottles are read from ~/.bot-bottle/bottles/; `bottle init` writes the first one)",
		},
		"a repository cannot define a bottle": {
			files: map[string]string{"repo/agents/a.md": agent, "repo/bottles/dev.md": "---\n---\n"},
			want: "/src/app/.bot-bottle/bottles: warning: this folder is ignored: a repository cannot define bottles (bottles are read only from ~/.bot-bottle/bottles/)\n" +
				"/src/app/.bot-bottle/agents/a.md:2:9: there is no bottle dev (bottles are read from ~/.bot-bottle/bottles/; `bottle init` writes the first one)",
		},
		"clash": {
			files: map[string]string{"repo/agents/a.md": agent, "agents/a.md": "---\nbottle: other\n---\n", "bottles/dev.md": "---\n---\n"},
			want:  "/src/app/.bot-bottle/agents/a.md: warning: the repository's agent a is used instead of ~/.bot-bottle/agents/a.md (rename one of them if that is not what you want)",
		},
		"repository is the home folder": {
			files: map[string]string{"agents/a.md": agent, "bottles/dev.md": "---\n---\n"},
			tree:  func(tr *Tree) { tr.Repo, tr.RepoDir = tr.Home, tr.HomeDir+"/" },
		},
		"old folder and file": {
			files: map[string]string{"agents/a.md": agent, "bottles/dev.md": "---\n---\n", "bottle.json": "{}"},
			tree:  func(tr *Tree) { tr.OldFolder = true },
			want: "~/.claude-bottle: this folder is not read any more (mv ~/.claude-bottle ~/.bot-bottle, or remove it if nothing in it is needed)\n" +
				"~/.bot-bottle/bottle.json: bottle.json is not read any more (write a Markdown file under ~/.bot-bottle/bottles/ instead (`bottle init` makes one), and remove this)",
		},
		"too big": {
			files: map[string]string{"agents/a.md": agent, "bottles/dev.md": "---\n---\n" + strings.Repeat("x", 10<<20)},
			want:  "~/.bot-bottle/bottles/dev.md: the file has 10485768 bytes; a manifest has at most 1048576 (a manifest is a page of text)",
		},
		"no skills folder": {
			files: map[string]string{"agents/a.md": "---\nbottle: dev\nskills: [x]\n---\n", "bottles/dev.md": "---\n---\n"},
			tree:  func(tr *Tree) { tr.Skills = nil },
			want:  "~/.bot-bottle/agents/a.md:3:10: there is no skill x in ~/.claude/skills (there are none; mkdir -p ~/.claude/skills/x)",
		},
		"check of the caller": {
			files: map[string]string{"agents/a.md": agent, "bottles/dev.md": "---\n---\n"},
			tree: func(tr *Tree) {
				tr.Check = func(path string, fi fs.FileInfo) error {
					if fi.Name() == "dev.md" {
						return errors.New("the file belongs to another user")
					}
					return nil
				}
			},
			want: "~/.bot-bottle/bottles/dev.md: the file belongs to another user",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tr := tree(tt.files)
			if tt.tree != nil {
				tt.tree(&tr)
			}
			a, spec, probs := tr.Load("a")
			if diff := cmp.Diff(tt.want, probs.Error()); diff != "" {
				t.Error(diff)
			}
			if probs.Fatal() && (a.Name != "" || spec.Name != "") {
				t.Error("a value came with an error")
			}
			if !probs.Fatal() && (a.Name != "a" || spec.Name != "dev") {
				t.Errorf("no value: %+v %+v", a, spec)
			}
		})
	}
}

// TestForeignHands: a manifest that somebody else can change or swap is not a
// boundary.
func TestForeignHands(t *testing.T) {
	const file = "~/.bot-bottle/bottles/dev.md"
	tests := map[string]struct {
		name string
		f    *fstest.MapFile
		want string
	}{
		"group-writable":  {"bottles/dev.md", &fstest.MapFile{Data: []byte("---\n---\n"), Mode: 0o664}, file + ": the file can be written by the group or others (chmod go-w " + file + ")"},
		"world-writable":  {"bottles/dev.md", &fstest.MapFile{Data: []byte("---\n---\n"), Mode: 0o646}, file + ": the file can be written by the group or others (chmod go-w " + file + ")"},
		"symbolic link":   {"bottles/dev.md", &fstest.MapFile{Data: []byte("real.md"), Mode: fs.ModeSymlink | 0o777}, file + ": the file is a symbolic link (put the file itself there)"},
		"folder":          {"bottles/dev.md", &fstest.MapFile{Mode: fs.ModeDir | 0o755}, file + ": this is not a regular file"},
		"named pipe":      {"bottles/dev.md", &fstest.MapFile{Mode: fs.ModeNamedPipe | 0o600}, file + ": this is not a regular file"},
		"writable folder": {"bottles", &fstest.MapFile{Mode: fs.ModeDir | 0o777}, file + ": the folder ~/.bot-bottle/bottles can be written by the group or others (chmod go-w ~/.bot-bottle/bottles)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tr := tree(map[string]string{"bottles/dev.md": "---\n---\n"})
			tr.Home.(fstest.MapFS)[tt.name] = tt.f
			_, probs := tr.Bottle("dev")
			if diff := cmp.Diff(tt.want, probs.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("world-writable agent of a repository", func(t *testing.T) {
		tr := tree(map[string]string{"bottles/dev.md": "---\n---\n"})
		tr.Repo.(fstest.MapFS)["agents/a.md"] = &fstest.MapFile{Data: []byte("---\nbottle: dev\n---\n"), Mode: 0o666}
		_, _, probs := tr.Load("a")
		want := "/src/app/.bot-bottle/agents/a.md: the file can be written by everybody (chmod go-w /src/app/.bot-bottle/agents/a.md)"
		if diff := cmp.Diff(want, probs.Error()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestLinkOnDisk: os.DirFS follows links when it opens; Lstat must come first.
func TestLinkOnDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "agents"), 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hunter2: the password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "agents", "a.md")); err != nil {
		t.Fatal(err)
	}
	tr := tree(map[string]string{"bottles/dev.md": "---\n---\n"})
	tr.Repo = os.DirFS(dir)
	_, _, probs := tr.Load("a")
	if got := probs.Error(); !strings.Contains(got, "symbolic link") || strings.Contains(got, "hunter2") {
		t.Error(got)
	}
}

// TestLinkedFolderOnDisk: a repository's agents/ that leads elsewhere would make
// prompts of the operator's other files.
func TestLinkedFolderOnDisk(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "a.md"), []byte("---\nbottle: dev\n---\nprivate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, "agents")); err != nil {
		t.Fatal(err)
	}
	tr := tree(map[string]string{"bottles/dev.md": "---\n---\n"})
	tr.Repo = os.DirFS(dir)
	a, _, probs := tr.Load("a")
	want := "/src/app/.bot-bottle/agents/a.md: its folder is a symbolic link (put the folder itself there)"
	if probs.Error() != want || a.Prompt != "" {
		t.Errorf("%v, %q", probs, a.Prompt)
	}
}

// TestNamesThatTerminalsObey: names of files and folders come from a repository.
func TestNamesThatTerminalsObey(t *testing.T) {
	tr := tree(map[string]string{"repo/agents/\x1b[2Jx.md": "x", "repo/bottles/x.md": "x", "repo/agents/a.md": "x"})
	tr.RepoDir = "/src/\x1b]0;x\a/.bot-bottle"
	_, _, probs := tr.Load("a")
	_, more := tr.Agents()
	text := append(probs, more...).Error()
	if strings.ContainsAny(text, "\x1b\a") || !strings.Contains(text, `\x1b]0;x`) || !strings.Contains(text, `\x1b[2Jx.md`) {
		t.Errorf("%q", text)
	}
}

// TestNoSecretInProblems: what looks like a value stays out of every message.
func TestNoSecretInProblems(t *testing.T) {
	const text = `---
env: {A: "x${hunter2}", B: 40004, C: [hunter2], D: "hunter2\0"}
egress:
  routes:
    - {host: a.example.com, auth: {scheme: Bearer, token_ref: "hunter2 hunter2"}}
    - {host: b.example.com, auth: {scheme: Bearer, token_ref: 40004}}
    - {host: c.example.com, auth: hunter2}
git:
  - {name: a, upstream: "https://hunter2:hunter2@h.example.com/a"}
  - {name: b, upstream: "https://h.example.com/a?token=hunter2"}
---
`
	probs := tree(nil).ValidateBytes("/home/op/.bot-bottle/bottles/x.md", []byte(text), KindBottle)
	if len(probs) != 9 {
		t.Errorf("%d problems, want 9:\n%v", len(probs), probs)
	}
	if got := probs.Error(); strings.Contains(got, "hunter2") || strings.Contains(got, "40004") {
		t.Error(got)
	}
}

func TestLists(t *testing.T) {
	tr := tree(map[string]string{
		"bottles/dev.md":       "---\n---\n\n# The dev bottle\nmore\n",
		"bottles/bad.md":       "---\nx: 1\n---\n",
		"bottles/Odd.md":       "",
		"bottles/.hidden.md":   "",
		"bottles/notes.txt":    "",
		"agents/a.md":          "---\nbottle: dev\n---\nhome\n",
		"repo/agents/a.md":     "---\nbottle: dev\ndescription: from the \"\\x1b[31mrepository\"\n---\n",
		"repo/agents/zoo.md":   "---\nbottle: dev\n---\nYou are a zoo.\n",
		"repo/bottles/evil.md": "---\n---\n",
	})
	agents, probs := tr.Agents()
	if len(probs) != 0 {
		t.Error(probs)
	}
	want := []Entry{
		{Name: "a", File: "/src/app/.bot-bottle/agents/a.md", Where: WhereRepo, Bottle: "dev", Description: `from the "\x1b[31mrepository"`},
		{Name: "zoo", File: "/src/app/.bot-bottle/agents/zoo.md", Where: WhereRepo, Bottle: "dev", Description: "You are a zoo."},
	}
	if diff := cmp.Diff(want, agents); diff != "" {
		t.Error(diff)
	}
	bottles, probs := tr.Bottles()
	if want := "~/.bot-bottle/bottles/Odd.md: warning: ignored: the name \"Odd\" does not match [a-z][a-z0-9-]* (rename the file)"; probs.Error() != want {
		t.Error(probs)
	}
	if len(bottles) != 2 || bottles[0].Name != "bad" || len(bottles[0].Problems) != 1 || bottles[1].Description != "The dev bottle" {
		t.Errorf("%+v", bottles)
	}
}

func TestKindOf(t *testing.T) {
	for file, want := range map[string]string{"/x/bottles/a.md": KindBottle, "agents/a.md": KindAgent, "a.md": "", "/bottles": "", `C:\x\agents\a.md`: KindAgent} {
		got, err := KindOf(file)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("KindOf(%q) = %q, %v", file, got, err)
		}
	}
}

// TestEditClosesCircle: the edited text stands in for the file, so that a
// circle through it is found before it is saved.
func TestEditClosesCircle(t *testing.T) {
	tr := tree(map[string]string{"bottles/dev.md": "---\n---\n", "bottles/base.md": "---\nextends: dev\n---\n"})
	got := tr.ValidateBytes("/home/op/.bot-bottle/bottles/dev.md", []byte("---\nextends: base\n---\n"), "").Error()
	if want := "~/.bot-bottle/bottles/base.md:2:10: `extends` goes round in a circle: dev -> base -> dev (remove one of the links)"; got != want {
		t.Error(got)
	}
}

// TestRepositoriesAcrossFiles: the weakness: one repository under two names, or one name in
// two spellings, of which git inside finds the one with the laxer rules.
func TestRepositoriesAcrossFiles(t *testing.T) {
	base := "---\ngit:\n  - {name: app, upstream: \"https://h.example.com/o/app.git\", push: {branches: [a]}}\n---\n"
	for name, c := range map[string]struct{ child, want string }{
		"the same name":   {`{name: APP, upstream: "https://h.example.com/o/app", push: {branches: [b]}}`, ""},
		"another name":    {`{name: lib, upstream: "https://h.example.com:443/o/app", push: {force: any}}`, "child.md:4: git lib: this repository is given twice, first at ~/.bot-bottle/bottles/base.md:3"},
		"by another port": {`{name: lib, upstream: "https://h.example.com:8443/o/app", push: {force: any}}`, ""},
	} {
		spec, problems := tree(map[string]string{"bottles/base.md": base, "bottles/child.md": "---\nextends: base\ngit:\n  - " + c.child + "\n---\n"}).Bottle("child")
		if (len(problems) > 0) != (c.want != "") || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s: %v", name, problems)
		}
		if name == "the same name" && (len(spec.Repos) != 1 || spec.Repos[0].Push.Branches[0] != "b") {
			t.Errorf("%s: %+v", name, spec.Repos)
		}
	}
}
