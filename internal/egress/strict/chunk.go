package strict

import (
	"errors"
	"strconv"
	"strings"

	"bottle/internal/policy"
)

// within makes the next line ready, up to a limit of bytes, inside a body.
func (c *Conn) within(limit int) (string, error) {
	end, err := c.line(0, limit)
	if err != nil {
		var f *Fault
		if errors.As(err, &f) {
			if f.Reason == policy.BadHeader && c.state != inTrailer {
				f = fault(policy.BadFraming, f.Detail)
			}
			return "", c.fail(f)
		}
		return "", unexpected(err)
	}
	return string(c.buf[:end-2]), nil
}

// chunkSize reads the line before a chunk (RFC 9112 section 7.1). Extensions are
// refused: nobody uses them, and parsers end them in different places.
func (c *Conn) chunkSize() error {
	text, err := c.within(maxChunkLine)
	if err != nil {
		return err
	}
	size, err := strconv.ParseUint(text, 16, 62)
	switch {
	case strings.ContainsAny(text, "; \t"):
		return c.fail(fault(policy.BadFraming, "a chunk has an extension"))
	case err != nil || text[0] == '+' || strings.ContainsAny(text, "_xX"):
		return c.fail(fault(policy.BadFraming, "the size of a chunk is not a plain number"))
	}
	c.ready = len(text) + 2
	c.left, c.state = int64(size), inChunk
	if size == 0 {
		c.state = inTrailer
	}
	return nil
}

func (c *Conn) chunkEnd() error {
	for len(c.buf) < 2 {
		if err := c.fill(); err != nil {
			return unexpected(err)
		}
	}
	if c.buf[0] != '\r' || c.buf[1] != '\n' {
		return c.fail(fault(policy.BadFraming, "a chunk is longer than its size"))
	}
	c.ready, c.state = 2, inChunkSize
	return nil
}

// trailer reads one line behind the last chunk. What frames a message has no place
// there (RFC 9110 section 6.5.1).
func (c *Conn) trailer() error {
	text, err := c.within(c.limits.Head)
	if err != nil {
		return err
	}
	c.left += int64(len(text)) + 2 // all trailers together, since the last chunk was of size 0
	if text == "" {
		c.ready, c.state = 2, inHead
		return nil
	}
	h := head{length: -1}
	err = h.field([]byte(text))
	var f *Fault
	switch {
	case errors.As(err, &f):
		return c.fail(f)
	case h.length >= 0 || h.chunked || h.hosts > 0:
		return c.fail(fault(policy.BadFraming, "a trailer frames or routes the request"))
	case c.left > int64(c.limits.Head):
		return c.fail(fault(policy.LimitHeader, ""))
	}
	c.ready = len(text) + 2
	return nil
}
