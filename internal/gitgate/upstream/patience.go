package upstream

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// patience ends a session in which it is the service's turn and nothing comes of it: no
// byte of an answer, or none that it takes of a request. A connection cannot tell: an SSH
// server that answers keep-alives says nothing of the service behind it. Time that passes
// on our own side does not count.
type patience struct {
	limit time.Duration
	timer *time.Timer

	mu      sync.Mutex
	theirs  bool // all was sent: the answer is awaited
	reading bool
}

// waitFor makes a patience that ends a context with why it does.
func waitFor(limit time.Duration, end context.CancelCauseFunc) *patience {
	p := &patience{limit: limit, theirs: true}
	p.timer = time.AfterFunc(limit, func() { end(fmt.Errorf("it said nothing for %v", limit)) })
	p.timer.Stop()
	return p
}

// asks says that a request begins. Until sent, only its writer waits.
func (p *patience) asks() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.theirs = false
	p.timer.Stop()
}

// sent says that the request is there as a whole.
func (p *patience) sent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.theirs = true
	if p.reading {
		p.timer.Reset(p.limit)
	}
}

func (p *patience) reader(in io.Reader) io.Reader { return awaited{p, in} }

func (p *patience) writer(out io.Writer) io.Writer { return taken{p, out} }

type awaited struct {
	p  *patience
	in io.Reader
}

func (a awaited) Read(b []byte) (int, error) {
	a.p.read(true)
	defer a.p.read(false)
	return a.in.Read(b)
}

func (p *patience) read(begins bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading = begins
	switch {
	case !p.theirs: // the writer's to mind
	case begins:
		p.timer.Reset(p.limit)
	default:
		p.timer.Stop()
	}
}

type taken struct {
	p   *patience
	out io.Writer
}

func (t taken) Write(b []byte) (int, error) {
	t.p.timer.Reset(t.p.limit)
	defer t.p.timer.Stop()
	return t.out.Write(b)
}
