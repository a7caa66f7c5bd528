package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bottle/test/require"
)

// TestDockerResolverLeakIsSeen: the probes that find nothing leaving a bottle do find what
// leaves an ordinary container: the engine's resolver hands a crafted label on, even out of
// an internal network's neighbour, and a datagram to 192.0.2.53 is on the wire. The
// name server that hears of it is the test's own.
func TestDockerResolverLeakIsSeen(t *testing.T) {
	walls := dockerWalls(t)
	require.Tool(t, "docker")
	_, image := require.Docker(t)
	host := hostAddress(t)
	leaked, kept := word(t, "leaked"), word(t, "kept")
	var heard, ours atomic.Int64
	l, err := net.ListenPacket("udp4", host+":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, _, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), leaked) {
				heard.Add(1)
			}
			if strings.Contains(string(buf[:n]), kept) {
				ours.Add(1)
			}
		}
	}()
	w := tap(t, leaked, kept)
	probe := func(label string) string {
		q := fmt.Sprintf(`\x13\x37\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x%02x%s\x07example\x00\x00\x01\x00\x01`, len(label), label)
		return fmt.Sprintf("(printf '%s' >/dev/udp/127.0.0.11/53) 2>/dev/null; (printf '%s' >/dev/udp/192.0.2.53/53) 2>/dev/null; sleep 0.3; echo asked\n", q, q)
	}
	// In a bottle first: nothing is heard, nothing is on any wire.
	b, _ := dockerBottle(t, walls(), "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
	if got := bash(t, b, probe(kept)); got != "asked\n" {
		t.Fatalf("inside: %q", got)
	}
	quiet := w.astray.Load()
	name := strings.ToLower(word(t, "leak"))
	run(t, "docker", "network", "create", name)
	t.Cleanup(func() { run(t, "docker", "network", "rm", name) })
	if got := run(t, "docker", "run", "--rm", "--network", name, "--dns", host, image, "bash", "-c", probe(leaked)); got != "asked\n" {
		t.Fatalf("in a container: %q", got)
	}
	require.Eventually(t, limit, "the leak of an ordinary container is seen", func() bool {
		sleepABit()
		return heard.Load() > 0 && w.seen[0].Load() > 0 && w.astray.Load() > quiet
	})
	if ours.Load() != 0 || w.seen[1].Load() != 0 || quiet != 0 {
		t.Errorf("of a bottle: the name server heard %d, the tap saw %d and %d astray", ours.Load(), w.seen[1].Load(), quiet)
	}
}

// ownEngine is an engine that a test may end: its own data, socket and networks.
type ownEngine struct {
	t    *testing.T
	dir  string
	argv func(dir string) []string
	cmd  *exec.Cmd
	done chan error
}

func newEngine(t *testing.T, images ...string) *ownEngine {
	t.Helper()
	require.Tool(t, "dockerd")
	e := ownEngineWith(t, dockerd)
	e.load(images...)
	return e
}

// ownEngineWith starts what argv says for a folder of its own, in which it listens at sock.
func ownEngineWith(t *testing.T, argv func(dir string) []string) *ownEngine {
	t.Helper()
	require.Root(t)
	require.Tool(t, "docker", "unshare", "ip")
	e := &ownEngine{t: t, dir: t.TempDir(), argv: argv}
	t.Cleanup(func() {
		e.down(syscall.SIGTERM)
		if t.Failed() {
			log, _ := os.ReadFile(e.dir + "/log") // else there is none
			t.Logf("the engine: %s", log[max(0, len(log)-4000):])
		}
		e.swept()
	})
	e.up()
	return e
}

func (e *ownEngine) host() string { return "unix://" + filepath.Join(e.dir, "sock") }

// up starts it in a network namespace of its own: an engine without a bridge of its own
// takes away that of the machine's.
func (e *ownEngine) up() {
	e.t.Helper()
	_ = os.Remove(e.dir + "/exec/containerd/containerd.pid") // of a containerd that was killed, and may not be reaped here
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	script := "ip link set lo up && ip addr add " + peerAddress + "/32 dev lo && exec \"$@\""
	e.cmd = exec.Command("unshare", append([]string{"--net", "sh", "-c", script, "sh"}, e.argv(e.dir)...)...)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait(); log.Close() }(e.cmd, e.done)
	require.Eventually(e.t, 4*limit, "the engine answers", func() bool {
		sleepABit()
		return exec.Command("docker", "-H", e.host(), "version").Run() == nil
	})
}

func (e *ownEngine) down(how syscall.Signal) {
	e.t.Helper()
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Signal(how) // it may be gone
	select {
	case <-e.done:
	case <-time.After(limit):
		e.t.Error("the engine does not end")
	}
	e.cmd = nil
}

// swept ends what a killed engine left of its own, by its folder's name alone, which no
// other has, and makes that removable.
func (e *ownEngine) swept() {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, p := range list {
		body, _ := os.ReadFile(p) // gone is fine
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil && strings.Contains(string(body), "shim") && strings.Contains(string(body), e.dir+"/") {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may end by itself
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts") // every Linux has it
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines)
	for _, l := range lines {
		if f := strings.Fields(l); len(f) > 1 && strings.HasPrefix(f[1], e.dir+"/") {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH) // the folder's removal tells
		}
	}
}

// TestDockerEngineRestarts: the engine ends in the middle of a session, by itself and by
// a kill. The start says so and ends, nothing of the agent lives on, and when the engine is
// back, cleanup finds what is left and a new bottle starts.
func TestDockerEngineRestarts(t *testing.T) {
	m := moor(t, -1, "")
	const gateway = "bottle-gateway-test:git"
	e := newEngine(t, gateway)
	m.write("home/Dockerfile", "FROM "+gateway+"\nRUN true\n")
	m.env = append(m.env, "DOCKER_HOST="+e.host())
	own := func(args ...string) string { return run(t, append([]string{"docker", "-H", e.host()}, args...)...) }
	for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		b := m.begin("echo ready; exec sleep 31337")
		e.down(how)
		if code := b.ends(); code != 125 {
			t.Errorf("%v: exit %d: %s", how, code, b.errs)
		}
		// An engine that ends by itself stops the gateway first, and still answers then.
		if said := b.errs.String(); !strings.Contains(said, "bottle: the bottle ended before the agent did") && (how == syscall.SIGKILL || !strings.Contains(said, "the gateway has ended")) || how == syscall.SIGKILL && !strings.Contains(said, "bottle cleanup") {
			t.Errorf("%v: %s", how, said)
		}
		e.up()
		require.Eventually(t, limit, "nothing is left", func() bool {
			sleepABit()
			m.tool("cleanup", "--discard", "--yes")
			return own("ps", "-aq")+own("volume", "ls", "-q")+own("network", "ls", "-q", "--filter", "label=bot-bottle.identity") == ""
		})
		if out := run(t, "sh", "-c", "pgrep -f 'sleep 3133[7]' || echo none"); out != "none\n" {
			t.Errorf("%v: the agent lives: %s", how, out)
		}
		if s := m.house.start("echo again"); s.code != 0 || s.out != "again\n" {
			t.Errorf("%v: after it: exit %d %s%s", how, s.code, s.out, s.err)
		}
	}
}
