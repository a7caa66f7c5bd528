// Package lean is HTTP/1.1 for measuring what stands between a client and a
// server: both sides read and write as little as the protocol allows (RFC 9112,
// messages framed by Content-Length only), so that nearly all the time that passes
// is the time of the thing in the middle. Each answer is checked all the same: its
// status, its length, and that the server was shown the credential.
package lean

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// The three exchanges. The path tells the server which one it is.
const (
	Small    = "/small"    // PostSize bytes there, AnswerSize bytes back
	Download = "/download" // nothing there, BulkSize bytes back
	Upload   = "/upload"   // BulkSize bytes there, AnswerSize bytes back
)

// Sizes of bodies, in bytes.
const (
	PostSize   = 2 << 10
	AnswerSize = 1 << 10
	BulkSize   = 100_000_000
)

const (
	bufferSize = 32 << 10
	chunkSize  = 64 << 10
)

var (
	errChunked = errors.New("a message without Content-Length")
	errLine    = errors.New("a header line that is too long")
)

// Body gives n bytes that look like JSON and hold no credential.
func Body(n int) []byte {
	const words = `{"role":"user","content":"the quick brown fox jumps over the lazy dog"},`
	return bytes.Repeat([]byte(words), n/len(words)+1)[:n]
}

// Head gives the head of a request with a body of n bytes and a Bearer token.
func Head(method, path, host, token string, n int) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nUser-Agent: lean/1\r\nAccept: */*\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", method, path, host, token, n)
}

// message is what matters of a head.
type message struct {
	first  []byte // the first line, valid until the next read
	length int64  // Content-Length; -1: there was none
	token  bool   // it had the credential
}

// readHead reads one head. want is what Authorization must be; nil: any.
func readHead(r *bufio.Reader, keep []byte, want []byte) (m message, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return m, err
	}
	m.first, m.length, m.token = append(keep[:0], bytes.TrimRight(line, "\r\n")...), -1, want == nil
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = errLine
			}
			return m, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return m, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if m.length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return m, fmt.Errorf("read length: %w", err)
			}
		case bytes.EqualFold(name, []byte("Authorization")):
			m.token = m.token || bytes.Equal(value, want)
		}
	}
}

// Serve answers the requests on one connection until it ends, which is no error.
// Every request must show token as its Bearer credential, or it gets a 401.
func Serve(c net.Conn, token string) error {
	r := bufio.NewReaderSize(c, bufferSize)
	want, keep := []byte("Bearer "+token), make([]byte, 0, 256)
	head := func(status string, n int) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", status, n)
	}
	small, bulk := append(head("200 OK", AnswerSize), Body(AnswerSize)...), head("200 OK", BulkSize)
	for {
		m, err := readHead(r, keep, want)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		keep = m.first
		if _, err := r.Discard(int(max(m.length, 0))); err != nil {
			return err
		}
		_, target, _ := bytes.Cut(m.first, []byte(" "))
		path, _, _ := bytes.Cut(target, []byte(" "))
		switch {
		case !m.token:
			_, err = c.Write(head("401 Unauthorized", 0))
		case string(path) == Small && m.length == PostSize, string(path) == Upload && m.length == BulkSize:
			_, err = c.Write(small)
		case string(path) == Download:
			if _, err = c.Write(bulk); err == nil {
				err = pour(c)
			}
		default:
			_, err = c.Write(head("400 Bad Request", 0))
		}
		if err != nil {
			return err
		}
	}
}

// pour writes BulkSize bytes.
func pour(w io.Writer) error {
	chunk := Body(chunkSize)
	for left := BulkSize; left > 0; left -= len(chunk) {
		if _, err := w.Write(chunk[:min(left, len(chunk))]); err != nil {
			return err
		}
	}
	return nil
}

// Conn is the client's side of one kept-alive connection.
type Conn struct {
	c    net.Conn
	r    *bufio.Reader
	keep []byte
}

// NewConn reads and writes requests on c, which is open and, if TLS is wanted, TLS.
func NewConn(c net.Conn) *Conn {
	return &Conn{c: c, r: bufio.NewReaderSize(c, bufferSize), keep: make([]byte, 0, 256)}
}

// Connect asks for a tunnel on c (RFC 9110 section 9.3.6) and returns when it stands.
func Connect(c net.Conn, target string) error {
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, 1024)
	m, err := readHead(r, nil, nil)
	switch {
	case err != nil:
		return fmt.Errorf("read answer to CONNECT: %w", err)
	case !bytes.HasPrefix(m.first, []byte("HTTP/1.1 200")):
		return fmt.Errorf("CONNECT was answered %q", m.first)
	case r.Buffered() > 0:
		return errors.New("something came before the handshake")
	}
	return nil
}

// Do writes one request, head and body together, and reads the answer to its
// end. An answer that is not 200 with want bytes is an error.
func (c *Conn) Do(request []byte, want int64) error {
	if _, err := c.c.Write(request); err != nil {
		return err
	}
	return c.answer(want)
}

// Upload writes head and then BulkSize bytes, and reads the answer to its end.
func (c *Conn) Upload(head []byte) error {
	if _, err := c.c.Write(head); err != nil {
		return err
	}
	if err := pour(c.c); err != nil {
		return err
	}
	return c.answer(AnswerSize)
}

func (c *Conn) answer(want int64) error {
	m, err := readHead(c.r, c.keep, nil)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	c.keep = m.first
	switch {
	case !bytes.HasPrefix(m.first, []byte("HTTP/1.1 200")):
		return fmt.Errorf("the answer is %q", m.first)
	case m.length < 0:
		return errChunked
	case m.length != want:
		return fmt.Errorf("the answer has %d bytes, not %d", m.length, want)
	}
	if _, err := c.r.Discard(int(want)); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.c.Close() }
