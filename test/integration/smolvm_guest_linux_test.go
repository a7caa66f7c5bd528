package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/test/require"
)

// TestMicroVMFromTheCommandLine: what an agent finds in its machine is what it finds on native:
// who it is, its environment, prompt, skills, CA, git user and rewrites; a credential is injected
// that it never saw; it clones and pushes through the git gate, and asks at the server for that.
// There is no Docker engine, and none is asked for.
func TestMicroVMFromTheCommandLine(t *testing.T) {
	require.Tool(t, "curl", "git")
	everyMachine(t, func(t *testing.T, faults smolvmtest.Faults) {
		const secret = "q9Vw3mXs8Lk5Tz2RfNb7"
		given := make(chan string, 1)
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			given <- r.Header.Get("Authorization")
			fmt.Fprintln(w, "from-upstream")
		}))
		defer up.Close()
		f := newWebForge(t)
		h, i := vmHouse(t, "127.9.36.16", faults, "")
		h.env = append(h.env, "DOCKER_HOST=unix:///nonexistent/docker.sock")
		h.write("ca.pem", f.ca)
		h.write("password", "robot:"+forgePassword+"\n")
		h.write("token", secret+"\n")
		for _, name := range []string{"password", "token"} {
			if err := os.Chmod(filepath.Join(h.base, name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h.write("home/bottles/box.md", fmt.Sprintf(`---
agent_provider: {template: command}
git_user: {name: app-bot, email: app-bot@example.com}
env: {GREETING: "hello there"}
egress:
  routes:
    - {host: up.example, ports: [80], auth: {scheme: Bearer, token_ref: "file:%[1]s/token"}, upstream: {address: "%[2]s"}}
git:
  - name: app
    upstream: "https://example.com:%[3]s/app.git"
    auth: {token_ref: "file:%[1]s/password"}
    ca_file: %[1]s/ca.pem
    extra_hosts: {example.com: 127.0.0.1}
    push: {branches: ["agent/*"]}
---
A box.
`, h.base, up.Listener.Addr().String(), f.port))
		if err := os.MkdirAll(filepath.Join(h.base, "user/.claude/skills/my-skill"), 0o755); err != nil {
			t.Fatal(err)
		}
		h.write("user/.claude/skills/my-skill/SKILL.md", "a skill\n")
		h.write("home/agents/"+h.agent+".md", "---\nbottle: box\nskills: [my-skill]\ncommand: [\"/bin/bash\"]\n---\nBe brief.\n")
		h.own()
		s := h.start(asksInside + `
id -u; echo "$GREETING"; cat ~/PROMPT.md ~/.claude/skills/my-skill/SKILL.md; stat -c %u ~/PROMPT.md ~/.claude ~; git config --global user.name; test -s $SSL_CERT_FILE && echo ca
curl -sS http://up.example/; env | grep -c ` + secret + `
ask list-egress-routes '{}' | grep -c up.example
cd /tmp; git clone -q https://example.com:` + f.port + `/app.git a && cd a && git checkout -q -b agent/one && git commit -q --allow-empty -m one && git push -q origin agent/one && echo pushed
git push -q origin HEAD:trunk 2>/dev/null || echo refused; echo changed >/workspace/README`)
		want := "1000\nhello there\nBe brief.\na skill\n1000\n1000\n1000\napp-bot\nca\nfrom-upstream\n0\n1\npushed\nrefused\n"
		if s.code != 0 || s.out != want {
			t.Errorf("exit %d\n%s\nwant\n%s\n%s", s.code, s.out, want, s.err)
		}
		select {
		case got := <-given:
			if got != "Bearer "+secret {
				t.Errorf("upstream was given %q", got)
			}
		default:
			t.Error("upstream was not asked")
		}
		if refs := f.refs(); !strings.Contains(refs, "refs/heads/agent/one") {
			t.Errorf("upstream has %s", refs)
		}
		if log := h.tool("audit", string(h.identity())); !strings.Contains(log, "up.example") || strings.Contains(log, secret) {
			t.Errorf("audit: %s", log)
		}
		if out := h.tool("doctor", "--verbose", "--backend", "smolmachines"); !strings.Contains(out, "1 of 1 free") {
			t.Errorf("doctor: %s", out)
		}
		if m := i.Machines(); len(m) != 0 {
			t.Errorf("left: %+v", m)
		}
		h.cleanedUp("after a start")
	})
}

// TestInvariant7MicroVMKilledAtEveryStep: a start that is killed at any moment leaves nothing
// that a cleanup does not find, without state; a second cleanup finds nothing, and the only
// address of the pool is free again.
func TestInvariant7MicroVMKilledAtEveryStep(t *testing.T) {
	h, i := vmHouse(t, "127.9.37.16", smolvmtest.Faults{}, "")
	for _, step := range []string{"reserve the identity", "put up the walls and the gateway", "check the walls from inside", "run the agent"} {
		for _, state := range []bool{true, false} {
			b := h.launch(h.command("start", h.agent, "--yes", "--verbose", "--", "-c", "echo ready; sleep 1000"))
			require.Eventually(t, limit, step, func() bool { sleepABit(); return strings.Contains(b.errs.String(), "· "+step) })
			if err := b.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-b.done
			if !state {
				run(t, "sh", "-c", "rm -rf "+h.home()+"/state/"+h.agent+"-*")
			}
			quiet := 0 // smolvm still does what it was asked last
			require.Eventually(t, limit, "cleaned up after "+step, func() bool {
				if quiet++; strings.Contains(h.tool("cleanup", "--discard", "--yes"), h.agent) {
					quiet = 0
				}
				return quiet > 4 && len(i.Machines()) == 0 && len(h.pids("bottle-gateway")) == 0
			})
		}
	}
	if s := h.start("echo again"); s.code != 0 || s.out != "again\n" {
		t.Errorf("the only address is not free: %+v", s)
	}
}
