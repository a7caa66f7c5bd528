package manifest

import (
	cmdline "flag"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

func updating() bool { return cmdline.Lookup("update").Value.String() == "true" }

func TestMain(m *testing.M) {
	cmdline.Bool("update", false, "write the golden files anew")
	cmdline.Parse()
	os.Exit(m.Run())
}

// tree is an operator's home folder /home/op with the given manifests; a name
// that begins with repo/ or skills/ goes there.
func tree(files map[string]string) Tree {
	home, repo, skills := fstest.MapFS{}, fstest.MapFS{}, fstest.MapFS{}
	for name, text := range files {
		f := &fstest.MapFile{Data: []byte(text), Mode: 0o644}
		switch {
		case strings.HasPrefix(name, "repo/"):
			repo[strings.TrimPrefix(name, "repo/")] = f
		case strings.HasPrefix(name, "skills/"):
			skills[strings.TrimPrefix(name, "skills/")] = f
		default:
			home[name] = f
		}
	}
	return Tree{
		Home: home, HomeDir: "/home/op/.bot-bottle", Repo: repo, RepoDir: "/src/app/.bot-bottle",
		UserHome: "/home/op", Skills: skills,
	}
}

func goldenTree() Tree {
	return tree(map[string]string{
		"bottles/base.md":          "---\n---\n",
		"bottles/shell.md":         "---\nagent_provider: {template: command}\n---\n",
		"skills/init-prd/SKILL.md": "x",
	})
}

// TestEveryProblem holds the exact text and place of every problem that a
// manifest can have.
func TestEveryProblem(t *testing.T) {
	for _, kind := range []string{KindBottle, KindAgent} {
		t.Run(kind, func(t *testing.T) { golden(t, kind) })
	}
}

func golden(t *testing.T, kind string) {
	file := "testdata/" + kind + ".txtar"
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	var inputs []txtar.File
	for _, f := range ar.Files {
		if name, ok := strings.CutSuffix(f.Name, ".want"); ok {
			want[name] = string(f.Data)
			continue
		}
		inputs = append(inputs, f)
	}
	out := &txtar.Archive{Comment: ar.Comment}
	for _, f := range inputs {
		name := strings.TrimSuffix(f.Name, ".md")
		path := "/home/op/.bot-bottle/" + kind + "s/" + f.Name
		got := goldenTree().ValidateBytes(path, f.Data, "").Error()
		if got != "" {
			got += "\n"
		}
		out.Files = append(out.Files, f, txtar.File{Name: name + ".want", Data: []byte(got)})
		if diff := cmp.Diff(want[name], got); diff != "" && !updating() {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if _, ok := want[name]; !ok && !updating() {
			t.Errorf("%s has no .want", name)
		}
	}
	if updating() {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPlaces checks that every golden problem points into its file.
func TestPlaces(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/bottle.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range ar.Files {
		if !strings.HasSuffix(f.Name, ".md") {
			continue
		}
		lines := strings.Split(string(f.Data), "\n")
		for _, p := range goldenTree().ValidateBytes("/home/op/.bot-bottle/bottles/"+f.Name, f.Data, KindBottle) {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len(lines[p.Line-1])+1 {
				t.Errorf("%s: no such place in the file", p)
			}
		}
	}
}
