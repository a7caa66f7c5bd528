package gitgate

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// pace is how fast an agent must send what it has begun to send, and take what it asked for. What it waits for
// itself, and what the gate takes to look at it, does not count.
type pace struct {
	silence time.Duration // without a byte
	grace   time.Duration // of waiting in all, before the least counts
	least   int64         // bytes a second, on average
}

// body is the request's, unpacked if it is gzip. Its reader gives up on a client that
// does not keep the pace.
func (g *Gate) body(w http.ResponseWriter, req *http.Request) (io.Reader, error) {
	in := &impatient{from: req.Body, c: http.NewResponseController(w), pace: g.limits.client}
	switch c := req.Header.Get("Content-Encoding"); c {
	case "", "identity":
		return in, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("unpack the request: %w", err)
		}
		return z, nil
	default:
		return nil, fmt.Errorf("unpack the request: the coding %.20q is unknown", c)
	}
}

// outgoing is an answer to a client that has to take it: who reads nothing keeps no git
// waiting, and no push behind it.
type outgoing struct {
	http.ResponseWriter
	c      *http.ResponseController
	pace   pace
	waited time.Duration
	n      int64
	err    error // the first of a write
}

func (g *Gate) outgoing(w http.ResponseWriter) *outgoing {
	return &outgoing{ResponseWriter: w, c: http.NewResponseController(w), pace: g.limits.client}
}

// Write implements http.ResponseWriter.
func (o *outgoing) Write(p []byte) (n int, err error) {
	return n, o.timed(func() error {
		n, err = o.ResponseWriter.Write(p)
		o.n += int64(n)
		return err
	})
}

// FlushError is for http.ResponseController.
func (o *outgoing) FlushError() error { return o.timed(o.c.Flush) }

// Unwrap is for http.ResponseController.
func (o *outgoing) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *outgoing) timed(do func() error) error {
	began := time.Now()
	err := o.c.SetWriteDeadline(began.Add(o.pace.silence))
	if err == nil {
		err = do()
		_ = o.c.SetWriteDeadline(time.Time{}) // it could be set
	}
	o.waited += time.Since(began)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the client took nothing for %v", o.pace.silence)
	}
	if late := o.waited - o.pace.grace; err == nil && late > 0 && o.n < int64(late.Seconds()*float64(o.pace.least)) {
		err = fmt.Errorf("the client takes less than %d bytes a second", o.pace.least)
	}
	if o.err == nil {
		o.err = err
	}
	return err
}

type impatient struct {
	from   io.Reader
	c      *http.ResponseController
	pace   pace
	waited time.Duration
	got    int64
}

// Read implements io.Reader.
func (r *impatient) Read(b []byte) (int, error) {
	began := time.Now()
	if err := r.c.SetReadDeadline(began.Add(r.pace.silence)); err != nil {
		return 0, fmt.Errorf("limit the time of a request: %w", err)
	}
	n, err := r.from.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the client sent nothing for %v", r.pace.silence)
	}
	_ = r.c.SetReadDeadline(time.Time{}) // it could be set
	r.waited += time.Since(began)
	r.got += int64(n)
	if late := r.waited - r.pace.grace; err == nil && late > 0 && r.got < int64(late.Seconds()*float64(r.pace.least)) {
		err = fmt.Errorf("the client sends less than %d bytes a second", r.pace.least)
	}
	return n, err
}
