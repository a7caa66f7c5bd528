package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/backendtest"
	"bottle/internal/backend/docker"
	"bottle/internal/backend/native"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

// TestGVisor: an agent whose kernel is gVisor's, which `runtime: auto` chooses where the
// engine has it, passes the suite of every backend. .ci/runsc makes the program.
func TestGVisor(t *testing.T) {
	_, image := require.Docker(t)
	runsc := require.Tool(t, "runsc")
	e := ownEngineWith(t, func(dir string) []string {
		text := fmt.Sprintf(`{"runtimes": {"runsc": {"path": %q, "runtimeArgs": ["--network=host", "--platform=systrap"]}}}`, runsc)
		if err := os.WriteFile(dir+"/daemon.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return append(dockerd(dir), "--config-file", dir+"/daemon.json")
	})
	hold(t, e, image, "auto", "runsc")
	bin := require.Binaries(t)
	walls := func() backend.Backend {
		return givenToAgent{"runsc", 0, &docker.Docker{JailPath: bin + "/bottle-jail", Image: image, Bundle: bundleRef, Host: e.host(), Filter: native.Filter}}
	}
	t.Run("streams", func(t *testing.T) { backendtest.Streams(t, walls) }) // it sets variables, which no parallel test may
	t.Run("suite", func(t *testing.T) {
		for name, run := range map[string]func(t *testing.T){
			"life":       func(t *testing.T) { backendtest.Life(t, walls) },
			"files":      func(t *testing.T) { backendtest.Files(t, walls) },
			"neighbours": func(t *testing.T) { backendtest.Neighbours(t, walls) },
			"terminal":   func(t *testing.T) { backendtest.Terminal(t, walls) },
			"limits":     func(t *testing.T) { backendtest.Limits(t, walls, false) },
			"escapes": func(t *testing.T) { // docs/engines.md says what each of these is, and gvisorKeeps what holds
				backendtest.Escapes(t, walls, "flags of ", "mknod null", "read /proc/1/fd", "read /proc/1/maps", "read /proc/1/environ", "read /proc/1/ns/net", "read /dev/fuse",
					"read /proc/self/fd/3", "read /sys", "lower the own oom score", "change the network", "a port below 1024", "own namespace cgroup")
			},
			"nothing leaves the sandbox": func(t *testing.T) { gvisorKeeps(t, e, walls()) },
			"a forged stream":            func(t *testing.T) { gvisorForges(t, walls()) },
			"pid 1":                      func(t *testing.T) { gvisorInit(t, walls()) },
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); run(t) })
		}
	})
}

// gvisorAttempts is what gVisor allows and Linux does not, by the names of the escape suite. What
// it says is judged outside.
const gvisorAttempts = `
said() { sed "s/^/$1 /"; }
tr '\0' '\n' </proc/1/environ | said environ
tr '\0' '\n' </proc/1/cmdline | said cmdline
sed 's/.* //' /proc/1/maps | sort -u | said maps
ls -l /proc/1/fd | sed 's/.*-> //' | said fd
readlink /proc/1/ns/net /proc/self/ns/net | said ns
cat /proc/1/mem 2>/dev/null | head -c 1 | said mem
for n in "null c 1 3" "mem c 1 1" "tun c 10 200" "fuse c 10 229" "kmsg c 1 11" "disk b 8 0" "loop b 7 0"; do
  set -- $n; for dir in /tmp /workspace; do mknod $dir/$1 $2 $3 $4 2>/dev/null && (head -c 8 $dir/$1 | wc -c | said "device-$1") 2>/dev/null; done
done
(echo of the agent >/tmp/null) 2>/dev/null
head -c 8 /dev/fuse 2>/dev/null | wc -c | said fuse
mount -t fuse none /tmp 2>/dev/null && echo MOUNTED
cat /proc/self/fd/3 2>/dev/null | said third
find /sys -type f -writable 2>/dev/null | said writable
for f in $(find /sys -type f 2>/dev/null); do (echo 1 >$f) 2>/dev/null && echo $f | said wrote; done
find /sys -type f 2>/dev/null | xargs cat 2>/dev/null | said sys
find /sys/class/net /sys/class/dmi /sys/block/* /sys/bus/* /sys/kernel/* /sys/module/* 2>/dev/null | grep -v '^/sys/class/dmi$' | said host
echo -1000 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj | said oom
perl -MSocket -e 'socket(S, PF_INET, SOCK_DGRAM, 0); ioctl(S, 0x8914, pack("a16 s x22", "lo", 0)) and print "DOWN\n"' # SIOCSIFFLAGS
perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:443", Listen => 5) or exit; print "port 443\n"; $| = 1; print "\n"; $l->accept and print "TAKEN\n"' &
sleep 0.5; (exec 3<>/dev/tcp/198.51.100.7/443; sleep 0.1) 2>/dev/null; (exec 3<>/dev/tcp/allowed.example/443; sleep 0.1) 2>/dev/null; kill $! 2>/dev/null; wait
cat /proc/self/cgroup | said cgroup
cat /proc/self/mountinfo | said mount
exec 3<>/dev/tcp/127.0.0.1/9099 && printf 'GET http://allowed.example/after HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n' >&3 && head -1 <&3 | tr -d '\r' | said after
exit 0
`

