package png

import (
	"bufio"
	"errors"
	"io"
)

const (
	late     = 64 // bytes of pixels that a decoder of deflate may have read and not used
	mostRuns = 64 // that are remembered
	stride   = 16 << 10
)

// ErrMixed says that pixels of the picture follow those of a further frame: programs
// differ in what they join then, so nobody can say what is in them.
var ErrMixed = errors.New("pieces of different frames in no order")

// ErrDamaged says that all was read, and that a stream broke before its pieces ended: what
// was taken for a part of it may be something else.
var ErrDamaged = errors.New("damage in a stream of pixels")

// errOver says that no chunk of this PNG follows.
var errOver = errors.New("the last chunk was read")

// Reader gives what is in the pixels of a PNG: what comes of each stream of zlib, and
// behind it, joined, what its pieces hold besides. Make it with Reset.
type Reader struct {
	src     *bufio.Reader
	inflate func(io.Reader) (io.ReadCloser, error) // reads deflate
	open    io.ReadCloser                          // the stream, while it is not at its end
	in      *bufio.Reader                          // of the pieces of one stream, joined
	state   state
	pos     int64  // what was read of src
	kind    string // of the pieces of the stream
	next    string // the type of a piece that was met and begins another stream
	nextLen int64
	left    int64 // of the piece
	start   int64 // of it, in the PNG
	sum     bool  // its sum has not been read
	bare    bool  // no header of zlib stands before the stream
	done    int64 // of the pieces before it, see Done
	apart   string
	frames  bool // a piece of one was met
	damaged bool
	ended   bool // no further piece belongs to the stream
	runs    []Run
	err     error
	border  bool
	idle    func()
}

// apart is given behind a stream, so that nothing goes on from pixels to what is none.
const apart = "\x00\n"

type state uint8

const (
	atStart state = iota
	between       // streams
	within        // one
	behind        // it, before what its pieces hold besides
	besides
)

// Reset begins to read the PNG that src begins with. inflate gives a reader of deflate
// that takes no byte too much of an io.ByteReader. idle, if not nil, is called where
// nothing but what was given can come of all that Done tells.
func (r *Reader) Reset(src *bufio.Reader, inflate func(io.Reader) (io.ReadCloser, error), idle func()) {
	in := r.in
	if in == nil {
		in = bufio.NewReaderSize(nil, 4<<10)
	}
	*r = Reader{src: src, inflate: inflate, in: in, idle: idle, runs: r.runs[:0]}
	r.in.Reset(pieces{r})
}

// Close gives the decoder back.
func (r *Reader) Close() {
	if r.open != nil {
		_ = r.open.Close()
		r.open = nil
	}
}

// Done is up to where in the PNG all bytes were used up for what was given so far.
func (r *Reader) Done() int64 {
	if r.state <= between {
		return r.pos
	}
	at := r.pos - int64(r.in.Buffered())
	if at-r.start < late {
		return r.done
	}
	return at - late
}

// Runs are where the pixels were that were met last.
func (r *Reader) Runs() []Run { return r.runs }

// Whole reports whether src has ended between two chunks, or behind the last one.
func (r *Reader) Whole() bool { return r.border }

// Read gives the next bytes. Its error is io.EOF behind the PNG, io.ErrUnexpectedEOF where
// src ends before its last chunk, ErrDamaged instead of both, ErrMixed or an error of src.
func (r *Reader) Read(p []byte) (int, error) {
	for {
		switch r.state {
		case atStart, between:
			if err := r.begin(); err != nil {
				return 0, r.over(err)
			}
		case within:
			n, err := r.open.Read(p)
			if err != nil {
				r.Close()
				r.state, r.apart = behind, apart
				r.damaged = r.damaged || !errors.Is(err, io.EOF) && !r.ended
			}
			if n > 0 {
				return n, nil
			}
		case behind:
			if n := copy(p, r.apart); n > 0 {
				r.apart = r.apart[n:]
				return n, nil
			}
			r.state = besides
		case besides:
			n, err := r.in.Read(p)
			if n > 0 {
				return n, nil
			}
			if err != nil {
				r.done, r.state = r.pos, between
			}
		}
	}
}

