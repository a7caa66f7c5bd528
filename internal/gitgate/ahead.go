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
	err     error
}

func (r *repo) openAhead(ctx context.Context) *ahead {
	ctx, stop := context.WithCancel(ctx)
	a := &ahead{stop: stop, opened: make(chan struct{}), begun: time.Now()}
	go func() {
		defer close(a.opened)
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

func (a *ahead) close() {
	a.stop()
	<-a.opened
	a.drop()
}

func (a *ahead) drop() {
	if a.session != nil {
		a.session.Close()
	}
	a.end(nil)
}
