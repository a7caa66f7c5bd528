package integration

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/test/require"
)

// bundleOf is the gateway's container of the bottle that runs, and the gateway's process in
// it, as this machine counts.
func (m moored) bundleOf() (name string, pid int) {
	m.t.Helper()
	name = "bottle-" + string(m.identity()) + "-gateway"
	for line := range strings.Lines(run(m.t, "docker", "top", name, "-eo", "pid,args")) {
		if strings.Contains(line, "/bottle-gateway serve") || strings.Contains(line, " bottle-gateway serve") {
			if f := strings.Fields(line); !strings.Contains(line, "docker-init") && !strings.Contains(line, "tini") {
				fmt.Sscan(f[0], &pid)
			}
		}
	}
	if pid == 0 {
		m.t.Fatalf("no gateway in %s: %s", name, run(m.t, "docker", "top", name))
	}
	return name, pid
}

// TestInvariant4DockerGatewayKilled: the gateway's process is killed, its container is, and it
// is told to stop. Nothing leaves without it, the agent is told to end, the operator hears why,
// and nothing of the bottle is left. It is not begun again: the next gateway would know nothing
// of what the agent did before.
func TestInvariant4DockerGatewayKilled(t *testing.T) {
	for how, end := range map[string]func(name string, pid int) error{
		"its process is killed":   func(_ string, pid int) error { return syscall.Kill(pid, syscall.SIGKILL) },
		"its container is killed": func(name string, _ int) error { return exec.Command("docker", "kill", name).Run() },
		"it is told to stop":      func(name string, _ int) error { return exec.Command("docker", "stop", "-t", "60", name).Run() },
	} {
		t.Run(how, func(t *testing.T) {
			m := moor(t, -1, "egress: {routes: [{host: api.example.com}]}\n")
			before := known(t)
			b := m.begin(sayShell + `
try() { (say $1 $2 'GET http://gateway.bottle/ HTTP/1.1' "Host: gateway.bottle") >/tmp/said 2>&1 && echo "reached $1: $(head -1 /tmp/said)" || echo "none to $1"; }
trap 'echo told; try egress 9099; try 127.0.0.1 9099; try api.example.com 443; try 192.0.2.1 80; exit 0' TERM
try egress 9099; echo ready; while :; do sleep 0.05; done`)
			if !strings.Contains(b.out.String(), "reached egress: HTTP/1.1 200") {
				t.Fatalf("the gateway did not answer: %s", b.out)
			}
			begun := time.Now()
			if err := end(m.bundleOf()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); how == "it is told to stop" && took > 50*time.Second {
				t.Errorf("it did not hear SIGTERM: %v", took)
			}
			if code := b.ends(); code != 125 || !strings.Contains(b.errs.String(), "the gateway has ended, and nothing leaves a bottle without one") || !strings.Contains(b.errs.String(), "bottle audit "+string(m.identity())) {
				t.Errorf("exit %d: %s", code, b.errs)
			}
			_, after, _ := strings.Cut(b.out.String(), "told\n")
			if strings.Contains(after, "reached") || strings.Count(after, "none to ") != 4 {
				t.Errorf("without a gateway the agent got %q", after)
			}
			m.tool("audit", string(m.identity()), "--verify")
			if after := known(t); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// TestDockerGatewayGoneAgentDeaf: an agent that does not heed is ended all the same.
func TestDockerGatewayGoneAgentDeaf(t *testing.T) {
	m := moor(t, -1, "")
	before := known(t)
	b := m.begin("trap '' TERM; echo ready; while :; do sleep 0.05; done")
	_, pid := m.bundleOf()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := b.ends(); code != 125 || !strings.Contains(b.errs.String(), "the gateway has ended") {
		t.Errorf("exit %d: %s", code, b.errs)
	}
	if after := known(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestDockerBundleUpkeep: init reaps what is left behind, and the engine's health check asks
// the gateway itself: it is well, it is not while it hangs, and then it is again.
func TestDockerBundleUpkeep(t *testing.T) {
	m := moor(t, -1, "egress: {routes: [{host: api.example.com}]}\n")
	id := m.leave("read x")
	name, pid := m.bundleOf()
	check := strings.Fields(strings.Trim(run(t, "docker", "inspect", "-f", "{{join .Config.Healthcheck.Test \" \"}}", name), "\n"))
	if len(check) != 4 || check[0] != "CMD" {
		t.Fatalf("its check: %q", check)
	}
	ask := func() (string, error) {
		out, err := exec.Command("docker", append([]string{"exec", name}, check[1:]...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := ask(); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	out, err := ask()
	if err == nil || !strings.Contains(out, "hear the gateway") {
		t.Errorf("of one that hangs: %v %s", err, out)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("docker", "exec", name, check[1], check[2], "/nowhere").CombinedOutput(); err == nil || !strings.Contains(string(out), "reach the gateway") {
		t.Errorf("of none: %v %s", err, out)
	}
	run(t, "docker", "exec", name, "sh", "-c", "for i in 1 2 3; do (sleep 0.1 &) ; done")
	require.Eventually(t, limit, "init reaps", func() bool {
		sleepABit()
		list := run(t, "docker", "top", name, "-eo", "pid,stat,comm")
		return !strings.Contains(list, "sleep") && !strings.Contains(list, " Z")
	})
	require.Eventually(t, 4*limit, "the engine says that it is well", func() bool {
		sleepABit()
		return strings.TrimSpace(run(t, "docker", "inspect", "-f", "{{.State.Health.Status}}", name)) == "healthy"
	})
	m.tool("stop", id)
}
