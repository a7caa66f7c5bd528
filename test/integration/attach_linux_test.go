package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/test/require"
	"bottle/test/screen"
)

// screen is a program of the tool in a real terminal, as the operator of the house.
func (h *house) screen(width, height int, args ...string) *screen.Screen {
	h.t.Helper()
	return screen.New(h.t, width, height, func(cmd *exec.Cmd) {
		as := h.command()
		cmd.Dir, cmd.Env, cmd.SysProcAttr = as.Dir, append(append([]string{}, as.Env...), "NO_COLOR=1"), as.SysProcAttr
	}, append([]string{filepath.Join(h.bin, "bottle")}, args...)...)
}

// leave starts a bottle that is left alone, and gives its identity.
func (h *house) leave(script string) string {
	h.t.Helper()
	var s struct {
		Identity string
		PID      int
	}
	if err := json.Unmarshal([]byte(h.tool("start", "--detach", "--yes", h.agent, "--format", "json", "--", "-c", script)), &s); err != nil || s.PID == 0 {
		h.t.Fatal(err, s)
	}
	if s.Identity != string(h.identity()) {
		h.t.Fatalf("it is %s, and says %s", h.identity(), s.Identity)
	}
	return s.Identity
}

const anyShell = "PS1='ok> ' exec sh -i"

// sized asks the agent's shell for the size of its terminal until it is this one: it changes
// for a moment when somebody attaches.
func sized(s *screen.Screen, want string) {
	n := 0
	s.Until("the size "+want, func(text string) bool {
		if n++; n%10 == 1 {
			s.Types("clear; stty size\n")
		}
		return strings.Contains(text, "\n"+want+"\n") || strings.HasPrefix(text, want+"\n")
	})
}

// TestAttach: two terminals have one agent. What is typed in one is seen in both, the size is
// the smaller one's, who detaches leaves the other and the agent alone, who comes back sees
// what was, and the exit code is the agent's.
func TestAttach(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		id := h.leave(anyShell)
		one := h.screen(100, 30, "attach", id)
		one.Shows("attached to "+id+"; Ctrl-] detaches", "ok>")
		sized(one, "30 100")
		one.Types("echo both-$((1+1))\n")
		one.Shows("both-2")
		two := h.screen(80, 24, "attach")
		two.Shows("both-2")
		sized(two, "24 80")
		two.Types("echo two-$((1+1))\n")
		two.Shows("two-2")
		one.Shows("24 80", "two-2")
		two.Keys("C-]")
		two.Shows("detached from "+id+", which goes on", "exit code 0.")
		sized(one, "30 100")
		one.Tmux("resize-window", "-x", "90", "-y", "20")
		sized(one, "20 90")
		one.Types("find / -xdev -name '*.sock' -o -name start.log 2>/dev/null; echo looked-$((1+1))\n")
		if text := one.Shows("looked-2"); strings.Contains(text, "attach.sock") || strings.Contains(text, "start.log\n") {
			t.Errorf("the bottle sees what is the operator's:\n%s", text)
		}
		one.Types("exit 7\n")
		one.Shows(id+" has ended, with exit code 7", "exit code 7.")
		require.Eventually(t, screen.Patience, "the start ends", func() bool { return len(h.holders()) == 0 })
		if s := finish(t, h.command("attach", id)); s.code != 2 {
			t.Errorf("attached without a terminal: %+v", s)
		}
		h.screen(80, 24, "attach", id).Shows("the bottle "+id+" has ended", "bottle audit", "exit code 125.")
		h.nothingLeft("a session that was left alone")
	})
}

// TestAttachToATerminal: a start with a terminal has guests, too, and one that is killed
// (SIGKILL) takes nothing with it.
func TestAttachToATerminal(t *testing.T) {
	h := newHouse(t, -1, "")
	own := h.screen(100, 30, "start", h.agent, "--yes", "--", "-i")
	own.Shows("$")
	guest := h.screen(80, 24, "attach", string(h.identity()), "--detach-keys", "ctrl-p,ctrl-q")
	guest.Shows("Ctrl-P Ctrl-Q detaches")
	sized(guest, "24 80")
	guest.Types("echo guest-$((1+1))\n")
	guest.Shows("guest-2")
	own.Shows("24 80", "guest-2")
	guest.Kill()
	guest.Shows("exit code 137.")
	sized(own, "30 100")
	own.Types("echo own-$((1+1))\n")
	own.Shows("own-2")
	guest = h.screen(80, 24, "attach", "--detach-keys", "ctrl-p,ctrl-q")
	guest.Shows("own-2")
	guest.Keys("C-p", "C-q")
	guest.Shows("detached from ", "exit code 0.")
	own.Types("exit 3\n")
	own.Shows("exit code 3.")
	h.nothingLeft("a start with guests")
}

