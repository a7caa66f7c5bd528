// Package hello reads the beginning of a TLS connection before anybody decides
// whether it is ours to answer: the name that it asks for, without a byte said.
package hello

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
)

const (
	MaxSize      = 32 << 10 // bytes of a ClientHello; a real one has 2 KiB with a post-quantum key share
	ExtensionECH = 0xfe0d   // encrypted_client_hello, RFC 9849
)

// Said is what a ClientHello says.
type Said struct {
	SNI string // as the client spelt it; empty: none
	ECH bool   // it may hide a second name inside
}

// The ways in which no connection comes of it.
var (
	ErrUnopened = errors.New("the handshake is not for us")     // decide gave no configuration
	ErrUnread   = errors.New("the TLS handshake can't be read") // it is none, too long, or too late
)

// Answer reads a ClientHello and, if decide gives a configuration, finishes
// the handshake. The hello is read by crypto/tls itself, so that nobody can read it
// another way, and only once. Without a configuration not a byte is written; taken
// then holds all that was read, so that it can be passed on.
func Answer(ctx context.Context, c net.Conn, decide func(Said) *tls.Config) (_ *tls.Conn, taken []byte, err error) {
	q := &quiet{Conn: c}
	seen := false
	tc := tls.Server(q, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			seen = true
			cfg := decide(Said{SNI: info.ServerName, ECH: slices.Contains(info.Extensions, ExtensionECH)})
			if cfg == nil {
				return nil, ErrUnopened
			}
			q.open, q.taken = true, nil
			return cfg, nil
		},
	})
	err = tc.HandshakeContext(ctx)
	switch {
	case err == nil:
		return tc, nil, nil
	case !seen:
		return nil, q.taken, errors.Join(ErrUnread, err)
	case !q.open:
		return nil, q.taken, ErrUnopened
	}
	return nil, nil, err
}

// quiet is a connection that keeps what was read and says nothing, until it is
// open. Closing is not its business before.
type quiet struct {
	net.Conn
	open  bool
	taken []byte
}

func (q *quiet) NetConn() net.Conn { return q.Conn }

func (q *quiet) CloseWrite() error {
	if w, ok := q.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return q.Conn.Close()
}

func (q *quiet) Read(b []byte) (int, error) {
	if q.open {
		return q.Conn.Read(b)
	}
	room := MaxSize - len(q.taken)
	if room <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := q.Conn.Read(b[:min(len(b), room)])
	q.taken = append(q.taken, b[:n]...)
	return n, err
}

func (q *quiet) Write(b []byte) (int, error) {
	if q.open {
		return q.Conn.Write(b)
	}
	return len(b), nil
}

func (q *quiet) Close() error {
	if q.open {
		return q.Conn.Close()
	}
	return nil
}

// Cause says for the operator why a handshake that was answered did not come to its
// end; "" where nothing is known.
func Cause(err error) string {
	var wait net.Error
	var op *net.OpError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &wait) && wait.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "the client did not finish the TLS handshake in time"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.As(err, &op) && op.Op == "remote error":
		return "the client ended the TLS handshake: it may not trust the bottle's CA"
	}
	return "" // the two found no common ground, or the client broke the protocol
}
