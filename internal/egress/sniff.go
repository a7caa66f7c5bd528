package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
)

const (
	maxHello = 32 << 10 // a real one has 2 KiB with a post-quantum key share
	extECH   = 0xfe0d   // encrypted_client_hello, RFC 9849
)

// hello is what a ClientHello says.
type hello struct {
	sni string // as the client spelt it; empty: none
	ech bool   // it may hide a second name inside
}

var errUnopened = errors.New("the handshake is not for us")

// answerHello reads a ClientHello and, if decide gives a configuration, finishes
// the handshake. The hello is read by crypto/tls itself, so that nobody can read it
// another way, and only once. Without a configuration not a byte is written; taken
// then holds all that was read, so that it can be passed on.
func answerHello(ctx context.Context, c net.Conn, decide func(hello) *tls.Config) (_ *tls.Conn, taken []byte, err error) {
	q := &quiet{Conn: c}
	seen := false
	tc := tls.Server(q, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			seen = true
			cfg := decide(hello{sni: info.ServerName, ech: slices.Contains(info.Extensions, extECH)})
			if cfg == nil {
				return nil, errUnopened
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
		return nil, q.taken, errors.Join(errNoHello, err)
	case !q.open:
		return nil, q.taken, errUnopened
	}
	return nil, nil, err
}

var errNoHello = errors.New("the TLS handshake can't be read")

// quiet is a connection that keeps what was read and says nothing, until it is
// open. Closing is not its business before.
type quiet struct {
	net.Conn
	open  bool
	taken []byte
}

func (q *quiet) NetConn() net.Conn { return q.Conn }
func (q *quiet) CloseWrite() error { return closeWrite(q.Conn) }

func (q *quiet) Read(b []byte) (int, error) {
	if q.open {
		return q.Conn.Read(b)
	}
	room := maxHello - len(q.taken)
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
