package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bottle/internal/backend/docker"
	"bottle/internal/backend/native"
	"bottle/internal/bottle"
	"bottle/test/require"
)

// part is what an engine says of a container.
type part struct {
	Config struct {
		User        string
		Labels      map[string]string
		StopTimeout int
	}
	HostConfig struct {
		CapAdd, CapDrop, SecurityOpt []string
		ReadonlyRootfs, Privileged   bool
		PortBindings                 map[string]any
		NetworkMode, PidMode         string
		Memory, NanoCpus, PidsLimit  int64
		Ulimits                      []struct {
			Name string
			Hard int64
		}
	}
	Mounts []struct{ Source string }
	State  struct{ Pid int }
}

// TestDockerPartsAreOurs: each part that a start makes carries identity, role and version, the
// helper that is gone again, too; none has a capability, a port or a socket of the host; and the
// limits of the manifest are the control group's.
func TestDockerPartsAreOurs(t *testing.T) {
	m := moor(t, -1, "limits: {memory: 512MiB, cpus: 1.5, pids: 111, open_files: 99}\n")
	since := fmt.Sprint(time.Now().Add(-time.Second).Unix())
	id := m.leave("read x")
	defer m.tool("stop", id)
	whose := func(labels map[string]string, what string) {
		t.Helper()
		if labels["bot-bottle.identity"] != id || labels["bot-bottle.role"] == "" || labels["bot-bottle.version"] != bottle.Version {
			t.Errorf("%s says %v", what, labels)
		}
	}
	roles := map[string]bool{}
	for line := range strings.Lines(run(t, "docker", "events", "--since", since, "--until", fmt.Sprint(time.Now().Unix()+1), "--filter", "type=container", "--filter", "event=create", "--format", "{{json .Actor.Attributes}}")) {
		var made map[string]string
		if err := json.Unmarshal([]byte(line), &made); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(made["name"], id) {
			whose(made, made["name"])
			roles[made["bot-bottle.role"]] = true
		}
	}
	if len(roles) != 3 {
		t.Errorf("it made containers %v", roles)
	}
	for _, kind := range []string{"volume", "network"} {
		n := 0
		for name := range strings.FieldsSeq(run(t, "docker", kind, "ls", "--format", "{{.Name}}")) {
			if !strings.Contains(name, id) {
				continue
			}
			var labels map[string]string
			if err := json.Unmarshal([]byte(run(t, "docker", kind, "inspect", "-f", "{{json .Labels}}", name)), &labels); err != nil {
				t.Fatal(err)
			}
			whose(labels, kind+" "+name)
			n++
		}
		if n == 0 {
			t.Errorf("it has no %s: it proves nothing", kind)
		}
	}
	live := strings.Fields(run(t, "docker", "ps", "-aq", "--filter", "label=bot-bottle.identity="+id))
	if len(live) != 2 {
		t.Errorf("%d containers live", len(live))
	}
	var parts []part
	if err := json.Unmarshal([]byte(run(t, append([]string{"docker", "inspect"}, live...)...)), &parts); err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		confinedPart(t, live[i], p)
		if p.Config.Labels["bot-bottle.role"] == "gateway" {
			if p.Config.StopTimeout != 8 || p.HostConfig.NetworkMode != "bottle-"+id+"-egress" {
				t.Errorf("the gateway has %d s to end, and the network %s", p.Config.StopTimeout, p.HostConfig.NetworkMode)
			}
			continue
		}
		h := p.HostConfig
		if h.NetworkMode != "none" || h.Memory != 512<<20 || h.PidsLimit != 111 || h.NanoCpus != 15e8 || !strings.Contains(fmt.Sprint(h.Ulimits), "{nofile 99}") {
			t.Errorf("the agent's: %+v", h)
		}
		if got := run(t, "sh", "-c", `g=$(sed -n 's/^[0-9]*:cpu,*c*p*u*a*c*c*t*:\|^0:://p' /proc/$1/cgroup | head -1); cat /sys/fs/cgroup/cpu$g/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup$g/cpu.max`, "sh", fmt.Sprint(p.State.Pid)); got != "150000\n" {
			t.Errorf("its control group has %q of 100000 us", got)
		}
	}
	image := strings.TrimSpace(run(t, "docker", "inspect", "-f", "{{.Config.Image}}", "bottle-"+id+"-agent"))
	for of, role := range map[string]string{image: "agent-image", "bottle-gateway-test:git": "image"} {
		if got := run(t, "docker", "inspect", "-f", `{{index .Config.Labels "bot-bottle.role"}} {{index .Config.Labels "bot-bottle.version"}}`, of); got != role+" "+bottle.Version+"\n" {
			t.Errorf("the image %s says %q", of, got)
		}
	}
}

