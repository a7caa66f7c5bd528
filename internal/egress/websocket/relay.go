// Package websocket carries one WebSocket connection (RFC 6455) between an agent
// and an upstream, and checks its handshake. It reads every frame of both sides,
// refuses what breaks the RFC, and writes frames of its own: nothing reaches a
// side that the other could have shaped, but for the payloads.
//
//	agent                        Relay                        upstream
//	  │ masked frames ─────────▶ │ unmask, check, scan, mask anew ─▶ │
//	  │ ◀─ check, scan, write anew │ ◀──────────────────────── frames │
//
// No extension is spoken (the handshake lets none be agreed on), so payloads are
// what they say. A message is never gathered: memory is fixed for each connection,
// about 50 KiB and what scanners hold back. Who does not read stops the other side.
package websocket

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// Side is one end of the connection.
type Side byte

// The sides.
const (
	Agent    Side = iota + 1 // the client
	Upstream                 // the server
)

func (s Side) String() string {
	switch s {
	case Agent:
		return "the agent"
	case Upstream:
		return "the upstream"
	}
	return "nobody"
}

// Piece is a part of a message's payload, or the payload of a control frame.
type Piece struct {
	From  Side
	Op    Opcode // Text or Binary: of the message; Close, Ping, Pong: a control frame, also between the pieces of a message
	Begin bool   // of its message; a control frame is begin and end in one
	Final bool   // the end of its message
	Data  []byte // unmasked; of a close frame the reason, without the code. Not to be kept
}

// Scanner sees the payload of every message of one side, in order, before it goes
// on. It is called by one goroutine at a time.
//
// It may change p.Data in place. It gives how many bytes at its end may not go on
// yet: the next piece of this message begins with them, as they are now. At most
// MaxHeld; of no account where p.Final is set, for then all goes on. An error cuts
// the connection (close code 1008) before p.Data has gone on.
type Scanner func(p Piece) (hold int, err error)

// MaxHeld is how many bytes a Scanner may hold back. More cuts the connection.
const MaxHeld = 64 << 10

// Options are how to relay. Zero is fine: RFC 6455 is held, and nobody looks into
// messages.
type Options struct {
	FromAgent    Scanner       // nil: nobody looks
	FromUpstream Scanner       // nil: nobody looks
	CloseTime    time.Duration // from one side's close frame to the other's; 30 s
	EndTime      time.Duration // from the last close frame, or a fault, to the end of both connections; 2 s
}

// Traffic is how many bytes went to each side, headers of frames included.
type Traffic struct {
	Out int64 // to the upstream
	In  int64 // to the agent
}

// Fault is why a relay was cut.
type Fault struct {
	From Side   // who sent it
	Code uint16 // the close code that the agent got, 1002, 1007, 1008 or 1011 (RFC 6455 section 7.4.1)
	What string // what was sent, in fixed words
	Err  error  // of the Scanner that refused; nil: RFC 6455 refuses it
}

func (f *Fault) Error() string {
	text := "relay WebSocket: " + f.From.String() + " sent " + f.What
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

// Unwrap gives the Scanner's error.
func (f *Fault) Unwrap() error { return f.Err }

// breach is what breaks the framing of RFC 6455.
func breach(what string) *Fault { return &Fault{Code: protocolError, What: what} }

func refused(err error) *Fault {
	return &Fault{Code: policyViolation, What: "what is not let through", Err: err}
}

var errHeld = errors.New("a scanner holds back too much")

// Relay carries frames both ways after the handshake, until both sides have ended,
// ctx ends, one of them fails, or one of them is at fault. It closes both. The end
// of one side's stream between frames is passed on (half-close), and what the
// other still sends goes through, if the connections have CloseWrite; else it is
// the end of both.
//
// At a fault the agent gets a close frame that says what it was, and the upstream
// one too (1001 if it was not its fault), where none has gone before; the error is
// a *Fault. Any other error is a connection's, or ctx's: nobody did wrong.
func Relay(ctx context.Context, agent, upstream io.ReadWriteCloser, o Options) (Traffic, error) {
	r := &relay{o: o.withDefaults(), agent: newSender(agent, false), upstream: newSender(upstream, true)}
	r.cut = sync.OnceFunc(func() {
		_ = agent.Close()
		_ = upstream.Close()
	})
	stop := context.AfterFunc(ctx, r.cut)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { r.run(newPump(Agent, agent, r.upstream, o.FromAgent, r.closed), agent) })
	r.run(newPump(Upstream, upstream, r.agent, o.FromUpstream, r.closed), upstream)
	wg.Wait()
	r.cut() // waits for one that has begun
	return Traffic{Out: r.upstream.sent(), In: r.agent.sent()}, r.outcome(ctx)
}

func (o Options) withDefaults() Options {
	if o.CloseTime <= 0 {
		o.CloseTime = 30 * time.Second
	}
	if o.EndTime <= 0 {
		o.EndTime = 2 * time.Second
	}
	return o
}

// relay is one Relay call.
type relay struct {
	o        Options
	agent    *sender
	upstream *sender
	cut      func() // closes both sides, once

	mu     sync.Mutex
	fault  *Fault
	err    error
	closes int // close frames that went on
	timer  *time.Timer
	until  time.Time
}

// run carries one direction to its end.
func (r *relay) run(p *pump, src io.Reader) {
	err := p.run()
	var f *Fault
	switch {
	case err == nil:
		if !r.failed() && p.dst.closeWrite() != nil {
			r.cut()
		}
		return
	case errors.As(err, &f):
		r.fail(f)
	case !errors.Is(err, errShut):
		r.lost(err)
		return
	}
	// The connection is ending. Bytes that stay unread would make of its close a
	// reset, and that could overtake the close frame.
	_, _ = io.Copy(io.Discard, struct{ io.Reader }{src})
}

// closed hears that a close frame went on. After both nothing is to come.
func (r *relay) closed() {
	r.mu.Lock()
	r.closes++
	both := r.closes == 2
	r.mu.Unlock()
	if !both {
		r.limit(r.o.CloseTime)
		return
	}
	r.limit(r.o.EndTime)
	if r.agent.closeWrite() != nil || r.upstream.closeWrite() != nil {
		r.cut()
	}
}

// fail ends both sides properly, as far as they let it.
func (r *relay) fail(f *Fault) {
	r.mu.Lock()
	first := r.fault == nil
	if first {
		r.fault = f
	}
	r.mu.Unlock()
	if !first {
		return
	}
	r.limit(r.o.EndTime) // also for a side that takes nothing
	code := f.Code
	if f.From == Agent {
		code = goingAway
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.upstream.end(code, "") }) // what a bottle is stays in the house
	r.agent.end(f.Code, "bottle: "+f.From.String()+" sent "+f.What)
	wg.Wait()
}

// failed: the end of the writing comes after the close frame, which fail sends.
func (r *relay) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault != nil
}

// lost ends both sides because one of them is gone. After both close frames that is
// how it ends: everything was said.
func (r *relay) lost(err error) {
	r.mu.Lock()
	if r.err == nil && r.closes < 2 {
		r.err = err
	}
	r.mu.Unlock()
	r.cut()
}

// limit cuts both sides after d, unless that is set for earlier already.
func (r *relay) limit(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := time.Now().Add(d)
	if r.timer != nil {
		if r.until.Before(until) {
			return
		}
		r.timer.Stop()
	}
	r.timer, r.until = time.AfterFunc(d, r.cut), until
}

// outcome is why it ended, once both directions have.
func (r *relay) outcome(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	switch {
	case r.fault != nil:
		return r.fault
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return r.err
}
