package http1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	watchAfter  = 100 * time.Millisecond // most exchanges are over by then
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 16 << 20
	drainBytes  = 256 << 10
)

// Server answers the requests of connections that some grammar has screened: it
// trusts that a request's framing can be read in one way.
type Server struct {
	Handler   http.Handler
	KeepAlive time.Duration // the most between two requests
	Memory    *Memory
	// Waiting is called when an answer has gone and another request may follow. nil:
	// nobody wants to know.
	Waiting func()
	// Unreadable answers for a head that is no request after all. The connection
	// ends with it. nil: nothing is answered.
	Unreadable func(w http.ResponseWriter)
}

// Serve answers the requests of c until there are no more, and closes it; unless a
// handler has hijacked it, which Serve reports: then it is the handler's.
func (s *Server) Serve(ctx context.Context, c net.Conn) (hijacked bool) {
	l := &loop{s: s, c: c, in: s.Memory.reader(c), ctx: ctx}
	l.watch.timer = time.AfterFunc(time.Hour, l.watched)
	l.watch.timer.Stop()
	defer func() {
		// A fault in one connection must not end the others. What it used is not
		// given back.
		fault := recover() != nil
		if fault {
			l.watch.end(c)
		}
		if l.hijacked {
			hijacked = true
			return
		}
		_ = c.Close()
		if !fault {
			s.Memory.giveReader(l.in)
		}
	}()
	for l.next() {
		if s.Waiting != nil {
			s.Waiting()
		}
	}
	return false
}

// loop is one connection that is served.
type loop struct {
	s        *Server
	c        net.Conn
	in       *bufio.Reader
	ctx      context.Context
	cancel   context.CancelFunc
	hijacked bool
	watch    watch
}

// next serves one request, and reports whether another may follow.
func (l *loop) next() bool {
	_ = l.c.SetReadDeadline(time.Now().Add(l.s.KeepAlive))
	if _, err := l.in.Peek(1); err != nil {
		return false
	}
	_ = l.c.SetReadDeadline(time.Time{})
	req, err := http.ReadRequest(l.in)
	if err != nil {
		l.unreadable(err)
		return false
	}
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(l.ctx)
	defer l.cancel()
	w := newResponse(l, req)
	body := &requestBody{ReadCloser: req.Body, w: w}
	if req.Body == http.NoBody {
		body.done.Store(true)
	} else {
		req.Body = body
	}
	l.watch.begin(body)
	over := l.run(w, req.WithContext(ctx))
	l.watch.end(l.c)
	switch {
	case l.hijacked:
		return false
	case !over:
		_ = body.Close()
		w.giveUp()
		return false
	}
	again := w.finish() == nil && !w.close
	if again && !body.done.Load() {
		again = body.drain()
	}
	_ = body.Close()
	if !again && !(req.Close && body.done.Load()) {
		l.linger()
	}
	return again
}

// run calls the handler; false: it has given up, and the answer breaks off. A fault
// in one request must not end the requests of others; the handler's own deferred
// calls have recorded it.
func (l *loop) run(w *response, r *http.Request) (over bool) {
	defer func() {
		if !over {
			_ = recover()
		}
	}()
	l.s.Handler.ServeHTTP(w, r)
	return true
}

func (l *loop) unreadable(err error) {
	if l.s.Unreadable == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return
	}
	var ne net.Error
	if errors.As(err, &ne) {
		return
	}
	w := newResponse(l, &http.Request{Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1, Close: true})
	l.s.Unreadable(w)
	_ = w.finish()
	l.linger()
}

// linger reads on for a moment when the client may still be sending, a body or the
// next requests: closing at once would reset the connection, and the client might lose
// the answer (RFC 9112 section 9.6).
func (l *loop) linger() {
	if w, ok := l.c.(interface{ CloseWrite() error }); !ok || w.CloseWrite() != nil {
		return
	}
	_ = l.c.SetReadDeadline(time.Now().Add(lingerTime))
	b := l.s.Memory.Block()
	defer l.s.Memory.GiveBlock(b)
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(l.in, lingerBytes), *b)
}

// requestBody says 100 Continue when it is first read, and knows its end.
type requestBody struct {
	io.ReadCloser
	w      *response
	done   atomic.Bool
	mu     sync.Mutex // held while somebody reads
	closed bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	if err := b.w.goOn(); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.done.Store(true)
	}
	return n, err
}

// Close ends the reading of the body, also one that waits in another goroutine, and
// returns when nobody reads any more.
func (b *requestBody) Close() error {
	if b.done.Load() {
		return nil
	}
	_ = b.w.c.SetReadDeadline(time.Unix(1, 0))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	_ = b.w.c.SetReadDeadline(time.Time{})
	return nil
}

// drain reads a little that the handler has left, so that the connection may go on.
func (b *requestBody) drain() bool {
	if b.w.expects || b.closed {
		return false // nobody has asked for it: it may never come
	}
	_, err := io.CopyN(io.Discard, b, drainBytes)
	return errors.Is(err, io.EOF)
}

// watch notices that the client has gone away while a request is being answered, so
// that it ends upstream, too. It begins only when the answer takes its time.
type watch struct {
	mu       sync.Mutex
	timer    *time.Timer
	body     *requestBody // of the request that is being answered; nil: none is
	reading  bool
	finished chan struct{}
}

func (w *watch) begin(body *requestBody) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.body = body
	w.timer.Reset(watchAfter)
}

// watched is the timer's. Only when the body has been read can the reader be ours.
func (l *loop) watched() {
	w := &l.watch
	w.mu.Lock()
	switch {
	case w.body == nil || w.reading:
		w.mu.Unlock()
		return
	case !w.body.done.Load():
		w.timer.Reset(watchAfter)
		w.mu.Unlock()
		return
	}
	w.reading, w.finished = true, make(chan struct{})
	finished, cancel := w.finished, l.cancel
	w.mu.Unlock()
	defer close(finished)
	defer func() {
		if recover() != nil { // else one connection would end all
			cancel()
		}
	}()
	_, err := l.in.Peek(1)
	var ne net.Error
	if err != nil && (!errors.As(err, &ne) || !ne.Timeout()) {
		cancel()
	}
}

// end takes the reader back.
func (w *watch) end(c net.Conn) {
	w.mu.Lock()
	w.timer.Stop()
	w.body = nil
	reading, finished := w.reading, w.finished
	w.reading = false
	w.mu.Unlock()
	if reading {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		<-finished
		_ = c.SetReadDeadline(time.Time{})
	}
}
