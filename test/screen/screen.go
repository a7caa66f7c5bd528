// Package screen is a real terminal for tests: a tmux server of the test's own with one
// program in it, whose screen can be read and which keys can be sent to.
package screen

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/test/require"
)

// Patience is how long a program may take until it shows something, on a slow machine.
const Patience = 60 * time.Second

// Screen is one terminal. It ends with the test.
type Screen struct {
	t      testing.TB
	binary string
	dir    string
	cmd    func(*exec.Cmd)
}

// New runs a program on a screen of this size; its exit code is shown when it ends. like
// sets what the program inherits, such as its environment, folder and user; nil: the test's.
// A test without tmux is skipped, or fails where it was promised.
func New(t testing.TB, width, height int, like func(*exec.Cmd), argv ...string) *Screen {
	t.Helper()
	s := &Screen{t: t, binary: require.Tool(t, "tmux"), cmd: like}
	var err error
	if s.dir, err = os.MkdirTemp("/tmp", "screen-"); err != nil { // short: a socket's path is
		t.Fatal(err)
	}
	if err := os.Chmod(s.dir, 0o777); err != nil { // of whatever user tmux runs as
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = s.try("kill-server") // it may have ended
		_ = os.RemoveAll(s.dir)
	})
	quoted := make([]string, len(argv))
	for i, arg := range argv {
		quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	line := strings.Join(quoted, " ") + `; echo "exit code $?."; exec sleep 600`
	s.Tmux("new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), "/bin/sh", "-c", line)
	return s
}

func (s *Screen) try(words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, append([]string{"-u", "-S", filepath.Join(s.dir, "sock"), "-f", "/dev/null"}, words...)...)
	if s.cmd != nil {
		s.cmd(cmd)
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "LANG=C.UTF-8", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Tmux runs a command of tmux, and gives what it says.
func (s *Screen) Tmux(words ...string) string {
	s.t.Helper()
	out, err := s.try(words...)
	if err != nil {
		s.t.Fatalf("tmux %q: %v: %s", words, err, out)
	}
	return out
}

// Raw has all that the program sends from now on written to a file.
func (s *Screen) Raw() (path string) {
	s.t.Helper()
	path = filepath.Join(s.dir, "raw")
	s.Tmux("pipe-pane", "cat >"+path)
	return path
}

// Text is what the screen shows now.
func (s *Screen) Text() string { return s.Tmux("capture-pane", "-p") }

// Shows waits until the screen has all of these, and gives it.
func (s *Screen) Shows(what ...string) string {
	s.t.Helper()
	return s.Until(strings.Join(what, "; "), func(text string) bool {
		for _, w := range what {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	})
}

// Until waits for a screen, and gives it.
func (s *Screen) Until(what string, ok func(text string) bool) string {
	s.t.Helper()
	last := ""
	for end := time.Now().Add(Patience); time.Now().Before(end); pause() {
		if last = s.Text(); ok(last) {
			return last
		}
	}
	s.t.Fatalf("%q did not come:\n%s", what, last)
	return ""
}

// Press sends a key now and then, as a person does who was not heard, while the screen has
// one text and until it has another.
func (s *Screen) Press(key, while, until string) string {
	s.t.Helper()
	var last time.Time
	return s.Until(until, func(text string) bool {
		if strings.Contains(text, while) && time.Since(last) > time.Second/2 {
			s.Keys(key)
			last = time.Now()
		}
		return strings.Contains(text, until)
	})
}

// pause is between two looks.
func pause() { <-time.After(20 * time.Millisecond) }

// Keys sends keys by tmux's names of them.
func (s *Screen) Keys(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		s.Tmux("send-keys", k)
	}
}

// Types sends text as it is.
func (s *Screen) Types(text string) {
	s.t.Helper()
	s.Tmux("send-keys", "-l", text)
}

// Kill kills (SIGKILL) the program.
func (s *Screen) Kill() {
	s.t.Helper()
	pid := strings.TrimSpace(s.Tmux("display-message", "-p", "#{pane_pid}"))
	list, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		s.t.Fatal(err)
	}
	for child := range strings.FieldsSeq(string(list)) {
		n, err := strconv.Atoi(child)
		if err == nil {
			err = syscall.Kill(n, syscall.SIGKILL)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}
