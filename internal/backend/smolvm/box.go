package smolvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/jail"
	"bottle/internal/backend/smolvm/guest"
	"bottle/internal/hostexec"
	"bottle/internal/plan"
)

// Box is one bottle in a micro-VM.
type Box struct {
	s       *Smolvm
	cli     command
	dialect dialect
	told    plan.Bottle
	name    string     // of the machine
	addr    netip.Addr // the bottle's own
	token   [32]byte   // of the gateway's door

	cancel  context.CancelFunc
	stood   chan struct{} // closed once it stands or failed
	failed  error         // set before
	gateway *backend.Gateway

	exec    *hostexec.Process
	in, out *os.File // of exec
	conn    *guest.Conn
	replies chan reply
	reading bool
	reader  sync.WaitGroup
	credit  chan struct{}
	stdio   sync.Mutex
	to      [2]io.Writer

	gone   chan struct{} // closed when nobody waits for a reply any more
	once   sync.Once
	closed error
}

type reply struct {
	guest.Answer
	err error
}

// failure is what went wrong, if so.
func (r reply) failure() error {
	switch {
	case r.err != nil:
		return r.err
	case r.Error != "":
		return errors.New(r.Error)
	case r.Jail != nil && r.Jail.Error != "":
		return errors.New(r.Jail.Error)
	}
	return nil
}

// enter starts the guest and waits until its jail stands. A guest that was killed
// before it did anything is started again: a first exec can be (0.8.0).
func (x *Box) enter(ctx context.Context, begin guest.Begin) error {
	for {
		err := x.try(ctx, begin)
		if err == nil {
			x.reading = true
			x.reader.Go(x.read)
			return nil
		}
		x.hangUp()
		if ctx.Err() != nil || !exits(x.exec.Wait(), 137) {
			return fmt.Errorf("put up the jail in the machine: %w", x.blame(err))
		}
	}
}

func (x *Box) try(ctx context.Context, begin guest.Begin) error {
	inR, inW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return fmt.Errorf("make pipe: %w", err)
	}
	defer outW.Close()
	x.in, x.out = inW, outR
	argv := []string{guest.Self + "/" + guest.Program, guest.Word, "--identity", x.told.Identity}
	if x.exec, err = x.cli.speak(x.dialect, x.name, argv, inR, outW); err != nil {
		return err
	}
	x.conn = guest.NewConn(outR, inW, guest.MaxAnswer)
	stop := context.AfterFunc(ctx, x.hangUp) // a guest that says nothing is not waited for
	defer stop()
	if err := x.conn.SendJSON(guest.Message{Begin: &begin}); err != nil {
		return err
	}
	kind, body, err := x.conn.Receive()
	if err != nil {
		return err
	}
	var a guest.Answer
	if err := json.Unmarshal(body, &a); err != nil || kind != guest.Control {
		return fmt.Errorf("the machine does not speak as it must: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	if err := (reply{Answer: a}).failure(); err != nil || a.Up {
		return err
	}
	return errors.New("the machine did not say that the jail is up")
}

// hangUp lets go of the guest's streams, which ends it.
func (x *Box) hangUp() {
	if x.in != nil {
		_, _ = x.in.Close(), x.out.Close() // they may be closed already
	}
}

// blame adds what smolvm and the guest said on their way out.
func (x *Box) blame(err error) error {
	if x.exec == nil {
		return err
	}
	if said := strings.TrimSpace(x.exec.Stderr()); said != "" && !strings.Contains(said, err.Error()) {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// read passes on what the guest says until it says no more. Then the bottle is over,
// and so is its gateway.
func (x *Box) read() {
	defer x.gateway.Close()
	defer close(x.replies)
	for {
		kind, body, err := x.conn.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				x.hand(reply{err: err})
			}
			return
		}
		switch kind {
		case guest.Output:
			x.write(0, body)
		case guest.Errors:
			x.write(1, body)
		case guest.Credit:
			select {
			case x.credit <- struct{}{}:
			default: // more than was lent: not from our guest
			}
		case guest.Control:
			var r reply
			r.err = json.Unmarshal(body, &r.Answer)
			x.hand(r)
		}
	}
}

func (x *Box) hand(r reply) {
	select {
	case x.replies <- r:
	case <-x.gone:
	}
}

func (x *Box) write(n int, body []byte) {
	x.stdio.Lock()
	to := x.to[n]
	x.stdio.Unlock()
	if to != nil {
		_, _ = to.Write(body) // an operator who looks away does not end the agent
	}
}

// stand waits until all of it stands.
func (x *Box) stand(ctx context.Context) error {
	select {
	case <-x.stood:
		return x.failed
	case <-ctx.Done():
		return fmt.Errorf("put up the bottle: %w", ctx.Err())
	}
}

// ask sends one message and waits for its reply.
func (x *Box) ask(ctx context.Context, m guest.Message) (reply, error) {
	if err := x.stand(ctx); err != nil {
		return reply{}, err
	}
	if err := x.conn.SendJSON(m); err != nil {
		return reply{}, x.blame(err)
	}
	select {
	case r, ok := <-x.replies:
		if !ok {
			return r, x.blame(errors.New("the bottle has ended"))
		}
		return r, r.failure()
	case <-ctx.Done():
		return reply{}, fmt.Errorf("wait for the bottle: %w", ctx.Err())
	}
}

// Hello implements backend.Bottle.
func (x *Box) Hello() plan.Hello { return x.gateway.Hello }

// Ready implements backend.Bottle.
func (x *Box) Ready() plan.Ready {
	if x.stand(context.Background()) != nil { // whoever asks for more gets the error
		return plan.Ready{}
	}
	return x.gateway.Ready
}

// Place implements backend.Bottle.
func (x *Box) Place(ctx context.Context, files []plan.File) error {
	if len(files) == 0 {
		return x.stand(ctx)
	}
	_, err := x.ask(ctx, guest.Message{Jail: &jail.Request{Place: files}})
	return err
}

// Tell implements backend.Bottle.
func (x *Box) Tell(line []byte) error { return x.gateway.Tell(line) }

// Close implements backend.Bottle. The machine goes before its gateway: no request of
// the agent may find that half gone.
func (x *Box) Close() error {
	x.once.Do(func() {
		x.cancel()
		<-x.stood
		close(x.gone)
		x.hangUp()
		if x.dialect.version != "" {
			ctx, cancel := context.WithTimeout(context.Background(), callTime)
			defer cancel()
			x.closed = x.cli.remove(ctx, x.dialect, x.name)
		}
		if x.exec != nil {
			x.exec.Stop(time.Second)
		}
		if x.gateway != nil {
			x.gateway.Close()
		}
		if x.reading {
			for range x.replies { // whatever the reader still holds; it closes the channel
				continue
			}
		}
		x.reader.Wait()
		if err := os.RemoveAll(x.told.State + "/share"); x.told.State != "" && x.closed == nil {
			x.closed = err
		}
	})
	return x.closed
}

var _ backend.Bottle = (*Box)(nil)
