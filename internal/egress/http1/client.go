package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"bottle/internal/egress/records"
)

// conn is one connection to an upstream.
type conn struct {
	net.Conn
	pool   *Pool
	below  *records.Conn   // under its TLS; nil: it has none
	stream *records.Stream // the TLS on it, with none below; nil: there is another, or none
	socket *net.TCPConn
	used   bool // for an exchange before this one
	since  time.Time

	in    *bufio.Reader
	out   *bufio.Writer
	head  int64 // bytes that the answer's header may still have
	heard bool  // some of an answer has come
	probe [1]byte
}

var errHalf = errors.New("send request: its body broke off")

var errStatus = errors.New("read answer: its status is no number of HTTP's")

var errHeader = errors.New("read answer: its header is too large")

// Read is for the bufio.Reader alone: it bounds the header.
func (c *conn) Read(p []byte) (int, error) {
	if c.head <= 0 {
		return 0, errHeader
	}
	if int64(len(p)) > c.head {
		p = p[:c.head]
	}
	n, err := c.Conn.Read(p)
	c.heard = c.heard || n > 0
	if c.head != math.MaxInt64 {
		c.head -= int64(n)
	}
	return n, err
}

func (c *conn) release() {
	if c.in != nil {
		c.pool.Memory.giveReader(c.in)
		c.in = nil
	}
	if c.out != nil {
		c.pool.Memory.giveWriter(c.out)
		c.out = nil
	}
}

// exchange sends one request and reads the header of its answer.
func (c *conn) exchange(req *http.Request, whole bool, informed func(int, http.Header) error) (*http.Response, error) {
	c.heard = false
	c.in, c.out = c.pool.Memory.reader(c), c.pool.Memory.writer(c.Conn)
	a := &answer{c: c, stop: context.AfterFunc(req.Context(), c.abandon)}
	var err error
	if whole {
		err = a.send(req)
	} else {
		a.body, a.sending = req.Body, make(chan error, 1)
		a.goOn = make(chan bool, 1)
		go a.stream(req)
	}
	var res *http.Response
	if err == nil {
		res, err = a.header(req, informed)
	}
	if err != nil {
		a.stop()
		c.abandon()
		if lost := a.wait(); lost != nil {
			err = lost // why it broke: the agent's body, perhaps
		}
		if cause := req.Context().Err(); cause != nil {
			err = cause
		}
		return nil, err
	}
	return a.give(req, res), nil
}

// together hides from net/http that it writes to a bufio.Writer, which it would
// flush between head and body: a TLS record and a system call more, and the server
// wakes twice.
type together struct{ *bufio.Writer }

// send writes a request whose body is in memory.
func (a *answer) send(req *http.Request) error {
	if err := req.Write(together{a.c.out}); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	if err := a.c.out.Flush(); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// stream writes a request while its body comes.
func (a *answer) stream(req *http.Request) {
	w := &streamed{out: a.c.out, mem: a.c.pool.Memory}
	body := &awaited{ReadCloser: req.Body, a: a, w: w, left: req.ContentLength, ask: expects(req)}
	err := w.send(req, body)
	switch {
	case errors.Is(err, errUnwanted): // the answer is on its way without it
	case body.fault != nil:
		err = body.fault
		fallthrough
	case errors.Is(err, errFault):
		a.broken.Store(true)
		a.c.abandon()
	}
	a.sending <- err
}

var errFault = errors.New("send request: a fault of the gateway's own")

// send writes req with another body. A fault in one request must not end the
// requests of others.
func (s *streamed) send(req *http.Request, body io.ReadCloser) (err error) {
	defer func() {
		if recover() != nil {
			err = errFault
		}
	}()
	out := *req
	out.Body = body
	if err := out.Write(s); err != nil {
		return err
	}
	return s.out.Flush()
}

// awaited is a body that is read when its turn has come.
type awaited struct {
	io.ReadCloser
	a     *answer
	w     *streamed
	left  int64 // of a known length; negative: it is not known
	ask   bool  // wait for the server to want it
	fault error // of the agent's side
}

var errUnwanted = errors.New("send request: the body is not wanted")

func (b *awaited) Read(p []byte) (int, error) {
	if !b.w.begun {
		b.w.begun = true
		if err := b.w.out.Flush(); err != nil {
			return 0, err
		}
		if b.ask && !b.a.wanted() {
			return 0, errUnwanted
		}
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF), b.left == 0 && err == nil:
		b.a.read.Store(true)
	case err != nil:
		b.fault = err
	}
	return n, err
}

// unwanted ends the waiting for a server's word on the body.
func (a *answer) unwanted() {
	select {
	case a.goOn <- false:
	default:
	}
}

// wanted waits for 100 Continue, or for so long that the server knows none.
func (a *answer) wanted() bool {
	t := time.NewTimer(continueTime)
	defer t.Stop()
	select {
	case ok := <-a.goOn:
		return ok
	case <-t.C:
		return true
	}
}

// streamed sends each piece of a body on as it comes. It is an io.ByteWriter, so
// that net/http puts no buffer of its own before it.
type streamed struct {
	out   *bufio.Writer
	mem   *Memory
	begun bool
}

func (s *streamed) WriteByte(b byte) error { return s.out.WriteByte(b) }

func (s *streamed) Write(p []byte) (int, error) { return s.out.Write(p) }

