// Package pktline reads and writes git's pkt-lines (gitprotocol-common(5)) and the
// sideband on top of them (gitprotocol-pack(5)). Every length is bounded by the
// format itself, and nothing is allocated per line.
package pktline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Kind says what a pkt-line is.
type Kind uint8

// The kinds of pkt-lines. The last three carry no data.
const (
	Data  Kind = iota
	Flush      // 0000
	Delim      // 0001, protocol v2
	End        // 0002, the end of a response, protocol v2
)

// MaxData is how many bytes one pkt-line can carry.
const MaxData = 65516

const (
	headSize = 4
	maxLine  = headSize + MaxData
)

// ErrFormat is a line that is no pkt-line: a length that is not hexadecimal, 3, or
// over 65520.
var ErrFormat = errors.New("not a pkt-line")

// Reader reads pkt-lines. It is for one goroutine.
type Reader struct {
	in   *bufio.Reader
	held int // bytes of the last line, which stay in the buffer until the next call
}

// NewReader reads pkt-lines from in. It reads ahead; Rest has what it took.
func NewReader(in io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(in, maxLine+16)} }

// Next gives the next line, which is valid until the next call; a line feed at its
// end is kept (see Text). At the end of the input between two lines the error is
// io.EOF, within one io.ErrUnexpectedEOF; ErrFormat is what no pkt-line looks like.
func (r *Reader) Next() (line []byte, kind Kind, err error) {
	r.drop()
	head, err := r.in.Peek(headSize)
	if err != nil {
		return nil, 0, r.ended(len(head) > 0, err)
	}
	size, ok := length(head)
	switch {
	case !ok, size == 3, size > maxLine:
		return nil, 0, fmt.Errorf("%w: it starts with %q", ErrFormat, head)
	case size < headSize:
		r.held = headSize
		return nil, Kind(size) + Flush, nil
	}
	all, err := r.in.Peek(size)
	if err != nil {
		return nil, 0, r.ended(true, err)
	}
	r.held = size
	return all[headSize:], Data, nil
}

// Rest is the bytes after the last line: a pack follows a push's commands so. Next
// must not be called while it is read; afterwards it may be.
func (r *Reader) Rest() io.Reader {
	r.drop()
	return r.in
}

func (r *Reader) drop() {
	if r.held > 0 {
		_, _ = r.in.Discard(r.held) // it is in the buffer: this cannot fail
		r.held = 0
	}
}

func (r *Reader) ended(within bool, err error) error {
	if within && err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// length reads four hexadecimal digits.
func length(head []byte) (size int, ok bool) {
	for _, c := range head[:headSize] {
		size <<= 4
		switch {
		case '0' <= c && c <= '9':
			size |= int(c - '0')
		case 'a' <= c && c <= 'f':
			size |= int(c-'a') + 10
		case 'A' <= c && c <= 'F':
			size |= int(c-'A') + 10
		default:
			return 0, false
		}
	}
	return size, true
}

// Text is a line without the one line feed that may end it.
func Text(line []byte) []byte { return bytes.TrimSuffix(line, []byte{'\n'}) }

// Writer writes pkt-lines, each by one Write of what is below it. Several goroutines
// may use it at once: a line is never torn.
type Writer struct {
	mu  sync.Mutex
	out io.Writer
	buf []byte
}

// NewWriter writes pkt-lines to out, unbuffered.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Line writes one line of data, at most MaxData bytes; a longer one is refused with
// ErrFormat. It adds no line feed.
func (w *Writer) Line(data []byte) error { return w.line(nil, data) }

// Text writes one line of text with a line feed at its end.
func (w *Writer) Text(s string) error { return w.line(nil, append([]byte(s), '\n')) }

// Flush writes a flush packet, 0000.
func (w *Writer) Flush() error { return w.mark("0000") }

// Delim writes a delimiter packet, 0001.
func (w *Writer) Delim() error { return w.mark("0001") }

// End writes a response-end packet, 0002.
func (w *Writer) End() error { return w.mark("0002") }

func (w *Writer) mark(s string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf[:0], s...)
	_, err := w.out.Write(w.buf)
	return err
}

func (w *Writer) line(band, data []byte) error {
	size := headSize + len(band) + len(data)
	if size > maxLine {
		return fmt.Errorf("%w: %d bytes are too many for one line", ErrFormat, len(band)+len(data))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	const digits = "0123456789abcdef"
	w.buf = append(w.buf[:0], digits[size>>12&15], digits[size>>8&15], digits[size>>4&15], digits[size&15])
	w.buf = append(append(w.buf, band...), data...)
	_, err := w.out.Write(w.buf)
	return err
}
