package strict

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// Fault is why a request was not let through.
type Fault struct {
	Reason policy.Reason
	Detail string      // words for a person, with no byte of the request; empty: the reason's own
	Host   bottle.Host // that the request was for, if that much is known
	Port   uint16
}

func fault(r policy.Reason, detail string) *Fault { return &Fault{Reason: r, Detail: detail} }

func (f *Fault) Error() string { return "read request: " + string(f.Reason) }

// Verdict is the refusal that the fault stands for.
func (f *Fault) Verdict() policy.Verdict { return policy.Refuse(f.Reason, f.Detail) }

// Limits bound one request. A zero field is its default.
type Limits struct {
	Head     int           // bytes of the request line and the fields, and of the trailers; 64 KiB
	HeadTime time.Duration // from the first byte of a head to its last; 10 s
	// HalfClose keeps the end of the client's side from the server while a request
	// is answered, so that a client which closes its own half first still gets the
	// answer. The price: a client that went away is noticed when writing to it fails.
	HalfClose bool
}

// Conn is a connection whose Read gives only whole, strict heads and bodies framed
// as they say. It is for one reader at a time; the other methods may be called
// beside it.
type Conn struct {
	net.Conn
	limits Limits

	store []byte // where buf lies
	buf   []byte // from the network, not given on yet
	ready int    // of buf: bytes that were checked and may go on
	state state
	left  int64 // of the body or chunk
	heads atomic.Int64
	fault atomic.Pointer[Fault]
	ended error // what the network said last

	hurried bool      // a head's own deadline is set; the reader's, like the next
	before  time.Time // the caller's, meanwhile

	mu       sync.Mutex
	wake     chan struct{} // closed when something below changes and somebody waits for it
	deadline time.Time
	closed   bool
	busy     bool // a request is being answered
	held     bool // what follows the head is perhaps not HTTP
	raw      bool // it is not
	served   int64
}

// state is what the next byte of buf belongs to.
type state uint8

const (
	inHead state = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
)

const (
	defaultHead  = 64 << 10
	defaultTime  = 10 * time.Second
	firstBuffer  = 4 << 10
	maxChunkLine = 18 // 16 digits and the line's end
)

// refused is the request that stands in for one that broke the grammar.
const refused = "GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n"

// New makes a Conn of c.
func New(c net.Conn, l Limits) *Conn {
	if l.Head <= 0 {
		l.Head = defaultHead
	}
	if l.HeadTime <= 0 {
		l.HeadTime = defaultTime
	}
	return &Conn{Conn: c, limits: l}
}

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends our half of the connection.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Conn.Close()
}

// Begin says that a request has come to its handler. A fault means that it only
// stands in for one that broke the grammar.
func (c *Conn) Begin() *Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
	c.served++
	if c.served > c.heads.Load() {
		return c.fault.Load()
	}
	return nil
}

// Done says that the request has been answered.
func (c *Conn) Done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.held = false, false
	c.broadcast()
}

// Raw gives the grammar up: the handler has taken the connection over, and what
// follows is not HTTP.
func (c *Conn) Raw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw, c.held = true, false
	c.broadcast()
}

// Fault is what a body broke the grammar by; nil: nothing did, yet.
func (c *Conn) Fault() *Fault { return c.fault.Load() }

// Close closes the connection and ends a Read that waits.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.broadcast()
	c.mu.Unlock()
	return c.Conn.Close()
}

// SetReadDeadline is net.Conn's. net/http ends a Read of its own by one that has passed.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.broadcast()
	return c.Conn.SetReadDeadline(t) // under the lock, or that of a head could come later
}

// SetDeadline is net.Conn's.
func (c *Conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.broadcast()
	return c.Conn.SetDeadline(t)
}

