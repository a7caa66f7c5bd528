package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bottle/test/programs"
	"bottle/test/require"
)

// TestInvariant11ExitCode: the agent's own, also where it dies by a signal.
func TestInvariant11ExitCode(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		for _, c := range []struct {
			script string
			want   int
		}{
			{"exit 0", 0}, {"exit 1", 1}, {"exit 2", 2}, {"exit 77", 77}, {"exit 124", 124}, {"exit 125", 125}, {"exit 126", 126}, {"exit 128", 128}, {"exit 255", 255},
			{"kill -HUP $$", 129}, {"kill -INT $$", 130}, {"kill -KILL $$", 137}, {"kill -SEGV $$", 139}, {"kill -PIPE $$", 141}, {"kill -TERM $$", 143},
		} {
			t.Run(c.script, func(t *testing.T) {
				t.Parallel()
				if s := h.start(c.script); s.code != c.want {
					t.Errorf("exit %d, want %d: %s", s.code, c.want, s.err)
				}
			})
		}
	})
}

// TestInvariant11OwnFailures: 125 for what the tool could not do, 2 for wrong usage.
func TestInvariant11OwnFailures(t *testing.T) {
	h := newHouse(t, -1, "")
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"start", "no-such-agent", "--yes"}, 125}, {[]string{"start"}, 2}, {[]string{"start", h.agent, "--no-such-flag"}, 2},
		{[]string{"start", h.agent, "--yes", "--format", "json"}, 2}, {[]string{"stop", "nobody-abcde"}, 125}, {[]string{"nonsense"}, 2},
	} {
		s := finish(t, h.command(c.args...))
		if s.code != c.want || s.out != "" || !strings.HasPrefix(s.err, "bottle: ") && !strings.Contains(s.err, "bottle") {
			t.Errorf("%q: %+v, want exit %d", c.args, s, c.want)
		}
	}
	h.write("home/agents/"+h.agent+".md", "---\nbottle: box\ncommand: [\"/no/such/program\"]\n---\nA test.\n")
	if s := finish(t, h.command("start", h.agent, "--yes")); s.code != 125 || !strings.Contains(s.err, "/no/such/program") {
		t.Errorf("an agent that is not there: %+v", s)
	}
	h.cleanedUp("after failures")
}

