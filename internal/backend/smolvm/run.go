package smolvm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/jail"
	"bottle/internal/backend/smolvm/guest"
	"bottle/internal/plan"
)

// hangup is how long an agent with a terminal has after it was told to end, before it
// is told that the terminal is gone.
const hangup = time.Second

// Run implements backend.Bottle. The context's end asks the agent to end (SIGTERM,
// and SIGHUP where it has a terminal); Close is what makes sure. The terminal is made
// inside, with its size; smolvm's own has none.
func (x *Box) Run(ctx context.Context, c plan.Command, s backend.Stdio) (int, error) {
	x.stdio.Lock()
	x.to = [2]io.Writer{s.Out, s.Err}
	x.stdio.Unlock()
	if err := x.stand(ctx); err != nil {
		return 0, err
	}
	// From here on the agent may run, whatever has come back of that yet: it is told.
	r, err := x.ask(context.WithoutCancel(ctx), guest.Message{Jail: &jail.Request{Run: &c}})
	if err != nil {
		return 0, err
	}
	if r.Jail == nil || !r.Jail.Started {
		return 0, errors.New("start the agent: the bottle gave another answer")
	}
	if s.Started != nil {
		s.Started()
	}
	ended := make(chan struct{})
	defer close(ended)
	go x.feed(s.In, ended)
	return x.await(ctx, c.TTY, s)
}

// feed sends the operator's input as fast as the agent takes it.
func (x *Box) feed(in io.Reader, ended <-chan struct{}) {
	buf := make([]byte, guest.MaxData)
	for lent := guest.Window; ; {
		n, err := in.Read(buf)
		if n > 0 {
			for lent == 0 {
				select {
				case <-x.credit:
					lent++
				case <-ended:
					return
				}
			}
			lent--
			if x.conn.Send(guest.Input, buf[:n]) != nil {
				return
			}
		}
		for more := true; more; {
			select {
			case <-x.credit:
				lent++
			default:
				more = false
			}
		}
		if err != nil {
			_ = x.conn.Send(guest.Input, nil) // the bottle may be gone
			return
		}
	}
}

// await waits for the agent's end and passes on what happens meanwhile.
func (x *Box) await(ctx context.Context, tty bool, s backend.Stdio) (int, error) {
	done := ctx.Done()
	var late <-chan time.Time
	for {
		var err error
		select {
		case r, ok := <-x.replies:
			if !ok {
				return 0, x.blame(errors.New("the bottle ended before the agent did"))
			}
			if err := r.failure(); err != nil {
				return 0, err
			}
			switch {
			case r.Jail == nil:
			case r.Jail.Exited != nil:
				return *r.Jail.Exited, nil
			case r.Jail.Stopped:
				if s.Stopped != nil {
					s.Stopped()
				}
				err = x.signal(syscall.SIGCONT)
			}
		case size := <-s.Resize:
			body := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, size.Rows), size.Cols)
			err = x.conn.Send(guest.Resize, body)
		case <-done:
			done = nil // once; the agent may take its time until Close
			if err = x.signal(syscall.SIGTERM); tty {
				late = time.After(hangup)
			}
		case <-late:
			err = x.signal(syscall.SIGHUP)
		}
		if err != nil {
			return 0, err
		}
	}
}

// signal sends one to the agent.
func (x *Box) signal(n syscall.Signal) error {
	if err := x.conn.SendJSON(guest.Message{Jail: &jail.Request{Signal: linuxSignal(n)}}); err != nil {
		return fmt.Errorf("signal the agent: %w", err)
	}
	return nil
}

// linuxSignal: SIGCONT is another number elsewhere (signal(7)).
func linuxSignal(n syscall.Signal) int {
	if n == syscall.SIGCONT {
		return 18
	}
	return int(n)
}
