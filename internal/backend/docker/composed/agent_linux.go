package composed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"bottle/internal/backend"
	"bottle/internal/backend/agent"
	"bottle/internal/backend/docker/inside"
	"bottle/internal/backend/frames"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

// fenced is the file by which an agent knows that its network is made.
const fenced = "bottle-fenced"

// Run is pid 1 of the agent's container, and what a start would do besides: it waits for the
// fence, tries every wall, and runs the agent on in, out and errs until it ends or ctx does.
func (a Agent) Run(ctx context.Context, in io.Reader, out, errs io.Writer) (int, error) {
	toR, toW := io.Pipe()
	backR, backW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := inside.Box(a.Bottle.Identity, toR, backW)
		ended <- err
		backW.CloseWithError(io.EOF)
		toR.Close()
	}()
	link := agent.NewRemote(frames.NewConn(backR, toW, frames.MaxOut), func(err error) error { return err })
	go link.Hear()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	code, err := a.live(ctx, link, backend.Stdio{In: in, Out: out, Err: errs, Started: func() { heed(cancel) }})
	toW.Close()
	if why := <-ended; err == nil {
		err = why
	}
	return code, err
}

// heed calls end at a SIGTERM, which `docker stop` sends. The jail has made pid 1 deaf, in the
// kernel and behind the runtime's back, so the runtime is told twice. Whoever the agent is, it
// can end its own bottle.
func heed(end func()) {
	told := make(chan os.Signal, 1)
	signal.Ignore(syscall.SIGTERM)
	signal.Notify(told, syscall.SIGTERM)
	go func() { <-told; end() }() // the process ends with the agent
}

func (a Agent) live(ctx context.Context, link *agent.Remote, s backend.Stdio) (int, error) {
	r, err := link.Ask(ctx, jail.Request{Spec: &jail.Spec{Bottle: a.Bottle, Filter: a.Filter, Landlock: true, Housed: true}})
	if err == nil && !r.Up {
		err = errors.New("put up the walls: they did not say that they stand")
	}
	if err != nil {
		return 0, err
	}
	if err := until(ctx, standing); err != nil {
		return 0, fmt.Errorf("wait for the fence: %w; bring all down and up again: docker compose down && docker compose up", err)
	}
	if len(a.Files) > 0 {
		if _, err := link.Ask(ctx, jail.Request{Place: a.Files}); err != nil {
			return 0, err
		}
	}
	if err := a.try(ctx, link); err != nil {
		return 0, err
	}
	return link.Run(ctx, a.command(), s)
}

// standing is nil once the fence has made this container's network, and no earlier one's.
func standing() error {
	here, err := network()
	if err != nil {
		return err
	}
	of, err := os.ReadFile(filepath.Join(ShownAt, fenced))
	if err != nil {
		return errors.New("it has not made this container's network")
	}
	if string(of) != here {
		return errors.New("it made the network of another container")
	}
	return nil
}

// try tries every wall from inside. There is no start on the host whose listener the agent could
// try to reach; the host's loopback is tried where nobody listens.
func (a Agent) try(ctx context.Context, link *agent.Remote) error {
	results, err := link.Verify(ctx, plan.Probes{Identity: a.Bottle.Identity, Sentinel: "127.0.0.1:9", Abstract: "@bottle-" + a.Bottle.Identity})
	if err != nil {
		return err
	}
	var broken []string
	for _, r := range results {
		if !r.OK {
			broken = append(broken, "the wall "+r.Name+" does not hold: "+r.Detail)
		}
	}
	if len(results) == 0 {
		return errors.New("check the walls: the probe tried nothing")
	}
	if len(broken) > 0 {
		return errors.New(strings.Join(broken, "\n"))
	}
	return nil
}

// command is the agent's, with the values that compose took from whoever ran it.
func (a Agent) command() plan.Command {
	c := a.Command
	for _, name := range a.Env {
		if v, ok := os.LookupEnv(name); ok {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	return c
}
