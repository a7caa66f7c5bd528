package answer

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"bottle/internal/dlp/decode"
)

// Bounds of decoding.
const (
	maxChain   = 3         // codings on each other
	maxRatio   = 100       // bytes decoded for each one, and
	maxFree    = 32 << 20  // so many more
	zstdRoom   = 10 << 20  // bytes that a decoder may need: its history, and a block
	brotliRoom = 18 << 20  //
	plainRoom  = 128 << 10 // of the others
)

// codingsOf reads Content-Encoding (RFC 9110 section 8.4), the outermost first; false:
// one is not known, or there are too many.
func codingsOf(h http.Header) ([]decode.Kind, bool) {
	var out []decode.Kind
	for _, line := range h["Content-Encoding"] {
		for word := range strings.SplitSeq(line, ",") {
			switch strings.ToLower(strings.TrimSpace(word)) {
			case "", "identity":
			case "gzip", "x-gzip":
				out = append(out, decode.Gzip)
			case "deflate":
				out = append(out, decode.Zlib)
			case "br":
				out = append(out, decode.Brotli)
			case "zstd":
				out = append(out, decode.Zstd)
			default:
				return nil, false
			}
		}
	}
	slices.Reverse(out)
	return out, len(out) <= maxChain
}

// coded is an answer whose coding is taken off. It is opened with its first read, which
// waits for the upstream: the head must not.
type coded struct {
	l       *Look
	src     io.ReadCloser
	codings []decode.Kind
	in, out int64 // bytes so far
	last    io.Reader
	opened  []io.Closer
	taken   int // of the ration
	err     error
}

func (c *coded) Read(p []byte) (int, error) {
	if c.last == nil && c.err == nil {
		c.err = c.open()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.last.Read(p)
	if c.out += int64(n); c.out > maxFree+maxRatio*c.in {
		err = errTooMuch
	}
	c.err = c.told(err)
	return n, c.err
}

// told tells damage from an upstream that broke off.
func (c *coded) told(err error) error {
	var lost *lostError
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return err
	case errors.As(err, &lost):
		return lost.error
	}
	if no := c.l.blind("it is not what its Content-Encoding says"); no != nil {
		return no
	}
	return err
}

func (c *coded) open() error {
	for _, k := range c.codings {
		c.taken += map[decode.Kind]int{decode.Zstd: zstdRoom, decode.Brotli: brotliRoom}[k] + plainRoom
	}
	if !c.l.i.ration.Try(c.taken) {
		c.taken = 0
		if no := c.l.blind("too many compressed answers are looked into at this moment. Ask again later"); no != nil {
			return no
		}
		return errTooMuch
	}
	c.last = source{c}
	for _, k := range c.codings {
		in := bufio.NewReader(c.last)
		if k == decode.Zlib {
			k = deflated(in)
		}
		out, err := c.l.i.inflate.Inflate(k, in)
		if err != nil {
			return c.told(err)
		}
		c.last, c.opened = out, append(c.opened, out)
	}
	return nil
}

// end gives everything back.
func (c *coded) end() {
	for _, o := range c.opened {
		_ = o.Close()
	}
	c.opened = nil
	c.l.i.ration.Give(c.taken)
	c.taken = 0
	c.err = errEnded
}

// Close is for the interface; see end.
func (c *coded) Close() error { return nil }

// source counts what the upstream sent, and marks its own errors.
type source struct{ c *coded }

func (s source) Read(p []byte) (int, error) {
	n, err := s.c.src.Read(p)
	s.c.in += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &lostError{err}
	}
	return n, err
}

type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// deflated tells the two ways apart in which "deflate" is sent, by the checksum in the
// first two bytes of zlib (RFC 1950 section 2.2, RFC 9110 section 8.4.1.2).
func deflated(in *bufio.Reader) decode.Kind {
	b, err := in.Peek(2)
	if err == nil && b[0]&0x0f == 8 && (int(b[0])<<8|int(b[1]))%31 == 0 {
		return decode.Zlib
	}
	return decode.Deflate
}
