package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/test/require"
)

// vmHouse is an operator with the stand-in on his PATH. Each has a pool of his own, so
// that no test waits for another's address.
func vmHouse(t *testing.T, pool string, faults smolvmtest.Faults, spec string) (*house, *smolvmtest.Installed) {
	t.Helper()
	require.Root(t)
	require.Native(t)
	uid := -1
	if strings.HasPrefix(t.Name(), ordinary+"/") || strings.Contains(t.Name(), "/ordinary_user/") {
		uid = nobody
	}
	h := newHouse(t, uid, spec)
	return h, h.inMicroVMs(pool, faults)
}

// inMicroVMs has the stand-in installed and chosen.
func (h *house) inMicroVMs(pool string, faults smolvmtest.Faults) *smolvmtest.Installed {
	i := smolvmtest.InstallFor(h.t, faults, max(h.uid, 0))
	h.env = append(h.env, "PATH="+filepath.Dir(i.Path)+":"+os.Getenv("PATH"), "BOTTLE_BACKEND=smolmachines", "BOTTLE_VM_IMAGE="+i.Rootfs, "BOTTLE_LOOPBACK="+pool)
	return i
}

// ordinary names the test whose subtests have an operator who is not root.
const ordinary = "TestMicroVMOfAnOrdinaryUser"

// TestMicroVMOfAnOrdinaryUser: all of it for an operator who is not root, which on a real machine
// he is: his folders, his gateway, his addresses; what the agent writes is his.
func TestMicroVMOfAnOrdinaryUser(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"command": TestMicroVMByTheCommand, "egress": TestMicroVMEgressEndToEnd, "guest": TestMicroVMFromTheCommandLine, "dropped allow-list": TestMicroVMRefusesADroppedAllowList,
		"two": TestInvariant10MicroVMsReachOnlyTheirOwnAddress, "argv": TestInvariant2MicroVMArgvHoldsNothing, "killed": TestInvariant7MicroVMKilled,
		"killed at every step": TestInvariant7MicroVMKilledAtEveryStep, "gateway killed": TestMicroVMGatewayKilledFreesItsAddress, "exhausted": TestMicroVMPoolExhausted,
		"faults": TestMicroVMOverKnownFaults, "left running": TestMicroVMLeftRunning, "attach": TestMicroVMAttach, "terminal": TestMicroVMOnATerminal, "dashboard": TestMicroVMOnTheDashboard,
		"workspaces": TestMicroVMWorkspaces, "archive": TestMicroVMFromAnArchive, "resume": TestMicroVMResume, "resume after a kill": TestMicroVMResumeAfterAKill,
		"resume after a failure": TestMicroVMResumeAfterItFailed, "hostile conversation": TestMicroVMHostileConversation,
	} {
		t.Run(name, test)
	}
}

// counted is a listener that counts who reaches it.
func counted(t *testing.T, address string) (string, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	n := &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			c.Close()
		}
	}()
	return l.Addr().String(), n
}

// asRoot runs a script as the root of a machine, outside the jail: what an agent that
// broke out of it would be.
func asRoot(t *testing.T, i *smolvmtest.Installed, machine, script string) string {
	t.Helper()
	out, _ := exec.Command(i.Path, "machine", "exec", "--name", machine, "--", "/bin/sh", "-c", "[ -x /bin/bash ] && exec /bin/bash -c \"$0\"; eval \"$0\"", script).CombinedOutput()
	return string(out)
}

// reaches tells whether a machine's root connects.
func reaches(t *testing.T, i *smolvmtest.Installed, machine, address string) bool {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	said := asRoot(t, i, machine, "(exec 3<>/dev/tcp/"+host+"/"+port+") && echo reached || echo refused")
	if !strings.Contains(said, "reached") && !strings.Contains(said, "refused") {
		t.Fatalf("the machine said %q", said)
	}
	return strings.Contains(said, "reached")
}

// A whole start, by the command: the agent works, its exit code passes, nothing stays.
func TestMicroVMByTheCommand(t *testing.T) {
	h, i := vmHouse(t, "127.9.20.16-127.9.20.17", smolvmtest.Faults{}, "")
	s := h.start("cat /workspace/README; id -u; echo changed >/workspace/new; exit 7")
	if s.code != 7 || s.out != "a project\n1000\n" {
		t.Fatalf("%+v", s)
	}
	if len(i.Machines()) != 0 {
		t.Errorf("machines are left: %+v", i.Machines())
	}
	h.nothingLeft("after a start")
	if out := h.tool("changes", string(h.identity())); !strings.Contains(out, "new") {
		t.Errorf("changes: %s", out)
	}
	out := h.tool("doctor", "--verbose")
	for _, want := range []string{"machine", "door", "2 of 2 free in 127.9.20.16-127.9.20.17", "smolvm 1.9.3"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor lacks %q:\n%s", want, out)
		}
	}
	h.cleanedUp("after a start")
}

