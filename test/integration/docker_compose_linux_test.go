package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"bottle/test/require"
)

// composed is a bottle that was written for docker compose.
type composed struct {
	moored
	project, file string
	env           []string
}

// compose writes the bottle of the house's agent with this script. env is what whoever brings
// it up has besides.
func (m moored) compose(script string, env ...string) composed {
	m.t.Helper()
	m.write("home/agents/"+m.agent+".md", "---\nbottle: box\ncommand: [\"/bin/bash\"]\n---\nBe brief.\n")
	m.own()
	cmd := m.as(m.command("export", "compose", m.agent, "--", "-c", script))
	cmd.Env = append(cmd.Env, env...)
	s := finish(m.t, cmd)
	if s.code != 0 {
		m.t.Fatalf("exit %d %s", s.code, s.err)
	}
	m.write("compose.yaml", s.out)
	c := composed{moored: m, project: strings.ToLower(m.agent), file: filepath.Join(m.base, "compose.yaml"), env: append(append([]string{}, os.Environ()...), env...)}
	m.t.Cleanup(func() { c.do("down", "-v", "-t", "1") })
	_, first, _ := strings.Cut(s.out, "# Before the first up:\n#\n")
	first, _, _ = strings.Cut(first, "\n#\n")
	for line := range strings.Lines(first) {
		if line = strings.TrimSpace(strings.TrimPrefix(line, "#")); strings.HasPrefix(line, "install ") {
			run(m.t, "sh", "-c", line)
		}
	}
	return c
}

