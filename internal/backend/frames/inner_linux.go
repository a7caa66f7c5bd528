package frames

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"bottle/internal/backend/jail"
	"bottle/internal/backend/terminal"
)

// Inner is the bottle's end of the stream. Hear and Tell are for a goroutine each.
type Inner struct {
	Conn  *Conn
	Wire  *jail.Wire
	Ended func()                         // called when the agent has: ends who holds its pipes yet
	Aside func(body []byte) (any, error) // answers what is no request to the jail; nil: there is no such question
	Mute  bool                           // a kernel, as gVisor's, that tells no process of a new size of its terminal

	input  chan []byte // bounded by Window
	pumps  sync.WaitGroup
	mu     sync.Mutex // for master
	master *os.File   // of the agent's terminal
	taking bool       // the input has somewhere to go
}

// NewInner is the end that conn's other side talks to. Wire and Ended are to be set.
func NewInner(conn *Conn) *Inner {
	return &Inner{Conn: conn, input: make(chan []byte, Window+1)} // and the end
}

// Hear passes on what the start says, until it says no more: then the jail ends.
func (n *Inner) Hear() {
	defer n.Wire.Close()
	for {
		kind, body, err := n.Conn.Receive()
		if err != nil {
			return
		}
		switch kind {
		case Control:
			err = n.obey(body)
		case Aside:
			err = n.answer(body)
		case Input:
			err = n.feed(body)
		case Resize:
			err = n.resize(body)
		default:
			err = errors.New("a frame of no kind")
		}
		if err != nil {
			_ = n.Conn.SendJSON(Control, jail.Reply{Error: err.Error()}) // the start may be gone
			return
		}
	}
}

func (n *Inner) answer(body []byte) error {
	if n.Aside == nil {
		return errors.New("a frame of no kind")
	}
	answer, err := n.Aside(body)
	if err != nil {
		return err
	}
	return n.Conn.SendJSON(Aside, answer)
}

// feed queues input; a start that sends more than it has credit for is none of ours.
func (n *Inner) feed(body []byte) error {
	select {
	case n.input <- body:
		return nil
	default:
		return errors.New("more input than there is room for")
	}
}

func (n *Inner) resize(body []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(body) != 4 || n.master == nil {
		return nil
	}
	err := terminal.Resize(n.master, binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:]))
	if err == nil && n.Mute {
		_ = terminal.Tell() // a size that nobody hears of ends no bottle
	}
	if errors.Is(err, os.ErrClosed) { // the agent is gone
		return nil
	}
	return err
}

// obey passes one request on; a run without a terminal gets pipes that are made here.
func (n *Inner) obey(body []byte) error {
	var req jail.Request
	if err := json.Unmarshal(body, &req); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if req.Spec != nil {
		return errors.New("a second bottle in this one")
	}
	if req.Run == nil || req.Run.TTY {
		return n.Wire.Send(req)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	inside := []*os.File{inR}
	defer func() {
		for _, f := range inside {
			f.Close()
		}
	}()
	for _, kind := range []Kind{Output, Errors} {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("make pipe: %w", err)
		}
		inside = append(inside, w)
		n.pump(kind, r)
	}
	n.drink(inW)
	return n.Wire.Send(req, inside...)
}

// pump sends what from gives, until it ends.
func (n *Inner) pump(kind Kind, from *os.File) {
	n.pumps.Go(func() {
		defer from.Close()
		buf := make([]byte, MaxData)
		for {
			m, err := from.Read(buf) // of a terminal it ends with EIO when the last slave closes
			if m > 0 && n.Conn.Send(kind, buf[:m]) != nil {
				return
			}
			if err != nil {
				return
			}
		}
	})
}

// drink writes the input to where the agent reads, and gives credit for what it took.
func (n *Inner) drink(to *os.File) {
	if n.taking {
		return // one agent a bottle; the jail refuses a second
	}
	n.taking = true
	go func() {
		open := true
		for body := range n.input {
			if len(body) == 0 {
				to.Close()
				return
			}
			if open {
				_, err := to.Write(body)
				open = err == nil // the agent may close its input first; the rest is thrown away
			}
			if n.Conn.Send(Credit, nil) != nil {
				return
			}
		}
	}()
}

// Tell passes on what the jail says until it says no more, and gives the agent's exit code.
// The agent's end comes last: all that it said before is on its way then.
func (n *Inner) Tell() (code int) {
	for {
		var reply jail.Reply
		files, err := n.Wire.Receive(&reply)
		if err != nil {
			return code
		}
		if reply.Started && len(files) == 1 {
			if err := n.terminal(files[0]); err != nil {
				reply = jail.Reply{Error: err.Error()}
			}
		}
		if reply.Exited != nil {
			code = *reply.Exited
			n.Ended()
			n.pumps.Wait()
		}
		if n.Conn.SendJSON(Control, reply) != nil {
			return code
		}
	}
}

// terminal takes the agent's terminal over.
func (n *Inner) terminal(f *os.File) error {
	m, err := terminal.Pollable(f)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.master = m
	n.mu.Unlock()
	n.pump(Output, m)
	n.drink(m)
	return nil
}
