package confined

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"bottle/test/require"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Word {
		fmt.Fprintln(os.Stderr, Main(os.Args[2:]))
		os.Exit(1)
	}
	if last := len(os.Args) - 1; last > 1 && os.Args[last-1] == "reach" {
		reach(os.Args[last])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runner runs the shell in git's place, so that a test can try what git never would.
func runner(t *testing.T, program string) Runner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Runner{Self: self, Git: program}
}

// attack makes git run script by an alias, behind the wall.
func attack(t *testing.T, dir string, write bool, script string) string {
	t.Helper()
	var out bytes.Buffer
	r := runner(t, require.Tool(t, "git"))
	err := r.Run(context.Background(), Command{Dir: dir, Write: write, Args: []string{"-c", "alias.x=!" + script, "x"}, Stdout: &out, Stderr: &out})
	return fmt.Sprint(out.String(), err)
}

func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command(require.Tool(t, "git"), "init", "-q", "--bare", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestConfinedGitReachesNothing: even a git that an attacker steers sees no file of the
// operator's, writes nowhere else, has no network and no variable of ours.
func TestConfinedGitReachesNothing(t *testing.T) {
	dir, beside := repository(t), t.TempDir()
	secret := filepath.Join(beside, "secret")
	if err := os.WriteFile(secret, []byte("the-operators-secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BOTTLE_TEST_LEAK", "the-operators-secret")
	for name, script := range map[string]string{
		"read":    "cat " + secret + " /etc/passwd /proc/self/environ",
		"write":   "echo x > " + beside + "/new; echo x > /tmp/bottle-confined-new; echo x > " + secret,
		"environ": "env",
		"network": `exec /usr/bin/env bash -c 'echo > /dev/tcp/127.0.0.1/1'`,
	} {
		t.Run(name, func(t *testing.T) {
			got := attack(t, dir, true, script)
			if strings.Contains(got, "the-operators-secret") || strings.Contains(got, "root:x:") {
				t.Errorf("it read: %s", got)
			}
			if name == "network" && !strings.Contains(got, "not permitted") {
				t.Errorf("it made a socket: %s", got)
			}
		})
	}
	if list, _ := os.ReadDir(beside); len(list) != 1 {
		t.Errorf("it wrote %v", list)
	}
	if text, _ := os.ReadFile(secret); string(text) != "the-operators-secret" {
		t.Errorf("it wrote %q", text)
	}
	if _, err := os.Stat("/tmp/bottle-confined-new"); err == nil {
		_ = os.Remove("/tmp/bottle-confined-new")
		t.Error("it wrote into /tmp")
	}
}

// TestConfinedGitWritesOnlyWhenAsked: a command that reads can't change the repository,
// one that writes can.
func TestConfinedGitWritesOnlyWhenAsked(t *testing.T) {
	dir := repository(t)
	mark := filepath.Join(dir, "mark")
	if got := attack(t, dir, false, "echo x > "+mark); !strings.Contains(got, "denied") {
		t.Errorf("reading: %s", got)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a reader wrote")
	}
	if got := attack(t, dir, true, "echo x > "+mark); got != "<nil>" {
		t.Errorf("writing: %s", got)
	}
}

// TestMainRefusesWhatItDoesNotKnow: nothing runs by a wrong call.
func TestMainRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{nil, {"read"}, {"all", "/tmp", "/usr/bin/git", "x"}, {"read", "tmp", "/usr/bin/git", "x"}, {"read", "/tmp", "git", "x"}} {
		if err := Main(args); err == nil || !strings.Contains(err.Error(), "usage") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// reach tries every way to another process of the same user, as a git that an attacker
// has taken over.
func reach(to string) {
	n, _ := strconv.Atoi(to)
	pid, own := uintptr(n), uintptr(os.Getpid())
	var buf [128]byte
	at := uintptr(unsafe.Pointer(&buf))
	r, _, _ := os.Pipe()
	owner := struct{ kind, pid int32 }{1, int32(n)} // struct f_owner_ex
	for _, c := range []struct {
		name string
		nr   uintptr
		args [4]uintptr
	}{
		{"kill", unix.SYS_KILL, [4]uintptr{pid, 0}}, {"kill all", unix.SYS_KILL, [4]uintptr{^uintptr(0), 0}}, {"kill high", unix.SYS_KILL, [4]uintptr{1<<32 | pid, 0}},
		{"tkill", unix.SYS_TKILL, [4]uintptr{pid, 0}}, {"tgkill", unix.SYS_TGKILL, [4]uintptr{pid, pid, 0}}, {"tgkill high", unix.SYS_TGKILL, [4]uintptr{1<<32 | pid, pid, 0}},
		{"rt_sigqueueinfo", unix.SYS_RT_SIGQUEUEINFO, [4]uintptr{pid, 0, at}}, {"rt_tgsigqueueinfo", unix.SYS_RT_TGSIGQUEUEINFO, [4]uintptr{pid, pid, 0, at}},
		{"pidfd_send_signal", unix.SYS_PIDFD_SEND_SIGNAL, [4]uintptr{0, 0}}, {"prlimit64", unix.SYS_PRLIMIT64, [4]uintptr{pid, unix.RLIMIT_NOFILE, 0, at}},
		{"setown", unix.SYS_FCNTL, [4]uintptr{r.Fd(), unix.F_SETOWN, pid}}, {"setown_ex", unix.SYS_FCNTL, [4]uintptr{r.Fd(), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&owner))}}, {"setsig", unix.SYS_FCNTL, [4]uintptr{r.Fd(), unix.F_SETSIG, 9}},
		{"setpriority", unix.SYS_SETPRIORITY, [4]uintptr{0, pid, 19}}, {"sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, [4]uintptr{pid, 0, at}}, {"ioprio_set", unix.SYS_IOPRIO_SET, [4]uintptr{1, pid, 0}},
		{"own tgkill", unix.SYS_TGKILL, [4]uintptr{own, own, 0}}, {"own prlimit64", unix.SYS_PRLIMIT64, [4]uintptr{0, unix.RLIMIT_NOFILE, 0, at}}, {"own fcntl", unix.SYS_FCNTL, [4]uintptr{r.Fd(), unix.F_GETFL}},
	} {
		_, _, errno := unix.Syscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], 0, 0)
		fmt.Println(c.name+":", errno == unix.EPERM)
	}
}

// TestConfinedGitReachesNoOtherProcess: the weakness: the gateway is a process of the same
// user. The attack: a git that was taken over signals it, or takes its limits or its time.
func TestConfinedGitReachesNoOtherProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := runner(t, self).Run(context.Background(), Command{Dir: repository(t), Args: []string{"reach", fmt.Sprint(os.Getpid())}, Stdout: &out, Stderr: &out}); err != nil {
		t.Errorf("%v", err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 19 {
		t.Errorf("not all was tried: %q", lines)
	}
	for _, line := range lines {
		if want := fmt.Sprint(!strings.HasPrefix(line, "own")); !strings.HasSuffix(line, ": "+want) {
			t.Errorf("refused: %s, want %s", line, want)
		}
	}
}
