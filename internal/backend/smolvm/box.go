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
	"sync/atomic"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/agent"
	"bottle/internal/backend/frames"
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
	sealed  []string   // folders in the VM that it must not write to
	token   [32]byte   // of the gateway's door

	release func() // lets go of the image; nil: it was not held
	cancel  context.CancelFunc
	stood   chan struct{} // closed once it stands or failed
	failed  error         // set before
	gateway Gate          // nil: it did not come to be

	exec    *hostexec.Process
	in, out *os.File      // of exec
	link    *agent.Remote // to the jail in the machine
	reader  sync.WaitGroup
	mute    atomic.Bool // the guest says no more
	lost    atomic.Bool // the gateway ended before the guest did

	once   sync.Once
	closed error
}

// enter starts the guest and waits until its jail stands. A guest that was killed
// before it did anything is started again: a first exec can be (0.8.0).
func (x *Box) enter(ctx context.Context, begin guest.Begin) error {
	for {
		err := x.try(ctx, begin)
		if err == nil {
			x.reader.Go(func() {
				x.link.Hear()
				x.mute.Store(true)
				_ = x.gateway.Close() // Close tells; the bottle is over, and so is its gateway
			})
			return nil
		}
		x.hangUp()
		if x.exec == nil || !exits(x.ended(), 137) || !rest(ctx, pollEvery) {
			return fmt.Errorf("put up the jail in the machine: %w", x.blame(err))
		}
	}
}

// ended is how the call of exec ended. One that does not is ended.
func (x *Box) ended() error {
	t := time.AfterFunc(endTime, func() { x.exec.Stop(time.Second) })
	defer t.Stop()
	return x.exec.Wait()
}

// rest reports whether ctx let it rest for d.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (x *Box) try(ctx context.Context, begin guest.Begin) error {
	inR, inW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		_, _ = inR.Close(), inW.Close()
		return fmt.Errorf("make pipe: %w", err)
	}
	x.in, x.out = inW, outR
	argv := []string{guest.Self + "/" + guest.Program, guest.Word, "--identity", x.told.Identity}
	x.exec, err = x.cli.speak(x.dialect, x.name, argv, inR, outW)
	_, _ = inR.Close(), outW.Close() // else the end of a call that says nothing would not be seen
	if err != nil {
		return err
	}
	conn := frames.NewConn(outR, inW, frames.MaxOut)
	stop := context.AfterFunc(ctx, x.hangUp) // a guest that says nothing is not waited for
	defer stop()
	if err := conn.SendJSON(frames.Control, begin); err != nil {
		return fmt.Errorf("`smolvm machine exec -i` did not take what it was told (a newer smolvm may): %w", err)
	}
	kind, body, err := conn.Receive()
	if err != nil {
		return fmt.Errorf("what `smolvm machine exec -i` gave is not the jail's answer (a newer smolvm may pass it on): %w", err)
	}
	var r jail.Reply
	if err := json.Unmarshal(body, &r); err != nil || kind != frames.Control {
		return fmt.Errorf("the machine does not speak as it must: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	if !r.Up {
		return errors.New("the machine did not say that the jail is up")
	}
	x.link = agent.NewRemote(conn, x.blame)
	return nil
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

// stand waits until all of it stands.
func (x *Box) stand(ctx context.Context) error {
	select {
	case <-x.stood:
		return x.failed
	case <-ctx.Done():
		return fmt.Errorf("put up the bottle: %w", ctx.Err())
	}
}

// Hello implements backend.Bottle.
func (x *Box) Hello() plan.Hello {
	hello, _ := x.gateway.Said()
	return hello
}

// Ready implements backend.Bottle.
func (x *Box) Ready() plan.Ready {
	if x.stand(context.Background()) != nil { // whoever asks for more gets the error
		return plan.Ready{}
	}
	_, ready := x.gateway.Said()
	return ready
}

// Place implements backend.Bottle.
func (x *Box) Place(ctx context.Context, files []plan.File) error {
	if err := x.stand(ctx); err != nil || len(files) == 0 {
		return err
	}
	ctx, done := x.within(ctx)
	defer done()
	_, err := x.link.Ask(ctx, jail.Request{Place: files})
	return err
}

// within lets go of the machine when ctx ends, or after answerTime: one that reads nothing
// any more would hold up who writes to it. done calls that off.
func (x *Box) within(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("the machine gave no answer within %v", answerTime))
	stop := context.AfterFunc(ctx, x.hangUp)
	return ctx, func() { stop(); cancel() }
}

// Run implements backend.Bottle. The terminal is made inside, with its size; smolvm's own has
// none.
func (x *Box) Run(ctx context.Context, c plan.Command, s backend.Stdio) (int, error) {
	if err := x.stand(ctx); err != nil {
		return 0, err
	}
	code, err := x.link.Run(ctx, c, s)
	if err != nil && x.lost.Load() {
		return 0, agent.Lost(x.told.Identity, x.blame)
	}
	return code, err
}

// Tell implements backend.Bottle.
func (x *Box) Tell(line []byte) error { return x.gateway.Tell(line) }

// Close implements backend.Bottle. The machine goes before its gateway: no request of
// the agent may find that half gone.
func (x *Box) Close() error {
	x.once.Do(func() {
		x.cancel()
		<-x.stood
		if x.link != nil {
			x.link.Close()
		}
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
			x.closed = errors.Join(x.closed, x.gateway.Close())
		}
		x.reader.Wait()
		if x.release != nil {
			x.release()
		}
		if err := os.RemoveAll(x.told.State + "/share"); x.told.State != "" && x.closed == nil {
			x.closed = err
		}
	})
	return x.closed
}

var _ backend.Bottle = (*Box)(nil)
