package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// agent is how we introduce ourselves. Some hosts serve git only to what begins so.
const agent = "git/2.0-bottle"

// watched is a connection that breaks when no byte moved in either direction for a
// while, or when the context ends that it is bound to. While a large pack goes out, an answer may be long
// in coming: the one direction vouches for the other.
type watched struct {
	net.Conn
	idle  time.Duration
	moved atomic.Int64                // unix nanoseconds
	stop  atomic.Pointer[func() bool] // nil: it is bound to no context
}

// connect dials. The connection outlives ctx until it is bound.
func (r *Remote) connect(ctx context.Context) (*watched, error) {
	dialling, cancel := context.WithTimeout(ctx, r.limits.Connect)
	defer cancel()
	conn, err := r.dial(dialling, r.at.host, r.at.port)
	if err != nil {
		return nil, r.explain(ctx, quiet(err))
	}
	w := &watched{Conn: conn, idle: r.limits.Idle}
	w.moved.Store(time.Now().UnixNano())
	return w, nil
}

// bind closes the connection when ctx ends. Meanwhile another may close it: the peer of an SSH
// connection can go at any moment, and the library's own reader sees that first.
func (w *watched) bind(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = w.Conn.Close() })
	w.stop.Store(&stop)
}

func (w *watched) Read(p []byte) (int, error) {
	for {
		_ = w.SetReadDeadline(time.Unix(0, w.moved.Load()).Add(w.idle))
		n, err := w.Conn.Read(p)
		if n > 0 {
			w.moved.Store(time.Now().UnixNano())
		}
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && w.fresh() {
			continue
		}
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("nothing came for %v: %w", w.idle, os.ErrDeadlineExceeded)
		}
		return n, quiet(err)
	}
}

// nameless is an error of a connection without its addresses: where an upstream really is
// the operator may know, and the agent need not.
type nameless struct{ *net.OpError }

// Error implements error.
func (e nameless) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the error itself.
func (e nameless) Unwrap() error { return e.OpError }

// Cause is the whole of it, for the record.
func (e nameless) Cause() string { return e.OpError.Error() }

func quiet(err error) error {
	var op *net.OpError
	var told interface{ Cause() string } // it has words of its own
	if !errors.As(err, &told) && errors.As(err, &op) {
		return nameless{op}
	}
	return err
}

func (w *watched) fresh() bool { return time.Since(time.Unix(0, w.moved.Load())) < w.idle }

func (w *watched) Write(p []byte) (int, error) {
	_ = w.SetWriteDeadline(time.Now().Add(w.idle))
	n, err := w.Conn.Write(p)
	if n > 0 {
		w.moved.Store(time.Now().UnixNano())
	}
	return n, quiet(err)
}

// touch begins the wait anew: something is asked now, after a time of rest.
func (w *watched) touch() { w.moved.Store(time.Now().UnixNano()) }

// Close closes the connection, and lets go of its context.
func (w *watched) Close() error {
	if stop := w.stop.Load(); stop != nil {
		(*stop)()
	}
	return w.Conn.Close()
}
