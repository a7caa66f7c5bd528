package records

import (
	"errors"
	"net"
	"os"
	"sync"
)

const (
	head  = 5         // of a record: its type, version and length (RFC 8446 section 5.1)
	small = 4 << 10   // what is read at once while little comes
	large = 128 << 10 // while much comes, and the most that is held back to write
)

// Conn is a connection below TLS. Its Read gives the bytes of one record at most,
// so that it knows whether the next one has come whole. One goroutine reads at a
// time. Any may write: crypto/tls answers a KeyUpdate from the goroutine that reads,
// and says goodbye from the one that closes, while another one writes or uncorks.
type Conn struct {
	net.Conn
	mem  *Memory
	own  []byte // small, ours for good
	big  *[]byte
	buf  []byte // read ahead
	left int    // bytes of the record that is being given, its head included; 0: a head comes next
	only bool   // give what is here, and do not wait for more

	mu     sync.Mutex // held while writing
	corked bool
	out    *[]byte // where it waits
	held   int     // how much waits for Uncork
	lost   error   // of a flush: what came before may be cut anywhere, so nothing may follow
}

// Memory lends buffers to the connections that move much. The zero Memory is ready.
type Memory struct{ pool sync.Pool }

func (m *Memory) get() *[]byte {
	if b, ok := m.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, large)
	return &b
}

func (m *Memory) put(b *[]byte) { m.pool.Put(b) }

// New makes a Conn of c.
func New(c net.Conn, mem *Memory) *Conn { return &Conn{Conn: c, mem: mem} }

// notYet says that nothing more is here. It is temporary to crypto/tls, which goes
// on where it was.
type notYet struct{}

func (notYet) Error() string   { return "read record: there is none yet" }
func (notYet) Timeout() bool   { return true }
func (notYet) Temporary() bool { return true }

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends our half of the connection.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Conn.Close()
}

// Ready reports whether a whole record can be read without waiting.
func (c *Conn) Ready() bool {
	return c.left == 0 && len(c.buf) >= head && len(c.buf) >= size(c.buf)
}

// Buffered reports whether anything has been read ahead.
func (c *Conn) Buffered() bool { return len(c.buf) > 0 }

// Rest takes what has been read ahead: it is for who reads on without a Conn.
func (c *Conn) Rest() []byte {
	b := append([]byte(nil), c.buf...)
	c.left = 0
	c.drop(len(c.buf))
	return b
}

// size is how long the record at the beginning of b is.
func size(b []byte) int { return head + int(b[3])<<8 + int(b[4]) }

// Read gives what has come, up to the end of a record.
func (c *Conn) Read(p []byte) (int, error) {
	if c.only && c.left == 0 && !c.Ready() {
		return 0, notYet{}
	}
	if len(c.buf) == 0 {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := min(len(p), len(c.buf))
	switch {
	case c.left > 0:
		n = min(n, c.left)
		c.left -= n
	case len(c.buf) >= head:
		n = min(n, size(c.buf))
		c.left = size(c.buf) - n
	default:
		// Less than a head: what comes next can't be told yet. Give all of it, and
		// the rest of the head and its record in the next calls.
		return c.torn(p)
	}
	copy(p, c.buf[:n])
	c.drop(n)
	return n, nil
}

// torn completes a head that came in pieces. The pieces wait when it is only a
// deadline that has passed: given on, the next Read would begin inside of a head and
// take other bytes for the record's length.
func (c *Conn) torn(p []byte) (int, error) {
	for len(c.buf) < head {
		if err := c.more(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return 0, err
			}
			n := copy(p, c.buf) // whoever reads on gets the error then
			c.drop(n)
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
	}
	return c.Read(p)
}

func (c *Conn) drop(n int) {
	c.buf = c.buf[n:]
	if len(c.buf) == 0 {
		c.buf = nil
		if c.big != nil && c.left == 0 {
			c.mem.put(c.big)
			c.big = nil
		}
	}
}

// fill reads into an empty buffer: a small one, until one read has filled it.
func (c *Conn) fill() error {
	if c.own == nil {
		c.own = make([]byte, small)
	}
	into := c.own
	if c.big != nil {
		into = *c.big
	}
	n, err := c.Conn.Read(into)
	c.buf = into[:n]
	if n == len(c.own) && c.big == nil {
		c.big = c.mem.get()
	}
	if n > 0 {
		return nil
	}
	return err
}

// more reads behind what is there.
func (c *Conn) more() error {
	grown := make([]byte, len(c.buf), small)
	copy(grown, c.buf)
	n, err := c.Conn.Read(grown[len(grown):cap(grown)])
	c.buf = grown[:len(grown)+n]
	if n > 0 {
		return nil
	}
	return err
}

// Cork holds back what is written, up to 128 KiB, until Uncork.
func (c *Conn) Cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
}

// cork is Cork; false: it was corked before.
func (c *Conn) cork() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.corked
	c.corked = true
	return !was
}

// Uncork writes what was held back. After an error nothing more can be written.
func (c *Conn) Uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	return c.flush()
}

func (c *Conn) flush() error {
	if c.out == nil {
		return c.lost
	}
	if c.lost == nil {
		_, c.lost = c.Conn.Write((*c.out)[:c.held])
	}
	c.mem.put(c.out)
	c.out, c.held = nil, 0
	return c.lost
}

// Write is net.Conn's.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return 0, c.lost
	}
	if !c.corked {
		return c.Conn.Write(p)
	}
	if c.held+len(p) > large {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > large {
		return c.Conn.Write(p)
	}
	if c.out == nil {
		c.out = c.mem.get()
	}
	c.held += copy((*c.out)[c.held:], p)
	return len(p), nil
}
