package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/system"

	"bottle/internal/backend"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

func part(kind byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind, 0, 0, 0}, uint32(len(text))), text...)
}

// Standard output comes through whole, standard error is kept to a bound, and a
// stream that is none is refused.
func TestDemuxTakesTheStreamsApart(t *testing.T) {
	noise := strings.Repeat("n", maxSaid)
	stream := bytes.Join([][]byte{part(1, "first "), part(2, noise), part(2, "last words"), part(1, ""), part(1, "second")}, nil)
	d := &demux{from: oneByte{bytes.NewReader(stream)}}
	out, err := io.ReadAll(d)
	if err != nil || string(out) != "first second" {
		t.Errorf("%q, %v", out, err)
	}
	if said := d.said(); len(said) > maxSaid || !strings.HasSuffix(said, "last words") {
		t.Errorf("%d bytes were kept, ending %q", len(said), said[max(0, len(said)-20):])
	}
	for _, bad := range []string{"\x09\x00\x00\x00\x00\x00\x00\x01x", "\x02\x00\x00\x00\xff\xff\xff\xffx"} {
		if _, err := io.ReadAll(&demux{from: strings.NewReader(bad)}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// oneByte gives one byte a read.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

func TestTargetsThatAreTheBottlesOwn(t *testing.T) {
	for _, bad := range []string{"/", "", "srv", "/srv/", "/a/../b", "/etc", "/etc/ssl", "/etc/ssl/x", "/proc/x", "/dev", "/sys", "/var", "/var/lib/bottle", jail.SelfPath} {
		if goodTarget(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for _, good := range []string{"/srv/x", "/home/me/tool", "/opt/tool", "/etc/mine"} {
		if err := goodTarget(good); err != nil {
			t.Error(err)
		}
	}
}

// A backend that was told too little creates nothing.
func TestZeroValueCreatesNothing(t *testing.T) {
	b := plan.Bottle{Identity: "zero-aaaaa", State: t.TempDir()}
	if _, err := (&Docker{}).Create(t.Context(), b, plan.Gateway{}, nil); err == nil || !strings.Contains(err.Error(), "bottle image build") {
		t.Errorf("%v", err)
	}
}

func TestFreshEngines(t *testing.T) {
	for api, want := range map[string]bool{"1.41": true, "1.56": true, "1.100": true, "1.40": false, "1.9": false, "": false, "2.50": false} {
		if fresh(api) != want {
			t.Errorf("%q is fresh: %t", api, !want)
		}
	}
}

// Every wall that the plan shows is proved by some attempt of the jail's probe: the trial of
// `bottle doctor` wants each.
func TestEveryWallIsProved(t *testing.T) {
	tried := map[string]bool{}
	for _, name := range []string{"tcp-direct", "denied-name", "write-usr", "init-root", "capabilities", "io-uring", "descriptors"} {
		tried[backend.Proved([]plan.ProbeResult{{Name: name}})[0].Wall] = true
	}
	for _, w := range walls() {
		if !tried[w.Name] {
			t.Errorf("nothing tries %s", w.Name)
		}
	}
}

// TestEngineThatDoesNotAnswer: who may not talk to it is told something else than who has none.
func TestEngineThatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/shut.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(dir+"/shut.sock", 0); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"unix://" + dir + "/none.sock": "unset DOCKER_HOST", "unix://" + dir + "/shut.sock": "usermod -aG docker"} {
		if strings.HasSuffix(host, "shut.sock") && os.Geteuid() == 0 {
			continue // nothing is shut to root; the words are tried below
		}
		facts, err := (&Docker{Host: host}).Facts(t.Context())
		if err != nil || len(facts.Checks) != 1 || facts.Checks[0].OK || !strings.Contains(facts.Checks[0].Fix, want) {
			t.Errorf("%s: %+v, %v", host, facts.Checks, err)
		}
	}
	if got := (&Docker{}).reach(errors.New("dial unix /var/run/docker.sock: connect: permission denied")); !strings.Contains(got, "usermod -aG docker") {
		t.Error(got)
	}
	nobody := errors.New("dial unix: connect: no such file or directory")
	if got := (&Docker{}).reach(nobody); got != "sudo systemctl start docker" {
		t.Error(got)
	}
	if got := (&Docker{Host: "unix:///tmp/x"}).reach(nobody); !strings.HasPrefix(got, "unset DOCKER_HOST, or ") || !strings.HasSuffix(got, "unix:///tmp/x") {
		t.Error(got)
	}
}

// What an engine can't hold is said, and never dropped in silence.
func TestEngineThatLacksSomething(t *testing.T) {
	whole := system.Info{MemoryLimit: true, PidsLimit: true, CPUCfsQuota: true, CgroupVersion: "1"}
	if got := lacks(whole, false, true); len(got) != 0 {
		t.Errorf("a whole engine: %q", got)
	}
	if got := lacks(whole, true, false); len(got) != 1 || !strings.Contains(got[0], "cgroup v1") {
		t.Errorf("Podman: %q", got)
	}
	if got := lacks(whole, true, true); len(got) != 2 || !strings.Contains(got[0], "rootless") {
		t.Errorf("an ordinary user's Podman: %q", got)
	}
	got := strings.Join(lacks(system.Info{SecurityOptions: []string{"name=seccomp,profile=default", "name=rootless"}, CgroupVersion: "1"}, false, true), "\n")
	for _, want := range []string{"memory", "processes", "CPU time", "rootless"} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing of %s: %s", want, got)
		}
	}
}

// A rootless engine is asked for no folder; a file that may be read is shown.
func TestRootlessShowsNoFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	is := func(path string) plan.Inode {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return plan.Inode{Dev: uint64(st.Dev), Ino: st.Ino}
	}
	for name, c := range map[string]struct {
		told plan.Bottle
		good bool
	}{
		"a file":            {plan.Bottle{Workspace: plan.WorkspaceMount{Mode: "none"}, Mounts: []plan.Mount{{Source: file, Target: "/srv/x", Is: is(file)}}}, true},
		"a file to write":   {plan.Bottle{Workspace: plan.WorkspaceMount{Mode: "none"}, Mounts: []plan.Mount{{Source: file, Target: "/srv/x", Is: is(file), Writable: true}}}, false},
		"a folder":          {plan.Bottle{Workspace: plan.WorkspaceMount{Mode: "none"}, Mounts: []plan.Mount{{Source: dir, Target: "/srv/x", Is: is(dir)}}}, false},
		"a folder to write": {plan.Bottle{Workspace: plan.WorkspaceMount{Mode: "none"}, Mounts: []plan.Mount{{Source: dir, Target: "/srv/x", Is: is(dir), Writable: true}}}, false},
		"a workspace":       {plan.Bottle{Workspace: plan.WorkspaceMount{Mode: "overlay", Source: dir, Is: is(dir)}}, false},
	} {
		c.told.State = t.TempDir()
		x := &Box{told: c.told, rootless: true}
		err := x.show()
		x.letGo()
		if (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), "rootless") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Podman is told in its own words, and a name is never a mount option of it.
func TestPodmansWords(t *testing.T) {
	h := bare()
	limited(h, plan.Limits{}, user{1001, 100})
	h.MaskedPaths = []string{"/proc/kcore", "/sys"}
	if err := forPodman(h, user{1001, 100}); err != nil {
		t.Fatal(err)
	}
	if h.Ulimits != nil || !slices.Contains(h.SecurityOpt, "mask=/proc/kcore:/sys") || !slices.Contains(h.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("%+v, %q", h.Ulimits, h.SecurityOpt)
	}
	for path, options := range h.Tmpfs {
		words := strings.Split(options, ",")
		own := path == plan.Home || path == "/run"
		if slices.Contains(words, "U") != own || strings.Contains(options, "uid=") || !slices.Contains(words, "notmpcopyup") || !slices.Contains(words, "nosuid") {
			t.Errorf("%s: %q", path, options)
		}
	}
	for _, bad := range []string{"/a,rw", "/a\"b", "/a\nb", "/a\rb"} {
		for _, m := range []mount.Mount{{Source: bad, Target: "/x"}, {Source: "/x", Target: bad}} {
			if err := forPodman(&container.HostConfig{Mounts: []mount.Mount{m}}, user{1000, 1000}); err == nil {
				t.Errorf("%+v was taken", m)
			}
		}
	}
	var e engine
	e.hear(&http.Response{Header: http.Header{"Server": {"Docker/20.10.24 (linux)"}}})
	docker := e.name()
	e.hear(&http.Response{Header: http.Header{"Server": {"Libpod/4.3.1 (linux)"}}})
	if docker != "Docker Engine" || e.name() != "Podman" {
		t.Errorf("%q, %q", docker, e.name())
	}
}

// A copy holds what the descriptor did, and no bit by which it would run as somebody else.
func TestDuplicate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(file, []byte("body"), 0o600), os.Chmod(file, 0o750|os.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	f, err := open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(dir+"/file", dir+"/gone"); err != nil { // and another stands at its name
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := duplicate(descriptor(f), dir+"/copy"); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(dir + "/copy")
	fi, errStat := os.Lstat(dir + "/copy")
	if err != nil || errStat != nil || string(body) != "body" || fi.Mode() != 0o750 {
		t.Errorf("%q, %v, %v %v", body, fi.Mode(), err, errStat)
	}
	if err := duplicate(descriptor(f), dir+"/copy"); err == nil {
		t.Error("what stood there was written over")
	}
	if err := duplicate(dir, dir+"/folder"); err == nil {
		t.Error("a folder was copied")
	}
}
