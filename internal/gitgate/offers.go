package gitgate

import (
	"context"
	"sync"
)

// offers lets those who ask at the same time for what may be pushed to share one
// connection to upstream. Who comes when upstream was asked already needs an answer that
// is newer than his question: he waits for the next, with all who come meanwhile. So there
// is one connection at a time, however many ask.
type offers struct {
	mu   sync.Mutex
	now  *offered // under way
	next *offered // that begins when it ends
}

type offered struct {
	done chan struct{}
	text []byte
	err  error
}

// get gives what ask gives, which is called with a context that outlives the caller's:
// others may wait for it, too. ask must end by itself.
func (o *offers) get(ctx context.Context, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	o.mu.Lock()
	mine := &offered{done: make(chan struct{})}
	switch {
	case o.now == nil:
		o.now = mine
		go o.run(context.WithoutCancel(ctx), ask)
	case o.next == nil:
		o.next = mine
	default:
		mine = o.next
	}
	o.mu.Unlock()
	select {
	case <-mine.done:
		return mine.text, mine.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run asks, again and again as long as somebody waits.
func (o *offers) run(ctx context.Context, ask func(context.Context) ([]byte, error)) {
	o.mu.Lock()
	now := o.now
	o.mu.Unlock()
	for now != nil {
		now.text, now.err = ask(ctx)
		o.mu.Lock()
		done := now
		o.now, o.next = o.next, nil
		now = o.now
		o.mu.Unlock()
		close(done.done)
	}
}