func TestStreamsAndArgumentsPassThrough(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		odd := "a b\n'\"\\ $(x) \xff"
		cmd := h.command("start", h.agent, "--yes", "--", "-c", `cat; printf %s "$1"; echo to err >&2; id -u; pwd; cat README; echo new >new`, "sh", odd)
		cmd.Stdin = strings.NewReader("from in\n")
		s := finish(t, cmd)
		if want := "from in\n" + odd + "1000\n/workspace\na project\n"; s.code != 0 || s.out != want || !strings.Contains(s.err, "to err\n") {
			t.Errorf("%+v, want %q", s, want)
		}
		if _, err := os.Stat(filepath.Join(h.work(), "new")); err == nil {
			t.Error("the overlay let a write through")
		}
		body, err := os.ReadFile(filepath.Join(h.home(), "state", string(h.identity()), "overlay/upper/new"))
		if err != nil || string(body) != "new\n" {
			t.Errorf("the agent's work is %q, %v", body, err)
		}
		if left := h.traces(); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// TestNoTerminalAndNoYesIsRefused before anything is made.
func TestNoTerminalAndNoYesIsRefused(t *testing.T) {
	h := newHouse(t, -1, "")
	cmd := h.command("start", h.agent)
	cmd.Stdin = strings.NewReader("y\n")
	s := finish(t, cmd)
	if s.code == 0 || !strings.Contains(s.err, "--yes") || s.out != "" {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(filepath.Join(h.home(), "state")); err == nil {
		t.Error("it made a state folder")
	}
}

// TestInvariant6DryRunCreatesNothing compares the machine before and after.
func TestInvariant6DryRunCreatesNothing(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "egress:\n  routes:\n    - {host: api.example.com}\nlimits: {memory: 64MiB, pids: 50}\n")
		look := func() string {
			var s strings.Builder
			err := filepath.Walk(h.base, func(path string, fi os.FileInfo, err error) error {
				if err == nil {
					fmt.Fprintln(&s, path, fi.Mode(), fi.ModTime().UnixNano(), fi.Size())
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			return s.String() + string(mounts)
		}
		before := look()
		for _, args := range [][]string{{"--dry-run"}, {"--dry-run", "--format", "json"}, {"--dry-run", "--yes", "-v"}} {
			out := h.tool(append([]string{"start", h.agent}, args...)...)
			if !strings.Contains(out, h.agent+"-") {
				t.Errorf("the plan names no identity: %s", out)
			}
			var p struct {
				Identity  string           `json:"identity"`
				Resources []map[string]any `json:"resources"`
			}
			if len(args) == 3 && args[1] == "--format" {
				if err := json.Unmarshal([]byte(out), &p); err != nil || p.Identity == "" || len(p.Resources) < 5 {
					t.Errorf("%v: %+v", err, p)
				}
			}
			if left := h.traces(); len(left) != 0 {
				t.Errorf("%q made %q", args, left)
			}
		}
		if after := look(); after != before {
			t.Errorf("the machine changed:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// TestInvariant7InterruptAtAnyTime: Ctrl-C, a polite kill and a hang-up at times
// spread over the whole start.
func TestInvariant7InterruptAtAnyTime(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for i := range 18 {
			sig := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}[i%3]
			wait := time.Duration(i)*5*time.Millisecond + rand.N(5*time.Millisecond)
			t.Run(fmt.Sprint(sig, " ", i), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, uid, "")
				b := h.launch(h.command("start", h.agent, "--yes", "--", "-c", "sleep 600"))
				time.Sleep(wait)
				if err := b.cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				if code := b.ends(); code == 0 {
					t.Errorf("after %v: exit 0", wait)
				}
				if left := h.traces(); len(left) != 0 {
					t.Errorf("after %v: left %q", wait, left)
				}
				h.cleanedUp(fmt.Sprint(sig, " after ", wait))
			})
		}
	})
}

// TestInvariant7HelpersKilled: any helper that dies takes the bottle with it, and
// the start says so.
func TestInvariant7HelpersKilled(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for _, who := range []string{"launch", "init"} {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, uid, "")
				b := h.begin("echo ready; sleep 600")
				pids := h.pids(who)
				if len(pids) != 1 {
					t.Fatalf("%s: %v", who, pids)
				}
				if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if code := b.ends(); code != 125 || !strings.Contains(b.errs.String(), "bottle") {
					t.Errorf("exit %d: %s", code, b.errs)
				}
				h.nothingLeft(who + " killed")
				h.cleanedUp(who + " killed")
			})
		}
	})
}

// TestInvariant4GatewayKilled: no gateway, no egress: the agent is told to end, nothing lets it
// out meanwhile, and the operator hears why.
func TestInvariant4GatewayKilled(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "egress:\n  routes:\n    - {host: api.example.com}\n")
		programs.CopyOnce(t, filepath.Join(h.bin, "inside"), filepath.Join(h.work(), "inside"))
		h.own()
		b := h.begin(`trap 'echo told; ./inside backendtest-inside gateway; ./inside backendtest-inside dial 198.18.0.77:443; ./inside backendtest-inside dial 192.0.2.1:443; echo tried; exit 5' TERM
./inside backendtest-inside gateway; echo ready; while :; do sleep 0.05; done`)
		if !strings.Contains(b.out.String(), " 200 ") {
			t.Fatalf("the gateway did not answer: %s", b.out)
		}
		h.killGateway()
		code := b.ends()
		_, after, _ := strings.Cut(b.out.String(), "told\n")
		if strings.Contains(after, " 200 ") || strings.Contains(after, "connected") || !strings.Contains(after, "tried\n") {
			t.Errorf("without a gateway the agent got %q", after)
		}
		if code != 125 || !strings.Contains(b.errs.String(), "the gateway has ended, and nothing leaves a bottle without one") || !strings.Contains(b.errs.String(), "killed") {
			t.Errorf("exit %d: %s", code, b.errs)
		}
		h.nothingLeft("gateway killed")
	})
}

