package agent

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"bottle/internal/backend"
	"bottle/internal/backend/frames"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

// Remote is the start's end of a bottle's stream.
type Remote struct {
	conn    *frames.Conn
	blame   func(error) error
	replies chan Reply
	asides  chan json.RawMessage
	credit  chan struct{}
	gone    chan struct{} // closed when nobody waits for a reply any more
	once    sync.Once

	mu  sync.Mutex
	out [2]io.Writer
}

// NewRemote talks over conn; blame adds to an error what the other side said on its way out.
func NewRemote(conn *frames.Conn, blame func(error) error) *Remote {
	return &Remote{
		conn: conn, blame: blame, replies: make(chan Reply, 16), asides: make(chan json.RawMessage, 1),
		credit: make(chan struct{}, frames.Window), gone: make(chan struct{}),
	}
}

// Hear passes on what the bottle says until it says no more. It is called once.
func (r *Remote) Hear() {
	defer close(r.replies)
	for {
		kind, body, err := r.conn.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				r.hand(Reply{Err: err})
			}
			return
		}
		switch kind {
		case frames.Output:
			r.write(0, body)
		case frames.Errors:
			r.write(1, body)
		case frames.Credit:
			select {
			case r.credit <- struct{}{}:
			default: // more than was lent: not from our side
			}
		case frames.Aside:
			select {
			case r.asides <- body:
			default: // nobody asked
			}
		case frames.Control:
			var said Reply
			said.Err = json.Unmarshal(body, &said.Reply)
			r.hand(said)
		}
	}
}

func (r *Remote) hand(said Reply) {
	select {
	case r.replies <- said:
	case <-r.gone:
	}
}

func (r *Remote) write(n int, body []byte) {
	r.mu.Lock()
	to := r.out[n]
	r.mu.Unlock()
	if to != nil {
		_, _ = to.Write(body) // an operator who looks away does not end the agent
	}
}

// Close lets go of who waits: no reply is taken any more. It is idempotent. Hear ends with
// the stream, which is the caller's to end.
func (r *Remote) Close() { r.once.Do(func() { close(r.gone) }) }

// Ask sends one request to the jail and waits for its reply.
func (r *Remote) Ask(ctx context.Context, req jail.Request) (jail.Reply, error) {
	if err := r.conn.SendJSON(frames.Control, req); err != nil {
		return jail.Reply{}, r.blame(err)
	}
	return r.next(ctx)
}

// next waits for the next reply.
func (r *Remote) next(ctx context.Context) (jail.Reply, error) {
	select {
	case said, ok := <-r.replies:
		if !ok {
			return jail.Reply{}, r.blame(errors.New("the bottle has ended"))
		}
		return said.Said()
	case <-ctx.Done():
		return jail.Reply{}, fmt.Errorf("wait for the bottle: %w", context.Cause(ctx))
	}
}

// Aside asks what is no request to the jail, and reads its answer into answer. One is asked
// at a time.
func (r *Remote) Aside(ctx context.Context, question, answer any) error {
	select {
	case <-r.asides: // what came before answers nothing
	default:
	}
	if err := r.conn.SendJSON(frames.Aside, question); err != nil {
		return r.blame(err)
	}
	select {
	case body := <-r.asides:
		if err := json.Unmarshal(body, answer); err != nil {
			return fmt.Errorf("read the bottle's answer: %w", err)
		}
		return nil
	case said, ok := <-r.replies: // instead of an answer: why there is none
		_, err := said.Said()
		if !ok || err == nil {
			err = errors.Join(errors.New("the bottle gave no answer"), err)
		}
		return r.blame(err)
	case <-ctx.Done():
		return fmt.Errorf("wait for the bottle: %w", context.Cause(ctx))
	}
}

// Verify checks every wall from inside; each result names its wall.
func (r *Remote) Verify(ctx context.Context, p plan.Probes) ([]plan.ProbeResult, error) {
	said, err := r.Ask(ctx, jail.Request{Verify: &p})
	if err != nil {
		return nil, err
	}
	return Results(said)
}

// Results are what a jail found when it was asked to verify, each with its wall's name.
func Results(said jail.Reply) ([]plan.ProbeResult, error) {
	var results []plan.ProbeResult
	if err := json.Unmarshal(said.Results, &results); err != nil {
		return nil, fmt.Errorf("read the probe's answer: %w", err)
	}
	return backend.Proved(results), nil
}

// Run starts the agent and waits for it, as backend.Bottle says. The terminal is made inside,
// with its size.
func (r *Remote) Run(ctx context.Context, c plan.Command, s backend.Stdio) (int, error) {
	r.mu.Lock()
	r.out = [2]io.Writer{s.Out, s.Err}
	r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("start the agent: %w", err)
	}
	// From here on the agent may run, whatever has come back of that yet: it is told.
	said, err := r.Ask(context.WithoutCancel(ctx), jail.Request{Run: &c})
	if err != nil {
		return 0, err
	}
	if !said.Started {
		return 0, errors.New("start the agent: the bottle gave another answer")
	}
	if s.Started != nil {
		s.Started()
	}
	ended := make(chan struct{})
	defer close(ended)
	go r.feed(s.In, ended)
	return Await(ctx, r.replies, s, c.TTY, Hands{Signal: r.signal, Resize: r.resize, Blame: r.blame})
}

// feed sends the operator's input as fast as the agent takes it.
func (r *Remote) feed(in io.Reader, ended <-chan struct{}) {
	buf := make([]byte, frames.MaxData)
	for lent := frames.Window; ; {
		n, err := in.Read(buf)
		if n > 0 {
			for lent == 0 {
				select {
				case <-r.credit:
					lent++
				case <-ended:
					return
				}
			}
			lent--
			if r.conn.Send(frames.Input, buf[:n]) != nil {
				return
			}
		}
		for more := true; more; {
			select {
			case <-r.credit:
				lent++
			default:
				more = false
			}
		}
		if err != nil {
			_ = r.conn.Send(frames.Input, nil) // the bottle may be gone
			return
		}
	}
}

func (r *Remote) resize(size backend.Size) error {
	body := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, size.Rows), size.Cols)
	if err := r.conn.Send(frames.Resize, body); err != nil {
		return fmt.Errorf("resize the terminal: %w", err)
	}
	return nil
}

func (r *Remote) signal(n syscall.Signal) error {
	if err := r.conn.SendJSON(frames.Control, jail.Request{Signal: int(n)}); err != nil {
		return fmt.Errorf("signal the agent: %w", err)
	}
	return nil
}