// What the agent sends comes to the gateway by every way that native has: as to a proxy,
// as a redirected connection of a program that knows none, by name; what the kernel
// refuses is recorded.
func TestMicroVMEgressEndToEnd(t *testing.T) {
	require.Root(t)
	require.Native(t)
	require.Tool(t, "curl")
	_, h := upstream(t, -1)
	h.inMicroVMs("127.9.34.16", smolvmtest.Faults{})
	s := h.start(`curl -sS https://api.example.com/v1/proxied
		curl -sS --noproxy '*' https://api.example.com/v1/redirected
		curl -sS -o /dev/null -w '%{http_code}\n' https://api.example.com/other
		curl -sS --noproxy '*' https://other.invalid/ 2>/dev/null || echo no such name
		curl -sS --noproxy '*' --max-time 5 http://10.1.2.3:5432/ 2>/dev/null || echo refused
		env | grep -c ` + theSecret)
	want := "hello from the API at /v1/proxied\nhello from the API at /v1/redirected\n403\nno such name\nrefused\n0\n"
	if s.out != want {
		t.Fatalf("got %q\n%s", s.out, s.err)
	}
	seen := fmt.Sprint(h.records())
	for _, host := range []string{"/v1/proxied", "/v1/redirected", "other.invalid", "10.1.2.3"} {
		if !strings.Contains(seen, host) {
			t.Errorf("no record of %s: %s", host, seen)
		}
	}
	h.cleanedUp("after the requests")
}

// The weakness: smolvm takes --allow-cidr and does not enforce it. The attack: an agent
// that reaches the host's databases, and the world. This proves that the start ends
// before the agent runs, in words, and that no packet has gone out.
func TestMicroVMRefusesADroppedAllowList(t *testing.T) {
	world, n := counted(t, "127.0.0.1:0")
	h, i := vmHouse(t, "127.9.21.16-127.9.21.17", smolvmtest.Faults{DropAllow: true, World: world}, "")
	s := h.start("echo the agent ran")
	if s.code != 125 || strings.Contains(s.out, "the agent ran") || !strings.Contains(s.err, "vm-reaches 127.0.0.1:") || !strings.Contains(s.err, "vm-reaches 127.9.21.17:") {
		t.Errorf("%+v", s)
	}
	if got := n.Load(); got != 0 {
		t.Errorf("%d connections went out to the world", got)
	}
	if len(i.Machines()) != 0 {
		t.Errorf("machines are left: %+v", i.Machines())
	}
	h.cleanedUp("after a refused start")
}

// The weakness: smolvm takes the :ro of a share, and lets the VM write to it. The attack: who
// broke out of the jail changes the operator's workspace, of which the bottle has a private
// view. This proves that the start tries it, ends before the agent runs, and leaves nothing there.
func TestMicroVMRefusesAWritableShare(t *testing.T) {
	h, i := vmHouse(t, "127.9.36.16-127.9.36.17", smolvmtest.Faults{DropRO: true}, "")
	s := h.start("echo the agent ran")
	if s.code != 125 || strings.Contains(s.out, "the agent ran") || !strings.Contains(s.err, "vm-writes /mnt/bottle/work does not hold") || !strings.Contains(s.err, "vm-writes /mnt/bottle/self does not hold") {
		t.Errorf("%+v", s)
	}
	if len(i.Machines()) != 0 {
		t.Errorf("machines are left: %+v", i.Machines())
	}
	h.cleanedUp("after a refused start")
}

