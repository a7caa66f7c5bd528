package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/test/programs"
	"bottle/test/require"
)

// limit bounds each wait of these tests.
const limit = 25 * time.Second

// nobody is the ordinary user that root runs the programs as.
const nobody = 65534

func binaries(t *testing.T) string {
	t.Helper()
	return programs.Folder(t, "inside", "bottle-jail-orphan", "claude")
}

// house is one operator: a home, a project, and who he is.
type house struct {
	t     *testing.T
	bin   string
	base  string // holds home/ (BOTTLE_HOME), user/ (HOME) and work/
	agent string // a name that no other test has: all traces carry it
	uid   int    // -1: whoever runs the test
	env   []string
}

func (h *house) home() string { return filepath.Join(h.base, "home") }
func (h *house) work() string { return filepath.Join(h.base, "work") }

// newHouse makes a home with one bottle and one agent that runs /bin/sh. spec is
// what its bottle has beside the template.
func newHouse(t *testing.T, uid int, spec string) *house {
	t.Helper()
	base, err := os.MkdirTemp("", "bottle-test-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, bin: binaries(t), base: base, uid: uid}
	h.agent = "t" + strings.ToLower(rand.Text()[:8])
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"home/agents", "home/bottles", "user", "work"} {
		if err := os.MkdirAll(filepath.Join(h.base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.write("home/agents/"+h.agent+".md", "---\nbottle: box\ncommand: [\"/bin/sh\"]\n---\nA test.\n")
	h.write("home/bottles/box.md", "---\nsupervise: false\nagent_provider: {template: command}\n"+spec+"---\nA box.\n")
	h.write("work/README", "a project\n")
	h.own()
	h.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(h.base, "user"), "BOTTLE_HOME=" + h.home(), "TERM=xterm", "LANG=C.UTF-8"}
	t.Cleanup(h.clean)
	return h
}

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.base, name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// own gives everything below base to the operator.
func (h *house) own() {
	h.t.Helper()
	if h.uid < 0 {
		return
	}
	err := filepath.Walk(h.base, func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Lchown(path, h.uid, h.uid))
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// clean ends what a failed test left, and makes its folders removable.
func (h *house) clean() {
	for _, pid := range h.pids("") {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may end by itself
	}
	_ = filepath.Walk(h.base, func(path string, fi os.FileInfo, _ error) error {
		if fi != nil && fi.IsDir() {
			_ = os.Chmod(path, 0o755) // the removal below tells what did not work
		}
		return nil
	})
	if err := os.RemoveAll(h.base); err != nil {
		h.t.Error(err)
	}
}

// command is the tool as the operator runs it.
func (h *house) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	h.t.Cleanup(cancel)
	return h.program(ctx, filepath.Join(h.bin, "bottle"), args...)
}

func (h *house) program(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = h.work(), h.env
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if h.uid >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(h.uid), Gid: uint32(h.uid)}
	}
	cmd.WaitDelay = 5 * time.Second // a pipe that a leftover holds must not hang the test
	return cmd
}

type said struct {
	code     int
	out, err string
}

func finish(t *testing.T, cmd *exec.Cmd) said {
	t.Helper()
	s := programs.Finish(t, cmd)
	return said{s.Code, s.Out, s.Err}
}

// start runs the agent with a script to its end.
func (h *house) start(script string) said {
	h.t.Helper()
	return finish(h.t, h.command("start", h.agent, "--yes", "--", "-c", script))
}

// tool runs another command, which must succeed.
func (h *house) tool(args ...string) string {
	h.t.Helper()
	s := finish(h.t, h.command(args...))
	if s.code != 0 {
		h.t.Fatalf("bottle %q: exit %d\n%s%s", args, s.code, s.out, s.err)
	}
	return s.out
}

