package http1

import (
	"bottle/internal/egress/conns"
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

// response is what a handler writes an answer to. It frames as RFC 9112 section 6
// says, and lets nothing pass that its own header contradicts.
type response struct {
	l      *loop
	c      net.Conn
	req    *http.Request
	header http.Header
	out    *bufio.Writer

	// Held while a header is written: whoever reads the body may be another goroutine,
	// and says 100 Continue.
	mu       sync.Mutex
	status   int   // of the final answer; 0: not written yet
	left     int64 // of the announced length; -1: none is announced
	chunked  bool
	bodiless bool
	close    bool // no request may follow
	expects  bool // the client waits for 100 Continue
	failed   error
}

var (
	errTooLong  = errors.New("write answer: more than its length")
	errTooShort = errors.New("write answer: less than its length")
)

func newResponse(l *loop, r *http.Request) *response {
	return &response{l: l, c: l.c, req: r, header: http.Header{}, left: -1, close: r.Close,
		expects: r.ProtoAtLeast(1, 1) && strings.EqualFold(r.Header.Get("Expect"), "100-continue")}
}

// Header is http.ResponseWriter's.
func (w *response) Header() http.Header { return w.header }

func (w *response) writer() *bufio.Writer {
	if w.out == nil {
		w.out = w.l.s.Memory.writer(w.c)
	}
	return w.out
}

// goOn sends 100 Continue before the body is first read, if no answer has begun.
func (w *response) goOn() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.expects || w.status != 0 {
		return nil
	}
	w.expects = false
	_, _ = w.writer().WriteString("HTTP/1.1 100 Continue\r\n\r\n")
	return w.FlushError()
}

// WriteHeader is http.ResponseWriter's. An informational status goes out at once,
// and the final one is still to come.
func (w *response) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.status != 0:
		return
	case status >= 100 && status < 200:
		if !w.req.ProtoAtLeast(1, 1) {
			return // HTTP/1.0 knows none (RFC 9110 section 15.2)
		}
		if status == http.StatusContinue {
			w.expects = false
		}
		w.line(status)
		_ = w.header.Write(w.writer())
		_, _ = w.writer().WriteString("\r\n")
		w.failed = w.FlushError()
		return
	}
	w.status = status
	w.frame()
	w.line(status)
	_ = w.header.Write(w.writer()) // leaves no line break in a value
	_, _ = w.writer().WriteString("\r\n")
}

func (w *response) line(status int) {
	out := w.writer()
	_, _ = out.WriteString("HTTP/1.1 ")
	_, _ = out.WriteString(strconv.Itoa(status))
	_ = out.WriteByte(' ')
	_, _ = out.WriteString(http.StatusText(status))
	_, _ = out.WriteString("\r\n")
}

// frame decides how the body's end is told.
func (w *response) frame() {
	h := w.header
	h.Del("Transfer-Encoding")
	w.bodiless = w.req.Method == http.MethodHead || w.status == http.StatusNoContent || w.status == http.StatusNotModified
	length, err := strconv.ParseUint(h.Get("Content-Length"), 10, 62)
	switch {
	case w.status == http.StatusNoContent:
		h.Del("Content-Length")
	case err == nil && len(h["Content-Length"]) == 1:
		if !w.bodiless {
			w.left = int64(length)
		}
	case w.bodiless:
		h.Del("Content-Length")
	case w.req.ProtoAtLeast(1, 1):
		h.Del("Content-Length")
		w.chunked = true
		h["Transfer-Encoding"] = []string{"chunked"}
	default:
		h.Del("Content-Length")
		w.close = true
	}
	if hasToken(h["Connection"], "close") {
		w.close = true
	}
	switch {
	case w.close:
		h["Connection"] = []string{"close"}
	case !w.req.ProtoAtLeast(1, 1):
		h["Connection"] = []string{"keep-alive"}
	}
	if _, ok := h["Date"]; !ok {
		h["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	}
}

func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(textproto.TrimString(t), token) {
				return true
			}
		}
	}
	return false
}

