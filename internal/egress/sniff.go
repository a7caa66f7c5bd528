package egress

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"
)

const (
	maxHello = 32 << 10 // a real one has 2 KiB with a post-quantum key share
	extECH   = 0xfe0d   // encrypted_client_hello, RFC 9849
)

// hello is a ClientHello as it came over the wire, not answered.
type hello struct {
	raw []byte // every byte that was taken from the connection
	sni string // as the client spelt it; empty: none
	ech bool   // it may hide a second name inside
}

var errSniffed = errors.New("sniffed")

// sniffHello reads one ClientHello with crypto/tls itself, so that nobody else
// can read it another way: a server handshake over a connection that records
// what it reads, cannot write, and stops as soon as the hello is understood.
func sniffHello(c net.Conn, limit time.Duration) (hello, error) {
	_ = c.SetReadDeadline(time.Now().Add(limit))
	defer c.SetReadDeadline(time.Time{})
	rec := &recorder{Conn: c}
	var h hello
	seen := false
	srv := tls.Server(rec, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			h.sni, h.ech, seen = info.ServerName, slices.Contains(info.Extensions, extECH), true
			return nil, errSniffed
		},
	})
	err := srv.Handshake()
	h.raw = rec.taken
	if !seen {
		if err == nil {
			err = errors.New("no hello")
		}
		return h, err
	}
	return h, nil
}

// recorder reads through and keeps a copy; writing (an alert) goes nowhere, and
// closing is not its business.
type recorder struct {
	net.Conn
	taken []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	room := maxHello - len(r.taken)
	if room <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := r.Conn.Read(b[:min(len(b), room)])
	r.taken = append(r.taken, b[:n]...)
	return n, err
}

func (r *recorder) Write(b []byte) (int, error)      { return len(b), nil }
func (r *recorder) Close() error                     { return nil }
func (r *recorder) SetDeadline(time.Time) error      { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }
