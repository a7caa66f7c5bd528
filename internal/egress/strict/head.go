package strict

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// head is what the framing and the authority of one request hang on.
type head struct {
	method, target string
	minor          byte // HTTP/1.minor
	host           string
	hosts          int
	length         int64 // of the body; -1: nothing says
	chunked        bool
	websocket      bool
}

// nextHead waits for the head of the next request and makes it ready whole.
func (c *Conn) nextHead() error {
	if err := c.await(func() bool { return c.held }); err != nil || c.isRaw() {
		return err
	}
	if len(c.buf) == 0 {
		if err := c.firstByte(); err != nil || c.isRaw() {
			return err
		}
	}
	h := head{length: -1}
	end, err := c.readHead(&h)
	c.relax()
	if err == nil {
		err = h.settle()
	}
	var f *Fault
	switch {
	case errors.As(err, &f):
		return c.fail(f)
	case err != nil && timedOut(err) && c.late():
		return c.fail(fault(policy.TooSlow, ""))
	case err != nil:
		return unexpected(err)
	}
	c.ready = end
	c.heads.Add(1)
	c.state, c.left = inHead, h.length
	switch {
	case h.chunked:
		c.state = inChunkSize
	case h.length > 0:
		c.state = inBody
	}
	if h.method == "CONNECT" || h.websocket && c.state == inHead {
		c.mu.Lock()
		c.held = true
		c.mu.Unlock()
	}
	return nil
}

// firstByte waits between two requests.
func (c *Conn) firstByte() error {
	err := c.fill()
	if errors.Is(err, io.EOF) && c.limits.HalfClose {
		if waited := c.await(func() bool { return c.busy && !c.raw }); waited != nil {
			return waited
		}
	}
	return err
}

// hurry gives a head that has not come whole its own deadline, which relax takes back.
// The server's own clock for heads does not help: it sees a head when it is whole.
func (c *Conn) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := time.Now().Add(c.limits.HeadTime)
	if c.hurried || !c.deadline.IsZero() && c.deadline.Before(own) {
		return
	}
	c.hurried, c.before = true, c.deadline
	_ = c.Conn.SetReadDeadline(own)
}

func (c *Conn) relax() {
	if !c.hurried {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurried = false
	if c.deadline.Equal(c.before) { // else somebody has set another meanwhile
		_ = c.Conn.SetReadDeadline(c.before)
	}
}

// late reports whether the time was the head's own, or the caller's for a head
// that had begun; and not a deadline in the past, by which a caller ends a Read.
func (c *Conn) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deadline.IsZero() || time.Since(c.deadline) < time.Hour
}

func (c *Conn) readHead(h *head) (end int, err error) {
	for first := true; ; first = false {
		from := end
		if end, err = c.line(from, c.limits.Head); err != nil {
			return 0, err
		}
		text := c.buf[from : end-2]
		switch {
		case first:
			err = h.requestLine(text)
		case len(text) == 0:
			return end, nil
		default:
			err = h.field(text)
		}
		if err != nil {
			return 0, err
		}
	}
}

// requestLine is RFC 9112 section 3: three words and one space between them.
func (h *head) requestLine(b []byte) error {
	method, rest, ok := bytes.Cut(b, []byte(" "))
	target, version, also := bytes.Cut(rest, []byte(" "))
	switch {
	case !ok || !also || !isToken(method) || len(target) == 0:
		return fault(policy.BadRequest, "the request line is not a method, a target and a version")
	case len(version) != 8 || string(version[:7]) != "HTTP/1." || version[7] != '0' && version[7] != '1':
		return fault(policy.BadRequest, "the version is neither HTTP/1.1 nor HTTP/1.0")
	}
	for _, c := range target {
		if c <= ' ' || c >= 0x7f {
			return fault(policy.BadRequest, "the request's target holds a character that no URL has")
		}
	}
	h.method, h.minor = string(method), version[7]
	if target[0] != '/' { // the others are compared with Host
		h.target = string(target)
	}
	return nil
}

// field is one line of RFC 9112 section 5, without folding.
func (h *head) field(b []byte) error {
	name, value, ok := bytes.Cut(b, []byte(":"))
	switch {
	case b[0] == ' ' || b[0] == '\t':
		return fault(policy.BadHeader, "a header is folded over two lines")
	case !ok || !isToken(name):
		return fault(policy.BadHeader, "a header's name holds a space or another character that no name has")
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fault(policy.BadHeader, "a header's value holds a control character")
		}
	}
	return h.frame(name, bytes.Trim(value, " \t"))
}