func (c *Conn) broadcast() {
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// await blocks while on holds, or until the deadline or Close.
func (c *Conn) await(on func() bool) error {
	for {
		c.mu.Lock()
		stay, closed, deadline := on(), c.closed, c.deadline
		if stay && c.wake == nil {
			c.wake = make(chan struct{})
		}
		wake := c.wake
		c.mu.Unlock()
		switch {
		case closed:
			return net.ErrClosed
		case !stay:
			return nil
		}
		if err := pause(wake, deadline); err != nil {
			return err
		}
	}
}

func pause(wake <-chan struct{}, deadline time.Time) error {
	if deadline.IsZero() {
		<-wake
		return nil
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-wake:
		return nil
	case <-t.C:
		return os.ErrDeadlineExceeded
	}
}

// Read gives what was checked. It never gives bytes of two messages at once.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if len(p) == 0 {
			return 0, nil
		}
		if c.ready > 0 {
			n := copy(p, c.buf[:c.ready])
			c.take(n)
			return n, nil
		}
		if c.isRaw() {
			return c.readRaw(p)
		}
		if f := c.fault.Load(); f != nil {
			return 0, c.after(f, p)
		}
		n, err := c.step(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// after is what a reader gets behind a fault: the fault itself inside a body, and the
// end behind a refused head. What the client still sends is thrown away until its own
// end, or the reader's deadline: left where it is, it would make of the close a reset,
// and the client might lose the answer.
func (c *Conn) after(f *Fault, scratch []byte) error {
	if c.state != inHead {
		return f
	}
	for c.ended == nil {
		if _, err := c.Conn.Read(scratch); err != nil {
			if timedOut(err) {
				return err
			}
			c.ended = io.EOF
		}
	}
	return io.EOF
}

func (c *Conn) isRaw() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw
}

func (c *Conn) readRaw(p []byte) (int, error) {
	if len(c.buf) > 0 {
		n := copy(p, c.buf)
		c.buf = c.buf[n:]
		return n, nil
	}
	if c.ended != nil {
		return 0, c.ended
	}
	return c.Conn.Read(p)
}

// take drops n bytes that were given on.
func (c *Conn) take(n int) {
	c.ready -= n
	c.buf = c.buf[n:]
	if len(c.buf) > 0 {
		return
	}
	if cap(c.store) > 4*firstBuffer {
		c.store = nil // of a large head; most are small
	}
	c.buf = c.store[:0]
}

// step goes on by one piece: either it makes bytes of buf ready, or it reads
// payload straight into p.
func (c *Conn) step(p []byte) (int, error) {
	switch c.state {
	case inHead:
		return 0, c.nextHead()
	case inBody, inChunk:
		return c.payload(p)
	case inChunkSize:
		return 0, c.chunkSize()
	case inChunkEnd:
		return 0, c.chunkEnd()
	}
	return 0, c.trailer()
}

// fail keeps the fault. In a head it puts the stand-in where the request was.
func (c *Conn) fail(f *Fault) error {
	c.fault.Store(f)
	if c.state != inHead {
		return f
	}
	c.buf, c.ready = []byte(refused), len(refused)
	return nil
}

// payload gives bytes of a body, from the buffer or straight from the network.
func (c *Conn) payload(p []byte) (int, error) {
	if len(c.buf) > 0 {
		n := int(min(int64(len(c.buf)), c.left))
		c.ready = n
		c.spent(n)
		return 0, nil
	}
	if c.ended != nil {
		return 0, unexpected(c.ended)
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.spent(n)
	if err != nil && c.left > 0 {
		err = unexpected(err)
	}
	return n, err
}

func (c *Conn) spent(n int) {
	if c.left -= int64(n); c.left > 0 {
		return
	}
	if c.state == inChunk {
		c.state = inChunkEnd
	} else {
		c.state = inHead
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fill reads more behind what is in buf.
func (c *Conn) fill() error {
	if c.ended != nil {
		return c.ended
	}
	if cap(c.buf)-len(c.buf) < firstBuffer/4 {
		grown := make([]byte, len(c.buf), max(firstBuffer, 2*len(c.buf)))
		copy(grown, c.buf)
		c.buf, c.store = grown, grown
	}
	n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		if err != nil && !timedOut(err) {
			c.ended = err
		}
		return nil
	}
	return err
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// line finds the next line of buf from a place on, reading more if it must. It
// gives the place behind its end. Every line ends with CR LF, and has neither alone
// (RFC 9112 section 2.2 lets a server take a bare LF; not all do).
func (c *Conn) line(from, limit int) (end int, err error) {
	for seen := from; ; {
		i := bytes.IndexByte(c.buf[seen:], '\n')
		if i >= 0 {
			end = seen + i + 1
			if end > limit {
				return 0, c.tooLong()
			}
			if end-from < 2 || c.buf[end-2] != '\r' {
				return 0, fault(policy.BadHeader, "a line ends with a bare line feed")
			}
			if bytes.IndexByte(c.buf[from:end-2], '\r') >= 0 {
				return 0, fault(policy.BadHeader, "a carriage return stands alone")
			}
			return end, nil
		}
		if seen = len(c.buf); seen > limit {
			return 0, c.tooLong()
		}
		if c.state == inHead {
			c.hurry()
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

func (c *Conn) tooLong() *Fault {
	if c.state == inChunkSize {
		return fault(policy.BadFraming, "the size of a chunk is not a plain number")
	}
	return fault(policy.LimitHeader, "")
}