// The weakness: a version holds its allow-list for the loopback, and lets the VM into the world,
// as plain --net does. This proves that the start tries addresses of nobody, the metadata
// address among them, and ends before the agent runs.
func TestMicroVMRefusesAnOpenWorld(t *testing.T) {
	world, n := counted(t, "127.0.0.1:0")
	h, i := vmHouse(t, "127.9.35.16-127.9.35.17", smolvmtest.Faults{OpenWorld: true, World: world}, "")
	s := h.start("echo the agent ran")
	if s.code != 125 || strings.Contains(s.out, "the agent ran") {
		t.Errorf("%+v", s)
	}
	for _, to := range []string{"192.0.2.1:53", "192.0.2.1:443", "169.254.169.254:80"} {
		if !strings.Contains(s.err, "vm-reaches "+to+" does not hold") {
			t.Errorf("it was not told of %s: %s", to, s.err)
		}
	}
	if n.Load() == 0 {
		t.Error("nothing came to what stands for the world: the fault is none")
	}
	if len(i.Machines()) != 0 {
		t.Errorf("machines are left: %+v", i.Machines())
	}
}

// Datagrams that go past the allow-list end the start, too.
func TestMicroVMRefusesDatagrams(t *testing.T) {
	h, _ := vmHouse(t, "127.9.31.16-127.9.31.17", smolvmtest.Faults{Datagrams: true}, "")
	s := h.start("echo the agent ran")
	if s.code != 125 || strings.Contains(s.out, "the agent ran") || !strings.Contains(s.err, "vm-datagram") {
		t.Errorf("%+v", s)
	}
}

