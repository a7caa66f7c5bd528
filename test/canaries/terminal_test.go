package canaries

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/test/require"
)

// terminal is a real terminal, 120 by 40, in a tmux server of its own.
type terminal struct {
	t    *testing.T
	tmux func(args ...string) *exec.Cmd
}

// newTerminal runs a program as the ordinary user. home holds tmux's socket.
func newTerminal(t *testing.T, home, dir string, env []string, args ...string) *terminal {
	t.Helper()
	binary := require.Tool(t, "tmux")
	socket := filepath.Join(home, "tmux.sock")
	return begin(t, func(words ...string) *exec.Cmd {
		return command(context.Background(), dir, env, append([]string{binary, "-S", socket, "-f", "/dev/null"}, words...)...)
	}, args)
}

// ownTerminal runs a program as the test's own user.
func ownTerminal(t *testing.T, dir string, env []string, args ...string) *terminal {
	t.Helper()
	binary := require.Tool(t, "tmux")
	socket := filepath.Join(filepath.Dir(dir), "tmux.sock")
	return begin(t, func(words ...string) *exec.Cmd {
		cmd := exec.Command(binary, append([]string{"-S", socket, "-f", "/dev/null"}, words...)...)
		cmd.Dir, cmd.Env = dir, env
		return cmd
	}, args)
}

// begin starts the program, and says its exit code on the screen when it ends.
func begin(t *testing.T, tmux func(...string) *exec.Cmd, args []string) *terminal {
	t.Helper()
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	line := strings.Join(quoted, " ") + `; echo "exit code $?."; exec sleep 600`
	run(t, tmux("new-session", "-d", "-x", "120", "-y", "40", "/bin/sh", "-c", line))
	t.Cleanup(func() { run(t, tmux("kill-server")) })
	return &terminal{t: t, tmux: tmux}
}

func (x *terminal) screen() string {
	x.t.Helper()
	out, err := x.tmux("capture-pane", "-p").Output()
	if err != nil {
		x.t.Fatalf("read the screen: %v", err)
	}
	return string(out)
}

// keys sends each key or text, with the pause that a person makes: a program that
// gets all at once takes it for pasted text.
func (x *terminal) keys(keys ...string) {
	x.t.Helper()
	for _, key := range keys {
		time.Sleep(400 * time.Millisecond)
		run(x.t, x.tmux("send-keys", key))
	}
}

// await looks at the screen until it shows what is wanted.
func (x *terminal) await(what string, shown func(screen string) bool) {
	x.t.Helper()
	began := time.Now()
	for {
		screen := x.screen()
		if shown(screen) {
			x.t.Logf("%s came after %v", what, time.Since(began).Round(10*time.Millisecond))
			return
		}
		if time.Since(began) > limit/2 {
			x.t.Fatalf("%s did not come:\n%s", what, screen)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
