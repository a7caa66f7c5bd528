package frames

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Kind says what a frame carries.
type Kind byte

// The kinds of frames.
const (
	Control Kind = 'c' // a jail.Request or jail.Reply, as JSON
	Aside   Kind = 'a' // a question beside those to the jail, and its answer, as JSON
	Input   Kind = 'i' // to the agent's standard input; empty: its end
	Credit  Kind = 'k' // one more frame of Input may come
	Output  Kind = 'o' // of the agent's standard output, or its terminal
	Errors  Kind = 'e' // of its standard error
	Resize  Kind = 'z' // rows and columns, 2 bytes each, big-endian
)

// Bounds of frames, in bytes.
const (
	MaxIn   = 64 << 20 // to the bottle: it places files
	MaxOut  = 1 << 20  // from it
	MaxData = 32 << 10 // of one Input, Output or Errors frame that we make
)

// Window is how many frames of Input may be under way.
const Window = 32

// Conn carries frames over two byte streams: a kind, the length as 4 bytes, big-endian,
// the body. One reader and many writers.
type Conn struct {
	in    *bufio.Reader
	limit uint32
	mu    sync.Mutex
	out   io.Writer
	body  []byte
}

// NewConn reads frames of at most limit bytes.
func NewConn(in io.Reader, out io.Writer, limit uint32) *Conn {
	return &Conn{in: bufio.NewReaderSize(in, 64<<10), out: out, limit: limit}
}

// Send writes one frame, whole.
func (c *Conn) Send(kind Kind, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	frame := append(c.body[:0], byte(kind))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(body)))
	frame = append(frame, body...)
	if cap(frame) <= 2*MaxData {
		c.body = frame
	}
	if _, err := c.out.Write(frame); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// SendJSON writes v as a frame of a kind.
func (c *Conn) SendJSON(kind Kind, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return c.Send(kind, body)
}

// Receive reads one frame. io.EOF means that the other side is gone. A frame that is
// too long is an error before anything is made for it.
func (c *Conn) Receive() (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > c.limit {
		return 0, nil, fmt.Errorf("receive: %d bytes is more than %d", n, c.limit)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return 0, nil, fmt.Errorf("receive: %w", io.ErrUnexpectedEOF)
	}
	return Kind(head[0]), body, nil
}
