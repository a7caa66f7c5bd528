package integration

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"bottle/internal/backend/docker"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/test/require"
)

// withContainers is an operator whose micro-VMs have gateways in containers.
func withContainers(t *testing.T, pool string) (*house, *smolvmtest.Installed, string) {
	t.Helper()
	host, base := require.Docker(t)
	h, i := vmHouse(t, pool, smolvmtest.Faults{}, "gateway: container\n")
	h.env = append(h.env, "DOCKER_HOST="+host, "BOTTLE_GATEWAY_IMAGE="+gatewayWithGit(t, require.Binaries(t), base))
	return h, i, host
}

// gates are the containers of gateways of this test's bottles.
func (h *house) gates() []string {
	return strings.Fields(run(h.t, "docker", "ps", "-q", "--no-trunc", "--filter", "label=bot-bottle.role=gateway", "--filter", "name=bottle-"+h.agent))
}

// inEngine is all that the engine has of this test's bottles.
func (h *house) inEngine() string {
	h.t.Helper()
	out := ""
	for _, what := range []string{"ps -a", "network ls", "volume ls"} {
		out += run(h.t, "sh", "-c", "docker "+what+" -q --filter name=bottle-"+h.agent)
	}
	return strings.TrimSpace(out)
}

// Two bottles whose gateways are containers: neither reaches the other's, nor what listens
// on 127.0.0.1; without the token the door says nothing. The pool sees who holds what, and
// a container that is killed frees its address and ends its bottle.
func TestMicroVMGatewaysInContainers(t *testing.T) {
	h, i, host := withContainers(t, "127.9.50.16-127.9.50.18")
	sentinel, n := counted(t, "127.0.0.1:0")
	before := h.inEngine()
	dry := finish(t, h.command("start", h.agent, "--dry-run", "--format", "json"))
	for _, want := range []string{"gateway: container", "bottle-" + h.agent, "-gateway\"", "-egress\""} {
		if dry.code != 0 || !strings.Contains(dry.out, want) {
			t.Errorf("the dry run lacks %q: %+v", want, dry)
		}
	}
	if got := h.inEngine(); got != before {
		t.Errorf("the dry run made something: %s", got)
	}
	script := "echo ready; read x; for a in 127.9.50.16 127.9.50.17; do (exec 3<>/dev/tcp/$a/9097) 2>/dev/null && echo agent reached $a; done; echo done"
	one := h.launch(h.command("start", h.agent, "--yes", "--", "-c", "exec /bin/bash -c '"+script+"'"))
	one.says("ready")
	two := h.launch(h.command("start", h.agent, "--yes", "--", "-c", "exec /bin/bash -c '"+script+"'"))
	two.says("ready")
	if got := h.gates(); len(got) != 2 {
		t.Fatalf("containers %v", got)
	}
	apart(t, i, sentinel, "127.9.50.16", "127.9.50.17")
	r, err := loopback.ParseRange("127.9.50.16-127.9.50.18")
	if err != nil {
		t.Fatal(err)
	}
	pool := loopback.Pool{Range: r, Bound: (&docker.Docker{Host: host}).Published}
	lease, err := pool.Allocate(t.Context())
	if err != nil || lease.Addr.String() != "127.9.50.18" {
		t.Fatalf("with two running bundles: %+v, %v", lease, err)
	}
	lease.Close()
	if out := h.tool("doctor", "--verbose"); !strings.Contains(out, "1 of 3 free") || !strings.Contains(out, "a port of the container bottle-"+h.agent) {
		t.Errorf("doctor: %s", out)
	}
	first := h.gates()[0]
	run(t, "docker", "kill", "-s", "KILL", first)
	require.Eventually(t, limit, "the address of the killed container is free", func() bool {
		l, err := pool.Allocate(t.Context())
		if err != nil {
			return false
		}
		defer l.Close()
		return l.Addr.String() != "127.9.50.18"
	})
	require.Eventually(t, limit, "its bottle has ended", func() bool { return len(i.Machines()) == 1 })
	one.types("go")
	two.types("go")
	codes := []int{one.ends(), two.ends()}
	if codes[0]+codes[1] != 125 {
		t.Errorf("exit codes %v: %s%s", codes, one.errs, two.errs)
	}
	if strings.Contains(one.out.String()+two.out.String(), "reached") || n.Load() != 0 {
		t.Errorf("somebody was reached: %s%s, %d", one.out, two.out, n.Load())
	}
	if after := h.inEngine(); after != before {
		t.Errorf("the engine has more than before:\n%s\n%s", before, after)
	}
	h.cleanedUp("after bottles with containers")
}