func (c composed) do(args ...string) string {
	c.t.Helper()
	cmd := exec.Command("docker-compose", append([]string{"-p", c.project, "-f", c.file}, args...)...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("docker-compose %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// id is the engine's name of a service's container.
func (c composed) id(service string) string {
	c.t.Helper()
	return strings.TrimSpace(run(c.t, "docker", "ps", "-aq", "--filter", "label=com.docker.compose.project="+c.project, "--filter", "label=com.docker.compose.service="+service))
}

// ends waits for the agent, and gives its exit code and all that it said.
func (c composed) ends() (code, said string) {
	c.t.Helper()
	agent := c.id("agent")
	out, err := exec.Command("timeout", "100", "docker", "wait", agent).CombinedOutput()
	said = run(c.t, "sh", "-c", "docker logs "+agent+" 2>&1")
	if err != nil {
		c.t.Fatalf("the agent does not end: %s\n%s\nthe fence: %s\nthe gateway: %s", out, said, run(c.t, "sh", "-c", "docker logs "+c.id("fence")+" 2>&1"), run(c.t, "sh", "-c", "docker logs "+c.id("gateway")+" 2>&1"))
	}
	return strings.TrimSpace(string(out)), said
}

// TestDockerCompose: a bottle that docker compose brings up of what was exported has the walls
// of one that was started: each was tried from inside before the agent ran, what is listed
// passes with the credential that neither file nor agent has, what is not is refused, without a
// gateway nothing leaves, and down leaves nothing.
func TestDockerCompose(t *testing.T) {
	require.Docker(t)
	require.Tool(t, "docker", "docker-compose")
	operators(t, func(t *testing.T, uid int) {
		const byName, byFile = "q9Vw3mXs8Lk5Tz2RfNb7", "hT6yWq2ZpXc4Vb8Nm1Kd"
		var mu sync.Mutex
		var given []string
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			given = append(given, r.Header.Get("Authorization"))
			fmt.Fprintln(w, "from-upstream")
		}))
		defer up.Close()
		at := bridged(t, up.Listener.Addr().String())
		m := moor(t, uid, "")
		m.write("token", byFile+"\n")
		if err := os.Chmod(filepath.Join(m.base, "token"), 0o600); err != nil {
			t.Fatal(err)
		}
		m.write("home/bottles/box.md", fmt.Sprintf(`---
backend: docker
agent_provider: {template: command, dockerfile: %[1]s/home/Dockerfile}
git_user: {name: app-bot, email: app-bot@example.com}
env: {GREETING: "hel$lo $$", FROM_HOST: "${SHOWN_TO_AGENT}"}
limits: {memory: 512MiB, cpus: 1.5, pids: 111, open_files: 999}
egress:
  routes:
    - {host: up.example, ports: [80], auth: {scheme: Bearer, token_ref: UP_TOKEN}, upstream: {address: "%[2]s"}}
    - {host: file.example, ports: [80], auth: {scheme: Bearer, token_ref: "file:%[1]s/token"}, upstream: {address: "%[2]s"}}
---
A box.
`, m.base, at))
		m.own()
		run(t, "chown", "-R", agentOf(uid)+":"+agentOf(uid), m.work())
		if s := m.start("true"); s.code == 0 { // it has no UP_TOKEN
			t.Fatal("it started without its credential")
		}
		before := known(t)
		env := []string{"UP_TOKEN=" + byName, "BOTTLE_VALUE_2=" + byFile, "SHOWN_TO_AGENT=seen"}
		c := m.compose(sayShell+`
id -u; echo "$GREETING $FROM_HOST"; cat ~/PROMPT.md; git config --global user.name; test -s $SSL_CERT_FILE && grep -c BEGIN $NODE_EXTRA_CA_CERTS; ulimit -n
say up.example 80 'GET / HTTP/1.1' 'Host: up.example' | tail -1
say file.example 80 'GET / HTTP/1.1' 'Host: file.example' | tail -1
say egress 9099 'GET http://other.example/ HTTP/1.1' 'Host: other.example' | head -1
(say 192.0.2.1 80 'GET / HTTP/1.1') 2>/dev/null || echo refused
(say 172.17.0.1 `+at[strings.LastIndexByte(at, ':')+1:]+` 'GET / HTTP/1.1') 2>/dev/null || echo refused
echo mine > /workspace/new; cat /workspace/README; ls /sys/class/net; touch /usr/x 2>/dev/null || echo read-only; echo ready
while (exec 3<>/dev/tcp/127.0.0.1/9099) 2>/dev/null; do sleep 0.1; done
(say up.example 80 'GET / HTTP/1.1' 'Host: up.example') 2>/dev/null || echo no-gateway-no-egress
exit 7`, env...)
		text, err := os.ReadFile(c.file)
		if err != nil || strings.Contains(string(text), byName) || strings.Contains(string(text), byFile) {
			t.Errorf("the file holds a value: %v\n%s", err, text)
		}
		if files := strings.Contains(string(text), "secrets: [value-2]"); files != (uid >= 0) { // root's is for root alone, and the gateway is not root
			t.Errorf("a file of values: %v", files)
		}
		if s := m.image; strings.TrimSpace(run(t, "sh", "-c", "docker images -q "+regexp.MustCompile(`bottle-agent:\w+`).FindString(string(text)))) == "" {
			t.Fatal("no image of the agent, on " + s)
		}
		c.do("up", "-d")
		agent, gateway := c.id("agent"), c.id("gateway")
		require.Eventually(t, 4*limit, "the agent is ready", func() bool {
			sleepABit()
			out, _ := exec.Command("docker", "logs", agent).CombinedOutput() // it may be on its way
			running, _ := exec.Command("docker", "inspect", "-f", "{{.State.Running}}", agent).Output()
			return strings.Contains(string(out), "\nready\n") || strings.TrimSpace(string(running)) == "false"
		})
		if running := run(t, "docker", "inspect", "-f", "{{.State.Running}} {{.State.ExitCode}}", gateway); running != "true 0\n" {
			t.Fatalf("the gateway: %s %s\nthe fence: %s\nthe agent: %s", running, c.do("logs", "gateway"), c.do("logs", "fence"), c.do("logs", "agent"))
		}
		seen := run(t, "docker", "inspect", agent, c.id("fence"))
		if strings.Contains(seen, byName) || strings.Contains(seen, byFile) {
			t.Error("the engine says a value of the agent's container")
		}
		log := run(t, "docker", "exec", gateway, "cat", "/run/bottle/audit.jsonl")
		if !strings.Contains(log, "up.example") || !strings.Contains(log, "other.example") || strings.Contains(log, byName) {
			t.Errorf("audit: %s", log)
		}
		if out := run(t, "docker", "exec", gateway, "/usr/local/bin/bottle-jail", "healthy", "/run/bottle/control"); out != "" {
			t.Error(out)
		}
		run(t, "docker", "kill", gateway)
		code, said := c.ends()
		want := agentOf(uid) + "\nhel$lo $$ seen\nBe brief.\napp-bot\n1\n999\nfrom-upstream\nfrom-upstream\nHTTP/1.1 403 Forbidden\nrefused\nrefused\na project\nlo\nread-only\nready\nno-gateway-no-egress\n"
		if code != "7" || said != want {
			t.Errorf("exit %s\n%s\nwant\n%s", code, said, want)
		}
		mu.Lock()
		if len(given) != 2 || given[0] != "Bearer "+byName || given[1] != "Bearer "+byFile {
			t.Errorf("upstream was given %q", given)
		}
		mu.Unlock()
		if _, err := os.Stat(filepath.Join(m.work(), "new")); err == nil {
			t.Error("the workspace itself was written to")
		}
		c.do("down", "-v", "-t", "5")
		if after := known(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// TestDockerComposeWithoutAFence: an agent whose network nobody made has none, and does not run.
// One whose wall is broken does not run either: it could come to have a capability.
func TestDockerComposeWithoutAFence(t *testing.T) {
	require.Docker(t)
	require.Tool(t, "docker", "docker-compose")
	m := moor(t, -1, "workspace: {mode: none}\negress: {routes: [{host: api.example.com}]}\n")
	if s := m.start("true"); s.code != 0 { // makes the image
		t.Fatalf("exit %d %s", s.code, s.err)
	}
	c := m.compose("echo it-runs")
	c.do("up", "-d", "agent")
	if out := run(t, "sh", "-c", "timeout 4 docker wait "+c.id("agent")+" || docker logs "+c.id("agent")+" 2>&1; docker exec "+c.id("agent")+" cat /proc/net/dev"); strings.Contains(out, "it-runs") || strings.Contains(out, "eth0") {
		t.Errorf("without a fence: %s", out)
	}
	c.do("down", "-v", "-t", "1")
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	m.write("compose.yaml", strings.Replace(string(text), "    hostname: \""+string(regexp.MustCompile(`hostname: "([^"]+)"`).FindStringSubmatch(string(text))[1])+"\"\n", "    hostname: other\n    cap_add: [NET_RAW]\n", 1))
	c.do("up", "-d")
	if code, said := c.ends(); code != "125" || !strings.Contains(said, "capabilit") || strings.Contains(said, "it-runs") {
		t.Errorf("with a capability: exit %s\n%s", code, said)
	}
	c.do("down", "-v", "-t", "1")
}

// TestDockerComposeRefuses: what no such file can do is said, and nothing is written.
func TestDockerComposeRefuses(t *testing.T) {
	m := moor(t, -1, "git: [{name: app, upstream: \"ssh://git@example.com/app.git\", key_file: /dev/null, host_key: \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0\"}]\n")
	if s := finish(t, m.command("export", "compose", m.agent)); s.code == 0 || s.out != "" {
		t.Errorf("exit %d\n%s%s", s.code, s.out, s.err)
	}
	if s := finish(t, m.command("export", "compose", m.agent, "more")); s.code != 2 || s.out != "" {
		t.Errorf("exit %d\n%s%s", s.code, s.out, s.err)
	}
}
