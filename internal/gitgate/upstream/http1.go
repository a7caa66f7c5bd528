package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// A connection that rested for longer is not used again: the server may be about to
// close it, and a push must not be sent twice.
const restful = 2 * time.Second

// maxHead bounds the head of an answer, in bytes.
const maxHead = 128 << 10

// webConn is one HTTP/1.1 connection. net/http's own client would dial and follow
// redirects by itself; here both are others' to decide.
type webConn struct {
	under  *watched
	budget *budget
	in     *bufio.Reader
	sink   *witness // below out: a failure of the connection, not of the request
	out    *bufio.Writer
	rested time.Time // when the last answer ended; zero: in use, or broken
	once   sync.Once
}

// connection gives the kept connection, or a new one.
func (w *web) connection() (*webConn, error) {
	if c := w.conn; c != nil {
		if !c.rested.IsZero() && time.Since(c.rested) < restful {
			return c, nil
		}
		c.close()
		w.conn = nil
	}
	under, err := w.r.connect(w.ctx)
	if err != nil {
		return nil, err
	}
	under.bind(w.ctx)
	secure := tls.Client(under, &tls.Config{
		ServerName: w.r.at.host, RootCAs: w.r.auth.Roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	})
	limited, cancel := context.WithTimeout(w.ctx, w.r.limits.Connect)
	defer cancel()
	if err := secure.HandshakeContext(limited); err != nil {
		_ = under.Close()
		var untrusted *tls.CertificateVerificationError
		if errors.As(err, &untrusted) {
			why := printable(untrusted.Err.Error())
			switch {
			case errors.As(err, new(x509.UnknownAuthorityError)):
				why += ": if it is your own CA, name it in the repository's ca_file"
			case errors.As(err, new(x509.HostnameError)):
				why = "it is for another name" // which, the agent need not know
			}
			return nil, fmt.Errorf("%w: the certificate of %s is not good: %s", ErrCertificate, w.r.at.host, why)
		}
		return nil, fmt.Errorf("%w: %s does not agree on TLS: %w", ErrUnreachable, w.r.at.host, err)
	}
	b, sink := &budget{in: secure}, &witness{w: secure}
	w.conn = &webConn{under: under, budget: b, in: bufio.NewReaderSize(b, 64<<10), sink: sink, out: newBuffered(sink)}
	return w.conn, nil
}

func (c *webConn) close() { c.once.Do(func() { _ = c.under.Close() }) }

// do sends a request while it reads the answer, whose body must be read or closed. A
// request that fails closes the connection, so that the server sees it cut off.
func (c *webConn) do(req *http.Request) (*http.Response, error) {
	c.rested = time.Time{}
	c.under.touch()
	wrote := make(chan error, 1)
	go func() {
		err := req.Write(c.out)
		if err == nil {
			err = c.out.Flush()
		}
		if err != nil && c.sink.err == nil { // a server that reads no more may have said why: that is still read
			c.close()
		}
		wrote <- err
	}()
	for range 8 {
		c.budget.grant(maxHead)
		resp, err := http.ReadResponse(c.in, req)
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("no answer: %w", err)
		}
		if resp.StatusCode >= 200 {
			c.budget.lift()
			resp.Body = &answerBody{c: c, in: resp.Body, wrote: wrote, last: resp.Close}
			return resp, nil
		}
	}
	return nil, fmt.Errorf("%w: it answers 1xx without end", ErrProtocol)
}

// answerBody gives its connection back when it was read to its end.
type answerBody struct {
	c     *webConn
	in    io.ReadCloser
	wrote chan error
	last  bool // the server closes afterwards
	done  bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if err != io.EOF || b.done {
		return n, err
	}
	b.done = true
	select {
	case failed := <-b.wrote:
		if failed == nil && !b.last {
			b.c.rested = time.Now()
			return n, err
		}
	default: // answered before all was sent
	}
	b.c.close()
	return n, err
}

func (b *answerBody) Close() error {
	if !b.done {
		b.c.close() // without reading on: nobody knows how much is still to come
	}
	return nil
}

// budget bounds what is read for the head of an answer, which net/http does not.
type budget struct {
	in   io.Reader
	left int64 // negative: no bound
}

func (b *budget) grant(n int64) { b.left = n }
func (b *budget) lift()         { b.left = -1 }

func (b *budget) Read(p []byte) (int, error) {
	if b.left < 0 {
		return b.in.Read(p)
	}
	if b.left == 0 {
		return 0, fmt.Errorf("%w: the head of its answer is larger than %d bytes", ErrProtocol, maxHead)
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
