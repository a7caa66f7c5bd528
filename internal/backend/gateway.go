package backend

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"bottle/internal/hostexec"
	"bottle/internal/plan"
)

// gatewayGrace is how long a gateway that was told to end gets.
const gatewayGrace = 3 * time.Second

// hearTime is how long a gateway may take to read what it is told.
const hearTime = 5 * time.Second

// Gateway is one bottle-gateway that runs as a process of this host, for the
// backends that put it there and for `bottle proxy`. See plan.Gateway for what
// is said on which pipe.
type Gateway struct {
	Hello plan.Hello // set once Greet has returned
	Ready plan.Ready // set once Await has returned
	proc  *hostexec.Process
	in    *os.File
	out   *os.File
	lines *bufio.Reader
	once  sync.Once
	tell  sync.Mutex // one line after the other
	torn  bool       // a line was not written to its end: what followed would be read as its rest
}

// StartGateway starts the program at path and tells it gw, then secrets (one
// JSON line, already encoded). The pipe is the only place where secret values
// ever are. meet, which may be nil, is where the bottle's sockets will arrive.
func StartGateway(path string, gw plan.Gateway, secrets []byte, meet *os.File) (*Gateway, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer outW.Close()
	g := &Gateway{in: inW, out: outR, lines: bufio.NewReaderSize(outR, 16<<10)}
	cmd := hostexec.Cmd{
		Path: path, Args: []string{"serve", "--identity", string(gw.Identity)}, Dir: "/", Stdin: inR, Stdout: outW, NewGroup: true,
	}
	if meet != nil {
		cmd.ExtraFiles = []*os.File{meet}
	}
	// The context is nobody's: Close ends the gateway, after the walls have fallen.
	if g.proc, err = hostexec.Start(context.Background(), cmd); err != nil {
		inW.Close()
		outR.Close()
		return nil, err
	}
	line, err := json.Marshal(gw)
	if err != nil {
		g.Close()
		return nil, fmt.Errorf("encode gateway: %w", err)
	}
	for _, b := range [][]byte{line, secrets} {
		if _, err := inW.Write(append(b, '\n')); err != nil {
			return nil, g.blame(fmt.Errorf("tell the gateway: %w", err))
		}
	}
	return g, nil
}

// Greet returns when the gateway has said Hello. After an error it has ended.
func (g *Gateway) Greet() error {
	err := g.hear(&g.Hello)
	if err == nil && g.Hello.Failed != "" {
		err = g.blame(errors.New(g.Hello.Failed))
	}
	return err
}

// Await returns when the gateway, which has said Hello, serves. After an error it
// has ended.
func (g *Gateway) Await() error {
	err := g.hear(&g.Ready)
	if err == nil && g.Ready.Failed != "" {
		err = g.blame(errors.New(g.Ready.Failed))
	}
	return err
}

// hear reads one line into v.
func (g *Gateway) hear(v any) error {
	line, err := g.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, v)
	}
	if err != nil {
		return g.blame(fmt.Errorf("listen to the gateway: %w", err))
	}
	return nil
}

// Tell says one more line, without its end, on the gateway's standard input. It
// returns within five seconds, and an error if the gateway does not read, or has
// ended; then nothing more can be said.
func (g *Gateway) Tell(line []byte) error {
	g.tell.Lock()
	defer g.tell.Unlock()
	if g.torn {
		return errors.New("tell the gateway: it did not take the line before")
	}
	whole := append(bytes.Clone(line), '\n')
	defer clear(whole)
	err := g.in.SetWriteDeadline(time.Now().Add(hearTime))
	if err == nil {
		_, err = g.in.Write(whole)
	}
	if err != nil {
		g.torn = true
		return fmt.Errorf("tell the gateway: %w", err)
	}
	return nil
}

// Wait returns when the gateway has ended, with what it said when it failed.
func (g *Gateway) Wait() error { return g.proc.Wait() }

// blame ends the gateway and adds what it said on its way out.
func (g *Gateway) blame(err error) error {
	g.Close()
	if said := strings.TrimSpace(g.proc.Stderr()); said != "" {
		return fmt.Errorf("start the gateway: %s", said)
	}
	return fmt.Errorf("start the gateway: %w", err)
}

// Close ends the gateway and waits for its end. It is idempotent.
func (g *Gateway) Close() {
	g.once.Do(func() {
		g.in.Close() // its end means: shut down
		late := time.AfterFunc(gatewayGrace, func() { g.proc.Stop(0) })
		_ = g.proc.Wait() // how it ended is Wait's to tell
		late.Stop()
		g.out.Close()
	})
}
