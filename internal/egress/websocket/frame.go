package websocket

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"
)

// Opcode says what a frame holds (RFC 6455 section 5.2).
type Opcode byte

// The opcodes of messages and of control frames.
const (
	Text   Opcode = 0x1
	Binary Opcode = 0x2
	Close  Opcode = 0x8
	Ping   Opcode = 0x9
	Pong   Opcode = 0xa

	continuation Opcode = 0x0 // goes on with a message
)

// Control reports whether it is a control frame's: whole in itself, and allowed
// between the fragments of a message (section 5.5).
func (o Opcode) Control() bool { return o&0x8 != 0 }

// The close codes that a relay is cut with (section 7.4.1).
const (
	goingAway       = 1001
	protocolError   = 1002
	invalidText     = 1007
	policyViolation = 1008
	internalError   = 1011
)

// maxControl is the longest payload of a control frame (section 5.5), in bytes.
const maxControl = 125

// header is what stands before a frame's payload.
type header struct {
	final  bool
	op     Opcode
	masked bool
	key    [4]byte
	size   uint64 // of the payload, in bytes
}

// readHeader takes one header from r. io.EOF: there is no further frame. Another
// end is io.ErrUnexpectedEOF, and what breaks section 5.2 or 5.5 is a *Fault.
// Whether a mask must be there is for who knows the side.
func readHeader(r *bufio.Reader) (header, error) {
	b, err := r.Peek(2)
	if err != nil {
		if len(b) > 0 {
			err = inTheMiddle(err)
		}
		return header{}, err
	}
	h := header{final: b[0]&0x80 != 0, op: Opcode(b[0] & 0x0f), masked: b[1]&0x80 != 0, size: uint64(b[1] & 0x7f)}
	if what := h.breaks(b[0]); what != "" {
		return header{}, breach(what)
	}
	wide := 0
	switch h.size {
	case 126:
		wide = 2
	case 127:
		wide = 8
	}
	n := 2 + wide
	if h.masked {
		n += len(h.key)
	}
	if b, err = r.Peek(n); err != nil {
		return header{}, inTheMiddle(err)
	}
	switch wide {
	case 2:
		h.size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 8:
		h.size = binary.BigEndian.Uint64(b[2:])
	}
	switch {
	case h.size>>63 != 0:
		return header{}, breach("a length with its top bit set")
	case wide == 2 && h.size < 126, wide == 8 && h.size <= 0xffff:
		return header{}, breach("a length in more bytes than it needs")
	}
	if h.masked {
		copy(h.key[:], b[n-len(h.key):])
	}
	_, err = r.Discard(n)
	return h, err
}

// breaks says what is wrong with the first two bytes; empty: nothing.
func (h header) breaks(first byte) string {
	switch {
	case first&0x70 != 0:
		return "a frame with a reserved bit" // they belong to extensions, and none is agreed on
	case h.op > Binary && h.op < Close, h.op > Pong:
		return "a frame with a reserved opcode"
	case h.op.Control() && !h.final:
		return "a control frame in fragments"
	case h.op.Control() && h.size > maxControl:
		return "a control frame of more than 125 bytes"
	}
	return ""
}

// inTheMiddle is err where the end of the stream is not the end of a frame.
func inTheMiddle(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxHead is the longest header that we write, in bytes: two, a length of two, and
// a mask. A payload that we write never needs a length of eight.
const maxHead = 2 + 2 + 4

// appendHead appends the shortest header for it to b. key nil: no mask.
func appendHead(b []byte, op Opcode, final bool, size int, key []byte) []byte {
	first, mask := byte(op), byte(0)
	if final {
		first |= 0x80
	}
	if key != nil {
		mask = 0x80
	}
	switch {
	case size < 126:
		b = append(b, first, mask|byte(size))
	default:
		b = binary.BigEndian.AppendUint16(append(b, first, mask|126), uint16(size))
	}
	return append(b, key...)
}

// xor masks or unmasks b, which begins at the given offset of its frame's payload
// (section 5.3).
func xor(b []byte, key [4]byte, offset uint64) {
	var k [8]byte
	for i := range k {
		k[i] = key[(offset+uint64(i))%4]
	}
	word := binary.LittleEndian.Uint64(k[:])
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= k[i]
	}
}

// checkClose holds the payload of a close frame against sections 5.5.1 and 7.4.
func checkClose(b []byte) *Fault {
	switch {
	case len(b) == 0:
		return nil
	case len(b) == 1:
		return breach("a close frame with half a code")
	case !sendable(binary.BigEndian.Uint16(b)):
		return breach("a close code that is not for sending")
	case !utf8.Valid(b[2:]):
		return &Fault{Code: invalidText, What: "a close reason that is not UTF-8"}
	}
	return nil
}

// sendable reports whether an endpoint may send this code: one that is registered
// for the wire (1004 to 1006 and 1015 are not), of a library, or of an application.
func sendable(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// text follows whether bytes that come in pieces are UTF-8 (section 8.1).
type text struct {
	cut  [utf8.UTFMax]byte // a character's beginning, at the end of what came
	size int
}

// add takes the next bytes; false: they can't be UTF-8, whatever follows.
func (t *text) add(b []byte) bool {
	for t.size > 0 && len(b) > 0 {
		t.cut[t.size] = b[0]
		t.size, b = t.size+1, b[1:]
		if utf8.FullRune(t.cut[:t.size]) {
			if !utf8.Valid(t.cut[:t.size]) {
				return false
			}
			t.size = 0
		}
	}
	whole := len(b)
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		if at := len(b) - back; utf8.RuneStart(b[at]) {
			if !utf8.FullRune(b[at:]) {
				whole = at
			}
			break
		}
	}
	if whole < len(b) {
		t.size = copy(t.cut[:], b[whole:])
	}
	return utf8.Valid(b[:whole])
}

// ends reports whether the bytes may end here.
func (t *text) ends() bool { return t.size == 0 }