// frame notes what frames and routes a request.
func (h *head) frame(name, value []byte) error {
	switch len(name) {
	case len("host"):
		if is(name, "host") {
			h.host, h.hosts = string(value), h.hosts+1
		}
	case len("expect"):
		if is(name, "expect") && !bytes.EqualFold(value, []byte("100-continue")) {
			return fault(policy.BadRequest, "the request expects what nobody here can promise")
		}
	case len("upgrade"):
		h.websocket = h.websocket || is(name, "upgrade") && bytes.EqualFold(value, []byte("websocket"))
	case len("content-length"):
		if is(name, "content-length") {
			return h.contentLength(name, string(value))
		}
	case len("transfer-encoding"):
		if !is(name, "transfer-encoding") {
			return nil
		}
		if h.chunked || !plain(name) || !bytes.EqualFold(value, []byte("chunked")) {
			return fault(policy.BadFraming, "the transfer coding is given twice, or is not chunked alone")
		}
		h.chunked = true
	}
	return nil
}

// is compares as servers do that make variables of names: there _ is -, and a name
// that is a mere field to others frames the request.
func is(name []byte, as string) bool {
	for i := range name {
		c := name[i] | 0x20
		if name[i] == '_' || name[i] == '-' {
			c = '-'
		}
		if c != as[i] {
			return false
		}
	}
	return true
}

func plain(name []byte) bool { return bytes.IndexByte(name, '_') < 0 }

func (h *head) contentLength(name []byte, value string) error {
	if h.length >= 0 || !plain(name) {
		return fault(policy.BadFraming, "the length of the body is given twice, or by a name that not all read")
	}
	n, err := strconv.ParseUint(value, 10, 62)
	if err != nil || value[0] == '+' || len(value) > 1 && value[0] == '0' {
		return fault(policy.BadFraming, "the length of the body is not a plain number")
	}
	h.length = int64(n)
	return nil
}

// settle holds the lines against each other.
func (h *head) settle() error {
	switch {
	case h.chunked && h.length >= 0:
		return fault(policy.BadFraming, "the body has a length and is chunked, too") // RFC 9112 section 6.1
	case h.chunked && h.minor == '0':
		return fault(policy.BadFraming, "HTTP/1.0 has no chunks")
	case h.hosts > 1:
		return fault(policy.BadHost, "the request names a host twice")
	case h.hosts == 0 && h.minor == '1':
		return fault(policy.BadRequest, "the request names no host") // RFC 9112 section 3.2
	case h.method == "CONNECT" && (h.chunked || h.length > 0):
		return fault(policy.BadFraming, "CONNECT has no body")
	}
	return h.authority()
}

// authority holds an absolute target, or CONNECT's, against Host. A proxy would
// ignore Host (RFC 9112 section 3.2.2); who reads on behind it might not.
func (h *head) authority() error {
	switch {
	case h.target == "" || h.hosts == 0:
		return nil
	case h.method == "CONNECT":
		return h.same(h.target, 0)
	}
	scheme, rest, ok := strings.Cut(h.target, "://")
	if !ok {
		return nil // * and what is no target at all: readForm refuses it
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	def := uint16(80)
	if strings.EqualFold(scheme, "https") {
		def = 443
	}
	return h.same(rest, def)
}

// same reports by an error that Host names another place than authority. Host may
// leave out the port, as many clients of CONNECT do.
func (h *head) same(authority string, def uint16) error {
	if strings.Contains(authority, "@") {
		return fault(policy.BadRequest, "the URL holds a user's name") // reads as another host to some (RFC 9110 section 4.2.4)
	}
	host, port, err := bottle.ParseHostPort(authority, def)
	if err != nil {
		return fault(policy.BadHost, "")
	}
	named, at, err := bottle.ParseHostPort(h.host, port)
	if err != nil {
		return fault(policy.BadHost, "")
	}
	if named != host || at != port {
		return &Fault{Reason: policy.AuthorityMismatch, Host: host, Port: port}
	}
	return nil
}

func isToken(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		case strings.IndexByte("!#$%&'*+.^`|~", c) >= 0:
		default:
			return false
		}
	}
	return len(b) > 0
}
