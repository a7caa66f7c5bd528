package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/audit"
	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/cli/walls"
	"bottle/internal/plan"
	"bottle/internal/store"
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
	if code := ui.Report(errs, ui.Plain, err); code != ui.CodeFailed || !strings.Contains(errs.String(), "another user") {
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
	if ui.Report(errs, ui.Plain, err); !strings.Contains(errs.String(), "make build") {
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

// What is at work and what a crash left shows; what ended as it should does not.
func TestListActive(t *testing.T) {
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(home)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bottle.Identity{}
	for _, c := range []struct {
		name, status string
		live         bool
	}{
		{"live", store.Running, true}, {"crashed", store.Running, false}, {"halfway", store.Starting, false},
		{"ended", store.Stopped, false}, {"failed", store.Failed, false}, {"bare", "", false}, {"fresh", "", true},
	} {
		id, err := bottle.NewIdentity(bottle.Name(c.name), []byte("entropy!"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := st.Reserve(id)
		if err != nil {
			t.Fatal(err)
		}
		ids[c.name] = r.Identity
		if c.status != "" {
			err = r.Write(store.Metadata{Agent: bottle.Name(c.name), Bottle: "dev", Status: c.status})
		}
		if c.live {
			t.Cleanup(func() { _ = r.Release() })
		} else {
			err = errors.Join(err, r.Release())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	list := func(args ...string) string {
		d, out, errs := fakeDeps(t, map[string]string{"BOTTLE_HOME": home})
		if code := run(t.Context(), d, append([]string{"list", "active"}, args...)); code != 0 {
			t.Fatalf("code %d: %s", code, errs)
		}
		return out.String()
	}
	now, all := list(), list("--all")
	for name, want := range map[string]string{
		"live": "running", "crashed": "left behind", "halfway": "left behind", "bare": "unreadable", "fresh": "starting",
	} {
		if !regexp.MustCompile(`(?m)^` + string(ids[name]) + ` .*` + want).MatchString(now) {
			t.Errorf("%s is not listed as %q:\n%s", name, want, now)
		}
	}
	for _, name := range []string{"ended", "failed"} {
		if strings.Contains(now, string(ids[name])) || !strings.Contains(all, string(ids[name])) {
			t.Errorf("%s: at work:\n%s\nall:\n%s", name, now, all)
		}
	}
}

// --follow shows what is decided after it began, and ends when the log goes.
func TestAuditFollows(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "state", "worker-abc12")
	if err := errors.Join(os.Chmod(home, 0o700), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Append(audit.Record{Kind: "http", Host: "one.example.com", Verdict: audit.Allow}); err != nil {
		t.Fatal(err)
	}
	d, _, errs := fakeDeps(t, map[string]string{"BOTTLE_HOME": home})
	r, w := io.Pipe()
	d.Stdout = w
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), d, []string{"audit", "worker", "--follow"})
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("read %q, want %s", lines.Text(), want)
		}
	}
	next("one.example.com")
	if err := log.Append(audit.Record{Kind: "http", Host: "two.example.com", Verdict: audit.Deny}); err != nil {
		t.Fatal(err)
	}
	next("two.example.com")
	if err := errors.Join(log.Close(), os.Remove(filepath.Join(dir, "audit.jsonl"))); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 {
		t.Errorf("code %d: %s", got, errs)
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
		if c.Short == "" || (c.HasParent() && c.Parent() == c.Root() && !c.Hidden && c.GroupID == "") {
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
	leaks           bool  // a probe gets through
	unmade          error // why no bottle can be made
	user            bool  // not root asks
	made, closed    int
}

func (*fakeWall) Kind() string { return "native" }

func (f *fakeWall) Facts(context.Context) (backend.Facts, error) {
	return backend.Facts{
		Kind: "native",
		Checks: []backend.Check{
			{Wall: "network", OK: !f.missing, Needed: true, Found: "unshare said EPERM\x1b[2J", Fix: "sudo bottle doctor --fix"},
			{Wall: "landlock", OK: false, Found: "the kernel has none", Fix: "boot another kernel"},
		},
		Walls: []plan.Wall{{Name: "network", Holds: "all"}, {Name: "dns", Holds: "names"}},
		Notes: []string{"no cgroup"},
	}, nil
}

func (f *fakeWall) Create(context.Context, plan.Bottle, plan.Gateway, []byte) (backend.Bottle, error) {
	f.made++
	return &fakeBottle{wall: f}, f.unmade
}

// fakeBottle is what fakeWall puts up.
type fakeBottle struct {
	backend.Bottle
	wall *fakeWall
}

// Hello has a real certificate: on a machine with Java a start makes a trust store of it.
func (*fakeBottle) Hello() plan.Hello {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return plan.Hello{Failed: err.Error()}
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return plan.Hello{Failed: err.Error()}
	}
	return plan.Hello{CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func (*fakeBottle) Place(context.Context, []plan.File) error                      { return nil }
func (b *fakeBottle) Close() error                                                { b.wall.closed++; return nil }
func (*fakeBottle) Run(context.Context, plan.Command, backend.Stdio) (int, error) { return 0, nil }
func (b *fakeBottle) Verify(context.Context, plan.Probes) ([]plan.ProbeResult, error) {
	return []plan.ProbeResult{
		{Name: "tcp-direct", OK: !b.wall.leaks, Detail: "connected\x1b[2J", Wall: "network"},
		{Name: "denied-name", OK: true, Detail: "rcode 3", Wall: "dns"},
	}, nil
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
	d.Backends[walls.Default("linux", "")] = func(*deps) (backend.Backend, error) { return f, nil }
	if f.user {
		d.Euid = func() int { return 1000 }
	} else if os.Geteuid() != 0 {
		d.Euid = func() int { return 0 }
	}
	code = run(t.Context(), d, append([]string{"doctor", "--backend", "native"}, args...))
	return code, o.String(), e.String()
}

func TestDoctor(t *testing.T) {
	kernel := bottle.Problems{{Message: "the kernel has no overlay", Hint: "sudo modprobe overlay"}}
	for name, c := range map[string]struct {
		wall  fakeWall
		code  int
		says  []string
		never []string
		made  int
	}{
		"good": {
			code: 0, made: 1,
			says: []string{"landlock      without", "boot another kernel", "network        held  tcp-direct", "a bottle can start on this machine"},
		},
		"a needed wall cannot stand": {
			wall: fakeWall{missing: true}, code: ui.CodeNo, made: 0,
			says:  []string{"MISSING", "not tried", "this machine cannot hold a bottle:\n  network: unshare said EPERM", "    to mend it: sudo bottle doctor --fix"},
			never: []string{"can start"},
		},
		"a probe gets through": {
			wall: fakeWall{leaks: true}, code: ui.CodeNo, made: 1,
			says:  []string{"BROKEN  tcp-direct (connected", "this machine cannot hold a bottle:\n  check the walls from inside: the wall tcp-direct does not hold"},
			never: []string{"can start"},
		},
		"the kernel refuses": {
			wall: fakeWall{unmade: kernel}, code: ui.CodeNo, made: 1,
			says:  []string{"not tried", "put up the walls and the gateway: the kernel has no overlay", "to mend it: sudo modprobe overlay"},
			never: []string{"can start", "held"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := doctor(t, &c.wall, "")
			if code != c.code {
				t.Errorf("code %d, want %d\n%s%s", code, c.code, out, errs)
			}
			for _, w := range c.says {
				if !strings.Contains(out, w) {
					t.Errorf("it does not say %q\n%s", w, out)
				}
			}
			for _, w := range append(c.never, "\x1b") {
				if strings.Contains(out, w) {
					t.Errorf("it says %q\n%s", w, out)
				}
			}
			if c.wall.made != c.made || c.wall.unmade == nil && c.wall.closed < c.wall.made {
				t.Errorf("made %d bottles, closed %d", c.wall.made, c.wall.closed)
			}
		})
	}
}

// What doctor says to machines has every key, whatever the machine is like.
func TestDoctorJSON(t *testing.T) {
	for name, w := range map[string]*fakeWall{"good": {}, "missing": {missing: true}, "leaks": {leaks: true}} {
		code, out, errs := doctor(t, w, "", "--format", "json")
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%s: %v\n%s%s", name, err, out, errs)
		}
		if ok := got["ok"]; ok != (name == "good") || (code == 0) != (name == "good") {
			t.Errorf("%s: ok is %v, code %d", name, ok, code)
		}
		trial := got["trial"].(map[string]any)
		for _, list := range []any{got["checks"], got["walls"], got["notes"], trial["steps"], trial["walls"]} {
			if _, ok := list.([]any); !ok {
				t.Errorf("%s: a list is missing\n%s", name, out)
			}
		}
		for _, key := range []string{"tried", "ok", "took_ms", "up_ms"} {
			if _, ok := trial[key]; !ok {
				t.Errorf("%s: trial has no %q", name, key)
			}
		}
		if got["kind"] != "native" || got["verdict"] == "" {
			t.Errorf("%s: kind %v, verdict %v", name, got["kind"], got["verdict"])
		}
	}
}

// The one file is shown first, and written only after a yes.
func TestDoctorShowsBeforeItMends(t *testing.T) {
	f := &fakeWall{missing: true}
	if code, out, _ := doctor(t, f, "", "--fix"); code != ui.CodeUsage || f.mended || !strings.Contains(out, "profile") {
		t.Errorf("without a terminal: code %d, mended %v\n%s", code, f.mended, out)
	}
	f.user = true
	if code, out, errs := doctor(t, f, "y\n", "--fix"); code != ui.CodeFailed || f.mended || !strings.Contains(out, "profile") || !strings.Contains(errs, "sudo bottle doctor --fix") {
		t.Errorf("as an ordinary user: code %d, mended %v\n%s%s", code, f.mended, out, errs)
	}
	f.user = false
	if code, _, _ := doctor(t, f, "n\n", "--fix"); f.mended {
		t.Errorf("mended after a no: code %d", code)
	}
	if code, out, _ := doctor(t, f, "y\n", "--fix"); code != 0 || !f.mended || !strings.Contains(out, "--undo") {
		t.Errorf("after a yes: code %d, mended %v\n%s", code, f.mended, out)
	}
	if code, out, _ := doctor(t, f, "", "--undo"); code != 0 || f.mended || !strings.Contains(out, "removed") {
		t.Errorf("undo: code %d, mended %v\n%s", code, f.mended, out)
	}
	if code, _, _ := doctor(t, f, "", "--fix", "--undo"); code != ui.CodeUsage {
		t.Errorf("both at once: code %d", code)
	}
	if code, _, errs := doctor(t, f, "", "--backend", "kubernetes"); code != ui.CodeFailed || !strings.Contains(errs, "no kubernetes backend") {
		t.Errorf("an unknown backend: code %d, %s", code, errs)
	}
}