// The operator's files are another user's in the VM, as on macOS: the agent works on
// them all the same, as uid 1000, and what it writes is the operator's.
func TestMicroVMWithUsersOfItsOwn(t *testing.T) {
	h, _ := vmHouse(t, "127.9.30.16", smolvmtest.Faults{RemapUID: 501}, "workspace: {mode: bind}\n")
	s := h.start("cat README; id -u; stat -c %u README; echo new >new; grep -c ' 501 ' /proc/self/uid_map")
	if s.code != 0 || s.out != "a project\n1000\n1000\n1\n" {
		t.Fatalf("%+v", s)
	}
	fi, err := os.Stat(filepath.Join(h.work(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 0 {
		t.Errorf("the new file belongs to %d", st.Uid)
	}
	h, _ = vmHouse(t, "127.9.30.17", smolvmtest.Faults{RemapUID: 501}, "")
	if s := h.start("cat README; echo more >>README; echo new >new; cat README"); s.code != 0 || s.out != "a project\na project\nmore\n" {
		t.Fatalf("with a private view: %+v", s)
	}
	if out := h.tool("changes", string(h.identity())); !strings.Contains(out, "new") || !strings.Contains(out, "README") {
		t.Errorf("changes: %s", out)
	}
}

// The weakness: the allow-list knows addresses and no ports. Two bottles run at once;
// this proves that neither reaches the other's gateway, nor what listens on 127.0.0.1,
// not even as the root of its machine.
func TestInvariant10MicroVMsReachOnlyTheirOwnAddress(t *testing.T) {
	sentinel, n := counted(t, "127.0.0.1:0")
	h, i := vmHouse(t, "127.9.22.16-127.9.22.19", smolvmtest.Faults{}, "")
	script := "echo ready; read x; for a in 127.9.22.16 127.9.22.17; do (exec 3<>/dev/tcp/$a/9097) 2>/dev/null && echo agent reached $a; done; echo done"
	one := h.launch(h.command("start", h.agent, "--yes", "--", "-c", "exec /bin/bash -c '"+script+"'"))
	one.says("ready")
	two := h.launch(h.command("start", h.agent, "--yes", "--", "-c", "exec /bin/bash -c '"+script+"'"))
	two.says("ready")
	machines := i.Machines()
	if len(machines) != 2 {
		t.Fatalf("machines %+v", machines)
	}
	apart(t, i, sentinel, "127.9.22.16", "127.9.22.17")
	for _, b := range []*background{one, two} {
		b.types("go")
		if code := b.ends(); code != 0 || strings.Contains(b.out.String(), "reached") {
			t.Errorf("exit %d: %s%s", code, b.out, b.errs)
		}
	}
	if n.Load() != 0 {
		t.Error("the sentinel was reached")
	}
}

// What the operator gives the agent, and the door's token, are on no argv of the host.
func TestInvariant2MicroVMArgvHoldsNothing(t *testing.T) {
	const canary = "canary-5f2b77"
	h, i := vmHouse(t, "127.9.23.16", smolvmtest.Faults{}, "env: {SECRET: "+canary+"}\n")
	b := h.begin("test \"$SECRET\" = " + canary[:7] + "$(echo 5f2b77) && echo ready; read x")
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, p := range list {
		body, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(body), canary) {
			t.Errorf("%s holds it: %q", p, body)
		}
		environ, err := os.ReadFile(filepath.Join(filepath.Dir(p), "environ"))
		if err == nil && strings.Contains(string(environ), canary) && strings.Contains(string(body), "smolvm") {
			t.Errorf("the environment of %q holds it", body)
		}
	}
	if m := i.Machines(); len(m) != 1 {
		t.Errorf("machines %+v", m)
	}
	b.types("go")
	if code := b.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A start that is killed frees its address at once, its gateway ends, and cleanup finds
// the machine with no state at all.
func TestInvariant7MicroVMKilled(t *testing.T) {
	h, i := vmHouse(t, "127.9.24.16", smolvmtest.Faults{}, "")
	b := h.begin("echo ready; read x")
	if err := b.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.ends()
	if m := i.Machines(); len(m) != 1 || m[0].State != "running" {
		t.Fatalf("after the kill: %+v", m)
	}
	require.Eventually(t, limit, "no process of the bottle lives", func() bool { return len(h.pids("bottle-gateway")) == 0 })
	if err := os.RemoveAll(filepath.Join(h.home(), "state")); err != nil {
		t.Fatal(err)
	}
	if out := h.tool("cleanup", "--yes"); !strings.Contains(out, "machine") {
		t.Errorf("cleanup: %s", out)
	}
	if m := i.Machines(); len(m) != 0 {
		t.Errorf("left: %+v", m)
	}
	if s := h.start("echo again"); s.code != 0 || s.out != "again\n" {
		t.Errorf("the only address is not free: %+v", s)
	}
}

// The gateway that is killed frees the address, and ends its bottle: what listens there
// next must not hear the agent.
func TestMicroVMGatewayKilledFreesItsAddress(t *testing.T) {
	h, i := vmHouse(t, "127.9.25.16", smolvmtest.Faults{}, "")
	b := h.begin("echo ready; while :; do sleep 0.05; done")
	h.killGateway()
	r, err := loopback.ParseRange("127.9.25.16")
	if err != nil {
		t.Fatal(err)
	}
	require.Eventually(t, limit, "the address is free", func() bool {
		l, err := loopback.Pool{Range: r}.Allocate(t.Context())
		if err == nil {
			l.Close()
		}
		return err == nil
	})
	if code := b.ends(); code != 125 || !strings.Contains(b.errs.String(), "the gateway has ended") {
		t.Errorf("without its gateway the bottle ended with %d: %s", code, b.errs)
	}
	if m := i.Machines(); len(m) != 0 {
		t.Errorf("left: %+v", m)
	}
}

// All addresses are taken: the start says by whom, and `bottle stop` frees one.
func TestMicroVMPoolExhausted(t *testing.T) {
	h, i := vmHouse(t, "127.9.26.16", smolvmtest.Faults{}, "")
	b := h.begin("echo ready; while :; do sleep 0.05; done")
	id := string(h.identity())
	s := h.start("echo the agent ran")
	if s.code != 125 || !strings.Contains(s.err, "127.9.26.16") || !strings.Contains(s.err, id) {
		t.Errorf("with all addresses taken: %+v", s)
	}
	if out := finish(t, h.command("doctor", "--verbose")); !strings.Contains(out.out, "0 of 1 free") || !strings.Contains(out.out, "127.9.26.16: the bottle "+id) {
		t.Errorf("doctor: %+v", out)
	}
	if out := h.tool("list", "active"); !strings.Contains(out, "smolmachines") || !strings.Contains(out, id) {
		t.Errorf("list: %s", out)
	}
	h.tool("stop", id)
	b.ends()
	if m := i.Machines(); len(m) != 0 {
		t.Errorf("left: %+v", m)
	}
}

// The known faults of some versions: an exec soon after the boot that is killed, and
// execs side by side that are.
func TestMicroVMOverKnownFaults(t *testing.T) {
	for name, f := range map[string]smolvmtest.Faults{
		"second exec killed": {KillSecond: true}, "one exec": {OneExec: true}, "0.8.0": {Version: "0.8.0", OneExec: true, KillSecond: true},
	} {
		t.Run(name, func(t *testing.T) {
			h, i := vmHouse(t, "127.9.27.16", f, "")
			if s := h.start("echo fine"); s.code != 0 || s.out != "fine\n" {
				t.Errorf("%+v", s)
			}
			if m := i.Machines(); len(m) != 0 {
				t.Errorf("left: %+v", m)
			}
		})
	}
}

// A bottle that is left running, of the kind that the flag says: who starts it in the
// background is told the same words.
func TestMicroVMLeftRunning(t *testing.T) {
	h, i := vmHouse(t, "127.9.32.16", smolvmtest.Faults{}, "")
	h.env = append(h.env, "BOTTLE_BACKEND=native")
	h.tool("start", h.agent, "--yes", "--detach", "--backend", "smolmachines", "--", "-c", "echo ready; sleep 600")
	if m := i.Machines(); len(m) != 1 || m[0].State != "running" {
		t.Fatalf("machines %+v", m)
	}
	h.tool("stop", string(h.identity()))
	if m := i.Machines(); len(m) != 0 {
		t.Errorf("left: %+v", m)
	}
	h.cleanedUp("after a bottle that was left running")
}

// A machine that does not start is told in smolvm's own words, and nothing stays.
func TestMicroVMDoesNotStart(t *testing.T) {
	h, i := vmHouse(t, "127.9.28.16", smolvmtest.Faults{NoStart: true}, "")
	if s := h.start("echo the agent ran"); s.code != 125 || !strings.Contains(s.err, "Hypervisor.framework is not available") {
		t.Errorf("%+v", s)
	}
	if m := i.Machines(); len(m) != 0 {
		t.Errorf("left: %+v", m)
	}
	h.cleanedUp("after a failed start")
}

// The kind of walls: the flag is stronger than the manifest, that is stronger than the
// environment, and that than the platform's default.
func TestWhoChoosesTheWalls(t *testing.T) {
	chosen := func(h *house, args ...string) string {
		s := finish(t, h.command(append([]string{"start", h.agent, "--dry-run"}, args...)...))
		for _, kind := range []string{"smolmachines", "native"} {
			if s.code == 0 && strings.Contains(s.out, kind) {
				return kind
			}
		}
		return s.out + s.err
	}
	h, _ := vmHouse(t, "127.9.29.16", smolvmtest.Faults{}, "")
	if got := chosen(h); got != "smolmachines" {
		t.Errorf("the environment: %s", got)
	}
	if got := chosen(h, "--backend", "native"); got != "native" {
		t.Errorf("the flag over the environment: %s", got)
	}
	for i, v := range h.env {
		if v == "BOTTLE_BACKEND=smolmachines" {
			h.env[i] = "BOTTLE_BACKEND="
		}
	}
	if got := chosen(h); got != "native" {
		t.Errorf("the platform's default: %s", got)
	}
	h, _ = vmHouse(t, "127.9.29.16", smolvmtest.Faults{}, "backend: native\n")
	if got := chosen(h); got != "native" {
		t.Errorf("the manifest over the environment: %s", got)
	}
	if got := chosen(h, "--backend", "smolmachines"); got != "smolmachines" {
		t.Errorf("the flag over the manifest: %s", got)
	}
	if got := chosen(h, "--backend", "nothing"); !strings.Contains(got, "no nothing backend") {
		t.Errorf("no such kind: %s", got)
	}
}

// apart wants each machine to reach its own gateway's door and neither another's of these
// addresses nor the sentinel on the host's loopback, and no door to open without its token.
func apart(t *testing.T, i *smolvmtest.Installed, sentinel string, addresses ...string) {
	t.Helper()
	for _, m := range i.Machines() {
		own := ""
		for j, a := range m.Argv {
			if a == "--allow-cidr" {
				own = m.Argv[j+1]
			}
		}
		for _, a := range addresses {
			if got := reaches(t, i, m.Name, a+":"+strconv.Itoa(loopback.Port)); got != (own == a+"/32") {
				t.Errorf("%s, which may reach %s, reaches %s: %t", m.Name, own, a, got)
			}
		}
		if reaches(t, i, m.Name, sentinel) {
			t.Errorf("%s reaches the host's loopback", m.Name)
		}
		said := asRoot(t, i, m.Name, "exec 3<>/dev/tcp/"+strings.TrimSuffix(own, "/32")+"/9097; head -1 <&3; printf 'GET http://gateway.bottle/ HTTP/1.1\\r\\nHost: gateway.bottle\\r\\n\\r\\n%040d' 0 >&3; cat <&3")
		if !strings.HasPrefix(said, "bottle "+strings.TrimPrefix(m.Name, "bottle-")+"\n") || strings.Contains(said, "HTTP/1.1 200") {
			t.Errorf("without the token the door says %q", said)
		}
	}
}
