package place

import (
	"encoding/binary"
	"errors"
)

// ErrFraming is a stream that is no gRPC: a flag other than 0 and 1.
var ErrFraming = errors.New("read grpc: the flag before a message is neither 0 nor 1")

// Frame is one length-prefixed message of a gRPC stream (gRPC over HTTP/2,
// "Length-Prefixed-Message"), to which a piece of data belongs.
type Frame struct {
	Index      int    // from 0
	Compressed bool   // by the algorithm of the header grpc-encoding
	Length     uint32 // of the message, as it is announced
	First      bool   // the data is the message's first
	Last       bool   // and its last
}

// Messages cuts a gRPC stream, fed in pieces of any size, into messages. It holds no
// data, only the five bytes before a message. The zero value is ready.
type Messages struct {
	index  int
	prefix [5]byte
	have   int    // bytes of the prefix
	left   uint32 // of the message
	bad    bool
}

// Feed takes the next piece and calls each with the parts of messages in it, slices
// of b; data is empty for an empty message, and only then. After ErrFraming the rest
// of the stream has no messages: all that follows gives ErrFraming.
func (m *Messages) Feed(b []byte, each func(f Frame, data []byte)) error {
	for len(b) > 0 && !m.bad {
		first := m.have < len(m.prefix)
		if first {
			n := copy(m.prefix[m.have:], b)
			m.have += n
			b = b[n:]
			if m.prefix[0] > 1 {
				m.bad = true
				break
			}
			if m.have < len(m.prefix) {
				return nil
			}
			m.left = binary.BigEndian.Uint32(m.prefix[1:])
		}
		if m.left > 0 && len(b) == 0 {
			return nil
		}
		m.give(&b, each)
	}
	if m.bad {
		return ErrFraming
	}
	return nil
}

// give passes on what b holds of the current message.
func (m *Messages) give(b *[]byte, each func(Frame, []byte)) {
	f := Frame{Index: m.index, Compressed: m.prefix[0] == 1, Length: binary.BigEndian.Uint32(m.prefix[1:])}
	n := len(*b)
	if uint64(n) > uint64(m.left) {
		n = int(m.left)
	}
	f.First = m.left == f.Length
	m.left -= uint32(n)
	f.Last = m.left == 0
	data := (*b)[:n]
	*b = (*b)[n:]
	if f.Last {
		m.have = 0
		m.index++
	}
	each(f, data)
}

// Whole says whether the stream may end here: between two messages.
func (m *Messages) Whole() bool { return m.have == 0 && !m.bad }
