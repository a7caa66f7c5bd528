package smolvm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/smolvm/guest"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

func TestMain(m *testing.M) {
	if code, ran := smolvmtest.Main(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// What each version takes is found out by asking it.
func TestLearnTheDialect(t *testing.T) {
	for version, named := range map[string]bool{"1.9.3": true, "0.8.0": false} {
		i := smolvmtest.Install(t, smolvmtest.Faults{Version: version})
		d, err := command{path: i.Path}.learn(t.Context())
		if err != nil || d.version != version || len(d.missing) != 0 || d.named != named || !d.stream {
			t.Errorf("%s: %+v, %v", version, d, err)
		}
	}
}

// scripted is a smolvm of which only the answers matter.
func scripted(t *testing.T, script string) command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smolvm")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return command{path: path}
}

// A smolvm without an allow-list is none that a bottle can stand on; one that does not
// say who it is, neither.
func TestLearnRefusesWhatLacks(t *testing.T) {
	d, err := scripted(t, `case "$*" in --version) echo smolvm 3.0.0;; *) echo "--image --allow-cidr-file -v --cpus --mem --name -i -f --json";; esac`).learn(t.Context())
	if err != nil || !slices.Equal(d.missing, []string{"machine create --allow-cidr"}) {
		t.Errorf("%+v, %v", d.missing, err)
	}
	for _, script := range []string{"echo hello", "exit 1", "head -c 3000000 /dev/zero"} {
		if d, err := scripted(t, script).learn(t.Context()); err == nil {
			t.Errorf("%s: %+v", script, d)
		}
	}
	s := &Smolvm{Program: scripted(t, `case "$*" in --version) echo smolvm 3.0.0;; esac`).path, Pool: loopback.Pool{Range: loopback.Default()}}
	facts, err := s.Facts(t.Context())
	if i := slices.IndexFunc(facts.Checks, func(c backend.Check) bool { return c.Wall == "smolvm" }); err != nil || facts.Checks[i].OK || !strings.Contains(facts.Checks[i].Found, "--allow-cidr") {
		t.Errorf("%+v, %v", facts.Checks, err)
	}
}

func TestListReadsBothShapes(t *testing.T) {
	for said, want := range map[string][]string{
		`[]`: nil, `[{"name":"a","x":1},{"name":"bottle-b-abcde"}]`: {"a", "bottle-b-abcde"}, `{"machines":[{"name":"a"}]}`: {"a"},
	} {
		got, err := scripted(t, "echo '"+said+"'").list(t.Context())
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", said, got, err)
		}
	}
	for _, said := range []string{"", "nothing", `{"machines":7}`, "7"} {
		if got, err := scripted(t, "echo '"+said+"'").list(t.Context()); err == nil {
			t.Errorf("%q: %v", said, got)
		}
	}
}

