package lifecycle

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bottle/internal/backend"
)

// OnTerminal makes the operator's terminal the agent's: raw while it runs, its
// size passed on, suspended with the agent on Ctrl-Z. The second return ends the
// watching and must be called.
func OnTerminal(in, out *os.File) (Terminal, func(), error) {
	size, err := sizeOf(out)
	if err != nil {
		return Terminal{}, nil, err
	}
	r := &rawTerminal{in: in, out: out, resize: make(chan backend.Size, 1), done: make(chan struct{})}
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	r.watcher.Go(func() { r.watch(winch) })
	t := Terminal{
		TTY: true, Size: size, Attach: r.attach,
		Stdio: backend.Stdio{In: in, Out: out, Err: out, Resize: r.resize, Stopped: r.suspend},
	}
	return t, func() {
		signal.Stop(winch)
		close(r.done)
		r.watcher.Wait()
	}, nil
}

// OnPipes is a run without a terminal.
func OnPipes(in io.Reader, out, errOut io.Writer) Terminal {
	return Terminal{Stdio: backend.Stdio{In: in, Out: out, Err: errOut}}
}

type rawTerminal struct {
	in, out *os.File
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
	return r.cooked, nil
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

// suspend stops this program as the agent stopped itself, so that the shell
// before it gets the terminal back; it returns after `fg`.
func (r *rawTerminal) suspend() {
	_ = r.cooked() // a terminal that is gone cannot be restored; the run ends by its hang-up
	cont := make(chan os.Signal, 1)
	signal.Notify(cont, syscall.SIGCONT)
	defer signal.Stop(cont)
	// The whole job stops, as with Ctrl-Z. SIGSTOP: nobody can be deaf to it.
	if unix.Kill(0, unix.SIGSTOP) == nil {
		<-cont
	}
	_ = r.raw() // same
	r.tellSize()
}
