// Package linger lets an answer by HTTP/2 arrive whole that comes before its request
// has ended.
//
// net/http ends such a stream with the answer's end and then a reset without an error
// (RFC 9113 section 8.1). That is right, but some clients that are still sending, curl
// for one, drop what they have not read of the answer when the reset comes. So the answer
// goes out first, and the stream ends when the client has heard it: it stops, or has said
// all, or pauses.
package linger

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// Bounds of the wait. The agent decides how long a request is.
const (
	most  = time.Second            // in all
	pause = 250 * time.Millisecond // without a byte
	spill = 4 << 20                // bytes that are read and thrown away
)

// Body is the body of a request. Closed, it gives nothing more to who had it, but what
// stands behind it stays open, unless a read waits there: net/http takes no more of a
// closed body, and its sender would stand still.
type Body struct {
	from io.ReadCloser

	mu      sync.Mutex
	reading bool
	closed  bool
}

// Hold makes a Body of what net/http gave.
func Hold(from io.ReadCloser) *Body { return &Body{from: from} }

// Read is for one goroutine at a time. After Close it fails with
// http.ErrBodyReadAfterClose.
func (b *Body) Read(p []byte) (int, error) {
	if !b.enter() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.from.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	return n, err
}

func (b *Body) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = !b.closed
	return b.reading
}

// Close ends the reading. A read that waits is woken.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.reading {
		return b.from.Close()
	}
	return nil
}

// After is called when a request's whole answer is written to w, and nobody wants the
// request's body any more. It returns when the stream may end, after a second at most.
// Over HTTP/1.1 it does nothing.
func After(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 || r.ContentLength == 0 {
		return
	}
	c, from := http.NewResponseController(w), r.Body
	if c.Flush() != nil {
		return
	}
	if b, ok := from.(*Body); ok {
		_ = b.Close()
		from = b.from
	}
	end := time.Now().Add(most)
	if !drained(c, from, end) {
		select {
		case <-r.Context().Done():
		case <-time.After(min(pause, time.Until(end))):
		}
	}
}

// drained reads what is left; false: there may be more.
func drained(c *http.ResponseController, from io.Reader, end time.Time) bool {
	buf := make([]byte, 16<<10)
	for got := 0; got < spill; {
		next := time.Now().Add(pause)
		if next.After(end) {
			next = end
		}
		if c.SetReadDeadline(next) != nil {
			return false
		}
		n, err := from.Read(buf)
		got += n
		if err != nil {
			return errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
	return false
}