// drawing is a program that has the whole screen, keeps to it, and draws anew only when it is
// told of another size; it leaves the screen as it was.
const drawing = `draw() { printf '\033[2J\033[H\033[7mfull %s\033[0m\033[5;3Hin the middle %s' "$(stty size)" "$n"; }
n=0; trap 'n=$((n+1)); draw' WINCH; trap 'printf "\033[?1049l\033[?25h"; exit 5' TERM
printf '\033[?1049h\033[?25l\033[?2004h'; draw; while :; do sleep 0.05; done`

// TestAttachToAFullScreen: a program that drew long ago is seen by who comes, in its modes,
// and who leaves gets his own screen back.
func TestAttachToAFullScreen(t *testing.T) {
	h := newHouse(t, -1, "")
	id := h.leave(drawing)
	drawn := 0
	for _, size := range [][2]int{{80, 24}, {80, 24}, {90, 20}} {
		d := h.screen(size[0], size[1], "attach", id)
		d.Until("a screen that is drawn anew", func(text string) bool {
			_, after, _ := strings.Cut(text, "in the middle ")
			n := 0
			_, err := fmt.Sscan(after, &n)
			if err != nil || n <= drawn || !strings.Contains(text, fmt.Sprintf("full %d %d", size[1], size[0])) {
				return false
			}
			drawn = n
			return true
		})
		if on := strings.TrimSpace(d.Tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}")); on != "1 0" {
			t.Errorf("the terminal has modes %q", on)
		}
		d.Keys("C-]")
		d.Shows("detached from ", "exit code 0.")
		if on := strings.TrimSpace(d.Tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}")); on != "0 1" {
			t.Errorf("it is left with modes %q", on)
		}
	}
	d := h.screen(80, 24, "attach", id)
	d.Shows("full 24 80")
	h.tool("stop", id)
	d.Shows("has ended, with exit code 5", "exit code 5.")
	h.nothingLeft("a full screen")
}

// TestVimIsAttachedTo: a program of others that knows terminals well.
func TestVimIsAttachedTo(t *testing.T) {
	require.Tool(t, "vim")
	h := newHouse(t, -1, "")
	id := h.leave("vim -u NONE -N README")
	for range 2 {
		d := h.screen(80, 24, "attach", id)
		d.Shows("a project", "~")
		d.Keys("C-]")
		d.Shows("detached from ")
	}
	d := h.screen(60, 15, "attach", id)
	d.Shows("a project", "~")
	d.Types("Oabove\x1b:wq\n")
	d.Shows("exit code 0.")
}

// TestWhoDoesNotReadHoldsNobodyUp: a terminal that stopped (Ctrl-S, a dead line) is attached,
// and an agent writes much more than there is room for. It comes to its end, the other sees
// that, and the first gets the last of it when it reads again.
func TestWhoDoesNotReadHoldsNobodyUp(t *testing.T) {
	h := newHouse(t, -1, "")
	id := h.leave(`read go; i=0; while [ $i -lt 400 ]; do i=$((i+1)); head -c 65536 /dev/zero | tr '\0' x; echo; done; echo all-$((1+1)); read end; exit 4`)
	conn := h.guest(id)
	one := h.screen(80, 24, "attach", id)
	one.Shows("attached to")
	one.Types("\n")
	one.Shows("all-2")
	var got []byte
	buf := make([]byte, 1<<20)
	require.Eventually(t, screen.Patience, "the last of it", func() bool {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, _ := conn.Read(buf)
		got = append(got, buf[:n]...)
		return bytes.Contains(got, []byte("all-2"))
	})
	if len(got) > 8<<20 {
		t.Errorf("%d bytes waited for it", len(got))
	}
	one.Types("\n")
	one.Shows("exit code 4.")
}

// guest is a connection that has said hello, as `bottle attach` does.
func (h *house) guest(id string) *net.UnixConn {
	h.t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(h.home(), "state", id, "attach.sock"), Net: "unix"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	hello := append([]byte{'h', 0, 0, 0, 5, 1}, binary.BigEndian.AppendUint16([]byte{0, 24}, 80)...)
	_, _ = conn.Write(hello) // he may have been refused before
	return conn
}

