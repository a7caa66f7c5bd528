package backendtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/survey"
)

// limit bounds each wait of the suite.
const limit = 30 * time.Second

// attackPath is where the test's own program stands inside a bottle.
const attackPath = "/attack"

// box is one bottle under test.
type box struct {
	t   testing.TB
	b   backend.Bottle
	id  bottle.Identity
	dir string // holds state/ and work/
}

// work is the workspace on the host.
func (x *box) work() string { return filepath.Join(x.dir, "work") }

// Run runs the whole suite.
func Run(t *testing.T, make func() backend.Backend) {
	for _, g := range []struct {
		name string
		run  func(*testing.T, func() backend.Backend)
	}{
		{"life", Life}, {"streams", Streams}, {"files", Files}, {"neighbours", Neighbours}, {"terminal", Terminal}, {"limits", func(t *testing.T, make func() backend.Backend) { Limits(t, make, true) }}, {"escapes", func(t *testing.T, make func() backend.Backend) { Escapes(t, make) }},
	} {
		t.Run(g.name, func(t *testing.T) { g.run(t, make) })
	}
}

// create puts up a bottle with the workspace as an overlay; change may alter it.
func create(t testing.TB, be backend.Backend, change func(*plan.Bottle)) *box {
	t.Helper()
	x := &box{t: t, dir: t.TempDir()}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		t.Fatal(err)
	}
	id, err := bottle.NewIdentity("conform", seed[:])
	if err != nil {
		t.Fatal(err)
	}
	x.id = id
	state := filepath.Join(x.dir, "state")
	for _, d := range []string{"overlay/upper", "overlay/work"} {
		mkdir(t, filepath.Join(state, d))
	}
	mkdir(t, x.work())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Bottle{
		Identity: string(id), Version: bottle.Version, Hostname: string(id), State: state,
		Workspace: plan.WorkspaceMount{Mode: "overlay", Source: x.work()},
		Mounts:    []plan.Mount{{Source: exe, Target: attackPath}},
	}
	v4, v6 := policy.SpecialPrefixes()
	for _, pre := range append(v4, v6...) {
		p.Special = append(p.Special, pre.String())
	}
	if change != nil {
		change(&p)
	}
	resolve(t, &p)
	gw := plan.Gateway{Version: bottle.Version, Identity: id, Bottle: "conform", Audit: filepath.Join(state, "audit.jsonl"), Inherit: true}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	x.b, err = be.Create(ctx, p, gw, []byte(`{"values":{}}`))
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	t.Cleanup(func() {
		if err := x.b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		// overlayfs makes this folder with no mode at all; an ordinary user's
		// clean-up of the test could not enter it.
		_ = os.Chmod(filepath.Join(state, "overlay", "work", "work"), 0o700)
	})
	return x
}

// resolve writes down what the sources are, as a start does.
func resolve(t testing.TB, p *plan.Bottle) {
	t.Helper()
	is := func(path *string, is *plan.Inode) {
		var err error
		if *path, *is, err = survey.Resolve(*path); err != nil {
			t.Fatal(err)
		}
	}
	if p.Workspace.Mode != "none" {
		is(&p.Workspace.Source, &p.Workspace.Is)
	}
	for i := range p.Mounts {
		is(&p.Mounts[i].Source, &p.Mounts[i].Is)
	}
}

// up is create, place and verify: the bottle is ready for its agent.
func up(t testing.TB, be backend.Backend, change func(*plan.Bottle)) *box {
	t.Helper()
	x := create(t, be, change)
	x.place()
	x.verify()
	return x
}

func (x *box) place() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	ca := []byte(x.b.Hello().CA)
	files := []plan.File{{Path: plan.CAPath, Mode: 0o644, Content: ca}, {Path: plan.BundlePath, Mode: 0o644, Content: ca},
		{Path: plan.Home + "/.config/x/y", Mode: 0o600, Agent: true, Content: []byte("placed\n")}}
	if err := x.b.Place(ctx, files); err != nil {
		x.t.Fatalf("place: %v", err)
	}
}

func (x *box) verify() {
	x.t.Helper()
	tcp, un := sentinels(x.t, "@backendtest-"+string(x.id))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	results, err := x.b.Verify(ctx, plan.Probes{Identity: string(x.id), Sentinel: tcp, Abstract: un})
	if err != nil {
		x.t.Fatalf("verify: %v", err)
	}
	if len(results) == 0 {
		x.t.Fatal("verify tried nothing")
	}
	for _, r := range results {
		if !r.OK {
			x.t.Errorf("the wall %s does not hold: %s", r.Name, r.Detail)
		}
	}
}

