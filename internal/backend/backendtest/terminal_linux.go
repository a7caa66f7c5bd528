package backendtest

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Terminal tests a run on a PTY of the bottle's own.
func Terminal(t *testing.T, make func() backend.Backend) {
	t.Run("it is one, and the bottle's own", func(t *testing.T) { ownTerminal(t, make()) })
	t.Run("size and its changes", func(t *testing.T) { sizes(t, make()) })
	t.Run("control-c", func(t *testing.T) { interrupt(t, make()) })
	t.Run("control-z", func(t *testing.T) { suspend(t, make()) })
	t.Run("typing into it is refused", func(t *testing.T) { injection(t, make()) })
}

// onTTY is one run on a terminal that a test types into.
type onTTY struct {
	x       *box
	keys    *io.PipeWriter
	resize  chan backend.Size
	stopped chan struct{}
	screen  *screen
	ended   chan struct{}
	code    int
	err     error
}

// screen collects what a terminal showed.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (x *box) tty(argv ...string) *onTTY {
	in, keys := io.Pipe()
	r := &onTTY{x: x, keys: keys, resize: make(chan backend.Size, 1), stopped: make(chan struct{}, 8), screen: &screen{}, ended: make(chan struct{})}
	cmd := plan.Command{Args: argv, Env: environment(), Dir: "/", TTY: true, Rows: 33, Cols: 99}
	go func() {
		defer close(r.ended)
		r.code, r.err = x.b.Run(context.Background(), cmd, backend.Stdio{
			In: in, Out: r.screen, Err: r.screen, Resize: r.resize, Stopped: func() { r.stopped <- struct{}{} },
		})
	}()
	x.t.Cleanup(func() {
		keys.Close()
		_ = x.b.Close() // ends a run that a failed test left; its own cleanup tells errors
		<-r.ended
	})
	return r
}

func (r *onTTY) shows(text string) {
	r.x.t.Helper()
	eventually(r.x.t, "the terminal shows "+text, func() bool {
		select {
		case <-r.ended:
			return true
		default:
			return strings.Contains(r.screen.String(), text)
		}
	})
	if !strings.Contains(r.screen.String(), text) {
		r.x.t.Fatalf("the agent ended with %d, %v; the terminal shows %q and not %q", r.code, r.err, r.screen.String(), text)
	}
}

func (r *onTTY) types(keys string) {
	r.x.t.Helper()
	if _, err := io.WriteString(r.keys, keys); err != nil {
		r.x.t.Fatal(err)
	}
}

func (r *onTTY) ends(code int) {
	r.x.t.Helper()
	eventually(r.x.t, "the agent ends", func() bool {
		select {
		case <-r.ended:
			return true
		default:
			return false
		}
	})
	if r.code != code || r.err != nil {
		r.x.t.Errorf("exit %d, %v, want %d; the terminal shows %q", r.code, r.err, code, r.screen.String())
	}
}

func ownTerminal(t *testing.T, be backend.Backend) {
	host, _ := os.ReadDir("/dev/pts") // the host's terminals, if any
	x := up(t, be, nil)
	r := x.tty("/bin/sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo all; tty; ls /dev/pts | tr '\\n' ' '; echo; echo through >/dev/tty; ls -l /proc/$$/fd | grep -c pts; test $(stat -c %u /dev/pts/0) = $(id -u) && echo own")
	r.ends(0)
	want := "all\r\n/dev/pts/0\r\n0 ptmx \r\nthrough\r\n"
	if got := r.screen.String(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "own\r\n") {
		t.Errorf("inside: %q, want %q (the host has %d terminals)", got, want, len(host))
	}
}

func sizes(t *testing.T, be backend.Backend) {
	r := up(t, be, nil).tty("/bin/sh", "-c", "trap 'stty size' WINCH; stty size; while :; do sleep 0.01; done")
	r.shows("33 99")
	r.resize <- backend.Size{Rows: 44, Cols: 111}
	r.shows("44 111")
	r.types("\x03")
	r.ends(130)
}

func interrupt(t *testing.T, be backend.Backend) {
	r := up(t, be, nil).tty("/bin/sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.01; done")
	r.shows("ready")
	r.types("\x03")
	r.ends(9)
	if !strings.Contains(r.screen.String(), "caught") {
		t.Errorf("shows %q", r.screen.String())
	}
}

// suspend: an agent that stops is told of, and goes on when the operator does.
func suspend(t *testing.T, be backend.Backend) {
	// It starts nothing once it is ready: a shell that waits for its vfork(2) can't stop,
	// and the child that it waits for has.
	r := up(t, be, nil).tty("/bin/sh", "-c", "trap 'echo continued' CONT; sleep 1000 & echo ready; while :; do wait; done")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("told %d times; the terminal shows %q", len(r.stopped), r.screen.String())
		}
	})
	r.shows("ready")
	for n := range 2 {
		r.types("\x1a")
		eventually(t, "the agent is told to have stopped", func() bool { return len(r.stopped) > n })
		// A stop that is typed before the agent went on would be lost (signal(7)).
		eventually(t, "the agent goes on", func() bool { return strings.Count(r.screen.String(), "continued") > n })
	}
	r.types("\x03")
	r.ends(130)
}

// injection: TIOCSTI would type into the shell that comes after the agent
// (CVE-2017-5226), TIOCLINUX pastes on a console (CVE-2023-28100).
func injection(t *testing.T, be backend.Backend) {
	r := up(t, be, nil).tty(attackPath, insideWord, "tty")
	r.ends(0)
	if got := r.screen.String(); !strings.Contains(got, "all refused") {
		t.Errorf("inside: %q", got)
	}
}
