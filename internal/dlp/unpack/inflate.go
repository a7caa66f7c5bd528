package unpack

import (
	"bufio"
	"errors"
	"io"
	"iter"

	"bottle/internal/dlp/decode"
)

const (
	block = 32 << 10 // bytes that are given at a time
	apart = 4 << 10  // bytes between places of which is known what came of all before them
)

// How much a decoder may have taken and not used, and have made and not given, when it
// gives something. All reads come from a buffer whose state is known, so this is only what
// is in the decoder itself: of deflate and bzip2 some bits and one repetition, of zstd a block.
const (
	inBits  = 64
	inMatch = 512
	inBlock = 132 << 10
)

var errStopped = errors.New("nobody wants the rest")

// inflating runs a reader as a coroutine: it gives what it decodes, or nothing where it
// needs more input.
type inflating struct {
	next  func() ([]byte, bool)
	stop  func()
	yield func([]byte) bool
	off   bool   // nobody wants the rest
	in    []byte // was fed, and has not been taken
	end   bool   // nothing follows it
	buf   *bufio.Reader
	taken int64 // from in
	given int64
	late  int64        // bytes that may have been taken and not used
	more  int64        // bytes that may have been made and not given
	done  func() int64 // if set: instead of late
	over  bool
	err   error // by which the reader ended
	marks marks
}

// newInflating makes a coroutine of run, which gives what it makes with [inflating.give].
func newInflating(run func(*inflating) error) *inflating {
	z := &inflating{late: inBits, more: inMatch}
	z.buf = bufio.NewReaderSize(z, 4<<10)
	z.next, z.stop = iter.Pull(func(yield func([]byte) bool) {
		z.yield = yield
		z.err = run(z)
	})
	return z
}

// inflate decompresses what stands behind skip bytes.
func inflate(d *decode.Decoder, kind decode.Kind, skip int) *inflating {
	z := newInflating(func(z *inflating) error {
		if _, err := z.buf.Discard(skip); err != nil {
			return err
		}
		r, err := d.Inflate(kind, z.buf)
		if err != nil {
			return err
		}
		defer r.Close()
		return z.give(r, make([]byte, block), nil)
	})
	switch kind {
	case decode.Zstd:
		z.late, z.more = inBlock, inBlock
	case decode.Bzip2:
		z.more = 0 // all of a block is given before the next is read
	}
	return z
}

// Read is the reader's.
func (z *inflating) Read(p []byte) (int, error) {
	for len(z.in) == 0 {
		if z.end {
			return 0, io.EOF
		}
		if !z.say(nil) {
			return 0, errStopped
		}
	}
	n := copy(p, z.in)
	z.in = z.in[n:]
	z.taken += int64(n)
	return n, nil
}

// say gives out, or asks for input; false: nobody wants the rest.
func (z *inflating) say(out []byte) bool {
	z.off = z.off || !z.yield(out)
	return !z.off
}

// give gives all of r, through filter if there is one. io.EOF of r is its end.
func (z *inflating) give(r io.Reader, room []byte, filter func([]byte) []byte) error {
	for {
		n, err := r.Read(room)
		out := room[:n]
		if filter != nil {
			out = filter(out)
		}
		if len(out) > 0 && !z.say(out) {
			return errStopped
		}
		if err != nil {
			return err
		}
	}
}

// pixels decompresses those of a PNG. dark gives where they stand. While it passes over
// other chunks, those go on.
func pixels(d *decode.Decoder) (z *inflating, dark func() []decode.Dark) {
	runs := func() []decode.Dark { return nil }
	z = newInflating(func(z *inflating) error {
		r := d.Pixels(z.buf, func() { z.marks.add(z.done(), z.given) })
		defer r.Close()
		z.done, runs = r.Done, r.Runs
		err := z.give(r, make([]byte, block), nil)
		if r.Whole() && errors.Is(err, io.ErrUnexpectedEOF) {
			return io.EOF // nothing is missing but the last chunk, which holds nothing
		}
		return err
	})
	return z, func() []decode.Dark { return runs() }
}

// used is how much of what was fed was used up for what was given.
func (z *inflating) used() int64 {
	if z.done != nil {
		return z.done()
	}
	return z.at() - z.late
}

// at is how much of what was fed has left the buffer.
func (z *inflating) at() int64 { return z.taken - int64(z.buf.Buffered()) }

func (z *inflating) feed(p []byte, end bool, emit func([]byte) error) (int, bool, error) {
	fed := z.taken
	z.in, z.end = p, end
	for {
		out, ok := z.next()
		switch {
		case !ok:
			z.over = true
			return int(max(0, z.at()-fed)), true, z.ended()
		case out == nil:
			return len(p), false, nil
		}
		z.given += int64(len(out))
		z.marks.add(z.used(), z.given+z.more)
		if err := emit(out); err != nil {
			return len(p), false, err
		}
	}
}

// ended tells how the reader ended. What is damaged has ended, too.
func (z *inflating) ended() error {
	switch {
	case decode.Opaque(z.err), decode.Damaged(z.err):
		return ErrOpaque
	case errors.Is(z.err, io.ErrUnexpectedEOF), errors.Is(z.err, errStopped):
		return ErrCut
	}
	return nil
}

func (z *inflating) free(fed, clean int64) int64 {
	if z.over && clean >= z.given {
		return fed
	}
	return z.marks.free(clean)
}

func (z *inflating) close() {
	z.stop()
	z.in = nil
}

// marks say how much of the input may go on when so much of the output is clean.
type marks struct {
	list []mark
	last int64 // the last that were free
}

type mark struct{ fed, clean int64 }

// add notes that when so much is clean so much was fed. Places near each other become
// one, the later.
func (m *marks) add(fed, clean int64) {
	n := len(m.list)
	if n > 0 && m.list[n-1].fed == fed || n > 1 && fed-m.list[n-2].fed < apart {
		m.list[n-1] = mark{fed, clean}
		return
	}
	m.list = append(m.list, mark{fed, clean})
}

// free gives the most that may go on, and forgets the marks up to it.
func (m *marks) free(clean int64) int64 {
	n := 0
	for n < len(m.list) && m.list[n].clean <= clean {
		m.last = max(m.last, m.list[n].fed)
		n++
	}
	m.list = m.list[:copy(m.list, m.list[n:])]
	return m.last
}