// sentinels are listeners on the host that nobody inside may reach: whoever does
// fails the test.
func sentinels(t testing.TB, abstract string) (tcp, un string) {
	t.Helper()
	open := func(network, addr string) string {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return // closed by the cleanup
				}
				c.Close()
				t.Errorf("somebody reached the host's %s", addr)
			}
		}()
		return l.Addr().String()
	}
	return open("tcp4", "127.0.0.1:0"), open("unix", abstract)
}

// result is how an agent ended and what it said.
type result struct {
	code     int
	out, err string
}

// environment is a fixed one: the suite tests that nothing is added to it.
func environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + plan.Home, "LC_ALL=C"}
}

// run runs argv without a terminal.
func (x *box) run(in io.Reader, argv ...string) result {
	x.t.Helper()
	if in == nil {
		in = strings.NewReader("")
	}
	var out, errs bytes.Buffer
	var started atomic.Int32
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	code, err := x.b.Run(ctx, plan.Command{Args: argv, Env: environment(), Dir: "/"}, backend.Stdio{In: in, Out: &out, Err: &errs, Started: func() { started.Add(1) }})
	if err != nil {
		x.t.Fatalf("run %q: %v\n%s%s", argv, err, out.String(), errs.String())
	}
	if n := started.Load(); n != 1 {
		x.t.Errorf("run %q: it was told %d times that the agent runs", argv, n)
	}
	if ctx.Err() != nil {
		x.t.Fatalf("run %q: not within %v\n%s%s", argv, limit, out.String(), errs.String())
	}
	return result{code, out.String(), errs.String()}
}

// sh runs a script, which must end with 0, and returns what it said.
func (x *box) sh(script string) string {
	x.t.Helper()
	r := x.run(nil, "/bin/sh", "-c", script)
	if r.code != 0 || r.err != "" {
		x.t.Fatalf("sh -c %q: exit %d\n%s%s", script, r.code, r.out, r.err)
	}
	return r.out
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// snapshot lists everything below dir: names, modes, times and contents.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var s strings.Builder
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&s, "%q %v %d %v\n", strings.TrimPrefix(path, dir), fi.Mode(), fi.Size(), fi.ModTime().UnixNano())
		if fi.Mode().IsRegular() {
			body, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&s, "%q\n", body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

// eventually waits for a fact about other processes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// alive tells whether a process of the host has word in its argv.
func alive(word string) bool {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, p := range list {
		body, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(body), word) {
			return true
		}
	}
	return false
}

// createFails wants Create to fail and nothing to be left.
func createFails(t testing.TB, be backend.Backend, change func(*plan.Bottle)) error {
	t.Helper()
	dir := t.TempDir()
	mkdir(t, filepath.Join(dir, "work"))
	for _, d := range []string{"overlay/upper", "overlay/work"} {
		mkdir(t, filepath.Join(dir, "state", d))
	}
	id, err := bottle.NewIdentity("conform", []byte(rand.Text()[:8]))
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Bottle{
		Identity: string(id), Version: bottle.Version, Hostname: string(id), State: filepath.Join(dir, "state"),
		Workspace: plan.WorkspaceMount{Mode: "overlay", Source: filepath.Join(dir, "work")},
	}
	resolve(t, &p)
	change(&p)
	for i := range p.Mounts {
		if m := &p.Mounts[i]; m.Is == (plan.Inode{}) {
			_, m.Is, _ = survey.Resolve(m.Source) // what is not there stays unknown, and is refused
		}
	}
	gw := plan.Gateway{Version: bottle.Version, Identity: id, Bottle: "conform", Audit: filepath.Join(dir, "state", "audit.jsonl"), Inherit: true}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	b, err := be.Create(ctx, p, gw, []byte(`{"values":{}}`))
	if err == nil { // the walls were still rising
		err = b.Place(ctx, nil)
		if closed := b.Close(); closed != nil || err == nil {
			t.Errorf("it stood; close: %v", closed)
		}
	}
	if alive(string(id)) {
		t.Errorf("a failed create left a process: %v", err)
	}
	return err
}

func owner(fi os.FileInfo) uint32 { return fi.Sys().(*syscall.Stat_t).Uid }