// TestAttachingIsTheOperators: another user gets nowhere, not even root, who gets past every
// file's mode; nor does who speaks nonsense, or says nothing, and the agent goes on.
func TestAttachingIsTheOperators(t *testing.T) {
	require.Root(t)
	h := newHouse(t, 65501, "")
	id := h.leave(anyShell)
	conn := h.guest(id) // as root
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	buf := make([]byte, 4096)
	n, _ := conn.Read(buf)
	if n < 6 || buf[0] != 'n' || !strings.Contains(string(buf[:n]), "the user 0 may not have what belongs to the user 65501") {
		t.Errorf("it is told %q", buf[:n])
	}
	path := filepath.Join(h.home(), "state", id, "attach.sock")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, nonsense := range []string{"", "GET / HTTP/1.1\r\n\r\n", "h\xff\xff\xff\xff", "i\x00\x00\x00\x01x", "h\x00\x00\x00\x05\x09\x00\x18\x00\x50"} {
		script := `import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(eval(sys.argv[2])); s.shutdown(1); sys.stdout.buffer.write(s.recv(99))`
		cmd := exec.Command("python3", "-c", script, path, fmt.Sprintf("b%q", nonsense))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65501, Gid: 65501}}
		out, _ := cmd.CombinedOutput()
		if bytes.HasPrefix(out, []byte("w")) {
			t.Errorf("%q is let in: %q", nonsense, out)
		}
	}
	d := h.screen(80, 24, "attach", id)
	d.Shows("ok>")
	d.Types("exit 0\n")
	d.Shows("exit code 0.")
}

// TestLeftAlone: what a start shows and asks is the operator's to answer, its failures are his
// to read, and once its agent runs neither the command's end nor the terminal's ends it.
func TestLeftAlone(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		b, master := h.onTerminal("start", "--detach", h.agent, "--", "-c", "echo up; sleep 600")
		b.says("Start it?")
		b.types("y")
		b.says("bottle attach " + h.agent)
		if code := b.ends(); code != 0 {
			t.Errorf("exit %d: %s", code, b.out)
		}
		master.Close() // its terminal goes
		id := string(h.identity())
		for _, pid := range h.holders() {
			for _, fd := range []string{"0", "1", "2"} {
				if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd)); err == nil && strings.HasPrefix(to, "/dev/pts") {
					t.Errorf("it keeps the terminal: %s is %s", fd, to)
				}
			}
		}
		d := h.screen(80, 24, "attach", id)
		d.Shows("up")
		h.tool("stop", id)
		d.Shows("exit code 143.")
		h.nothingLeft("a start that was left alone")

		b, _ = h.onTerminal("start", "--detach", h.agent)
		b.says("Start it?")
		b.types("n")
		if code := b.ends(); code != 1 || !strings.Contains(b.out.String(), "Not started; nothing was created") {
			t.Errorf("exit %d: %s", code, b.out)
		}
		b, master = h.onTerminal("start", "--detach", h.agent)
		b.says("Start it?")
		if _, err := master.WriteString("\x03"); err != nil {
			t.Fatal(err)
		}
		if code := b.ends(); code != 130 {
			t.Errorf("exit %d after Ctrl-C: %s", code, b.out)
		}
		d = h.screen(80, 24, "start", "--detach", h.agent) // in a shell, which has the terminal then
		d.Shows("Start it?")
		d.Kill()
		d.Shows("exit code 137.")
		require.Eventually(t, limit, "the end of who asks nobody", func() bool { return len(h.holders()) == 0 })
		h.nothingLeft("a no, a Ctrl-C and a kill")
		if s := finish(t, h.command("start", "--detach", "--yes", "nobody")); s.code != 125 || !strings.Contains(s.err, "nobody") {
			t.Errorf("%+v", s)
		}
	})
}

