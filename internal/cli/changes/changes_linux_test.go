package changes

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"bottle/internal/cli/ui"
	"bottle/internal/layer"
	"bottle/internal/store"
)

// open makes a session over a layer that the test wrote.
func open(t *testing.T, up, low map[string]string) (Session, *bytes.Buffer, string) {
	t.Helper()
	dir := t.TempDir()
	for root, files := range map[string]map[string]string{"up": up, "low": low} {
		if err := os.Mkdir(filepath.Join(dir, root), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			path := filepath.Join(dir, root, name)
			err := os.MkdirAll(filepath.Dir(path), 0o755)
			switch {
			case text == "gone":
				err = errors.Join(err, unix.Mknod(path, unix.S_IFCHR, 0))
			case strings.HasPrefix(text, "-> "):
				err = errors.Join(err, os.Symlink(text[3:], path))
			default:
				err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	v, err := layer.Open(dir+"/up", dir+"/low", layer.Options{Started: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	out := &bytes.Buffer{}
	return Session{Metadata: store.Metadata{Identity: "a-12345", Workspace: dir + "/low"}, Folder: "~/low", View: v, Out: out, Style: ui.Plain}, out, dir + "/low"
}

func yes(string) (bool, error) { return true, nil }

func TestText(t *testing.T) {
	s, out, _ := open(t, map[string]string{"new": "12345", "edit": "a\tB\n", "gone": "gone", "link": "-> edit", "out": "-> /etc", "d/Makefile": "all:\n"},
		map[string]string{"edit": "a\tb\n", "gone": "x\n"})
	s.Diff = true
	if err := s.Show(t.Context()); err != nil {
		t.Fatal(err)
	}
	const want = `A  d/
A  d/Makefile  5 B
M  edit        4 B → 4 B
D  gone        2 B
A  link        → edit
A  new         5 B
A  out         → /etc  refused: it leads out of the folder

--- /dev/null
+++ b/d/Makefile
@@ -0,0 +1,1 @@
+all:

--- a/edit
+++ b/edit
@@ -1,1 +1,1 @@
-a	b
+a	B

--- a/gone
+++ /dev/null
@@ -1,1 +0,0 @@
-x

--- /dev/null
+++ b/new
@@ -0,0 +1,1 @@
+12345
\ No newline at end of file

5 added, 1 modified, 1 deleted; 14 B to write

LOOK AT THESE: they run or are obeyed outside the bottle, with your rights:
  d/Makefile: builds run it
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// TestNothingReachesTheTerminal: names, targets, lines and reasons that a terminal
// would obey, in every output.
func TestNothingReachesTheTerminal(t *testing.T) {
	const evil = "\x1b]0;x\x07\u009b2J\u202e\r\x00"
	odd := strings.TrimSuffix(evil, "\x00")
	files := map[string]string{odd + "\nM  safe": "x" + odd + "\nand\n", "l" + odd: "-> " + odd, "o" + odd: "-> /" + odd, odd + "dir/Makefile": odd,
		"\xff\xfe": "y", strings.Repeat("long", 60): "z", ".git/" + odd: "x", "U\U000e0001": "tag"}
	for _, js := range []bool{false, true} {
		for _, apply := range []bool{false, true} {
			s, out, _ := open(t, files, nil)
			s.JSON, s.Diff = js, true
			var err error
			if apply {
				err = s.Apply(t.Context(), false, yes)
			} else {
				err = s.Show(t.Context())
			}
			if apply != (ui.Code(err) == ui.CodeNo) { // the link out is left
				t.Errorf("apply %v: %v", apply, err)
			}
			for _, r := range out.String() {
				if r != '\n' && r != '\t' && (!unicode.IsPrint(r) || r == unicode.ReplacementChar) && (!js || r != unicode.ReplacementChar) {
					t.Fatalf("json %v, apply %v: %U reaches the terminal", js, apply, r)
				}
			}
			if js && !json.Valid(out.Bytes()) {
				t.Errorf("no JSON: %s", out)
			}
			if strings.Contains(out.String(), "\nM  safe") {
				t.Errorf("a name made a line of its own:\n%s", out)
			}
			if !js && strings.Contains(out.String(), strings.Repeat(" ", 100)) {
				t.Error("a long name pushes the others off the screen")
			}
		}
	}
}

func TestJSON(t *testing.T) {
	s, out, _ := open(t, map[string]string{"f": "new\n", "b\x1b": "x"}, map[string]string{"f": "old\n"})
	s.JSON, s.Diff = true, true
	if err := s.Show(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Identity != "a-12345" || got.Added != 1 || got.Modified != 1 || got.Bytes != 5 || len(got.Changes) != 2 || got.Changes[0].Path != "b\x1b" ||
		got.Changes[1].Mode != 0o644 || got.Diffs["f"] != "@@ -1,1 +1,1 @@\n-old\n+new\n" {
		t.Errorf("%+v", got)
	}
}

// TestApply: a no leaves all as it is, a yes takes it, a second one finds nothing.
func TestApply(t *testing.T) {
	s, out, low := open(t, map[string]string{"f": "new", ".envrc": "x"}, map[string]string{"f": "old"})
	asked := ""
	err := s.Apply(t.Context(), false, func(q string) (bool, error) {
		asked = q + out.String()
		return false, nil
	})
	if ui.Code(err) != ui.CodeNo || !strings.Contains(asked, "~/low?") || !strings.Contains(asked, "LOOK AT THESE") || !strings.Contains(asked, ".envrc") {
		t.Errorf("%v, asked %q", err, asked)
	}
	if text, err := os.ReadFile(low + "/f"); err != nil || string(text) != "old" {
		t.Errorf("after a no: %q, %v", text, err)
	}
	out.Reset()
	if err := s.Apply(t.Context(), false, yes); err != nil || !strings.Contains(out.String(), "took 2 of 2 changes into ~/low\n") || !strings.Contains(out.String(), "bottle cleanup") {
		t.Errorf("%v: %s", err, out)
	}
	if text, err := os.ReadFile(low + "/f"); err != nil || string(text) != "new" {
		t.Errorf("after a yes: %q, %v", text, err)
	}
	out.Reset()
	if err := s.Apply(t.Context(), false, func(string) (bool, error) { t.Error("asked for nothing"); return false, nil }); err != nil || !strings.Contains(out.String(), "nothing") {
		t.Errorf("%v: %s", err, out)
	}
}
