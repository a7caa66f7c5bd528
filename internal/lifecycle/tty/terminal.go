package tty

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bottle/internal/backend"
	"bottle/internal/lifecycle"
)

// suspendWait is how long a stop that was asked for may take to happen.
const suspendWait = 100 * time.Millisecond

// Own makes the operator's terminal the agent's: raw while it runs, its
// size passed on, suspended with the agent on Ctrl-Z, and set right at its end.
// A dumb terminal is never asked anything. The second return ends the watching
// and must be called.
func Own(in, out *os.File, dumb bool) (lifecycle.Terminal, func(), error) {
	size, err := sizeOf(out)
	if err != nil {
		return lifecycle.Terminal{}, nil, err
	}
	r := &rawTerminal{in: in, out: out, dumb: dumb, resize: make(chan backend.Size, 1), done: make(chan struct{})}
	if r.keys, err = newKeys(in); err != nil {
		return lifecycle.Terminal{}, nil, err
	}
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	r.watcher.Go(func() { r.watch(winch) })
	t := lifecycle.Terminal{
		TTY: true, Size: size, Attach: r.attach,
		Stdio: backend.Stdio{In: r.keys, Out: r, Err: r, Resize: r.resize, Stopped: r.suspend},
	}
	return t, func() {
		signal.Stop(winch)
		close(r.done)
		r.watcher.Wait()
		r.keys.close()
	}, nil
}

type rawTerminal struct {
	in, out *os.File
	dumb    bool
	keys    *keys
	modes   modes
	resize  chan backend.Size
	done    chan struct{}
	watcher sync.WaitGroup
	mu      sync.Mutex
	before  *term.State // nil: not raw
}

func sizeOf(f *os.File) (backend.Size, error) {
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return backend.Size{}, fmt.Errorf("ask the terminal for its size: %w", err)
	}
	return backend.Size{Rows: uint16(rows), Cols: uint16(cols)}, nil
}

// watch passes the newest size on; an older one that nobody took is dropped.
func (r *rawTerminal) watch(winch <-chan os.Signal) {
	for {
		select {
		case <-r.done:
			return
		case <-winch:
			r.tellSize()
		}
	}
}

func (r *rawTerminal) tellSize() {
	size, err := sizeOf(r.out)
	if err != nil {
		return // the terminal is going away; its hang-up ends the run
	}
	select {
	case <-r.resize:
	default:
	}
	select {
	case r.resize <- size:
	default:
	}
}

func (r *rawTerminal) attach() (func() error, error) {
	if err := r.raw(); err != nil {
		return nil, err
	}
	return r.leave, nil
}

func (r *rawTerminal) raw() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, err := term.MakeRaw(int(r.in.Fd()))
	if err != nil {
		return fmt.Errorf("set raw mode: %w", err)
	}
	r.before = before
	return nil
}

func (r *rawTerminal) cooked() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.before == nil {
		return nil
	}
	before := r.before
	r.before = nil
	if err := term.Restore(int(r.in.Fd()), before); err != nil {
		return fmt.Errorf("restore the terminal: %w", err)
	}
	return nil
}

// Write shows what the agent wrote, and remembers what it did to the terminal.
func (r *rawTerminal) Write(b []byte) (int, error) {
	r.modes.see(b)
	return r.out.Write(b)
}

// suspend stops this program as the agent stopped itself, so that the shell
// before it gets the terminal back; it returns after `fg`. Where no shell could
// continue us (the session's leader, or an orphaned group: a script of ssh or of
// tmux) the agent goes on instead: its stop must not hang the operator's job.
func (r *rawTerminal) suspend() {
	_ = r.cooked() // a terminal that is gone cannot be restored; the run ends by its hang-up
	cont := make(chan os.Signal, 1)
	signal.Notify(cont, syscall.SIGCONT)
	defer signal.Stop(cont)
	// The whole job stops, as with Ctrl-Z. It is SIGTSTP, because the kernel drops
	// that for an orphaned group (signal(7), setpgid(2)) and SIGSTOP for nobody.
	if unix.Kill(0, unix.SIGTSTP) == nil {
		late := time.NewTimer(suspendWait) // runs on while we are stopped
		defer late.Stop()
		select {
		case <-cont:
		case <-late.C:
		}
	}
	_ = r.raw() // same
	r.tellSize()
}