// gvisorKeeps: what the escape suite finds allowed in gVisor is of the kernel that a bottle has for
// itself. Each attempt is made again, with the host watched: nothing of it is seen inside, and
// nothing of it changes.
func gvisorKeeps(t *testing.T, e *ownEngine, be backend.Backend) {
	const token = "a-token-of-the-host"
	work := filepath.Join(t.TempDir(), "work")
	id, p, gw := dockerPlan(filepath.Join(t.TempDir(), "state"), "192.0.2.1:80")
	for _, dir := range []string{work, p.State} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(work, &st); err != nil {
		t.Fatal(err)
	}
	p.Workspace = plan.WorkspaceMount{Mode: "bind", Source: work, Is: plan.Inode{Dev: st.Dev, Ino: st.Ino}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	b, err := be.Create(ctx, p, gw, []byte(`{"values":{"TOKEN":"`+token+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := b.Place(ctx, nil); err != nil {
		t.Fatal(err)
	}
	sandbox := strings.TrimSpace(run(t, "docker", "-H", e.host(), "inspect", "-f", "{{.State.Pid}}", "bottle-"+string(id)+"-agent"))
	container := strings.TrimSpace(run(t, "docker", "-H", e.host(), "inspect", "-f", "{{.Id}}", "bottle-"+string(id)+"-agent"))
	// The host's side of each object: its OOM score, what listens in the container's network, its
	// interfaces, and what device files its processes hold.
	outside := func() string {
		return run(t, "sh", "-c", `cat /proc/$1/oom_score_adj; nsenter -t $1 -n sh -c "cat /proc/net/tcp /proc/net/tcp6 | grep ' 0A ' | cut -c7-20 | sort; ip -o link"
ls -l /proc/$1/fd | grep -o '/dev/.*' | grep -v 'null\|urandom' | sort`, "sh", sandbox)
	}
	before := outside()
	out := bash(t, b, gvisorAttempts)
	if after := outside(); after != before {
		t.Errorf("outside, before:\n%s\nafter:\n%s", before, after)
	}
	said := map[string][]string{}
	for line := range strings.Lines(out) {
		kind, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		said[kind] = append(said[kind], text)
	}
	for _, kind := range []string{"environ", "cmdline", "maps", "fd", "ns", "oom", "port", "cgroup", "mount", "sys", "fuse", "device-null"} {
		if len(said[kind]) == 0 {
			t.Errorf("nothing was seen of %s: it proves nothing\n%s", kind, out)
		}
	}
	if !slices.Equal(said["after"], []string{"HTTP/1.1 502 Bad Gateway"}) {
		t.Errorf("after all that the gateway says %q", said["after"])
	}
	for _, no := range []string{"MOUNTED", "DOWN", "TAKEN"} {
		if len(said[no]) > 0 {
			t.Errorf("inside: %s", no)
		}
	}
	for _, no := range []string{token, container, p.State, "/var/lib/docker", e.dir} {
		for kind, lines := range said {
			if kind == "cgroup" && no == container || kind == "mount" && no == container {
				continue // gVisor's own groups have the container's name, which leads nowhere from inside
			}
			if strings.Contains(strings.Join(lines, "\n"), no) {
				t.Errorf("%s shows %q", kind, no)
			}
		}
	}
	for _, line := range said["environ"] {
		name, value, _ := strings.Cut(line, "=")
		if value != "" && !slices.Contains([]string{"PATH", "HOSTNAME", "HOME"}, name) {
			t.Errorf("pid 1 was told %s", line)
		}
	}
	for _, kind := range []string{"mem", "third", "host"} {
		if got := strings.Join(said[kind], ""); got != "" {
			t.Errorf("%s: %q", kind, got)
		}
	}
	for kind, lines := range said {
		if (kind == "fuse" || strings.HasPrefix(kind, "device-")) && strings.Trim(strings.Join(lines, ""), "0") != "" {
			t.Errorf("%s gave something: %q", kind, lines)
		}
	}
	// What was made in the one folder of the host that the agent may write is no device there.
	list, err := os.ReadDir(work)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Type()&os.ModeDevice != 0 {
			t.Errorf("on the host %s is %v", f.Name(), f.Type())
		}
	}
	t.Log(out)
}

// frame is one of the stream from pid 1 to the start (internal/backend/frames).
func frame(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))) + body
}

