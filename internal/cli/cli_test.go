package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// fakeDeps is a machine of a test's own: no file of the tester is in it.
func fakeDeps(t *testing.T, env map[string]string) (d *deps, out, errs *bytes.Buffer) {
	t.Helper()
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	dir := t.TempDir()
	d = &deps{
		Stdin: strings.NewReader(""), Stdout: out, Stderr: errs,
		Lookup:   func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Environ:  func() []string { return nil },
		Terminal: func(any) bool { return false },
		Getwd:    func() (string, error) { return dir, nil },
		Euid:     os.Geteuid,
		Self:     func() (string, error) { return filepath.Join(dir, "bottle"), nil },
		Backends: map[string]func(*deps) (backend.Backend, error){},
	}
	return d, out, errs
}

func (d *deps) typed(s string) *deps {
	d.Stdin, d.Terminal = strings.NewReader(s), func(any) bool { return true }
	return d
}

func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		typed string
		want  bool
	}{
		{"y\n", true}, {"Y\n", true}, {" yes \n", true}, {"y", true},
		{"n\n", false}, {"\n", false}, {"", false}, {"no\n", false},
		{"what\ny\n", true}, {"a\nb\nc\ny\n", false},
	} {
		d, _, _ := fakeDeps(t, nil)
		got, err := d.typed(c.typed).confirm("Go?", false)
		if err != nil || got != c.want {
			t.Errorf("typed %q: %v, %v; want %v", c.typed, got, err, c.want)
		}
	}
}

// Nobody can answer where there is no terminal: that is neither a yes nor a no.
func TestConfirmRefusesWithoutATerminal(t *testing.T) {
	d, _, errs := fakeDeps(t, nil)
	d.Stdin = strings.NewReader("y\n")
	ok, err := d.confirm("Go?", false)
	if code := report(errs, plain, err); ok || code != codeUsage || !strings.Contains(errs.String(), "--yes") {
		t.Errorf("confirm without a terminal: %v, code %d, said %q", ok, code, errs)
	}
	if ok, err := d.confirm("Go?", true); !ok || err != nil {
		t.Errorf("--yes: %v, %v", ok, err)
	}
}

// What was typed ahead belongs to the agent's terminal, not to the question.
func TestReadLineTakesNoByteMore(t *testing.T) {
	r := strings.NewReader("y\nrm -rf /\n")
	if line, err := readLine(r); line != "y" || err != nil {
		t.Fatalf("read %q, %v", line, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rm -rf /\n" {
		t.Errorf("left %q", rest)
	}
	if _, err := readLine(strings.NewReader(strings.Repeat("x", 5000))); err == nil {
		t.Error("an endless line is read without end")
	}
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{exit(0), 0, ""},
		{exit(7), 7, ""},
		{errors.New("open x: no"), 125, "bottle: open x: no\n"},
		{fail(errors.New("it broke"), "mend it"), 125, "bottle: it broke\n  → mend it\n"},
		{usage(errors.New("no \x1b[2J"), ""), 2, "bottle: no \\x1b[2J\n"},
		{bottle.Problems{{File: "a.md", Line: 3, Message: "bad", Hint: "do better"}}, 125, "a.md:3: bad\n  → do better\n"},
		{&failure{code: 1, err: bottle.Problems{{Message: "bad\r"}}}, 1, "bad\\r\n"},
	} {
		var b bytes.Buffer
		if code := report(&b, plain, c.err); code != c.code || b.String() != c.want {
			t.Errorf("%v: code %d, said %q; want %d, %q", c.err, code, b.String(), c.code, c.want)
		}
	}
}

func TestColourOnlyWhereItIsWanted(t *testing.T) {
	for _, c := range []struct {
		env      map[string]string
		terminal bool
		want     bool
	}{
		{map[string]string{"TERM": "xterm"}, true, true},
		{map[string]string{"TERM": "xterm"}, false, false},
		{map[string]string{"TERM": "dumb"}, true, false},
		{map[string]string{"NO_COLOR": "1"}, true, false},
		{map[string]string{"NO_COLOR": ""}, true, true}, // no-color.org: an empty value does not count
	} {
		d, out, _ := fakeDeps(t, c.env)
		d.Terminal = func(any) bool { return c.terminal }
		if got := strings.Contains(d.style(out)(plan.Shout, "x"), "\x1b"); got != c.want {
			t.Errorf("%v, terminal %v: colour %v", c.env, c.terminal, got)
		}
	}
}