// TestDashboardStartsAndAttaches: an agent is chosen, its question is answered, the cursor is
// on its bottle when the dashboard is back; it is attached to, detached from and attached to
// again until it ends. A no, and a start that fails, are told.
func TestDashboardStartsAndAttaches(t *testing.T) {
	h := newHouse(t, -1, "")
	h.write("home/agents/broken.md", "---\nbottle: nowhere\ncommand: [\"/bin/sh\"]\n---\nBroken.\n")
	h.write("home/agents/"+h.agent+".md", "---\nbottle: box\ncommand: [\"/bin/sh\", \"-c\", \""+strings.ReplaceAll(anyShell, `"`, `\"`)+"\"]\n---\nA test.\n")
	h.own()
	d := h.dashboard(100, 30)
	d.Shows("no bottle runs: s starts one")
	d.Keys("s")
	d.Shows("Start which agent?", "broken", h.agent, "agent: _")
	d.Types("brok")
	d.Until("the filter's choice", func(text string) bool { return strings.Contains(text, "> broken") && !strings.Contains(text, h.agent) })
	d.Keys("Enter")
	d.Shows("nowhere", "Enter goes back to the dashboard.")
	d.Keys("Enter")
	d.Shows("it was not started: bottle start broken says why", "a approve")
	d.Keys("Escape") // alone: with what follows it would be another key
	d.Until("no error", func(text string) bool { return !strings.Contains(text, "Esc puts") })

	d.Keys("s")
	d.Shows("Start which agent?")
	d.Types(h.agent)
	d.Until("the filter's choice", func(text string) bool {
		return strings.Contains(text, "> "+h.agent) && !strings.Contains(text, "broken")
	})
	d.Keys("Enter")
	d.Shows("Start it? [y/N]")
	d.Types("n\n")
	d.Shows("nothing was started", "a approve")
	d.Keys("Escape") // alone: with what follows it would be another key
	d.Until("no error", func(text string) bool { return !strings.Contains(text, "Esc puts") })

	d.Keys("s")
	d.Shows("Start which agent?")
	d.Types(h.agent[:5])
	d.Shows("> " + h.agent)
	d.Keys("Enter")
	d.Shows("Start it? [y/N]")
	d.Types("y\n")
	d.Shows("> "+h.agent+"-", "started "+h.agent+"-", "1 bottle,")
	id := string(h.identity())
	d.Keys("Enter")
	d.Shows("attached to "+id, "ok>")
	sized(d, "30 100")
	d.Types("echo in-$((1+1))\n")
	d.Shows("in-2")
	d.Keys("C-]")
	d.Shows("bottle dashboard  1 bottle", "detached from "+id)
	d.Keys("Enter")
	d.Until("the agent's screen", func(text string) bool { return strings.Contains(text, "in-2") && !strings.Contains(text, "dashboard") })
	d.Types("exit 9\n")
	d.Shows("bottle dashboard  ", id+" has ended, with exit code 9", "no bottle runs")
	d.Keys("q")
	d.Shows("exit code 0.")
	h.nothingLeft("a dashboard that starts")
}

// TestInvariant7LeftAlone: the command is killed (SIGKILL) at any moment of the start: the
// bottle is up and listed, or all of it is down again; and so when its holder is killed, but
// for what cleanup finds.
func TestInvariant7LeftAlone(t *testing.T) {
	h := newHouse(t, -1, "")
	for i := range 12 {
		cmd := h.command("start", "--detach", "--yes", h.agent, "--", "-c", "sleep 600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(i*12) * time.Millisecond)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		require.Eventually(t, limit, "the holder's end, or a bottle that runs", func() bool {
			var list []struct{ Live bool }
			if err := json.Unmarshal([]byte(h.tool("list", "active", "--format", "json")), &list); err != nil {
				t.Fatal(err)
			}
			pids := h.holders()
			return len(pids) == 0 || len(pids) == 1 && len(list) == 1 && list[0].Live && h.attachable()
		})
		for _, pid := range h.holders() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		require.Eventually(t, limit, "the end of all of it", func() bool { return len(h.holders()) == 0 })
		h.cleanedUp(fmt.Sprintf("a kill after %d ms", i*12))
	}
}

// attachable is whether there is a bottle to attach to.
func (h *house) attachable() bool {
	list, _ := filepath.Glob(filepath.Join(h.home(), "state", "*", "attach.sock"))
	return len(list) == 1
}

// holders are the processes that hold the bottles of this house that were left alone, and
// those that will.
func (h *house) holders() (out []int) {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, p := range list {
		body, err := os.ReadFile(p)
		if err != nil || !bytes.Contains(body, []byte("--held-by=")) || !bytes.Contains(body, []byte("\x00"+h.agent+"\x00")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(p, "/proc/%d/", &pid); err == nil {
			out = append(out, pid)
		}
	}
	return out
}
