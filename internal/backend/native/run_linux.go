package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"bottle/internal/backend"
	"bottle/internal/backend/agent"
	"bottle/internal/backend/jail"
	"bottle/internal/backend/terminal"
	"bottle/internal/plan"
)

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
	code, err := agent.Attended(ctx, x.silent, func(ctx context.Context) (int, error) {
		return agent.Await(ctx, x.replies, s, io.master != nil, x.hands(io.master))
	}, func() { x.jail.Stop(grace) }, x.lost)
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

// attend knows of the end of the gateway.
func (x *Box) attend() {
	x.fell = x.gateway.Wait()
	close(x.silent)
}

// lost is the error of a bottle whose gateway has ended.
func (x *Box) lost() error {
	return agent.Lost(x.identity, func(why error) error {
		if x.fell == nil {
			return why
		}
		return fmt.Errorf("%w (%w)", why, x.fell)
	})
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
		m, err := terminal.Pollable(r.files[0])
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

// hands are what can be done to the agent; master is its terminal, nil without one.
func (x *Box) hands(master *os.File) agent.Hands {
	return agent.Hands{
		Signal: func(n syscall.Signal) error {
			if err := x.wire.Send(jail.Request{Signal: int(n)}); err != nil {
				return fmt.Errorf("signal the agent: %w", err)
			}
			return nil
		},
		Resize: func(size backend.Size) error {
			if master == nil {
				return nil
			}
			return terminal.Resize(master, size.Rows, size.Cols)
		},
		Blame: func(err error) error {
			if errors.Is(err, agent.ErrEnded) {
				return err
			}
			return x.blame(err)
		},
	}
}
