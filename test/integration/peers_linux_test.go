package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
	"bottle/internal/backend/backendtest"
	"bottle/internal/backend/docker"
	"bottle/internal/backend/native"
	"bottle/internal/plan"
	"bottle/test/require"
)

// peerAddress is where a peer's upstream is, in the network namespace of its engine.
const peerAddress = "198.18.99.1"

// within listens in the network namespace of a process.
func within(t *testing.T, pid int) net.Listener {
	t.Helper()
	type made struct {
		l   net.Listener
		err error
	}
	got := make(chan made)
	go func() {
		runtime.LockOSThread() // and never let go: the thread ends with this goroutine
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			got <- made{err: err}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			got <- made{err: err}
			return
		}
		l, err := net.Listen("tcp4", peerAddress+":0")
		got <- made{l, err}
	}()
	m := <-got
	if m.err != nil {
		t.Fatal(m.err)
	}
	return m.l
}

// hold is the short suite for engines other than the one that all else is tried on: one
// start with all walls proven, what is shown to the agent, an allowed request and refused
// ones, and nothing left.
func hold(t *testing.T, e *ownEngine, image, runtime, want string) {
	t.Helper()
	bin := require.Binaries(t)
	bundle, err := bundleImage("unix:///var/run/docker.sock", bin)
	if err != nil {
		t.Fatal(err)
	}
	e.load(image, bundle)
	be := &docker.Docker{JailPath: bin + "/bottle-jail", Image: image, Bundle: bundle, Host: e.host(), Filter: native.Filter}
	ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
	defer cancel()
	facts, err := be.Facts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range facts.Checks {
		if c.Needed && !c.OK {
			t.Errorf("%s: %s", c.Wall, c.Found)
		}
	}
	t.Log(facts.Checks[0].Found, facts.Notes)
	chosen, err := be.Choose(ctx, plan.Container{Runtime: runtime})
	if err != nil || chosen.Runtime != want {
		t.Fatalf("%s is %q, %v", runtime, chosen.Runtime, err)
	}
	if !slices.ContainsFunc(facts.Checks, func(c backend.Check) bool {
		return c.Wall == "gvisor" && c.OK == (want == "runsc") && strings.Contains(c.Found, "`runtime: auto` is "+want)
	}) {
		t.Errorf("of gVisor it is said: %+v", facts.Checks)
	}
	var got []string
	up := &httptest.Server{Listener: within(t, e.cmd.Process.Pid), Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path+" "+r.Header.Get("Authorization"))
	})}}
	up.Start()
	defer up.Close()

	id, p, gw := dockerPlan(t.TempDir(), up.Listener.Addr().String())
	p.Container = chosen
	p.Container.Lines = []plan.Lines{{Proposal: "p222222"}} // so that the image is looked into
	work, file := filepath.Join(p.State, "../work"), filepath.Join(p.State, "../file")
	for _, dir := range []string{work, work + "/shown"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{file, work + "/kept", work + "/shown/one"} {
		if err := os.WriteFile(name, []byte("of the host\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "chown", "-R", "1000:1000", work)
	is := func(path string) plan.Inode {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return plan.Inode{Dev: st.Dev, Ino: st.Ino}
	}
	p.Workspace = plan.WorkspaceMount{Mode: "overlay", Source: work, Is: is(work)}
	p.Mounts = []plan.Mount{{Source: file, Target: "/srv/file", Is: is(file)}, {Source: work + "/shown", Target: "/srv/shown", Is: is(work + "/shown")},
		{Source: work + "/shown", Target: "/srv/shared", Is: is(work + "/shown"), Writable: true}}
	linked(t, e, be, p, gw, image)
	b, err := be.Create(ctx, p, gw, []byte(`{"values":{"TOKEN":"a-token-of-the-test"}}`))
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = b.Close() // the test has failed
		}
	}()
	if err := b.Place(ctx, []plan.File{{Path: plan.CAPath, Mode: 0o644, Content: []byte(b.Hello().CA)}}); err != nil {
		t.Fatal(err)
	}
	results, err := b.Verify(ctx, plan.Probes{Identity: string(id), Sentinel: "127.0.0.1:9", Abstract: "@peer"})
	if err != nil || len(results) < len(facts.Walls) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	proved := map[string]bool{}
	for _, r := range backend.Proved(results) {
		if proved[r.Wall] = true; !r.OK {
			t.Errorf("%s does not hold: %s", r.Name, r.Detail)
		}
	}
	for _, w := range facts.Walls {
		if !proved[w.Name] {
			t.Errorf("nothing proved %s", w.Name)
		}
	}
	const tail = `HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n`
	script := ask + fmt.Sprintf(`ask 'GET http://allowed.example/fine `+tail+`' allowed
ask 'GET http://other.example/bad `+tail+`' other
(exec 4<>/dev/tcp/198.51.100.7/81) 2>/dev/null && echo REACHED
cat /srv/file /srv/shown/one kept; for f in /srv/file /srv/shown/one /usr/new; do (echo x >$f) 2>/dev/null && echo WROTE $f; done
echo mine >kept && cat kept; echo given >/srv/shared/two; id -u; stat -c %%u "$HOME"`, "allowed.example", "other.example")
	var out bytes.Buffer
	code, err := b.Run(ctx, plan.Command{Args: []string{"/bin/bash", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "HOME=" + plan.Home}, Dir: plan.Workspace},
		backend.Stdio{In: strings.NewReader(""), Out: &out, Err: &out})
	if said := out.String(); err != nil || code != 0 || !strings.HasPrefix(said, "allowed: HTTP/1.1 200") || !strings.Contains(said, "\nother: HTTP/1.1 403") ||
		!strings.HasSuffix(said, "\nof the host\nof the host\nof the host\nmine\n1000\n1000\n") || strings.Contains(said, "WROTE") || strings.Contains(said, "REACHED") {
		t.Errorf("exit %d, %v\n%s", code, err, said)
	}
	if len(got) != 1 || got[0] != "/fine Bearer a-token-of-the-test" {
		t.Errorf("the upstream got %q", got)
	}
	closed = true
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{work + "/kept": "of the host\n", work + "/shown/two": "given\n"} {
		if body, err := os.ReadFile(name); err != nil || string(body) != want {
			t.Errorf("on the host %s holds %q, %v", name, body, err)
		}
	}
	if left, err := be.Find(ctx); err != nil || len(left) != 0 {
		t.Errorf("left %+v, %v", left, err)
	}
}

// linked has an image in which lines laid a link to where the agent's container is shown a
// folder of the operator's. No bottle stands, and nothing was made in that folder.
func linked(t *testing.T, e *ownEngine, be *docker.Docker, p plan.Bottle, gw plan.Gateway, image string) {
	t.Helper()
	const name = "bottle-test-linked:latest"
	run(t, "sh", "-c", "printf 'FROM "+image+"\\nRUN rm -rf /etc/opt && ln -s /srv/shared/made /etc/opt' | docker build -q -t "+name+" -")
	t.Cleanup(func() { run(t, "docker", "rmi", name) })
	e.load(name)
	p.Container.Image = name
	b, err := be.Create(t.Context(), p, gw, []byte(`{"values":{"TOKEN":"a-token-of-the-test"}}`))
	if err == nil {
		_, err = b.Verify(t.Context(), plan.Probes{Identity: p.Identity, Sentinel: "127.0.0.1:9", Abstract: "@peer"})
		err = errors.Join(err, b.Close())
	}
	if err == nil || !strings.Contains(err.Error(), "a symlink at /etc/opt") {
		t.Errorf("an image with a link: %v", err)
	}
	if _, err := os.Lstat(p.Mounts[2].Source + "/made"); err == nil {
		t.Error("the engine made something in the operator's folder")
	}
}

// TestPodman: the same walls from Podman, by its Docker-compatible socket.
func TestPodman(t *testing.T) {
	_, image := require.Docker(t)
	require.Tool(t, "podman", "catatonit")
	conf := "[containers]\ndefault_ulimits=[\"nofile=1024:1024\", \"nproc=4096:4096\"]\n[engine]\ncgroup_manager=\"cgroupfs\"\nruntime=\"runc\"\nevents_logger=\"file\"\n"
	e := ownEngineWith(t, func(dir string) []string {
		if err := os.WriteFile(dir+"/containers.conf", []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"env", "CONTAINERS_CONF=" + dir + "/containers.conf", "podman", "--root", dir + "/data", "--runroot", dir + "/exec", "--tmpdir", dir + "/tmp",
			"--storage-driver", "overlay", "--network-config-dir", dir + "/net", "system", "service", "--time=0", "unix://" + dir + "/sock"}
	})
	hold(t, e, image, "auto", "runc")
	t.Run("copies", func(t *testing.T) {
		m := moor(t, -1, "")
		m.env = append(m.env, "DOCKER_HOST="+e.host(), "BOTTLE_GATEWAY_IMAGE="+bundleRef)
		m.madeOfCopies()
	})
	t.Run("escapes", func(t *testing.T) {
		bin := require.Binaries(t)
		backendtest.Escapes(t, func() backend.Backend {
			return givenToAgent{"", 0, &docker.Docker{JailPath: bin + "/bottle-jail", Image: image, Bundle: bundleRef, Host: e.host(), Filter: native.Filter}}
		}, "flags of ", "own namespace user", "own namespace cgroup")
	})
}

// TestDockerUsersRemapped: an engine whose containers have other users than this machine is
// refused in words before anything is made: a bottle there could write neither its log nor a folder.
func TestDockerUsersRemapped(t *testing.T) {
	_, image := require.Docker(t)
	e := ownEngineWith(t, func(dir string) []string {
		if err := os.WriteFile(dir+"/subordinate", []byte("nobody:300000:65536\nnogroup:300000:65536\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{filepath.Dir(dir), dir} { // its root user is another
			if err := os.Chmod(way, 0o711); err != nil {
				t.Fatal(err)
			}
		}
		script := "for f in subuid subgid; do mount --bind " + dir + "/subordinate /etc/$f || exit; done; exec \"$@\"" // in a mount namespace of its own
		return append(append([]string{"unshare", "--mount", "sh", "-c", script, "sh"}, dockerd(dir)...), "--userns-remap=nobody:nogroup")
	})
	bin := require.Binaries(t)
	facts, err := (&docker.Docker{JailPath: bin + "/bottle-jail", Image: image, Bundle: "none", Host: e.host(), Filter: native.Filter}).Facts(t.Context())
	if err != nil || !slices.ContainsFunc(facts.Checks, func(c backend.Check) bool {
		return c.Wall == "users" && c.Needed && !c.OK && strings.Contains(c.Found, "userns-remap")
	}) {
		t.Errorf("%+v, %v", facts.Checks, err)
	}
	cmd := exec.Command(bin+"/bottle", "doctor", "--backend", "docker")
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.host(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "userns-remap") || !strings.Contains(string(out), "--backend native") {
		t.Errorf("doctor: %v %s", err, out)
	}
	if out := run(t, "docker", "-H", e.host(), "ps", "-aq"); out != "" {
		t.Errorf("it has %s", out)
	}
}

// dockerd is an engine without a bridge.
func dockerd(dir string) []string {
	return []string{"dockerd", "-H", "unix://" + dir + "/sock", "--data-root", dir + "/data", "--exec-root", dir + "/exec", "--pidfile", dir + "/pid",
		"--bridge", "none", "--iptables=false", "--ip6tables=false"}
}

// load gives it images of the machine's engine.
func (e *ownEngine) load(images ...string) {
	e.t.Helper()
	for _, image := range images { // one at a time: Podman takes an archive of one
		out, err := exec.Command("sh", "-c", "docker save "+image+" | docker -H "+e.host()+" load").CombinedOutput()
		if err != nil {
			e.t.Fatalf("load %s: %v\n%s", image, err, out)
		}
	}
}