// A start that is killed ends its gateway's container, and cleanup finds the rest with no
// state at all.
func TestInvariant7MicroVMKilledWithAContainer(t *testing.T) {
	h, i, _ := withContainers(t, "127.9.51.16")
	before := h.inEngine()
	b := h.begin("echo ready; read x")
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.ends()
	require.Eventually(t, limit, "the container has ended", func() bool { return len(h.gates()) == 0 })
	run(t, "rm", "-rf", h.home()+"/state")
	out := h.tool("cleanup", "--yes")
	if !strings.Contains(out, "machine") || !strings.Contains(out, "network") {
		t.Errorf("cleanup: %s", out)
	}
	if after := h.inEngine(); after != before || len(i.Machines()) != 0 {
		t.Errorf("left: %s\n%s, %+v", before, after, i.Machines())
	}
	if s := h.start("echo again"); s.code != 0 || s.out != "again\n" {
		t.Errorf("the only address is not free: %+v", s)
	}
}

// What the agent sends passes a gateway in a container as it passes one on the host, and
// is recorded.
func TestMicroVMEgressThroughAContainer(t *testing.T) {
	h, _, _ := withContainers(t, "127.9.52.16")
	require.Tool(t, "curl")
	s := h.start(`curl -sS -o /dev/null -w '%{http_code}\n' http://gateway.bottle/; curl -sS -o /dev/null -w '%{http_code}\n' http://other.invalid/`)
	if s.code != 0 || s.out != "200\n403\n" {
		t.Fatalf("%+v", s)
	}
	found := false
	for _, r := range h.records() {
		found = found || strings.Contains(strings.ToLower(fmt.Sprint(r)), "other.invalid")
	}
	if !found {
		t.Errorf("no record of other.invalid: %v", h.records())
	}
}

// An address that somebody takes between the look and the engine's binding is left to him.
func TestMicroVMContainerFindsItsAddressTaken(t *testing.T) {
	h, _, host := withContainers(t, "127.9.53.16")
	name := "bottle-test-" + h.agent
	_, base := require.Docker(t)
	run(t, "docker", "run", "-d", "--rm", "--name", name, "-p", "127.9.53.16:9097:80", base, "sleep", "600")
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", name).Run() })
	held, err := (&docker.Docker{Host: host}).Published(t.Context())
	if err != nil || !strings.Contains(fmt.Sprint(held), name) {
		t.Errorf("published: %v, %v", held, err)
	}
	s := h.start("echo the agent ran")
	if s.code != 125 || strings.Contains(s.out, "the agent ran") || !strings.Contains(s.err, name) {
		t.Errorf("%+v", s)
	}
}

// Where there is no engine, or nothing that it would mean, the start says so beforehand.
func TestMicroVMContainerRefused(t *testing.T) {
	h, _ := vmHouse(t, "127.9.54.16", smolvmtest.Faults{}, "gateway: container\n")
	h.env = append(h.env, "DOCKER_HOST=unix:///nonexistent/docker.sock")
	if s := h.start("echo the agent ran"); s.code == 0 || strings.Contains(s.out, "the agent ran") || !strings.Contains(s.err, "`gateway: container` needs Docker") {
		t.Errorf("without an engine: %+v", s)
	}
	s := finish(t, h.command("start", h.agent, "--yes", "--backend", "native", "--", "-c", "echo the agent ran"))
	if s.code == 0 || strings.Contains(s.out, "the agent ran") || !strings.Contains(s.err, "has no meaning on native") {
		t.Errorf("on native: %+v", s)
	}
}