func TestNear(t *testing.T) {
	names := []string{"list", "info", "init", "audit"}
	for typed, want := range map[string]string{"lst": "list", "ifno": "info", "audti": "audit", "frobnicate": "", "x": "", "list": "list"} {
		if got := near(typed, names); got != want {
			t.Errorf("near %q: %q, want %q", typed, got, want)
		}
	}
}

func TestHome(t *testing.T) {
	d, _, _ := fakeDeps(t, map[string]string{"HOME": "/home/me"})
	if got, err := d.homePath(); err != nil || got != "/home/me/.bot-bottle" {
		t.Errorf("by default: %q, %v", got, err)
	}
	cwd, _ := d.Getwd()
	d.Lookup = func(string) (string, bool) { return "here/../bottles", true }
	if got, err := d.homePath(); err != nil || got != filepath.Join(cwd, "bottles") {
		t.Errorf("a relative BOTTLE_HOME: %q, %v", got, err)
	}
	d.Lookup = func(string) (string, bool) { return "", false }
	if got, err := d.homePath(); err == nil {
		t.Errorf("without HOME: %q", got)
	}
}

// The attack: another user of the machine owns the folder that says what a
// bottle may do.
func TestHomeOfAnotherUserIsRefused(t *testing.T) {
	home := t.TempDir()
	d, _, errs := fakeDeps(t, map[string]string{"BOTTLE_HOME": home})
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := d.home(); err != nil {
		t.Fatalf("our own folder: %v", err)
	}
	d.Euid = func() int { return os.Geteuid() + 1 }
	_, err := d.home()
	if code := report(errs, plain, err); code != codeFailed || !strings.Contains(errs.String(), "another user") {
		t.Errorf("code %d, said %q", code, errs)
	}
	d.Euid = func() int { return 0 }
	if _, err := d.home(); err != nil {
		t.Errorf("root may use anybody's: %v", err)
	}
}