// confinedPart looks at what a container was given, and what the kernel says of each process in it.
func confinedPart(t *testing.T, id string, p part) {
	t.Helper()
	h := p.HostConfig
	if !slices.Equal(h.CapDrop, []string{"ALL"}) || len(h.CapAdd) > 0 || h.Privileged || h.PidMode != "" || len(h.PortBindings) > 0 || !h.ReadonlyRootfs ||
		!slices.Contains(h.SecurityOpt, "no-new-privileges:true") || p.Config.User == "" || strings.HasPrefix(p.Config.User, "0") || strings.HasPrefix(p.Config.User, "root") {
		t.Errorf("%s has %+v, and is %q", p.Config.Labels["bot-bottle.role"], h, p.Config.User)
	}
	for _, m := range p.Mounts {
		if fi, err := os.Stat(m.Source); err == nil && fi.Mode()&os.ModeSocket != 0 {
			t.Errorf("it is shown the socket %s", m.Source)
		}
	}
	n := 0
	for pid := range strings.FieldsSeq(run(t, "sh", "-c", "docker top $1 -eo pid | tail -n +2", "sh", id)) {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, want := range []string{"CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("%s, process %s has not %q", p.Config.Labels["bot-bottle.role"], pid, want)
			}
		}
		if strings.Contains(string(status), "\nUid:\t0\t") {
			t.Errorf("%s, process %s is root", p.Config.Labels["bot-bottle.role"], pid)
		}
	}
	if n == 0 {
		t.Error("no process was looked at")
	}
}

// callers listens on one address of the host and counts who comes.
func callers(t *testing.T, addr string) *atomic.Int64 {
	t.Helper()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var n atomic.Int64
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			n.Add(1)
			c.Close()
		}
	}()
	return &n
}