// TestGatewayGoneAgentDeaf: an agent that does not heed is ended all the same.
func TestGatewayGoneAgentDeaf(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		t.Parallel()
		h := newHouse(t, uid, "")
		b := h.begin("trap '' TERM HUP; echo ready; while :; do sleep 0.05; done")
		h.killGateway()
		if code := b.ends(); code != 125 || !strings.Contains(b.errs.String(), "the gateway has ended") {
			t.Errorf("exit %d: %s", code, b.errs)
		}
		h.nothingLeft("gateway killed")
	})
}

// killGateway ends the one gateway of h as the kernel would that is out of memory.
func (h *house) killGateway() {
	h.t.Helper()
	pids := h.pids("bottle-gateway")
	if len(pids) != 1 {
		h.t.Fatalf("gateways %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
}

func TestTwoStartsAtOnce(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[string]bool{}
		for i := range 6 {
			wg.Go(func() {
				s := h.start(fmt.Sprintf("cat /etc/hostname; echo mine >file%d; ls | tr '\\n' ' '", i))
				mu.Lock()
				defer mu.Unlock()
				name, list, _ := strings.Cut(s.out, "\n")
				if s.code != 0 || seen[name] || list != fmt.Sprintf("README file%d ", i) {
					t.Errorf("start %d: %+v", i, s)
				}
				seen[name] = true
			})
		}
		wg.Wait()
		h.nothingLeft("six starts")
		h.cleanedUp("six starts")
	})
}

func TestStopAndList(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		b := h.begin("trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.02; done")
		id := string(h.identity())
		if out := h.tool("list", "active"); !strings.Contains(out, id) {
			t.Errorf("list: %s", out)
		}
		if out := h.tool("stop", id); !strings.Contains(out, id) {
			t.Errorf("stop: %s", out)
		}
		if code := b.ends(); code != 3 || !strings.Contains(b.out.String(), "told") {
			t.Errorf("exit %d: %s%s", code, b.out, b.errs)
		}
		h.nothingLeft("stop")
		if out := h.tool("list", "active"); strings.Contains(out, id) {
			t.Errorf("list after stop: %s", out)
		}
		if s := finish(t, h.command("stop", id)); s.code != 125 {
			t.Errorf("a second stop: %+v", s)
		}
		h.cleanedUp("stop")
	})
}

// TestFullDisk: a clear error with what to do, and nothing left.
func TestFullDisk(t *testing.T) {
	require.Root(t)
	h := newHouse(t, -1, "")
	small := filepath.Join(h.home(), "state")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("bottle-test", small, "tmpfs", 0, "size=16k,mode=700"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if err := os.WriteFile(filepath.Join(small, "ballast"), make([]byte, 64<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	s := h.start("echo ran")
	if s.code != 125 || strings.Contains(s.out, "ran") || !strings.Contains(s.err, "no space left") || !strings.Contains(s.err, "BOTTLE_HOME") {
		t.Errorf("%+v", s)
	}
	h.nothingLeft("a full disk")
}

// TestInvariant9ForeignHomes: what others could have written is not believed.
func TestInvariant9ForeignHomes(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for name, c := range map[string]struct {
			spoil func(h *house) error
			says  string
		}{
			"a manifest for all to write": {func(h *house) error { return os.Chmod(filepath.Join(h.home(), "bottles/box.md"), 0o666) }, "written by the group or others"},
			"a home for all to write":     {func(h *house) error { return os.Chmod(h.home(), 0o777) }, "written by others"},
			"a state for all to write": {func(h *house) error {
				dir := filepath.Join(h.home(), "state")
				return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777), os.Chown(dir, max(uid, os.Geteuid()), -1))
			}, "writable by others"},
			"another's state": {func(h *house) error {
				dir := filepath.Join(h.home(), "state")
				if os.Geteuid() != 0 {
					return errors.ErrUnsupported // only root can give a folder away
				}
				return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 4242, 4242))
			}, "another user"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, uid, "")
				if err := c.spoil(h); errors.Is(err, errors.ErrUnsupported) {
					return // the run as root tries it for the ordinary user, too
				} else if err != nil {
					t.Fatal(err)
				}
				s := h.start("echo ran")
				if s.code != 125 || strings.Contains(s.out, "ran") || !strings.Contains(strings.ReplaceAll(s.err, "can be written", "written"), c.says) {
					t.Errorf("%+v; want %q", s, c.says)
				}
				if left := h.traces(); len(left) != 0 {
					t.Errorf("left %q", left)
				}
			})
		}
	})
}
