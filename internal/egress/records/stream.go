package records

import (
	"crypto/tls"
	"errors"
	"net"
)

// Stream is TLS over a Conn: it reads as many records at once as have come and as
// there is room for, and writes many in one system call.
type Stream struct {
	*tls.Conn
	raw   *Conn
	probe [1]byte
}

// NewStream joins a TLS connection with the Conn below it.
func NewStream(tc *tls.Conn, raw *Conn) *Stream { return &Stream{Conn: tc, raw: raw} }

// NetConn is the TLS connection.
func (s *Stream) NetConn() net.Conn { return s.Conn }

// Read gives at least what one record brought.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	for err == nil && n < len(p) && s.raw.Ready() {
		s.raw.only = true // a record may hold no data at all (RFC 8446 section 4.6)
		var more int
		more, err = s.Conn.Read(p[n:])
		n += more
		s.raw.only = false
	}
	if errors.As(err, &notYet{}) {
		err = nil
	}
	return n, err
}

// Empty reports whether nothing is left of what has been read from the connection
// below. It is for who would read; what a record brought is lost if it is not empty.
func (s *Stream) Empty() bool {
	if s.raw.Buffered() {
		return false
	}
	s.raw.only = true
	n, err := s.Conn.Read(s.probe[:])
	s.raw.only = false
	return n == 0 && errors.As(err, &notYet{})
}

// Write is net.Conn's.
func (s *Stream) Write(p []byte) (int, error) {
	if len(p) <= plain || !s.raw.cork() {
		return s.Conn.Write(p)
	}
	n, err := s.Conn.Write(p)
	if lost := s.raw.Uncork(); err == nil {
		err = lost
	}
	return n, err
}

// plain is the most that one record carries.
const plain = 16 << 10

// Cork holds back what is written until Uncork.
func (s *Stream) Cork() { s.raw.Cork() }

// Uncork writes what was held back.
func (s *Stream) Uncork() error { return s.raw.Uncork() }