// TestDockerOthersAddresses: another bottle's gateway, by the addresses of its container and its
// network; and a metadata service, for which the test stands in at its address, on the host's
// loopback. An ordinary container reaches that one. An agent reaches neither, by itself or
// through its gateway; it has no wire and no neighbour.
func TestDockerOthersAddresses(t *testing.T) {
	walls := dockerWalls(t)
	require.Tool(t, "docker", "ip")
	_, image := require.Docker(t)
	const metadata = "169.254.169.254"
	if out := run(t, "ip", "-o", "address", "show", "to", metadata); out != "" {
		t.Skip("this machine has that address already: " + out)
	}
	run(t, "ip", "address", "add", metadata+"/32", "dev", "lo")
	t.Cleanup(func() { run(t, "ip", "address", "del", metadata+"/32", "dev", "lo") })
	came := callers(t, metadata+":80")
	if got := run(t, "docker", "run", "--rm", image, "bash", "-c", "exec 3<>/dev/tcp/"+metadata+"/80 && echo reached"); got != "reached\n" || came.Load() == 0 {
		t.Fatalf("an ordinary container gets %q: it proves nothing", got)
	}
	came.Store(0)
	be := walls()
	_, other := dockerBottle(t, be, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-other"}}`)
	mine, _ := dockerBottle(t, be, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
	peers := strings.Fields(run(t, "docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}", "bottle-"+string(other)+"-gateway"))
	if len(peers) != 2 {
		t.Fatalf("the other's addresses: %q", peers)
	}
	for _, port := range []string{"53", "80", "443", "8888", "9099", "9100", "9418"} {
		c, err := net.DialTimeout("tcp4", peers[0]+":"+port, limit)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the host gets %v at the gateway's own address, port %s: it should not listen there", err, port)
		}
	}
	label := word(t, "wire")
	w := tap(t, label)
	var s strings.Builder
	s.WriteString(ask)
	for _, to := range append(peers, metadata) {
		for _, port := range []string{"53", "80", "9099", "9418"} {
			fmt.Fprintf(&s, "[ %s != 53 ] && (exec 3<>/dev/tcp/%s/%s && printf '%s' >&3 && IFS= read -r -t 2 line <&3 && [ \"${line#HTTP/1.1 4}\" = \"$line\" ] && echo REACHED %s) 2>/dev/null\n", port, to, port, label, to)
			fmt.Fprintf(&s, "(printf '%s' >/dev/udp/%s/%s) 2>/dev/null\n", label, to, port)
			fmt.Fprintf(&s, `ask 'CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n' asked`+"\n", to, port, to, port)
			fmt.Fprintf(&s, `ask 'GET http://%s:%s/%s HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n' asked`+"\n", to, port, label)
		}
	}
	s.WriteString("echo neighbours $(tail -n +2 /proc/net/arp | wc -l); echo wires $(tail -n +3 /proc/net/dev | grep -vc ' lo:'); echo routes $(tail -n +2 /proc/net/route | grep -vc '^lo'); perl -MSocket -e 'print socket(S, 17, SOCK_RAW, 0x0608) ? \"ARP\\n\" : \"none\\n\"'\nexit 0")
	out := bash(t, mine, s.String())
	t.Log(out)
	if strings.Contains(out, "REACHED") || strings.Count(out, "asked: ") != 2*4*len(append(peers, metadata)) || strings.Count(out, "asked: HTTP/1.1 4") != strings.Count(out, "asked: ") {
		t.Error("inside, something was reached, or not refused")
	}
	if !strings.HasSuffix(out, "neighbours 0\nwires 0\nroutes 0\nnone\n") {
		t.Error("inside is a wire")
	}
	if n := came.Load(); n != 0 {
		t.Errorf("the metadata service was reached %d times", n)
	}
	if n := w.seen[0].Load(); n != 0 {
		t.Errorf("%d frames carried the agent's word", n)
	}
}

// TestDockerGitGateRefuses: from a bottle of containers, what must not go upstream does not:
// links out of the repository, a secret, one that was deleted again, a name that attacks a clone.
// Then what is good goes.
func TestDockerGitGateRefuses(t *testing.T) {
	f := newWebForge(t)
	m := moor(t, -1, "")
	host, port, _ := net.SplitHostPort(bridged(t, "127.0.0.1:"+f.port)) // it is one
	m.write("ca.pem", f.ca)
	m.write("password", "robot:"+forgePassword+"\n")
	if err := os.Chmod(filepath.Join(m.base, "password"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.write("home/bottles/box.md", fmt.Sprintf(`---
backend: docker
agent_provider: {template: command, dockerfile: %[1]s/home/Dockerfile}
git_user: {name: app-bot, email: app-bot@example.com}
git:
  - name: app
    upstream: "https://example.com:%[2]s/app.git"
    auth: {token_ref: "file:%[1]s/password"}
    ca_file: %[1]s/ca.pem
    extra_hosts: {example.com: %[3]s}
    push: {branches: ["agent/*"]}
---
A box.
`, m.base, port, host))
	s := m.start(`
cd /tmp; git clone -q http://git-gate:9418/app.git a && cd a && git checkout -q -b agent/one
try() { git add -A; git commit -q -m "$1"; git push origin HEAD:refs/heads/agent/$1 2>&1 | sed "s/^/$1: /"; echo "$1 ${PIPESTATUS[0]}"; git reset -q --hard origin/trunk; git clean -qfd; }
ln -s ../../etc/passwd out; try out
ln -s /etc/passwd absolute; try absolute
mkdir d; ln -s ../../up d/up; try climbs
echo 'id = AKIAQ3EGRZV5JTKLMN7W' >leak; try secret
echo 'id = AKIAQ3EGRZV5JTKLMN7W' >leak; git add -A; git commit -q -m leak; git rm -q leak; git commit -q --allow-empty -m clean; try deleted
t=$(printf '100644 blob %s\t.GIT\n' $(echo x | git hash-object -w --stdin) | git mktree); git push origin $(git commit-tree -p HEAD -m x $t):refs/heads/agent/name 2>&1 | sed 's/^/name: /'; echo "name ${PIPESTATUS[0]}"
ln -s README inside; try good; exit 0`)
	for name, says := range map[string]string{"out": "the symlink leaves the repository", "absolute": "the symlink's target is absolute", "climbs": "the symlink leaves the repository", "secret": "secret", "deleted": "secret", "name": "hasDotgit"} {
		if !strings.Contains(s.out, "\n"+name+" 1\n") || !slices.ContainsFunc(strings.Split(s.out, "\n"), func(l string) bool { return strings.HasPrefix(l, name+": ") && strings.Contains(l, says) }) {
			t.Errorf("%s was not refused, or not because of %q", name, says)
		}
	}
	if !strings.Contains(s.out, "\ngood 0\n") || f.posted.Load() != 1 || f.refs() != "refs/heads/agent/good\nrefs/heads/trunk" {
		t.Errorf("upstream was sent %d pushes and has %q", f.posted.Load(), f.refs())
	}
	if strings.Contains(f.everything(), ruleSecret) {
		t.Error("upstream has the secret")
	}
	if t.Failed() {
		t.Logf("%s\n%s", s.out, s.err)
	}
}

// TestDockerBesideNative: one operator's bottles of two kinds. Both are listed, each is attached
// to and stopped from another terminal by its name alone, a cleanup leaves both alone while they
// live, and takes what is left of both, in one plan, when their starts were killed.
func TestDockerBesideNative(t *testing.T) {
	require.Native(t)
	operators(t, func(t *testing.T, uid int) {
		require.Tool(t, "tmux")
		m := moor(t, uid, "")
		before := known(t)
		plain := m.agent + "n"
		m.write("home/bottles/plain.md", "---\nagent_provider: {template: command}\n---\nA box.\n")
		m.write("home/agents/"+plain+".md", "---\nbottle: plain\ncommand: [\"/bin/sh\"]\n---\nA test.\n")
		m.own()
		run(t, "chown", "-R", agentOf(uid)+":"+agentOf(uid), m.work())
		does := func(args ...string) said { return finish(t, m.as(m.command(args...))) }
		begin := func(agent string) string {
			s := does("start", "--detach", "--yes", agent, "--format", "json", "--", "-c", anyShell)
			var is struct{ Identity string }
			if err := json.Unmarshal([]byte(s.out), &is); err != nil || is.Identity == "" {
				t.Fatalf("%+v", s)
			}
			return is.Identity
		}
		contained, native := begin(m.agent), begin(plain)
		list := does("list", "active").out
		for id, kind := range map[string]string{contained: "docker", native: "native"} {
			if !slices.ContainsFunc(strings.Split(list, "\n"), func(l string) bool { return strings.Contains(l, id) && strings.Contains(l, kind) }) {
				t.Errorf("%s of %s is not in %s", id, kind, list)
			}
		}
		for _, id := range []string{contained, native} {
			one := m.screenOf(100, 30, "attach", id)
			one.Shows("attached to "+id+"; Ctrl-] detaches", "ok>")
			sized(one, "30 100")
			one.Types("echo both-$((1+1))\n")
			one.Shows("both-2")
			two := m.screenOf(80, 24, "attach", id)
			two.Shows("both-2")
			sized(two, "24 80")
			two.Keys("C-]")
			two.Shows("detached from "+id+", which goes on", "exit code 0.")
			sized(one, "30 100")
			one.Keys("C-]")
			one.Shows("exit code 0.")
		}
		if s := does("cleanup", "--yes"); s.code != 0 || strings.Contains(s.out, contained) || strings.Contains(s.out, native) {
			t.Errorf("a cleanup beside the living: %+v", s)
		}
		for _, id := range []string{contained, native} {
			if s := does("stop", id); s.code != 0 || !strings.Contains(s.out, "stopped "+id) {
				t.Errorf("stop: %+v", s)
			}
		}
		if after := known(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		does("cleanup", "--discard", "--yes")
		contained, native = begin(m.agent), begin(plain)
		for _, agent := range []string{m.agent, plain} {
			holders := (&house{agent: agent}).holders()
			if len(holders) == 0 {
				t.Errorf("nobody holds %s", agent)
			}
			for _, pid := range holders {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it is not reaped here
			}
		}
		for _, c := range []struct{ answer, end string }{{"n", "exit code 1."}, {"y", "exit code 0."}} { // a no removes nothing
			asks := m.screenOf(140, 40, "cleanup", "--discard")
			plan := asks.Shows("Remove ", "?")
			for _, want := range []string{contained, native, "network", "folder"} {
				if !strings.Contains(plan, want) {
					t.Errorf("before a %s the plan does not name %s:\n%s", c.answer, want, plan)
				}
			}
			asks.Types(c.answer + "\n")
			if text := asks.Shows(c.end); strings.Count(text, "Remove ") != 1 {
				t.Errorf("it asked more than once:\n%s", text)
			}
		}
		require.Eventually(t, limit, "nothing is left of either", func() bool {
			sleepABit()
			does("cleanup", "--discard", "--yes")
			return known(t) == before && len(m.traces()) == 0 && len((&house{agent: plain}).traces()) == 0
		})
	})
}

// TestDockerKeepsTheHostsDomains: an engine hands a container the search domains and options of
// its machine. A bottle is not told them: they name whose machine it is.
func TestDockerKeepsTheHostsDomains(t *testing.T) {
	_, image := require.Docker(t)
	bin := require.Binaries(t)
	e := ownEngineWith(t, func(dir string) []string {
		if err := os.WriteFile(dir+"/resolv.conf", []byte("search corp.example lab.corp.example\nnameserver 192.0.2.53\noptions ndots:9\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return append([]string{"unshare", "--mount", "sh", "-c", "mount --bind " + dir + "/resolv.conf /etc/resolv.conf && exec \"$@\"", "sh"}, dockerd(dir)...)
	})
	bundle, err := bundleImage("unix:///var/run/docker.sock", bin)
	if err != nil {
		t.Fatal(err)
	}
	e.load(image, bundle)
	const told = "cat /etc/resolv.conf; grep -rl corp.example /etc /proc/self/environ 2>/dev/null || echo none"
	if got := run(t, "docker", "-H", e.host(), "run", "--rm", "--network", "none", image, "sh", "-c", told); !strings.Contains(got, "corp.example") || strings.Contains(got, "none") {
		t.Fatalf("an ordinary container is told %q: it proves nothing", got)
	}
	b, _ := dockerBottle(t, &docker.Docker{JailPath: bin + "/bottle-jail", Image: image, Bundle: bundle, Host: e.host(), Filter: native.Filter}, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
	if got := bash(t, b, told); got != "nameserver 127.0.0.1\noptions timeout:2 attempts:2\nnone\n" {
		t.Errorf("inside: %q", got)
	}
}