// Write is http.ResponseWriter's.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.failed != nil:
		return 0, w.failed
	case w.bodiless:
		return 0, http.ErrBodyNotAllowed
	case len(p) == 0:
		return 0, nil
	case w.left >= 0 && int64(len(p)) > w.left:
		w.failed = errTooLong
		return 0, w.failed
	}
	if w.left > 0 {
		w.left -= int64(len(p))
	}
	n, err := w.put(p)
	if err != nil {
		w.failed = err
	}
	return n, err
}

// corked is a connection that can hold back what is written.
type corked interface {
	net.Conn
	Cork()
	Uncork() error
}

// put writes p, as a chunk if need be. A large p goes past the buffer: then what is
// written around it is held back below, so that all leaves together.
func (w *response) put(p []byte) (n int, err error) {
	out := w.writer()
	if len(p) > out.Available() {
		if c, ok := conns.Find[corked](w.c); ok {
			c.Cork()
			defer func() {
				if lost := c.Uncork(); err == nil {
					err = lost
				}
			}()
		}
	}
	if !w.chunked {
		return out.Write(p)
	}
	_, _ = out.WriteString(strconv.FormatInt(int64(len(p)), 16))
	_, _ = out.WriteString("\r\n")
	if n, err = out.Write(p); err != nil {
		return n, err
	}
	_, err = out.WriteString("\r\n")
	return n, err
}

// FlushError sends what was written.
func (w *response) FlushError() error {
	if w.out == nil {
		return w.failed
	}
	return w.out.Flush()
}

// EnableFullDuplex is how it always is here.
func (w *response) EnableFullDuplex() error { return nil }

// SetReadDeadline is http.ResponseController's.
func (w *response) SetReadDeadline(t time.Time) error { return w.c.SetReadDeadline(t) }

// SetWriteDeadline is http.ResponseController's.
func (w *response) SetWriteDeadline(t time.Time) error { return w.c.SetWriteDeadline(t) }

// Hijack is http.Hijacker's. What the reader holds has not been looked at.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.l.hijacked || w.status != 0 {
		return nil, nil, http.ErrHijacked
	}
	w.l.watch.end(w.c)
	w.l.hijacked = true
	if err := w.FlushError(); err != nil {
		return nil, nil, err
	}
	return w.c, bufio.NewReadWriter(w.l.in, bufio.NewWriterSize(w.c, readSize)), nil
}

// giveUp sends what is certain and no more: the client sees that the answer is not
// whole. Where only the end of the connection would tell it, that is a reset.
func (w *response) giveUp() {
	defer w.release()
	if w.status == 0 {
		return
	}
	_ = w.FlushError()
	if tcp, ok := conns.Find[*net.TCPConn](w.c); ok && w.left < 0 && !w.chunked && !w.bodiless {
		_ = tcp.SetLinger(0)
		_ = tcp.Close() // before TLS says an orderly goodbye
	}
}

func (w *response) release() {
	if w.out != nil {
		w.l.s.Memory.giveWriter(w.out)
		w.out = nil
	}
}

// finish ends the answer.
func (w *response) finish() error {
	defer w.release()
	if w.status == 0 {
		w.header.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
	}
	if w.failed == nil && w.left > 0 && !w.bodiless {
		w.failed = errTooShort
	}
	if w.failed != nil {
		return w.failed
	}
	if w.chunked && !w.bodiless {
		_, _ = w.writer().WriteString("0\r\n")
		_ = w.trailers().Write(w.writer())
		_, _ = w.writer().WriteString("\r\n")
	}
	return w.FlushError()
}

// trailers are the fields that were announced, and those that net/http's prefix
// makes trailers of.
func (w *response) trailers() http.Header {
	t := http.Header{}
	for _, line := range w.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			if v, ok := w.header[name]; ok {
				t[name] = v
			}
		}
	}
	for name, v := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			t[name] = v
		}
	}
	return t
}

var _ io.Writer = (*response)(nil)
