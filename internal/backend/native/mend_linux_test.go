package native

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/test/require"
)

// bench is a machine with Ubuntu's rule, as root, whose AppArmor is a script that
// writes down how it was called.
type bench struct {
	mender
	said string // the parser's argv, a line a call
}

func newBench(t *testing.T, parser string) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{said: filepath.Join(dir, "said")}
	script := filepath.Join(dir, "apparmor_parser")
	text := "#!/bin/sh\necho \"$@\" >>" + b.said + "\n" + parser + "\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	b.mender = mender{machine: good(map[string]string{restrict: "1"}), folder: filepath.Join(dir, "apparmor.d"), parser: script}
	b.machine.euid, b.machine.jail = 0, "/usr/bin/env" // a file that root alone can write, as an installed bottle-jail is
	if err := os.Mkdir(b.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) calls(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(b.said)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func (b *bench) files(t *testing.T) []string {
	t.Helper()
	list, err := os.ReadDir(b.folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// installedProgram is a program below folders that only root can write. /usr/bin/env is one on
// every system but those that keep /usr/bin for links.
func installedProgram(t *testing.T) {
	t.Helper()
	if err := (mender{}).trusted("/usr/bin/env"); err != nil {
		require.Missing(t, "usr", err.Error())
	}
}

func TestMendWritesLoadsAndTakesBack(t *testing.T) {
	installedProgram(t)
	b := newBench(t, "exit 0")
	path, content, err := b.plan()
	if err != nil || path != b.folder+"/bottle-jail" {
		t.Fatalf("the plan is %s: %v", path, err)
	}
	if got := b.files(t); len(got) != 0 {
		t.Errorf("showing made %q", got)
	}
	for _, want := range []string{marker + "\n", "\nabi <abi/4.0>,\n", "\nprofile bottle-jail /usr/bin/env flags=(unconfined) {\n  userns,\n}\n"} {
		if !strings.Contains(string(content), want) {
			t.Errorf("no %q in\n%s", want, content)
		}
	}
	if err := b.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the profile has mode %v: %v", info.Mode(), err)
	}
	if written, _ := os.ReadFile(path); string(written) != string(content) {
		t.Errorf("written is not what was shown:\n%s", written)
	}
	if !grants(string(content), "/usr/bin/env") {
		t.Error("the check does not know its own profile")
	}
	if got, err := b.undo(t.Context()); err != nil || got != path {
		t.Errorf("took back %q: %v", got, err)
	}
	if got := b.files(t); len(got) != 0 {
		t.Errorf("taking back left %q", got)
	}
	if got := b.calls(t); !slices.Equal(got, []string{"-r " + path, "-R " + path}) {
		t.Errorf("the parser was called with %q", got)
	}
	if got, err := b.undo(t.Context()); err != nil || got != "" {
		t.Errorf("a second time took back %q: %v", got, err)
	}
}

func TestMendHasNothingToMend(t *testing.T) {
	ours := map[string]string{restrict: "1", ourFile: ourProfile("/usr/bin/env")}
	loaded := map[string]string{restrict: "1", ourFile: ourProfile("/usr/bin/env"), profiles + "bottle-jail.3/mode": "x"}
	for name, files := range map[string]map[string]string{
		"no rule": {}, "rule off": {restrict: "0"}, "ours": ours, "ours, loaded": loaded,
		"the admin's": {restrict: "1", "etc/apparmor.d/x": "profile x /usr/bin/env {\n userns,\n}", profiles + "x.3/mode": "x"},
	} {
		b := newBench(t, "exit 1")
		b.machine.root = good(files).root
		if path, _, err := b.plan(); path != "" || err != nil {
			t.Errorf("%s: would write %q: %v", name, path, err)
		}
		if err := b.apply(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.files(t); len(got) != 0 {
			t.Errorf("%s: wrote %q", name, got)
		}
	}
}

func TestMendNeedsRoot(t *testing.T) {
	b := newBench(t, "exit 0")
	b.machine.euid = 1000
	for what, err := range map[string]error{"--fix": b.apply(t.Context()), "--undo": second(b.undo(t.Context()))} {
		var p bottle.Problems
		if !errors.As(err, &p) || p[0].Hint != "sudo bottle doctor "+what || !strings.Contains(p[0].Message, "only root") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := b.files(t); len(got) != 0 {
		t.Errorf("wrote %q", got)
	}
}

func second(_ string, err error) error { return err }

// The attack: the administrator's own profile has our name, or the name is a link
// to a file that root should not touch.
func TestMendLeavesFilesOfOthers(t *testing.T) {
	installedProgram(t)
	const theirs = "profile bottle-jail /x { }\n"
	for name, put := range map[string]func(path, other string) error{
		"file":       func(path, _ string) error { return os.WriteFile(path, []byte(theirs), 0o644) },
		"late words": func(path, _ string) error { return os.WriteFile(path, []byte(theirs+marker+"\n"), 0o644) },
		"folder":     func(path, _ string) error { return os.Mkdir(path, 0o755) },
		"link": func(path, other string) error {
			return errors.Join(os.WriteFile(other, profile([]string{"/x"}), 0o644), os.Symlink(other, path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "exit 0")
			other := filepath.Join(t.TempDir(), "other")
			if err := put(b.path(), other); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(b.path())
			for _, err := range []error{b.apply(t.Context()), second(b.undo(t.Context()))} {
				var p bottle.Problems
				if !errors.As(err, &p) || !strings.Contains(p[0].Message, "not one that bottle wrote") || p[0].Hint == "" {
					t.Errorf("got %v", err)
				}
			}
			if after, _ := os.ReadFile(b.path()); string(after) != string(before) {
				t.Errorf("it is now\n%s", after)
			}
			if got := b.calls(t); got[0] != "" {
				t.Errorf("the parser was called with %q", got)
			}
		})
	}
}

// What does not load does not stay.
func TestMendThatDoesNotLoadIsTakenBack(t *testing.T) {
	installedProgram(t)
	b := newBench(t, "echo 'syntax error, unexpected TOK_ID' >&2; exit 1")
	err := b.apply(t.Context())
	if err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("got %v", err)
	}
	if got := b.files(t); len(got) != 0 {
		t.Errorf("left %q", got)
	}
	old := profile([]string{"/bin/other"})
	if err := os.WriteFile(b.path(), old, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.apply(t.Context()); err == nil {
		t.Error("applied")
	}
	if now, _ := os.ReadFile(b.path()); string(now) != string(old) {
		t.Errorf("the profile that stood there is now\n%s", now)
	}
}

func TestUndoWhereNothingIsLoaded(t *testing.T) {
	for name, c := range map[string]struct {
		parser string
		gone   bool
	}{
		"not loaded":  {"echo \"apparmor_parser: Unable to remove \\\"bottle-jail\\\".  Profile doesn't exist\" >&2; exit 254", true},
		"no AppArmor": {"", true},
		"refused":     {"echo 'Permission denied' >&2; exit 1", false},
	} {
		b := newBench(t, c.parser)
		if c.parser == "" {
			b.parser = "/nonexistent/apparmor_parser"
		}
		if err := os.WriteFile(b.path(), profile([]string{"/x"}), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := b.undo(t.Context()); (err == nil) != c.gone {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.files(t); (len(got) == 0) != c.gone {
			t.Errorf("%s: left %q", name, got)
		}
	}
}

// Two installations share the one file; one that became unsafe loses its place.
func TestMendKeepsOtherInstallations(t *testing.T) {
	installedProgram(t)
	b := newBench(t, "exit 0")
	unsafe := filepath.Join(t.TempDir(), "bottle-jail")
	if err := os.WriteFile(unsafe, nil, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path(), profile([]string{"/usr/bin/id", unsafe, "/gone/bottle-jail", "/usr/bin/*"}), 0o644); err != nil {
		t.Fatal(err)
	}
	_, content, err := b.plan()
	if got := attached(content); err != nil || !slices.Equal(got, []string{"/usr/bin/env", "/usr/bin/id"}) {
		t.Errorf("%v: it is for %q\n%s", err, got, content)
	}
	for _, p := range []string{"/usr/bin/env", "/usr/bin/id"} {
		if !grants(string(content), p) {
			t.Errorf("the check does not know the profile of %s\n%s", p, content)
		}
	}
}

// The attack: a bottle-jail in a folder that an ordinary user can write. The
// profile goes by path, so that user would put another program in its place and
// have what the system's rule takes from all of them.
func TestMendRefusesProgramsThatOthersCanReplace(t *testing.T) {
	dir := t.TempDir()
	me := uint32(os.Geteuid())
	file := filepath.Join(dir, "a", "bottle-jail")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	m := mender{owner: me}
	var p bottle.Problems
	if err := m.trusted(file); !errors.As(err, &p) || !strings.Contains(err.Error(), "can write /tmp (mode 0777)") && me == 0 {
		t.Errorf("below a folder for everybody: %v", err) // or below one of root's, for another owner
	}
	for name, change := range map[string]struct {
		mode  os.FileMode
		path  string
		owner uint32
	}{
		"file for others":   {0o757, file, me},
		"folder for others": {0o777, filepath.Dir(file), me},
		"owner":             {0o755, file, me + 1},
	} {
		if err := os.Chmod(change.path, change.mode); err != nil {
			t.Fatal(err)
		}
		m.owner = change.owner
		if err := m.trusted(file); !errors.As(err, &p) || !strings.Contains(p[0].Message, "can write "+change.path+" ") || p[0].Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Chmod(change.path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/usr/bin/env", link); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []string{link, dir, filepath.Join(dir, "gone"), "/dev/null"} {
		if m.trusted(odd) == nil {
			t.Errorf("%s is trusted", odd)
		}
	}
}

// The attack: a path that AppArmor reads as a pattern, or that ends the profile
// and begins another.
func TestMendRefusesPathsThatMeanMore(t *testing.T) {
	for _, path := range []string{
		"/opt/*/bottle-jail", "/opt/b?ttle", "/opt/{a,b}", "/opt/[a-z]", "/opt/a b", "/opt/\"x", "/opt/x\n}\nprofile y /** {", "/opt/x#",
		"/opt/@{HOME}", "/opt/x^", "/opt/ü", "opt/x", "/opt/../x", "", "/opt/x,", "/opt/x\\",
	} {
		if err := plainPath(path); err == nil {
			t.Errorf("%q is plain", path)
		}
		b := newBench(t, "exit 0")
		b.machine.jail = path
		if _, _, err := b.plan(); err == nil {
			t.Errorf("%q gets a profile", path)
		}
	}
	if err := plainPath("/home/me/.local/bin/bottle-jail_1.0+git"); err != nil {
		t.Error(err)
	}
}

// AppArmor's own parser reads what we write. Versions before 4 do not know the
// rule itself; they read all else.
func TestParserReadsTheProfile(t *testing.T) {
	parser := require.Tool(t, "apparmor_parser")
	version, err := exec.Command(parser, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, programs := range map[string][]string{"one": {"/usr/local/bin/bottle-jail"}, "two": {"/opt/a+b/bottle-jail", "/usr/bin/bottle-jail"}} {
		text := string(profile(programs))
		if !strings.Contains(string(version), "version 4") && !strings.Contains(string(version), "version 5") {
			text = strings.NewReplacer("abi <abi/4.0>,\n", "", "  userns,\n", "").Replace(text)
		}
		cmd := exec.Command(parser, "-Q", "-K", "-T") // no kernel, no cache
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s\n%s", name, err, out, text)
		}
		names := exec.Command(parser, "-N")
		names.Stdin = strings.NewReader(text)
		if out, err := names.Output(); err != nil || strings.Count(string(out), "bottle-jail") != len(programs) {
			t.Errorf("%s: the profiles are %q: %v", name, out, err)
		}
		broken := exec.Command(parser, "-Q", "-K", "-T")
		broken.Stdin = strings.NewReader(strings.Replace(text, "flags=(unconfined) {", "flags=(unconfined {", 1))
		if broken.Run() == nil {
			t.Errorf("%s: the parser reads anything", name)
		}
	}
}
