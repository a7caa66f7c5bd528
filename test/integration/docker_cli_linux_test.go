package integration

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bottle/internal/bottle"
	"bottle/test/require"
	"bottle/test/screen"
)

// moored is a house whose bottles are containers. Its operator is root, or a user with
// the engine's group. It has a gateway's image with git, and a Dockerfile.
type moored struct {
	*house
	image string // the base of the agent's
}

// moor needs an engine. spec is what the bottle has besides.
func moor(t *testing.T, uid int, spec string) moored {
	t.Helper()
	require.Docker(t)
	require.Root(t)
	require.Tool(t, "docker")
	host, base := require.Docker(t)
	bin := require.Binaries(t)
	h := newHouse(t, uid, "")
	h.bin = bin
	h.write("home/Dockerfile", "FROM "+base+"\nRUN echo made > /made\n")
	h.write("home/bottles/box.md", "---\nbackend: docker\nagent_provider: {template: command, dockerfile: "+h.home()+"/Dockerfile}\n"+spec+"---\nA box.\n")
	h.write("home/agents/"+h.agent+".md", "---\nbottle: box\ncommand: [\"/bin/bash\"]\n---\nA test.\n")
	h.own()
	run(t, "chown", "-R", agentOf(uid)+":"+agentOf(uid), h.work())
	h.env = append(h.env, "DOCKER_HOST="+host, "BOTTLE_GATEWAY_IMAGE="+gatewayWithGit(t, bin, base))
	return moored{h, base}
}

// gatewayWithGit is the gateway's image on the base of the tests.
func gatewayWithGit(t *testing.T, bin, base string) string {
	t.Helper()
	const name = "bottle-gateway-test:git"
	dir := t.TempDir()
	run(t, "cp", bin+"/bottle-gateway", bin+"/bottle-jail", dir)
	run(t, "docker", "build", "-q", "-f", "../../internal/backend/docker/image/Dockerfile.gateway", "--build-arg", "BASE="+base, "--build-arg", "VERSION="+bottle.Version, "-t", name, dir)
	return name
}

// as gives the operator the engine's group.
func (m moored) as(cmd *exec.Cmd) *exec.Cmd {
	fi, err := os.Stat("/var/run/docker.sock")
	if c := cmd.SysProcAttr.Credential; c != nil && err == nil {
		c.Groups = []uint32{fi.Sys().(*syscall.Stat_t).Gid}
	}
	return cmd
}

// screenOf is screen, with the engine's group.
func (m moored) screenOf(width, height int, args ...string) *screen.Screen {
	m.t.Helper()
	return screen.New(m.t, width, height, func(cmd *exec.Cmd) {
		as := m.as(m.command())
		cmd.Dir, cmd.Env, cmd.SysProcAttr = as.Dir, append(slices.Clone(as.Env), "NO_COLOR=1"), as.SysProcAttr
	}, append([]string{filepath.Join(m.bin, "bottle")}, args...)...)
}

func (m moored) start(script string) said {
	m.t.Helper()
	return finish(m.t, m.as(m.command("start", m.agent, "--yes", "--", "-c", script)))
}

// known is all that the engine has, labelled or not, but for images.
func known(t *testing.T) string {
	t.Helper()
	return run(t, "sh", "-c", "docker ps -aq --no-trunc | sort; docker network ls -q --no-trunc | sort; docker volume ls -q | sort")
}

// images is all that the engine has of these.
func images(t *testing.T) string {
	t.Helper()
	return run(t, "sh", "-c", "docker images -aq --no-trunc | sort -u")
}

// bridged makes a server of this machine's loopback reachable from containers, and tells
// the address.
func bridged(t *testing.T, to string) string {
	t.Helper()
	gw := strings.TrimSpace(run(t, "docker", "network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}"))
	l, err := net.Listen("tcp", gw+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			up, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			go func() { _, _ = io.Copy(up, c); up.Close() }()
			go func() { _, _ = io.Copy(c, up); c.Close() }()
		}
	}()
	return l.Addr().String()
}

// sayShell speaks HTTP where an image has no curl.
const sayShell = `
say() { local host=$1 port=$2; shift 2; exec 3<>/dev/tcp/$host/$port || return 1; printf '%s\r\n' "$@" 'Connection: close' '' >&3; tr -d '\r' <&3; exec 3>&-; }
`

