package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame is one frame as plainly as it can be written down.
type frame struct {
	first   byte // final, reserved bits and opcode
	payload string
}

func (f frame) final() bool { return f.first&0x80 != 0 }
func (f frame) op() Opcode  { return Opcode(f.first & 15) }

// bytes gives the frame as a side sends it: the agent masks.
func (f frame) bytes(from Side) []byte {
	mask := byte(0)
	if from == Agent {
		mask = 0x80
	}
	b := []byte{f.first}
	switch n := len(f.payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if from != Agent {
		return append(b, f.payload...)
	}
	key := []byte{0x37, 0xfa, 0x21, byte(len(f.payload))}
	b = append(b, key...)
	for i := range len(f.payload) {
		b = append(b, f.payload[i]^key[i%4])
	}
	return b
}

func wire(from Side, frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, f.bytes(from)...)
	}
	return b
}

// parse reads frames of a side with no code of the room's. What is left of b is no
// whole frame.
func parse(b []byte, from Side) (frames []frame, left []byte, keys []string) {
	for {
		f, n, key := parseOne(b, from)
		if n == 0 {
			return frames, b, keys
		}
		frames, b = append(frames, f), b[n:]
		if key != "" {
			keys = append(keys, key)
		}
	}
}

func parseOne(b []byte, from Side) (f frame, n int, key string) {
	if len(b) < 2 {
		return f, 0, ""
	}
	size, at := uint64(b[1]&0x7f), 2
	switch {
	case size == 126 && len(b) >= 4:
		size, at = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case size == 127 && len(b) >= 10:
		size, at = binary.BigEndian.Uint64(b[2:]), 10
	case size >= 126:
		return f, 0, ""
	}
	if b[1]&0x80 != 0 {
		if len(b) < at+4 {
			return f, 0, ""
		}
		key, at = string(b[at:at+4]), at+4
	}
	if uint64(len(b)-at) < size {
		return f, 0, ""
	}
	payload := []byte(string(b[at : at+int(size)]))
	for i := range payload {
		if key != "" {
			payload[i] ^= key[i%4]
		}
	}
	return frame{b[0], string(payload)}, at + int(size), key
}

// event is what a side means: a whole message, or a control frame.
type event struct {
	op   Opcode
	text string
}

// meant puts frames together. It gives an error for whatever RFC 6455 forbids, and
// the events before it, in the order in which they are whole.
func meant(frames []frame) (events []event, err error) {
	var open Opcode
	var text []byte
	for _, f := range frames {
		op := f.op()
		closed := len(events) > 0 && events[len(events)-1].op == Close
		switch {
		case f.first&0x70 != 0:
			return events, errors.New("reserved bit")
		case op > 2 && op < 8 || op > 10:
			return events, errors.New("opcode")
		case op >= 8 && (!f.final() || len(f.payload) > 125):
			return events, errors.New("control")
		case closed && (op == Ping || op == Pong):
			continue
		case closed:
			return events, errors.New("after close")
		case op == Close && !closable(f.payload):
			return events, errors.New("close")
		case op >= 8:
			events = append(events, event{op, f.payload})
			continue
		case (op == 0) == (open == 0):
			return events, errors.New("continuation")
		case op != 0:
			open, text = op, nil
		}
		text = append(text, f.payload...)
		if f.final() {
			if open == Text && !utf8.Valid(text) {
				return events, errors.New("UTF-8")
			}
			events, open = append(events, event{open, string(text)}), 0
		}
	}
	return events, nil
}

func closable(p string) bool {
	if len(p) < 2 {
		return p == ""
	}
	code := int(p[0])<<8 | int(p[1])
	ok := code >= 3000 && code < 5000
	for _, known := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} {
		ok = ok || code == known
	}
	return ok && utf8.ValidString(p[2:])
}

// memory is a side that says in, and keeps what it hears. With in nil it says
// nothing until it is told that nothing more is to come.
type memory struct {
	in   io.Reader
	over chan struct{}

	mu    sync.Mutex
	out   bytes.Buffer
	half  bool
	ended bool
}

func (m *memory) Read(b []byte) (int, error) {
	if m.in == nil {
		<-m.over
		return 0, io.EOF
	}
	return m.in.Read(b)
}

func (m *memory) told() {
	if !m.half && !m.ended {
		close(m.over)
	}
}

func (m *memory) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.half || m.ended {
		return 0, io.ErrClosedPipe
	}
	return m.out.Write(b)
}

func (m *memory) CloseWrite() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told()
	m.half = true
	return nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told()
	m.ended = true
	return nil
}

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

// relayed runs one Relay over what both sides say, and gives what each heard.
func relayed(t tester, agent, upstream io.Reader, o Options) (toAgent, toUpstream []byte, err error) {
	t.Helper()
	a, u := &memory{in: agent, over: make(chan struct{})}, &memory{in: upstream, over: make(chan struct{})}
	sum, err := Relay(context.Background(), a, u, o)
	if !a.ended || !u.ended {
		t.Error("a side is left open")
	}
	if sum.In != int64(a.out.Len()) || sum.Out != int64(u.out.Len()) {
		t.Errorf("counted %+v, of %d and %d", sum, a.out.Len(), u.out.Len())
	}
	return a.out.Bytes(), u.out.Bytes(), err
}

// heard parses what a side heard, which must be whole frames, masked or not as the
// one who sent them must, and legal.
func heard(t tester, b []byte, from Side) ([]frame, []event) {
	t.Helper()
	frames, left, keys := parse(b, from)
	if len(left) > 0 {
		t.Fatalf("%s: %d bytes are no frame", from, len(left))
	}
	if want := map[Side]int{Agent: len(frames)}[from]; len(keys) != want {
		t.Fatalf("%s: %d masks in %d frames", from, len(keys), len(frames))
	}
	for _, f := range frames {
		if n := len(f.bytes(from)); n > 1<<16+14 {
			t.Fatalf("%s: a frame of %d bytes", from, n)
		}
	}
	events, err := meant(frames)
	if err != nil {
		t.Fatalf("%s: what is passed on is not legal: %v", from, err)
	}
	return frames, events
}

func code(c uint16, why string) string {
	return string(binary.BigEndian.AppendUint16(nil, c)) + why
}

func short(events []event) string {
	s := fmt.Sprintf("%q", events)
	return s[:min(len(s), 400)]
}
