package gitgate

import (
	"context"
	"time"

	"bottle/internal/gitgate/upstream"
)

// ahead is a session with upstream that is opened while a push is judged, for that takes
// a connection's time. It carries nothing of the push before that is judged.
type ahead struct {
	stop    context.CancelFunc
	opened  chan struct{}
	begun   time.Time
	session *upstream.Session
	end     context.CancelCauseFunc // of the session
	leave   func()                  // gives the repository's one way ahead back; nil: it was not taken
	err     error
}

func (r *repo) openAhead(ctx context.Context) *ahead {
	ctx, stop := context.WithCancel(ctx)
	a := &ahead{stop: stop, opened: make(chan struct{}), begun: time.Now(), end: func(error) {}}
	go func() {
		defer close(a.opened)
		leave, err := enter(ctx, r.ways)
		if err != nil {
			a.err = err
			return
		}
		a.leave = leave
		a.begun = time.Now()
		a.session, a.end, a.err = r.open(ctx)
	}()
	return a
}

// take gives the session, or another one where the judge took long. close ends either.
func (a *ahead) take(ctx context.Context, r *repo) (*upstream.Session, error) {
	<-a.opened // or it fails by its limits
	if time.Since(a.begun) > r.gate.limits.longOpen {
		a.drop()
		a.session, a.end, a.err = r.open(ctx)
	}
	return a.session, a.err
}

// close ends the session. One that is still being opened ends by itself, within the limits
// of upstream, and nobody waits for it but the next push's.
func (a *ahead) close() {
	a.stop()
	select {
	case <-a.opened:
		a.free()
	default:
		go func() { <-a.opened; a.free() }()
	}
}

func (a *ahead) free() {
	a.drop()
	if a.leave != nil {
		a.leave()
	}
}

func (a *ahead) drop() {
	if a.session != nil {
		a.session.Close()
	}
	a.end(nil)
}
