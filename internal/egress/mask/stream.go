package mask

import (
	"bytes"
	"io"
)

// Reader gives src's bytes with every needle starred, also where a needle came in
// pieces. It holds back only a tail that could be the beginning of a needle, so
// an event of a stream goes on at once. An empty set gives src itself.
func (s *Set) Reader(src io.Reader) io.Reader {
	if s.Empty() {
		return src
	}
	return &reader{src: src, set: s}
}

// Frames is Reader for the bytes after a switch to WebSocket. There both sides
// wait for each other's frames, so where one ends (RFC 6455 section 5.2) nothing is
// held back: a needle that goes on in the next frame is not found.
func (s *Set) Frames(src io.Reader) io.Reader {
	if s.Empty() {
		return src
	}
	return &reader{src: src, set: s, frames: &frames{}}
}

type reader struct {
	src    io.Reader
	set    *Set
	frames *frames
	raw    []byte // what is held back, as it came: where a needle may go on
	out    []byte // the same, starred
	spill  []byte // what may be given on, but had no place
	spans  []span
	err    error // of src, for when all is given on
}

func (r *reader) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if len(r.spill) > 0 {
			n := copy(p, r.spill)
			r.spill = r.spill[n:]
			return n, nil
		}
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.src.Read(p)
		r.err = err
		if len(r.raw) > 0 {
			r.goOn(p[:n])
			continue
		}
		if ready := r.inPlace(p[:n]); ready > 0 {
			return ready, nil
		}
	}
	return 0, nil
}

// inPlace stars b, keeps its tail back if need be, and gives how much may go on.
func (r *reader) inPlace(b []byte) int {
	r.spans = r.set.find(r.spans[:0], b)
	ready := len(b) - r.hold(b, b)
	r.raw = append(r.raw[:0], b[ready:]...)
	star(b, r.spans)
	r.out = append(r.out[:0], b[ready:]...)
	return ready
}

// goOn stars what was held back together with what came after it.
func (r *reader) goOn(b []byte) {
	raw, out := append(r.raw, b...), append(r.out, b...)
	r.spans = r.set.find(r.spans[:0], raw)
	star(out, r.spans)
	ready := len(raw) - r.hold(raw, b)
	r.raw, r.out, r.spill = bytes.Clone(raw[ready:]), bytes.Clone(out[ready:]), out[:ready]
}

// hold is how many bytes at the end of raw must wait. fresh are the last to come.
func (r *reader) hold(raw, fresh []byte) int {
	if ended := r.frames != nil && r.frames.ended(fresh); ended || r.err != nil {
		return 0
	}
	return r.set.held(raw)
}

// frames follows where WebSocket frames end.
type frames struct {
	head []byte // of a frame whose length is not known yet
	left uint64 // bytes of the payload that are still to come
}

// ended takes the next bytes and reports whether a frame ends with their last.
func (f *frames) ended(b []byte) bool {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(b)))
			f.left, b = f.left-n, b[n:]
			continue
		}
		f.head, b = append(f.head, b[0]), b[1:]
		f.measure()
	}
	return f.left == 0 && len(f.head) == 0
}

// measure reads the length once the head is whole.
func (f *frames) measure() {
	if len(f.head) < 2 {
		return
	}
	size, more := uint64(f.head[1]&0x7f), 0
	switch size {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	if f.head[1]&0x80 != 0 {
		more += 4 // a mask, which a server never sends
	}
	if len(f.head) < 2+more {
		return
	}
	if size >= 126 {
		wide := 2
		if size == 127 {
			wide = 8
		}
		size = 0
		for _, c := range f.head[2 : 2+wide] {
			size = size<<8 | uint64(c)
		}
	}
	f.head, f.left = f.head[:0], size
}
