package answer

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// Relay writes a body of left bytes (negative: not known) to the agent, through the
// block b, and flushes whenever more may take its time. The last piece leaves together
// with the end of the answer. ready says that more is here already.
func Relay(w http.ResponseWriter, body io.Reader, left int64, ready func() bool, b []byte) error {
	flush := http.NewResponseController(w).Flush
	if !ready() {
		if err := flush(); err != nil {
			return err
		}
	}
	for {
		n, err := body.Read(b)
		left -= int64(n)
		if n > 0 {
			if _, lost := w.Write(b[:n]); lost != nil {
				return lost
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if n > 0 && left != 0 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// Counted counts the answer, and makes the record before its last byte (or, where only
// the end tells which one was last, before its end) is passed on. Without a record
// those bytes are not passed on: the answer breaks off.
type Counted struct {
	io.ReadCloser
	In   *atomic.Int64
	Left int64        // bytes still to come; negative: not known
	Done func() error // makes the record; may be called again
}

func (c *Counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.In.Add(int64(n))
	if c.Left > 0 {
		c.Left -= int64(n)
	}
	if err != nil || c.Left == 0 {
		if lost := c.Done(); lost != nil {
			return 0, lost
		}
	}
	return n, err
}

// Close makes the record, if there is none, and closes.
func (c *Counted) Close() error {
	_ = c.Done()
	return c.ReadCloser.Close()
}