// A machine is stopped and then deleted; one that does not stop is deleted as it runs.
func TestRemoveStopsFirst(t *testing.T) {
	log := filepath.Join(t.TempDir(), "calls")
	for _, ends := range []string{"exit 0", "exit 1"} {
		if err := os.WriteFile(log, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c := scripted(t, `echo "$*" >>`+log+`; case "$2" in stop) `+ends+`;; esac`)
		if err := c.remove(t.Context(), dialect{named: true}, "bottle-a-abcde"); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(log); err != nil || string(b) != "machine stop --name bottle-a-abcde\nmachine delete --name bottle-a-abcde -f\nmachine ls --json\n" {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// Find takes what has a bottle's name, and Remove nothing else.
func TestFindAndRemoveByName(t *testing.T) {
	c := scripted(t, `case "$*" in *ls*) echo '[{"name":"mine"},{"name":"bottle-"},{"name":"bottle-x"},{"name":"a-bottle-a-abcde"},{"name":"bottle-agent-abcde"}]';; *) exit 3;; esac`)
	s := &Smolvm{Program: c.path}
	found, err := s.Find(t.Context())
	if err != nil || len(found) != 1 || found[0].Identity != "agent-abcde" || found[0].Held {
		t.Errorf("%+v, %v", found, err)
	}
	for _, l := range []backend.Leftover{
		{Identity: "agent-abcde", Resource: plan.Resource{Kind: "machine", Name: "mine"}}, {Resource: plan.Resource{Kind: "machine", Name: "bottle-"}},
		{Identity: "agent-abcde", Resource: plan.Resource{Kind: "folder", Name: "bottle-agent-abcde"}},
	} {
		if err := s.Remove(t.Context(), l); err == nil || strings.Contains(err.Error(), "exit status") {
			t.Errorf("remove %+v: %v", l, err)
		}
	}
	if found, err := (&Smolvm{}).Find(t.Context()); err != nil || found != nil {
		t.Errorf("without smolvm: %+v, %v", found, err)
	}
}

func state(t *testing.T) plan.Bottle {
	t.Helper()
	program := filepath.Join(t.TempDir(), "jail")
	if err := os.WriteFile(program, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	return plan.Bottle{Identity: "a-abcde", State: filepath.Join(t.TempDir(), "state"), Workspace: plan.WorkspaceMount{Mode: "none"}, Hostname: program}
}

func inode(t *testing.T, path string) plan.Inode {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return plan.Inode{Dev: st.Dev, Ino: st.Ino}
}

// Everything hangs at a plain name; a single file stands in a folder where nothing else
// is, and what it was when it was allowed is what is shown.
func TestSharesShowWhatWasAllowed(t *testing.T) {
	b := state(t)
	dir := filepath.Join(t.TempDir(), "odd: name\n")
	file := filepath.Join(dir, "file")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{dir, file} {
		b.Mounts = append(b.Mounts, plan.Mount{Source: p, Target: "/srv/x", Is: inode(t, p)})
	}
	sh, err := newShares(b)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := sh.fill(b, b.Hostname)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sh.list {
		if v := s.volume(); !s.readOnly || strings.Count(v, ":") != 2 || strings.Contains(v, "\n") {
			t.Errorf("volume %q", v)
		}
	}
	one := sh.list[2]
	if list, err := os.ReadDir(one.host); err != nil || len(list) != 1 || inside.Mounts[1].Source != one.guest+"/"+guest.File {
		t.Errorf("beside a single file: %v, %v, %+v", list, err, inside.Mounts[1])
	}
	if err := sh.unchanged(); err != nil {
		t.Error(err)
	}
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := sh.unchanged(); err == nil {
		t.Error("a file that was swapped passed")
	}
}

func TestSharesRefuse(t *testing.T) {
	b := state(t)
	dir := t.TempDir()
	is := inode(t, dir)
	other := is
	other.Ino++
	for name, m := range map[string]plan.Mount{
		"another folder": {Source: dir, Is: other}, "nobody looked": {Source: dir}, "not there": {Source: dir + "/none", Is: is}, "a device": {Source: os.DevNull, Is: is},
	} {
		c := b
		c.State = filepath.Join(t.TempDir(), "state")
		c.Mounts = []plan.Mount{m}
		sh, err := newShares(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sh.fill(c, c.Hostname); err == nil {
			t.Errorf("%s was shown", name)
		}
	}
	b.State = filepath.Join(t.TempDir(), "with:colon")
	if _, err := newShares(b); err == nil || !strings.Contains(err.Error(), "colon") {
		t.Errorf("a state folder with a colon: %v", err)
	}
}

// The zero value refuses.
func TestZeroValueCreatesNothing(t *testing.T) {
	if b, err := (&Smolvm{}).Create(context.Background(), plan.Bottle{Identity: "a-abcde", State: t.TempDir()}, plan.Gateway{}, nil); err == nil {
		b.Close()
		t.Error("a bottle was made")
	}
	s := &Smolvm{Program: "/x", JailPath: "/x", GatewayPath: "/x", Image: "/x", Filter: func() ([]byte, error) { return nil, errors.New("none") }}
	if b, err := s.Create(context.Background(), plan.Bottle{}, plan.Gateway{}, nil); err == nil {
		b.Close()
		t.Error("a bottle without an identity was made")
	}
}

// The first calls after a boot fail in many ways, and then two must answer; a program of
// another build ends the start at once.
func TestAnswersWaitsForTheVM(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	x := &Box{name: "bottle-a-abcde", cli: scripted(t, `n=$(cat `+count+` 2>/dev/null || echo 0); n=$((n+1)); echo $n >`+count+`
case $n in 1) exit 1;; 2) kill -9 $$;; 3) exit 127;; 4|6) echo 'warning: slow'; echo `+bottle.Version+`;; 5) exit 137;; esac`)}
	if err := x.answers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := os.ReadFile(count); err != nil || string(n) != "6\n" {
		t.Errorf("after %s calls, %v", n, err)
	}
	x.cli = scripted(t, "echo 0.0.1-other")
	if err := x.answers(t.Context()); err == nil || !strings.Contains(err.Error(), "0.0.1-other") {
		t.Errorf("another build: %v", err)
	}
	x.cli = scripted(t, "echo not yet >&2; exit 1")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := x.answers(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a VM that never answers: %v", err)
	}
}

// What listens on all addresses of the host is a wall of its own: reached, or not tried,
// it has not held.
func TestWhatListensEverywhereIsTried(t *testing.T) {
	for _, c := range []struct {
		results []plan.ProbeResult
		ok      bool
	}{
		{nil, false}, {[]plan.ProbeResult{{Name: "tcp-direct", OK: true}}, false},
		{[]plan.ProbeResult{{Name: "host-loopback", Detail: "connected"}}, false}, {[]plan.ProbeResult{{Name: "tcp-direct"}, {Name: "host-loopback", OK: true}}, true},
	} {
		got := services(c.results)
		if got.OK != c.ok || got.Name != "host-services" {
			t.Errorf("%+v gave %+v", c.results, got)
		}
		if all := proved([]plan.ProbeResult{got, {Name: "vm-reaches x"}, {Name: "vm-gateway"}, {Name: "denied-name"}}); all[0].Wall != "network" || all[1].Wall != "machine" || all[2].Wall != "door" || all[3].Wall != "dns" {
			t.Errorf("walls %+v", all)
		}
	}
}