// pids are the processes of this house's bottles whose argv has the word.
func (h *house) pids(word string) []int {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	var out []int
	for _, p := range list {
		body, err := os.ReadFile(p)
		argv := strings.ReplaceAll(string(body), "\x00", " ")
		if err != nil || !strings.Contains(argv, "--identity "+h.agent+"-") || !strings.Contains(argv, word) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// identity is the one bottle of this house that has state.
func (h *house) identity() bottle.Identity {
	h.t.Helper()
	list, err := filepath.Glob(filepath.Join(h.home(), "state", h.agent+"-*"))
	if err != nil || len(list) != 1 {
		h.t.Fatalf("state folders %q, %v", list, err)
	}
	return bottle.Identity(filepath.Base(list[0]))
}

// traces is everything on the machine that carries a name of this house, state
// folders aside.
func (h *house) traces() []string {
	var out []string
	for _, pid := range h.pids("") {
		body, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone is fine
		out = append(out, fmt.Sprintf("process %d %q", pid, body))
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/bot-bottle-", "/sys/fs/cgroup/*/*/bot-bottle-", "/sys/fs/cgroup/*/*/*/bot-bottle-", "/tmp/bot-bottle-"} {
		list, _ := filepath.Glob(pattern + h.agent + "*") // the pattern is well-formed
		out = append(out, list...)
	}
	for _, file := range []string{"/proc/net/unix", "/proc/self/mountinfo"} {
		body, _ := os.ReadFile(file) // every Linux has both
		for _, line := range strings.Split(string(body), "\n") {
			if strings.Contains(line, h.agent+"-") {
				out = append(out, file+": "+line)
			}
		}
	}
	return out
}

// nothingLeft waits for the kernel to take away what was killed.
func (h *house) nothingLeft(when string) {
	h.t.Helper()
	var last []string
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if last = h.traces(); len(last) == 0 {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("%s: left:\n%s", when, strings.Join(last, "\n"))
		}
	}
}

// cleanedUp runs cleanup twice and wants neither trace nor state.
func (h *house) cleanedUp(when string) {
	h.t.Helper()
	h.tool("cleanup", "--discard", "--yes")
	h.nothingLeft(when)
	if list, err := filepath.Glob(filepath.Join(h.home(), "state", "[a-z]*")); err != nil || len(list) != 0 {
		h.t.Fatalf("%s: state is left: %q, %v", when, list, err)
	}
	// Other tests leave things meanwhile, which this one finds too.
	if out := h.tool("cleanup", "--discard", "--yes"); strings.Contains(out, h.agent) {
		h.t.Fatalf("%s: a second cleanup found something: %s", when, out)
	}
}

// background is a start that goes on.
type background struct {
	*house
	cmd  *exec.Cmd
	in   interface{ Write([]byte) (int, error) }
	out  *buffer
	errs *buffer
	done chan struct{}
}

type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// begin starts the agent with a script and waits until it has said "ready".
func (h *house) begin(script string) *background {
	h.t.Helper()
	b := h.launch(h.command("start", h.agent, "--yes", "--", "-c", script))
	b.says("ready")
	return b
}

func (h *house) launch(cmd *exec.Cmd) *background {
	h.t.Helper()
	b := &background{house: h, cmd: cmd, out: &buffer{}, errs: &buffer{}, done: make(chan struct{})}
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	b.in = in
	cmd.Stdout, cmd.Stderr = b.out, b.errs
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		defer close(b.done)
		_ = cmd.Wait() // the test looks at the process's state
	}()
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended in a test that passed
		<-b.done
	})
	return b
}

func (b *background) says(word string) {
	b.t.Helper()
	for end := time.Now().Add(limit); !strings.Contains(b.out.String(), word); time.Sleep(2 * time.Millisecond) {
		select {
		case <-b.done:
			if strings.Contains(b.out.String(), word) {
				return
			}
			b.t.Fatalf("it ended with %v before it said %q: %s%s", b.cmd.ProcessState, word, b.out, b.errs)
		default:
		}
		if time.Now().After(end) {
			b.t.Fatalf("not within %v: %q; it said %s%s", limit, word, b.out, b.errs)
		}
	}
}

func (b *background) types(line string) {
	b.t.Helper()
	if _, err := b.in.Write([]byte(line + "\n")); err != nil {
		b.t.Fatal(err)
	}
}

// ends waits for the end and gives the exit code; -1: a signal.
func (b *background) ends() int {
	b.t.Helper()
	select {
	case <-b.done:
		return b.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		b.t.Fatalf("it has not ended within %v: %s%s", limit, b.out, b.errs)
		return 0
	}
}

// everybody runs a test as whoever runs it and, when that is root, as an ordinary
// user, too.
func everybody(t *testing.T, f func(t *testing.T, uid int)) {
	require.Native(t)
	name := "user"
	if os.Geteuid() == 0 {
		name = "root"
		t.Run("user", func(t *testing.T) { f(t, nobody) })
	}
	t.Run(name, func(t *testing.T) { f(t, -1) })
}

func sleepABit() { time.Sleep(5 * time.Millisecond) }
