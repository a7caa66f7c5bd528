package websocket

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// buffered is how many bytes of small frames are read, and are written, at once.
const buffered = 4 << 10

// errShut: a close frame has gone out already, and nothing goes after it.
var errShut = errors.New("the connection is closing")

// sender writes frames to one side. It may be used by several goroutines; each
// frame goes out whole, so a close frame fits between any two.
type sender struct {
	conn io.ReadWriteCloser
	mask bool // as a client must (RFC 6455 section 5.1)

	mu     sync.Mutex
	out    counted
	w      *bufio.Writer
	shut   bool // a close frame went
	random [256]byte
	used   int // of random; 0: none is there
}

func newSender(conn io.ReadWriteCloser, mask bool) *sender {
	s := &sender{conn: conn, mask: mask, out: counted{to: conn}}
	s.w = bufio.NewWriterSize(&s.out, buffered)
	return s
}

// counted counts the bytes that were written.
type counted struct {
	to io.Writer
	n  int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n += int64(n)
	return n, err
}

// send passes on one frame. Its payload is b after the first maxHead bytes, and at
// most 64 KiB - 1. b is spoilt. It goes out at the latest with the next flush.
func (s *sender) send(op Opcode, final bool, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(op, final, b)
}

func (s *sender) put(op Opcode, final bool, b []byte) error {
	if s.shut {
		return errShut
	}
	payload := b[maxHead:]
	var space [maxHead]byte
	var key []byte
	if s.mask {
		k := s.key()
		key = k[:]
		xor(payload, k, 0)
	}
	head := appendHead(space[:0], op, final, len(payload), key)
	from := maxHead - len(head)
	copy(b[from:], head)
	_, err := s.w.Write(b[from:])
	if op == Close {
		s.shut = true
		err = errors.Join(err, s.w.Flush())
	}
	return err
}

// key is a fresh mask that nobody can foresee (section 10.3).
func (s *sender) key() [4]byte {
	if s.used == 0 || s.used == len(s.random) {
		_, _ = rand.Read(s.random[:]) // ends the program if it fails
		s.used = 0
	}
	k := [4]byte(s.random[s.used:])
	s.used += len(k)
	return k
}

func (s *sender) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Flush()
}

// end sends a close frame of our own, if none went yet, and then nothing more.
func (s *sender) end(code uint16, why string) {
	b := binary.BigEndian.AppendUint16(make([]byte, maxHead, maxHead+maxControl), code)
	b = append(b, why[:min(len(why), maxControl-2)]...)
	s.mu.Lock()
	_ = s.put(Close, true, b) // the side may be gone
	s.mu.Unlock()
	_ = s.closeWrite()
}

// closeWrite passes the end of the stream on (half-close).
func (s *sender) closeWrite() error {
	if w, ok := s.conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (s *sender) sent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.n
}
