package tripwire

import (
	"io"
	"net/http"

	"bottle/internal/egress/mask"
)

// Scan looks at one body, or one direction of a stream, in the order in which its
// bytes come. It is not safe for many goroutines.
type Scan struct {
	set  *mask.Set
	tail []byte // the last bytes, in which a placeholder may have begun
}

// Scan begins to look at a body. Nil: there is nothing to find.
func (w *Wire) Scan() *Scan {
	if w.Idle() {
		return nil
	}
	return &Scan{set: w.set}
}

// Found takes the next bytes and reports whether a placeholder ends in them. It
// keeps copies of as many bytes as the longest spelling has, and holds nothing back:
// in a stream that goes both ways the other side may wait for the very last byte.
func (s *Scan) Found(b []byte) bool {
	if s == nil || len(b) == 0 {
		return false
	}
	window := s.set.Longest() - 1
	joint := append(s.tail, b[:min(len(b), window)]...)
	if s.set.Contains(joint) || len(b) > window && s.set.Contains(b) {
		return true
	}
	if len(b) >= window {
		s.tail = append(s.tail[:0], b[len(b)-window:]...)
		return false
	}
	s.tail = append(joint[:0], joint[max(0, len(joint)-window):]...)
	return false
}

// Body is a request's body on its way out. When a placeholder ends in it, or is in
// its trailers, which are there when it has ended, the read fails with what alarm
// returns: the transport breaks the request off, and the upstream has no whole
// request to act on. The bytes of that read are not given on.
func (w *Wire) Body(body io.ReadCloser, trailers *http.Header, alarm func() error) io.ReadCloser {
	if w.Idle() {
		return body
	}
	return &watched{ReadCloser: body, wire: w, scan: w.Scan(), trailers: trailers, alarm: alarm}
}

type watched struct {
	io.ReadCloser
	wire     *Wire
	scan     *Scan
	trailers *http.Header
	alarm    func() error
	ended    error // what alarm returned
}

func (b *watched) Read(p []byte) (int, error) {
	if b.ended != nil {
		return 0, b.ended
	}
	n, err := b.ReadCloser.Read(p)
	if b.scan.Found(p[:n]) || err == io.EOF && b.wire.Header(*b.trailers) {
		b.ended = b.alarm()
		return 0, b.ended
	}
	return n, err
}
