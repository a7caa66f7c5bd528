package agent

import (
	"context"
	"errors"
	"syscall"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/jail"
)

// hangup is how long an agent with a terminal has after it was told to end, before it is
// told that the terminal is gone: a shell with a prompt heeds only that (bash(1), "Signals").
const hangup = time.Second

// ErrEnded is a bottle that ended before its agent did.
var ErrEnded = errors.New("the bottle ended before the agent did")

// Reply is what a jail said, or why it says no more.
type Reply struct {
	jail.Reply
	Err error
}

// Said is the reply; an error is what went wrong, on the way or in the bottle.
func (r Reply) Said() (jail.Reply, error) {
	if r.Err == nil && r.Error != "" {
		return r.Reply, errors.New(r.Error)
	}
	return r.Reply, r.Err
}

// Hands is what can be done to an agent that runs.
type Hands struct {
	Signal func(syscall.Signal) error // by its number on Linux
	Resize func(backend.Size) error
	Blame  func(error) error // adds why the bottle failed
}

// Await waits for the agent's end and gives its exit code. Meanwhile it passes on sizes,
// stops, and the end of ctx, which asks the agent to end: SIGTERM, and SIGHUP where it has a
// terminal. What comes out of replies is the jail's, or why nothing more does. An error means
// that the bottle failed.
func Await[R interface{ Said() (jail.Reply, error) }](ctx context.Context, replies <-chan R, s backend.Stdio, tty bool, h Hands) (int, error) {
	done := ctx.Done()
	var late <-chan time.Time
	for {
		var err error
		select {
		case r, ok := <-replies:
			if !ok {
				return 0, h.Blame(ErrEnded)
			}
			said, failed := r.Said()
			switch {
			case failed != nil:
				return 0, h.Blame(failed)
			case said.Exited != nil:
				return *said.Exited, nil
			case said.Stopped:
				if s.Stopped != nil {
					s.Stopped()
				}
				err = h.Signal(sigcont)
			}
		case size := <-s.Resize:
			err = h.Resize(size)
		case <-done:
			done = nil // once; the agent may take its time until the walls come down
			if err = h.Signal(syscall.SIGTERM); tty {
				late = time.After(hangup)
			}
		case <-late:
			err = h.Signal(syscall.SIGHUP)
		}
		if err != nil {
			return 0, err
		}
	}
}

// sigcont is Linux's number, which elsewhere is another signal's (signal(7)).
const sigcont syscall.Signal = 18
