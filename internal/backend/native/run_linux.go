package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

// hangup is how long an agent with a terminal has after it was told to end, before it is
// told that the terminal is gone: a shell with a prompt heeds only that (bash(1), "Signals").
const hangup = time.Second

// Run implements backend.Bottle. The context's end asks the agent to end
// (SIGTERM, and SIGHUP where it has a terminal); Close is what makes sure.
func (x *Box) Run(ctx context.Context, c plan.Command, s backend.Stdio) (int, error) {
	var pumps sync.WaitGroup
	io, err := x.launch(ctx, c, s, &pumps)
	if err != nil {
		return 0, err
	}
	if s.Started != nil {
		s.Started()
	}
	code, err := x.await(ctx, s, io.master)
	// What the agent wrote last is still in the pipes: they end when it has.
	io.drain(&pumps)
	return code, err
}

// stream is the host's side of the agent's descriptors.
type stream struct {
	master *os.File // of the PTY
	in     *os.File // to the agent's standard input
	outs   []*os.File
}

func (x *Box) launch(ctx context.Context, c plan.Command, s backend.Stdio, pumps *sync.WaitGroup) (*stream, error) {
	if c.TTY {
		r, err := x.ask(ctx, jail.Request{Run: &c})
		if err != nil {
			return nil, err
		}
		if len(r.files) != 1 {
			return nil, errors.New("start the agent: its terminal did not arrive")
		}
		m, err := pollable(r.files[0])
		if err != nil {
			return nil, err
		}
		st := &stream{master: m}
		pumps.Go(func() { _, _ = io.Copy(s.Out, m) }) // ends with EIO when the last slave closes
		go func() { _, _ = io.Copy(m, s.In) }()       // ends with the operator's input or the master
		return st, nil
	}
	return x.launchPipes(ctx, c, s, pumps)
}

func (x *Box) launchPipes(ctx context.Context, c plan.Command, s backend.Stdio, pumps *sync.WaitGroup) (*stream, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	st := &stream{in: inW}
	inside := []*os.File{inR}
	defer func() {
		for _, f := range inside {
			f.Close()
		}
	}()
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make pipe: %w", err)
		}
		inside, st.outs = append(inside, w), append(st.outs, r)
	}
	if _, err := x.ask(ctx, jail.Request{Run: &c}, inside...); err != nil {
		return nil, err
	}
	for i, to := range []io.Writer{s.Out, s.Err} {
		from := st.outs[i]
		pumps.Go(func() { _, _ = io.Copy(to, from) })
	}
	go func() {
		_, _ = io.Copy(inW, s.In) // the agent may close its input first
		inW.Close()
	}()
	return st, nil
}

// drain waits for the last output, then closes everything.
func (s *stream) drain(pumps *sync.WaitGroup) {
	pumps.Wait()
	for _, f := range append(s.outs, s.master, s.in) {
		if f != nil {
			f.Close()
		}
	}
}

// await waits for the agent's end and passes on what happens meanwhile.
func (x *Box) await(ctx context.Context, s backend.Stdio, master *os.File) (int, error) {
	done := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case r, ok := <-x.replies:
			if !ok {
				return 0, errors.New("the bottle ended before the agent did")
			}
			if err := r.failure(); err != nil {
				return 0, x.blame(err)
			}
			switch {
			case r.Exited != nil:
				return *r.Exited, nil
			case r.Stopped:
				if s.Stopped != nil {
					s.Stopped()
				}
				if err := x.signal(syscall.SIGCONT); err != nil {
					return 0, err
				}
			}
		case size := <-s.Resize:
			if err := resize(master, size); err != nil {
				return 0, err
			}
		case <-done:
			done = nil // once; the agent may take its time until Close
			if err := x.signal(syscall.SIGTERM); err != nil {
				return 0, err
			}
			if master != nil {
				late = time.After(hangup)
			}
		case <-late:
			if err := x.signal(syscall.SIGHUP); err != nil {
				return 0, err
			}
		}
	}
}

func (x *Box) signal(n syscall.Signal) error {
	if err := x.wire.Send(jail.Request{Signal: int(n)}); err != nil {
		return fmt.Errorf("signal the agent: %w", err)
	}
	return nil
}

func resize(master *os.File, size backend.Size) error {
	if master == nil {
		return nil
	}
	rc, err := master.SyscallConn()
	if err != nil {
		return fmt.Errorf("resize the terminal: %w", err)
	}
	var ioctlErr error
	err = rc.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
	if err = errors.Join(err, ioctlErr); err != nil {
		return fmt.Errorf("resize the terminal: %w", err)
	}
	return nil
}

// pollable makes a descriptor non-blocking, so that closing it ends a read.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}