// gvisorForges: gVisor lets the agent open the stream between pid 1 and the start, and say
// there what it likes. It can say what an agent can do anyway: that it has ended, with what code,
// and what it wrote; all else ends its own bottle.
func gvisorForges(t *testing.T, be backend.Backend) {
	for name, c := range map[string]struct {
		forged string
		code   int
		fails  string
	}{
		"words and an end":  {frame('o', "forged\n") + frame('c', `{"exited":42}`), 42, ""},
		"a failure":         {frame('c', `{"error":"\u001b]0;of the agent\u0007"}`), 0, "of the agent"},
		"a frame too large": {"c\xff\xff\xff\xff", 0, "is more than"},
		"no frame":          {frame('c', "{"), 0, "unexpected end of JSON"},
		"no answer":         {frame('c', `{"results":[{"name":"x","ok":true}]}`) + frame('k', "") + frame('a', "{}") + frame('?', "x") + frame('c', `{"exited":7}`), 7, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, id := dockerBottle(t, be, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
			var octal strings.Builder
			for _, c := range []byte(c.forged) {
				fmt.Fprintf(&octal, "\\%03o", c)
			}
			var out bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			code, err := b.Run(ctx, script("printf '"+octal.String()+"' >/proc/1/fd/1; sleep 31339"), backend.Stdio{In: strings.NewReader(""), Out: &out, Err: &out})
			if ctx.Err() != nil || (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) || err == nil && code != c.code {
				t.Errorf("exit %d, %v (%v)", code, err, ctx.Err())
			}
			nothingOf(t, be, b, id)
		})
	}
}

// nothingOf closes a bottle and wants nothing of it to be left.
func nothingOf(t *testing.T, be backend.Backend, b backend.Bottle, id bottle.Identity) {
	t.Helper()
	begun := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > limit/2 {
		t.Errorf("it took %v to close", took)
	}
	left, err := be.Find(t.Context())
	if err != nil || slices.ContainsFunc(left, func(l backend.Leftover) bool { return l.Identity == id }) {
		t.Errorf("left %+v, %v", left, err)
	}
}

func script(text string) plan.Command {
	return plan.Command{Args: []string{"/bin/bash", "-c", text}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"}
}

// gvisorInit: gVisor shields pid 1 of a container from nobody. It ignores what it can; who
// kills it ends the own bottle and no other; who stops it is ended by the operator all the same.
func gvisorInit(t *testing.T, be backend.Backend) {
	neighbour, _ := dockerBottle(t, be, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
	for how, text := range map[string]string{"KILL": "kill -KILL 1; sleep 31338", "STOP": "kill -STOP 1; sleep 31338"} {
		b, id := dockerBottle(t, be, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
		said := &firstWord{}
		ended := make(chan error, 1)
		go func() {
			_, err := b.Run(t.Context(), script(text), backend.Stdio{In: strings.NewReader(""), Out: said, Err: said})
			ended <- err
		}()
		wait := limit
		if how != "KILL" {
			wait = time.Second // it does not end by itself
		}
		select {
		case err := <-ended:
			if how != "KILL" || err == nil {
				t.Errorf("%s: it ended with %v", how, err)
			}
			ended <- err
		case <-time.After(wait):
			if how == "KILL" {
				t.Error("a bottle without pid 1 goes on")
			}
		}
		nothingOf(t, be, b, id)
		if err := <-ended; err == nil {
			t.Errorf("%s: it ended well", how)
		}
	}
	if got := bash(t, neighbour, "for s in $(seq 64); do case $s in 9|19|20|21|22) ;; *) kill -$s 1 2>/dev/null;; esac; done; sleep 0.1; echo alive; ls /proc | grep -cx 1"); got != "alive\n1\n" {
		t.Errorf("the neighbour, after the signals: %q", got)
	}
}