// operators runs a test as root, and as the first and the second user of a machine.
func operators(t *testing.T, f func(t *testing.T, uid int)) {
	t.Run("root", func(t *testing.T) { f(t, -1) })
	t.Run("user", func(t *testing.T) { f(t, 1000) })
	t.Run("second user", func(t *testing.T) { f(t, 1001) })
}

// agentOf is whom the agent of an operator is, in Docker.
func agentOf(uid int) string {
	if uid < 0 {
		return "1000"
	}
	return strconv.Itoa(uid)
}

// TestDockerFromTheCommandLine: a bottle of containers as a person starts it. Its image is
// made of the manifest's recipe, once; the agent is the operator, or uid 1000, with the environment, the git
// user, the CA and the limits of native; a credential is injected that it never saw; it
// clones and pushes through the git gate, with git in the bundle; it can ask for more; and
// nothing of the engine's is left.
func TestDockerFromTheCommandLine(t *testing.T) {
	require.Docker(t)
	operators(t, func(t *testing.T, uid int) {
		const secret = "q9Vw3mXs8Lk5Tz2RfNb7"
		var given []string
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			given = append(given, r.Header.Get("Authorization"))
			fmt.Fprintln(w, "from-upstream")
		}))
		defer up.Close()
		f := newWebForge(t)
		forge := bridged(t, "127.0.0.1:"+f.port)
		forgeHost, forgePort, _ := net.SplitHostPort(forge)
		m := moor(t, uid, "")
		m.write("ca.pem", f.ca)
		m.write("password", "robot:"+forgePassword+"\n")
		m.write("token", secret+"\n")
		for _, name := range []string{"password", "token"} {
			if err := os.Chmod(filepath.Join(m.base, name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m.write("home/bottles/box.md", fmt.Sprintf(`---
backend: docker
agent_provider: {template: command, dockerfile: %[1]s/home/Dockerfile}
git_user: {name: app-bot, email: app-bot@example.com}
env: {GREETING: "hello there"}
limits: {memory: 512MiB, cpus: 1.5, pids: 111}
egress:
  routes:
    - {host: up.example, ports: [80], auth: {scheme: Bearer, token_ref: "file:%[1]s/token"}, upstream: {address: "%[2]s"}}
git:
  - name: app
    upstream: "https://example.com:%[3]s/app.git"
    auth: {token_ref: "file:%[1]s/password"}
    ca_file: %[1]s/ca.pem
    extra_hosts: {example.com: %[4]s}
    push: {branches: ["agent/*"]}
---
A box.
`, m.base, bridged(t, up.Listener.Addr().String()), forgePort, forgeHost))
		if err := os.MkdirAll(filepath.Join(m.base, "user/.claude/skills/my-skill"), 0o755); err != nil {
			t.Fatal(err)
		}
		m.write("user/.claude/skills/my-skill/SKILL.md", "a skill\n")
		m.write("home/agents/"+m.agent+".md", "---\nbottle: box\nskills: [my-skill]\ncommand: [\"/bin/bash\"]\n---\nBe brief.\n")
		m.own()
		run(t, "chown", "-R", agentOf(uid)+":"+agentOf(uid), m.work())
		before := known(t)
		s := m.start(sayShell + `
set -u; id -u; id -un; echo "$GREETING"; cat /made ~/PROMPT.md ~/.claude/skills/my-skill/SKILL.md; touch /made ~/.claude/skills/my-skill/SKILL.md 2>&1 | grep -c /made; git config --global user.name; test -s $SSL_CERT_FILE && echo ca
for n in egress pipelock git-gate supervise; do getent hosts $n >/dev/null && echo "name $n"; done
say up.example 80 'GET / HTTP/1.1' 'Host: up.example' | tail -1
for p in 'egress 9099' 'pipelock 8888'; do say $p 'GET http://up.example/ HTTP/1.1' 'Host: up.example' | tail -1; done
say pipelock 8888 'GET http://other.example/ HTTP/1.1' 'Host: other.example' | head -1
say git-gate 9418 'GET / HTTP/1.1' 'Host: git-gate:9418' | grep -o 'app.git' | head -1
say supervise 9100 'GET / HTTP/1.1' 'Host: supervise:9100' | grep -c 'Model Context Protocol'
say supervise 9100 'GET / HTTP/1.1' 'Host: up.example' | head -1
cd /tmp; git clone -q http://git-gate:9418/app.git a && cd a && git checkout -q -b agent/one && git commit -q --allow-empty -m one && git push -q origin agent/one && echo pushed
git push -q origin HEAD:trunk || echo refused
cat /sys/fs/cgroup/pids.max 2>/dev/null; echo changed > /workspace/README
`)
		want := agentOf(uid) + "\nagent\nhello there\nmade\nBe brief.\na skill\n1\napp-bot\nca\nname egress\nname pipelock\nname git-gate\nname supervise\nfrom-upstream\nfrom-upstream\nfrom-upstream\nHTTP/1.1 403 Forbidden\napp.git\n1\nHTTP/1.1 421 Misdirected Request\npushed\nrefused\n"
		if s.code != 0 || s.out != want {
			t.Errorf("exit %d\n%s\nwant\n%s\n%s", s.code, s.out, want, s.err)
		}
		if len(given) != 3 || given[0] != "Bearer "+secret || given[2] != given[0] {
			t.Errorf("upstream was given %q", given)
		}
		if refs := f.refs(); !strings.Contains(refs, "refs/heads/agent/one") || f.strange.Load() > 0 && f.posted.Load() == 0 {
			t.Errorf("upstream has %s", refs)
		}
		if after := known(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if log := m.tool("audit", string(m.identity())); !strings.Contains(log, "up.example") || strings.Contains(log, secret) {
			t.Errorf("audit: %s", log)
		}
		body, err := os.ReadFile(filepath.Join(m.work(), "README"))
		if err != nil || !bytes.Equal(body, []byte("a project\n")) {
			t.Errorf("the workspace itself: %q, %v", body, err)
		}
	})
}

// TestDockerDryRunCreatesNothing: neither a container nor an image of the recipe.
func TestDockerDryRunCreatesNothing(t *testing.T) {
	m := moor(t, -1, "")
	m.write("home/Dockerfile", "FROM "+m.image+"\nRUN echo "+m.agent+" > /made\n")
	before, had := known(t), images(t)
	s := finish(t, m.command("start", m.agent, "--dry-run"))
	if s.code != 0 || !strings.Contains(s.out, "bottle-agent:") || !strings.Contains(unfolded(s.out), "not there yet") {
		t.Fatalf("exit %d\n%s%s", s.code, s.out, s.err)
	}
	if after := known(t) + images(t); after != before+had {
		t.Errorf("before:\n%s%s\nafter:\n%s", before, had, after)
	}
	// That the counting sees a real start: its image.
	if s := m.start("cat /made"); s.code != 0 || s.out != m.agent+"\n" || !strings.Contains(s.err, "image 2/") {
		t.Errorf("exit %d\n%s%s", s.code, s.out, s.err)
	}
	if images(t) == had {
		t.Error("a start made no image")
	}
	// The second start finds it.
	if s := m.start("cat /made"); s.code != 0 || strings.Contains(s.err, "image 2/") {
		t.Errorf("again: exit %d\n%s%s", s.code, s.out, s.err)
	}
	run(t, "sh", "-c", "docker rmi $(docker images -q --filter label=bot-bottle.role=agent-image --filter reference='bottle-agent' | head -1)")
}

// TestDockerIsChosen: the flag wins over the manifest, the manifest over the variable,
// and the variable over the platform's default.
func TestDockerIsChosen(t *testing.T) {
	m := moor(t, -1, "")
	kind := func(manifest, variable, flag string) string {
		m.write("home/bottles/box.md", "---\nagent_provider: {template: command}\n"+manifest+"---\nA box.\n")
		args := []string{"start", m.agent, "--dry-run", "--format", "json"}
		if flag != "" {
			args = append(args, "--backend", flag)
		}
		cmd := m.command(args...)
		if variable != "" {
			cmd.Env = append(cmd.Env, "BOTTLE_BACKEND="+variable)
		}
		s := finish(t, cmd)
		for _, kind := range []string{"native", "docker"} {
			if strings.Contains(s.out, `"backend": "`+kind+`"`) {
				return kind
			}
		}
		return s.out + s.err
	}
	for _, c := range []struct{ manifest, variable, flag, want string }{
		{"", "", "", "native"},
		{"", "docker", "", "docker"},
		{"backend: native\n", "docker", "", "native"},
		{"backend: docker\n", "native", "", "docker"},
		{"backend: docker\n", "docker", "native", "native"},
		{"", "", "docker", "docker"},
	} {
		if got := kind(c.manifest, c.variable, c.flag); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if got := kind("", "lxc", ""); !strings.Contains(got, "lxc") || !strings.Contains(got, "docker, native") {
		t.Errorf("a kind that is none: %s", got)
	}
}

// TestDockerEngineAway: where no engine answers, what is not about Docker goes on; what
// is says so, and the state of its bottles stays.
func TestDockerEngineAway(t *testing.T) {
	m := moor(t, -1, "")
	if s := m.start("true"); s.code != 0 {
		t.Fatalf("exit %d %s", s.code, s.err)
	}
	id := string(m.identity())
	away := func(args ...string) said {
		cmd := m.command(args...)
		cmd.Env = append(cmd.Env, "DOCKER_HOST=unix:///nonexistent/docker.sock")
		return finish(t, cmd)
	}
	if s := away("start", m.agent, "--yes"); s.code != 125 || !strings.Contains(s.err, "docker.sock") {
		t.Errorf("start: exit %d %s", s.code, s.err)
	}
	if s := away("list", "active", "--all"); s.code != 0 || !strings.Contains(s.out, id) {
		t.Errorf("list: exit %d %s%s", s.code, s.out, s.err)
	}
	if s := away("cleanup", "--yes"); s.code != 0 || strings.Contains(s.out, id) || !strings.Contains(s.err, "backend docker") {
		t.Errorf("cleanup: exit %d %s%s", s.code, s.out, s.err)
	}
	m.cleanedUp("with the engine") // and then the state goes
	if s := away("cleanup", "--yes"); s.code != 0 || strings.Contains(s.err, "docker") {
		t.Errorf("cleanup, with nothing of docker: exit %d %s%s", s.code, s.out, s.err)
	}
}

// TestDockerOnATerminal: a person's session in tmux: the question, a terminal of the
// bottle's own with the pane's size, Ctrl-C for what runs in it, and the exit code;
// meanwhile another terminal lists the bottle, reads its gateway and stops another one.
func TestDockerOnATerminal(t *testing.T) {
	operators(t, func(t *testing.T, uid int) {
		require.Tool(t, "tmux")
		m := moor(t, uid, "")
		before := known(t)
		b, master := m.onTerminalOf(m.as(m.command("start", m.agent)))
		b.says("Start it?")
		b.types("y")
		b.says("$ ")
		b.types("test -t 0 && stty size")
		b.says("31 97")
		resize(t, master, 42, 142)
		require.Eventually(t, limit, "the new size arrives", func() bool {
			b.types("stty size")
			sleepABit()
			return strings.Contains(b.out.String(), "42 142")
		})
		id := string(m.identity())
		if out := m.tool("list", "active"); !strings.Contains(out, id) || !strings.Contains(out, "docker") {
			t.Errorf("list: %s", out)
		}
		if s := finish(t, m.as(m.command("proposals"))); s.code != 0 {
			t.Errorf("proposals: exit %d %s%s", s.code, s.out, s.err)
		}
		if s := finish(t, m.as(m.command("reload", id))); s.code != 0 {
			t.Errorf("reload: exit %d %s%s", s.code, s.out, s.err)
		}
		// Nothing of a bottle that runs is for cleanup.
		if s := finish(t, m.as(m.command("cleanup", "--yes"))); s.code != 0 || strings.Contains(s.out, id) {
			t.Errorf("cleanup: exit %d %s%s", s.code, s.out, s.err)
		}
		if s := finish(t, m.as(m.command("stop", id))); s.code != 0 || !strings.Contains(s.out, "stopped "+id) {
			t.Errorf("stop: exit %d %s%s", s.code, s.out, s.err)
		}
		b.ends()
		if after := known(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// TestDockerInTmux: the same in a real terminal program, to the exit code.
func TestDockerInTmux(t *testing.T) {
	require.Tool(t, "tmux")
	m := moor(t, -1, "")
	socket := filepath.Join(m.base, "tmux")
	tmux := func(args ...string) string {
		cmd := exec.Command("tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Dir, cmd.Env = m.work(), m.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v %s", args, err, out)
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", "100", "-y", "40", filepath.Join(m.bin, "bottle")+" start "+m.agent+"; echo code-$?; exec sleep 1000")
	t.Cleanup(func() { tmux("kill-server") })
	shows := func(word string) {
		t.Helper()
		require.Eventually(t, limit, "the pane shows "+word, func() bool {
			sleepABit()
			return strings.Contains(tmux("capture-pane", "-p"), word)
		})
	}
	shows("Start it?")
	tmux("send-keys", "y", "Enter")
	shows("$")
	tmux("send-keys", "echo $((6*7))-cells-$(stty size)", "Enter")
	shows("42-cells-40 100")
	tmux("send-keys", "sleep 1000", "Enter")
	shows("sleep 1000")
	tmux("send-keys", "C-c", "")
	tmux("send-keys", "clear; exit 7", "Enter")
	shows("code-7")
}

// TestDockerKilledAtEveryStep: a start that is killed at any moment leaves nothing that
// cleanup does not find by its label, without state, and a second cleanup finds nothing.
func TestDockerKilledAtEveryStep(t *testing.T) {
	m := moor(t, -1, "")
	before := known(t)
	for _, step := range []string{"reserve the identity", "put up the walls and the gateway", "check the walls from inside", "run the agent"} {
		for _, state := range []bool{true, false} {
			b := m.launch(m.command("start", m.agent, "--yes", "--verbose", "--", "-c", "echo ready; sleep 1000"))
			require.Eventually(t, limit, step, func() bool { sleepABit(); return strings.Contains(b.errs.String(), "· "+step) })
			if err := b.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-b.done
			if !state {
				run(t, "sh", "-c", "rm -rf "+m.home()+"/state/"+m.agent+"-*")
			}
			quiet := 0 // the engine still does what it was asked last
			require.Eventually(t, limit, "cleaned up after "+step, func() bool {
				if quiet++; strings.Contains(m.tool("cleanup", "--discard", "--yes"), m.agent) {
					quiet = 0
				}
				return quiet > 4 && known(t) == before
			})
		}
	}
}

// TestDockerStaleImages: what another version made of a recipe is for cleanup, what this
// one made and what has no label of ours is not, nor what somebody built on it and named.
func TestDockerStaleImages(t *testing.T) {
	m := moor(t, -1, "")
	name := strings.ToLower(word(t, "stale-"))
	images := map[string]string{"Old": "bottle-agent:" + name, "New": "bottle-agent:new-" + name, "Else": name + ":else", "Mine": name + ":mine"}
	m.write("Old", "FROM "+m.image+"\nLABEL bot-bottle.role=agent-image bot-bottle.version=0.0.1\nRUN echo "+name+"\n")
	m.write("New", "FROM "+m.image+"\nLABEL bot-bottle.role=agent-image bot-bottle.version="+bottle.Version+"\nRUN echo "+name+"\n")
	m.write("Else", "FROM "+m.image+"\nLABEL bot-bottle.version=0.0.1\nRUN echo "+name+"\n")
	m.write("Mine", "FROM "+m.image+"\nLABEL bot-bottle.role=agent-image bot-bottle.version=0.0.1\nRUN echo mine "+name+"\n")
	for kind, ref := range images {
		run(t, "docker", "build", "-q", "-t", ref, "-f", filepath.Join(m.base, kind), m.base)
	}
	t.Cleanup(func() { run(t, "docker", "rmi", images["New"], images["Else"], images["Mine"]) })
	id := strings.TrimSpace(run(t, "docker", "images", "-q", "--no-trunc", images["Old"]))
	if s := finish(t, m.command("cleanup", "--yes")); s.code != 0 || !strings.Contains(s.out, id) {
		t.Errorf("cleanup: exit %d %s%s", s.code, s.out, s.err)
	}
	left := run(t, "docker", "images", "--format", "{{.Repository}}:{{.Tag}}")
	for kind, ref := range images {
		if there := slices.Contains(strings.Fields(left), ref); there != (kind != "Old") {
			t.Errorf("%s is there: %t; left: %s", kind, there, left)
		}
	}
	if out := m.tool("cleanup", "--yes"); strings.Contains(out, id) {
		t.Errorf("a second cleanup: %s", out)
	}
}

// The weakness: cleanup removed a stale image by force, under a container of somebody's
// that did not run just then. What is proved: it stays, with its names, and who has it is
// told, with the command; once that is gone the image goes, by all of its names.
func TestDockerStaleImageInUse(t *testing.T) {
	m := moor(t, -1, "")
	name := strings.ToLower(word(t, "used-"))
	one, two := "bottle-agent:"+name, "bottle-agent:also-"+name
	m.write("Old", "FROM "+m.image+"\nLABEL bot-bottle.role=agent-image bot-bottle.version=0.0.1\nRUN echo "+name+"\n")
	run(t, "docker", "build", "-q", "-t", one, "-t", two, "-f", filepath.Join(m.base, "Old"), m.base)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", one, two).Run() })
	id := strings.TrimSpace(run(t, "docker", "images", "-q", "--no-trunc", one))
	run(t, "docker", "create", "--name", name, one, "true")
	t.Cleanup(func() { _ = exec.Command("docker", "rm", name).Run() })
	s := finish(t, m.command("cleanup", "--yes"))
	if s.code != 0 || strings.Contains(s.out, id) || !strings.Contains(s.err, "kept: the image "+id+", which the container "+name+" uses (docker rm "+name+",") {
		t.Errorf("exit %d %s%s", s.code, s.out, s.err)
	}
	for _, ref := range []string{one, two} {
		if got := strings.TrimSpace(run(t, "docker", "images", "-q", "--no-trunc", ref)); got != id {
			t.Errorf("%s is %q", ref, got)
		}
	}
	run(t, "docker", "start", "-a", name) // it still can
	run(t, "docker", "rm", name)
	if s := finish(t, m.command("cleanup", "--yes")); s.code != 0 || !strings.Contains(s.out, id) {
		t.Errorf("exit %d %s%s", s.code, s.out, s.err)
	}
	if left := run(t, "docker", "images", "-q", "bottle-agent:*"+name); left != "" {
		t.Errorf("left: %s", left)
	}
}

// TestDockerDoctor: the trial is a real bottle of containers, whose every wall is proved.
func TestDockerDoctor(t *testing.T) {
	m := moor(t, -1, "")
	before := known(t)
	s := finish(t, m.command("doctor", "--backend", "docker"))
	if s.code != 0 || !strings.Contains(s.out, "every wall of it stood and held") || !strings.Contains(s.out, "`runtime: auto` is run") {
		t.Errorf("exit %d\n%s%s", s.code, s.out, s.err)
	}
	cmd := m.command("doctor", "--backend", "docker")
	cmd.Env = append(cmd.Env, "BOTTLE_GATEWAY_IMAGE=nobody-has-this:1")
	if s := finish(t, cmd); s.code != 1 || !strings.Contains(s.out+s.err, "bottle image build") {
		t.Errorf("without the gateway's image: exit %d\n%s%s", s.code, s.out, s.err)
	}
	if after := known(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestDockerDetached: --backend goes on to the process that holds a bottle in the
// background, and another terminal ends it.
func TestDockerDetached(t *testing.T) {
	m := moor(t, -1, "")
	m.write("home/bottles/box.md", "---\nagent_provider: {template: command, dockerfile: "+m.home()+"/Dockerfile}\n---\nA box.\n")
	before := known(t)
	if s := finish(t, m.command("start", m.agent, "--yes", "--detach", "--backend", "docker")); s.code != 0 {
		t.Fatalf("exit %d\n%s%s", s.code, s.out, s.err)
	}
	if known(t) == before {
		t.Error("it does not run in the engine")
	}
	id := string(m.identity())
	if out := m.tool("list", "active"); !strings.Contains(out, id) || !strings.Contains(out, "docker") {
		t.Errorf("list: %s", out)
	}
	m.tool("stop", id)
	if after := known(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
