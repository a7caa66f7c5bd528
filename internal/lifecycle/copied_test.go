package lifecycle_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a recipe copies is part of what the image is made of, is said in the plan, and is
// only taken out of a folder that somebody allows: by its real name, whatever links lead there.
func TestARecipeThatCopies(t *testing.T) {
	f := newFixture(t)
	b := &boxes{Fake: f.fake}
	f.house.Backend = b
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Dockerfile", "FROM mine\nCOPY . /app\n")
	write("main", strings.Repeat("x", 2048))
	write(".env", "A=b")
	f.req.Spec.Provider.Dockerfile = filepath.Join(dir, "Dockerfile")
	refused := func(says string) {
		t.Helper()
		if _, err := f.house.Prepare(t.Context(), f.req); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, not %q", err, says)
		}
	}
	refused("nobody said that it may") // the zero value refuses
	var asked string
	f.house.RefuseCopy = func(folder string) (string, string) { asked = folder; return "it is a test", "" }
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	f.req.Spec.Provider.Dockerfile = link + "/Dockerfile"
	if refused("COPY out of " + dir + ": it is a test"); asked != dir {
		t.Errorf("asked about %s", asked)
	}
	f.house.RefuseCopy = func(string) (string, string) { return "", "" }
	p := f.prepare()
	if notes := strings.Join(p.Plan.Notes, "\n"); !strings.Contains(notes, "files 1, in all 2 KiB, out of "+dir) {
		t.Errorf("notes %q", notes)
	}
	if warnings := strings.Join(p.Plan.Warnings, "\n"); !strings.Contains(warnings, "not copied into the image: .env") {
		t.Errorf("warnings %q", warnings)
	}
	if len(b.built)+len(f.entries()) > 0 {
		t.Error("a plan made something")
	}
	write("Dockerfile", "FROM mine\nCOPY ../x /app\n")
	refused("Dockerfile:2: COPY ../x")
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.req.Spec.Provider.Dockerfile = filepath.Join(dir, "pipe")
	refused("it is no file")
}

// The weakness: what a recipe says runs outside of any bottle, when the image is made. The
// attack: an agent that works in the folder itself rewrites it for the next start. What is proved:
// each start says so.
func TestARecipeThatTheAgentMayWrite(t *testing.T) {
	f := newFixture(t)
	f.house.Backend = &boxes{Fake: f.fake}
	file := filepath.Join(f.req.Workspace, "Dockerfile")
	if err := os.WriteFile(file, []byte("FROM mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.req.Spec.Provider.Dockerfile = file
	warned := func() bool {
		for _, w := range f.prepare().Plan.Warnings {
			if strings.Contains(w, "the agent may write to "+file) {
				return true
			}
		}
		return false
	}
	if f.req.Spec.Workspace = "overlay"; warned() {
		t.Error("a private view is not the folder")
	}
	if f.req.Spec.Workspace = "bind"; !warned() {
		t.Error("nothing is said")
	}
}