func (r *Reader) over(err error) error {
	switch over := errors.Is(err, errOver); {
	case r.damaged && (over || errors.Is(err, io.ErrUnexpectedEOF)):
		return ErrDamaged
	case over:
		return io.EOF
	}
	return err
}

// begin passes over chunks to the next stream, and opens it.
func (r *Reader) begin() error {
	if r.err != nil {
		return r.err
	}
	if r.state == atStart {
		if r.err = r.discard(int64(len(Mark))); r.err != nil {
			return r.err
		}
		r.state = between
	}
	for r.next == "" {
		if r.err = r.chunk(); r.err != nil {
			return r.err
		}
		r.rest()
	}
	r.kind, r.done, r.ended = r.next, r.pos, false
	r.in.Reset(pieces{r})
	r.piece()
	r.state = within
	skip := 0
	if head, _ := r.in.Peek(2); len(head) == 2 && head[0]&15 == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		skip = 2
	} else if !r.bare {
		r.state = besides // no stream of zlib begins here
		return nil
	}
	_, _ = r.in.Discard(skip)
	var err error
	if r.open, err = r.inflate(r.in); err != nil {
		r.state = besides
	}
	return nil
}

// piece begins the piece that was met.
func (r *Reader) piece() {
	r.left, r.start, r.next = r.nextLen, r.pos, ""
	if r.runs = runs(r.runs, r.pos, r.pos+r.left); len(r.runs) > mostRuns {
		r.runs = r.runs[:copy(r.runs, r.runs[1:])]
	}
}

// chunk reads what stands before a chunk, and passes over it unless it holds pixels: then
// it is next.
func (r *Reader) chunk() error {
	if r.sum {
		r.sum = false
		if err := r.discard(chunkSum); err != nil {
			return err
		}
	}
	if _, err := r.src.Peek(1); errors.Is(err, io.EOF) {
		r.border = true
		return io.ErrUnexpectedEOF
	}
	var head [chunkHead]byte
	n, err := io.ReadFull(r.src, head[:])
	if r.pos += int64(n); err != nil {
		return cut(err)
	}
	length, kind, ok := chunk(head)
	if !ok {
		return errOver
	}
	switch kind {
	case frame:
		r.frames = true
		skip := min(length, sequence)
		if err := r.discard(skip); err != nil {
			return err
		}
		length -= skip
	case pixels:
		if r.frames {
			return ErrMixed
		}
	case apples:
		r.bare = true
	}
	if r.sum = true; kind == pixels || kind == frame {
		r.next, r.nextLen = kind, length
		return nil
	}
	if r.left, r.next = 0, ""; kind == control {
		r.next, r.nextLen = control, length
		return nil
	}
	if err := r.discard(length); err != nil {
		return err
	}
	if kind == last {
		_ = r.discard(chunkSum)
		return errOver
	}
	return nil
}

// rest passes over what begins a frame.
func (r *Reader) rest() {
	if r.next == control {
		r.next = ""
		r.err = r.discard(r.nextLen)
	}
}

// discard passes over bytes.
func (r *Reader) discard(n int64) error {
	for n > 0 {
		took, err := r.src.Discard(int(min(n, stride)))
		r.pos += int64(took)
		if n -= int64(took); r.state <= between && r.idle != nil {
			r.idle()
		}
		if err != nil {
			return cut(err)
		}
	}
	return nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// pieces reads those of one stream, joined.
type pieces struct{ r *Reader }

// Read gives bytes of one piece. io.EOF is the end of the stream's last one, or an error
// that is in r.err then.
func (j pieces) Read(p []byte) (int, error) {
	r := j.r
	for r.left == 0 {
		if r.ended = r.ended || r.err != nil || r.next != "" && r.next != r.kind; r.ended {
			return 0, io.EOF
		}
		if r.next != "" { // a piece of this stream
			r.piece()
			continue
		}
		if r.pos-r.start >= late { // what a decoder holds is of this piece, or of those before a short one
			r.done = r.pos - late
		}
		if r.err = r.chunk(); r.next == control {
			r.ended = r.kind == frame // who knows of no frames reads on
			r.rest()
		}
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.left)])
	r.pos += int64(n)
	if r.left -= int64(n); err != nil {
		r.err = cut(err)
	}
	if n == 0 && r.err != nil {
		r.ended = true
		return 0, io.EOF
	}
	return n, nil
}
