package share

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bottle/internal/backend"
)

// What is said between a start and one who attaches: frames of a byte that says what it is,
// four bytes of length (big endian) and so much text.
const (
	frameHello   = 'h' // first, from who attaches: the protocol's number and a size
	frameWelcome = 'w' // the answer to it, empty
	frameNo      = 'n' // or this, with why not; then the connection ends
	frameInput   = 'i' // what was typed
	frameSize    = 's' // a size that changed
	frameOutput  = 'o' // what to show
	frameEnd     = 'e' // the agent has ended: its exit code, in four bytes
)

const (
	protocol   = 1
	mostFrame  = 32 << 10 // bytes of text in a frame
	headLength = 5
)

var errFrame = errors.New("what came is no frame of this protocol")

// readFrame reads one frame. The text is valid until buf, which has room for the longest
// one, is used again. io.EOF: there is none any more.
func readFrame(from io.Reader, buf []byte) (kind byte, text []byte, err error) {
	head := buf[:headLength]
	if _, err := io.ReadFull(from, head); err != nil {
		return 0, nil, err
	}
	kind = head[0]
	n := binary.BigEndian.Uint32(head[1:])
	if n > mostFrame {
		return 0, nil, errFrame
	}
	text = buf[headLength : headLength+int(n)]
	if _, err := io.ReadFull(from, text); err != nil {
		return 0, nil, fmt.Errorf("read frame: %w", noEOF(err))
	}
	return kind, text, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// frameRoom is what readFrame reads into.
func frameRoom() []byte { return make([]byte, headLength+mostFrame) }

// appendFrame adds text as so many frames as it needs; empty text is one.
func appendFrame(out []byte, kind byte, text []byte) []byte {
	for {
		n := min(len(text), mostFrame)
		out = binary.BigEndian.AppendUint32(append(out, kind), uint32(n))
		out = append(out, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			return out
		}
	}
}

func sizeText(s backend.Size) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.Rows), s.Cols)
}

// readSize is a size that was sent. A terminal that nobody told its size has none.
func readSize(text []byte) (backend.Size, error) {
	if len(text) != 4 {
		return backend.Size{}, errFrame
	}
	return backend.Size{Rows: binary.BigEndian.Uint16(text), Cols: binary.BigEndian.Uint16(text[2:])}, nil
}