// A manifest of another user's inside our own folder is refused, too.
func TestManifestOfAnotherUserIsRefused(t *testing.T) {
	home := t.TempDir()
	d, _, _ := fakeDeps(t, map[string]string{"BOTTLE_HOME": home})
	if err := errors.Join(os.Chmod(home, 0o700), os.Mkdir(filepath.Join(home, "bottles"), 0o700),
		os.WriteFile(filepath.Join(home, "bottles", "dev.md"), []byte("---\nsupervise: true\n---\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	tree, err := d.tree()
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := tree.Bottle("dev"); problems.Fatal() {
		t.Fatalf("our own: %v", problems)
	}
	d.Euid = func() int { return os.Geteuid() + 1 } // only the file is looked at from here on
	if _, problems := tree.Bottle("dev"); !problems.Fatal() || !strings.Contains(problems.Error(), "another user") {
		t.Errorf("another user's: %v", problems)
	}
}

func TestHelperStandsBesideTheProgramOnly(t *testing.T) {
	d, _, errs := fakeDeps(t, nil)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bottle"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "bottle")
	if err := os.Symlink(filepath.Join(dir, "bottle"), link); err != nil {
		t.Fatal(err)
	}
	d.Self = func() (string, error) { return link, nil }
	_, err := d.helper("bottle-jail")
	if report(errs, plain, err); !strings.Contains(errs.String(), "make build") {
		t.Errorf("a missing helper: %q", errs)
	}
	for _, mode := range []fs.FileMode{0o644, 0o755} {
		path := filepath.Join(dir, "bottle-jail")
		if err := errors.Join(os.WriteFile(path, nil, mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		got, err := d.helper("bottle-jail")
		if want := mode&0o111 != 0; (err == nil) != want {
			t.Errorf("mode %v: %q, %v", mode, got, err)
		}
	}
}

// Every command helps by examples, names its group, and completes something or
// says that it completes nothing.
func TestEveryCommandHelps(t *testing.T) {
	d, _, _ := fakeDeps(t, nil)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Example == "" {
			t.Errorf("%s has no examples", c.CommandPath())
		}
		if c.Short == "" || (c.HasParent() && !c.Hidden && c.GroupID == "") {
			t.Errorf("%s has no short help or no group", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(d))
}

// fakeWall is a backend that knows two walls and one mend.
type fakeWall struct {
	backend.Backend
	missing, mended bool
}

func (*fakeWall) Kind() string { return "native" }

func (f *fakeWall) Facts(context.Context) (backend.Facts, error) {
	return backend.Facts{Kind: "native", Checks: []backend.Check{
		{Wall: "network", OK: !f.missing, Needed: true, Found: "unshare said EPERM\x1b[2J", Fix: "sudo bottle doctor --fix"},
		{Wall: "landlock", OK: false, Found: "the kernel has none"},
	}, Notes: []string{"no cgroup"}}, nil
}

func (f *fakeWall) Mend(context.Context) (string, []byte, error) {
	return "/etc/apparmor.d/bottle", []byte("profile\n"), nil
}
func (f *fakeWall) ApplyMend(context.Context) error { f.mended = true; return nil }
func (f *fakeWall) UndoMend(context.Context) (string, error) {
	f.mended = false
	return "/etc/apparmor.d/bottle", nil
}

func doctor(t *testing.T, f *fakeWall, typed string, args ...string) (code int, out, errs string) {
	t.Helper()
	d, o, e := fakeDeps(t, map[string]string{"TERM": "dumb"})
	if typed != "" {
		d.typed(typed)
	}
	d.Backends[defaultBackend("linux")] = func(*deps) (backend.Backend, error) { return f, nil }
	code = run(t.Context(), d, append([]string{"doctor", "--backend", "native"}, args...))
	return code, o.String(), e.String()
}

func TestDoctor(t *testing.T) {
	code, out, _ := doctor(t, &fakeWall{}, "")
	if code != 0 || !strings.Contains(out, "every wall that a start needs") || !strings.Contains(out, "without") {
		t.Errorf("a good machine: code %d\n%s", code, out)
	}
	code, out, _ = doctor(t, &fakeWall{missing: true}, "")
	if code != codeNo || !strings.Contains(out, "MISSING") || !strings.Contains(out, "→ sudo bottle doctor --fix") {
		t.Errorf("a bad machine: code %d\n%s", code, out)
	}
	if strings.Contains(out, "\x1b") {
		t.Error("the machine's words repaint the terminal")
	}
	code, out, _ = doctor(t, &fakeWall{missing: true}, "", "--format", "json")
	if code != codeNo || !strings.Contains(out, `"ok": false`) || !strings.Contains(out, `"kind": "native"`) {
		t.Errorf("json: code %d\n%s", code, out)
	}
}

// The one file is shown first, and written only after a yes.
func TestDoctorShowsBeforeItMends(t *testing.T) {
	f := &fakeWall{missing: true}
	if code, out, _ := doctor(t, f, "", "--fix"); code != codeUsage || f.mended || !strings.Contains(out, "profile") {
		t.Errorf("without a terminal: code %d, mended %v\n%s", code, f.mended, out)
	}
	if code, _, _ := doctor(t, f, "n\n", "--fix"); f.mended {
		t.Errorf("mended after a no: code %d", code)
	}
	if code, out, _ := doctor(t, f, "y\n", "--fix"); code != 0 || !f.mended || !strings.Contains(out, "--undo") {
		t.Errorf("after a yes: code %d, mended %v\n%s", code, f.mended, out)
	}
	if code, out, _ := doctor(t, f, "", "--undo"); code != 0 || f.mended || !strings.Contains(out, "removed") {
		t.Errorf("undo: code %d, mended %v\n%s", code, f.mended, out)
	}
	if code, _, _ := doctor(t, f, "", "--fix", "--undo"); code != codeUsage {
		t.Errorf("both at once: code %d", code)
	}
	if code, _, errs := doctor(t, f, "", "--backend", "kubernetes"); code != codeFailed || !strings.Contains(errs, "no kubernetes backend") {
		t.Errorf("an unknown backend: code %d, %s", code, errs)
	}
}