// WriteString sees the end of each chunk.
func (s *streamed) WriteString(text string) (int, error) {
	n, err := s.out.WriteString(text)
	if err == nil && s.begun && text == "\r\n" {
		err = s.out.Flush()
	}
	return n, err
}

// ReadFrom is how a body of known length is copied.
func (s *streamed) ReadFrom(r io.Reader) (sent int64, err error) {
	b := s.mem.Block()
	defer s.mem.GiveBlock(b)
	for {
		n, err := r.Read(*b)
		if n > 0 {
			_, lost := s.out.Write((*b)[:n])
			if lost == nil {
				lost = s.out.Flush()
			}
			if sent += int64(n); lost != nil {
				return sent, lost
			}
		}
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}

// answer is an exchange from its request on.
type answer struct {
	io.ReadCloser
	c       *conn
	stop    func() bool
	body    io.Closer  // of the request
	sending chan error // the fate of the body; nil: all was sent before the answer
	goOn    chan bool
	read    atomic.Bool // the body has come to its end
	broken  atomic.Bool // the body has failed: whatever the server makes of it is no answer
	keep    bool        // the connection may serve again
	over    bool
}

// header reads answers until the final one.
func (a *answer) header(req *http.Request, informed func(int, http.Header) error) (*http.Response, error) {
	c := a.c
	c.head = c.pool.MaxHeader
	for range maxInformed {
		res, err := http.ReadResponse(c.in, req)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if a.broken.Load() || req.Context().Err() != nil {
			return nil, errHalf // what a server makes of half a request is no answer
		}
		if res.StatusCode < 100 {
			return nil, errStatus
		}
		final := res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols
		if a.goOn != nil && (final || res.StatusCode == http.StatusContinue) {
			select {
			case a.goOn <- !final:
			default:
			}
		}
		if final {
			c.head = math.MaxInt64
			return res, nil
		}
		if informed != nil && res.StatusCode != http.StatusContinue {
			if err := informed(res.StatusCode, res.Header); err != nil {
				return nil, err
			}
		}
	}
	return nil, errors.New("read answer: endless informational answers")
}

// give hands the answer out. Its connection goes back to the pool by the body's end.
func (a *answer) give(req *http.Request, res *http.Response) *http.Response {
	if res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &switched{a: a}
		return res
	}
	// HTTP/1.0 is not kept: what frames its answers is not the same to all.
	a.ReadCloser, a.keep = res.Body, !res.Close && res.ProtoAtLeast(1, 1)
	if res.Body == http.NoBody || res.ContentLength == 0 || req.Method == http.MethodHead {
		a.end(true)
		res.Body = http.NoBody
		return res
	}
	res.Body = a
	return res
}

// Ready reports whether more of the body is here, so that it can be read at once.
func (a *answer) Ready() bool { return !a.over && a.c.in.Buffered() > 0 }

func (a *answer) Read(p []byte) (int, error) {
	if a.over {
		return 0, io.EOF
	}
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.end(errors.Is(err, io.EOF))
	}
	return n, err
}

// Close ends the exchange; one that is not over ends with its connection.
func (a *answer) Close() error {
	a.end(false)
	return nil
}

// end gives the connection back, if nothing more can come on it.
func (a *answer) end(whole bool) {
	if a.over {
		return
	}
	a.over = true
	sent := a.sent()
	if !a.stop() || !whole || !sent || !a.keep || a.c.in.Buffered() > 0 {
		_ = a.c.Close()
		return
	}
	a.c.pool.put(a.c)
}

// sent ends the sending of the body, and reports whether all of it has gone. One
// that has been read to its end is about to be; else the server has answered early.
func (a *answer) sent() bool {
	if a.sending == nil {
		return true
	}
	grace := time.Duration(0)
	if a.read.Load() {
		grace = sendTime
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	var err error
	select {
	case err = <-a.sending:
	case <-t.C:
		a.c.abandon()
		a.unwanted()
		_ = a.body.Close()
		<-a.sending
		err = errHalf
	}
	a.sending = nil
	return err == nil
}

// abandon ends a request that is not whole, by a reset: a server that is told of an
// orderly end could take what has come for all of it.
func (c *conn) abandon() {
	if c.socket != nil {
		_ = c.socket.SetLinger(0)
		_ = c.socket.Close()
	}
	_ = c.Close()
}

// wait ends the sending of the body, after the connection was closed, and gives the
// error by which the body itself had ended before.
func (a *answer) wait() error {
	if a.sending == nil {
		return nil
	}
	broken := a.broken.Load()
	a.unwanted()
	_ = a.body.Close()
	err := <-a.sending
	a.sending = nil
	if broken {
		return err
	}
	return nil
}

// switched is the connection after 101: raw bytes both ways.
type switched struct{ a *answer }

func (s *switched) Read(p []byte) (int, error)  { return s.a.c.in.Read(p) }
func (s *switched) Write(p []byte) (int, error) { return s.a.c.Conn.Write(p) }

func (s *switched) Close() error {
	s.a.stop()
	err := s.a.c.Close()
	_ = s.a.wait() // a server may switch while a body is sent that it has not read
	return err
}

// CloseWrite ends our half of the connection.
func (s *switched) CloseWrite() error {
	if w, ok := s.a.c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}
