package answer

import (
	"bytes"
	"errors"
	"io"
	"time"

	"bottle/internal/dlp/inbound"
)

const (
	blockSize = 32 << 10              // bytes that are read at once, under "block"
	quiet     = 30 * time.Millisecond // without a byte: more may come only when the agent has what there is
)

// body is an answer's body that is looked at.
type body struct {
	l    *Look
	src  io.Reader
	left int64 // bytes to come; negative: not known
	kind kind
	text *inbound.Stream // nil: it is none, or all of it was looked at

	buf  []byte // came; of it
	from int    // went on so much, and
	free int    // may go on so much
	err  error  // behind free

	waits chan got         // a read that was given up waiting for; nil: there is none
	spare *[blockSize]byte // what it reads into
}

type got struct {
	n   int
	err error
}

// Read gives on what may go on.
func (b *body) Read(p []byte) (int, error) {
	if drained := b.text == nil && b.from == len(b.buf) && b.waits == nil; b.err == nil && (drained || !b.l.block) {
		return b.pass(p)
	}
	for b.from == b.free && b.err == nil {
		b.fill()
	}
	n := copy(p, b.buf[b.from:b.free])
	if b.from += n; b.from < b.free {
		return n, nil
	}
	return n, b.err
}

// pass gives on all as it comes, having looked at it.
func (b *body) pass(p []byte) (int, error) {
	n, err := b.src.Read(p)
	_ = b.see(p[:n], b.ends(n, err))
	return n, err
}

// ends counts n bytes, and says whether they are the last. The record is made before the
// last byte goes on, so what is in it must be known then.
func (b *body) ends(n int, err error) bool {
	if b.left > 0 {
		b.left = max(b.left-int64(n), 0)
	}
	return err != nil || b.left == 0
}

// see looks at the next bytes.
func (b *body) see(p []byte, end bool) error {
	if b.text == nil {
		return nil
	}
	if len(p) > 0 && !b.kind.text && !inbound.Textual(p) {
		b.blank()
		return nil
	}
	b.kind.text = b.kind.text || len(p) > 0
	err := b.l.heard(b.text.Next(p, end), "answer.body")
	if end || err != nil {
		b.blank()
	}
	return err
}

// blank gives the stream back.
func (b *body) blank() {
	b.l.i.streams.Put(b.text)
	b.text = nil
}

// fill reads once, looks at it, and says what of it may go on: all up to the end of the
// last line, or of what is longer than the window all that no phrase can begin in.
func (b *body) fill() {
	if b.from > 0 {
		b.buf = b.buf[:copy(b.buf, b.buf[b.from:])]
		b.from, b.free = 0, 0
	}
	old := len(b.buf)
	err := b.more()
	fresh := b.buf[old:]
	end := b.ends(len(fresh), err)
	if no := b.see(fresh, end); no != nil {
		b.buf, b.free, b.err = b.buf[:b.from], b.from, no
		return
	}
	b.err = err
	switch line := lineEnd(fresh); {
	case end || b.text == nil:
		b.free = len(b.buf)
	case line > 0:
		b.free = old + line
	case len(b.buf) >= Window:
		b.free = len(b.buf) - inbound.Reach
	}
}

// lineEnd is how many bytes stand up to the end of the last whole line.
func lineEnd(b []byte) int {
	for _, c := range []byte("\n\r") {
		if bytes.IndexByte(b, c) >= 0 { // by far faster than to look for the last where there is none
			return bytes.LastIndexByte(b, c) + 1
		}
	}
	return 0
}

// more appends to buf what comes next.
func (b *body) more() error {
	if b.waits != nil {
		r := <-b.waits
		b.waits = nil
		b.buf = append(b.buf, b.spare[:r.n]...)
		return r.err
	}
	b.room()
	n, err := b.src.Read(b.buf[len(b.buf):min(len(b.buf)+blockSize, cap(b.buf))])
	b.buf = b.buf[:len(b.buf)+n]
	return err
}

// room makes room for a block: twice as much each time, and never more than the window
// and a block need.
func (b *body) room() {
	if b.buf == nil {
		if kept, ok := b.l.i.rooms.Get().(*[]byte); ok {
			b.buf = (*kept)[:0]
		}
	}
	free := cap(b.buf) - len(b.buf)
	if free >= blockSize/2 || b.left >= 0 && int64(free) >= b.left {
		return
	}
	size := min(max(2*cap(b.buf), blockSize), Window+2*blockSize)
	if b.left >= 0 && b.left <= Window {
		size = max(size, len(b.buf)+int(b.left))
	}
	b.buf = append(make([]byte, 0, size), b.buf...)
}

// ahead reads until the body is judged as a whole. A larger one it reads as far as the
// window goes, and one of unknown length whose sender pauses as far as it has come.
func (b *body) ahead() error {
	for b.err == nil && len(b.buf) < Window && b.text != nil {
		if b.left < 0 && !b.soon() {
			break
		}
		b.fill()
	}
	if b.l.Refused() != nil {
		return b.err
	}
	return nil
}

// soon waits a moment for the next bytes. What comes later is taken by more.
func (b *body) soon() bool {
	if b.spare == nil {
		if b.spare, _ = b.l.i.blocks.Get().(*[blockSize]byte); b.spare == nil {
			b.spare = new([blockSize]byte)
		}
	}
	waits := make(chan got, 1)
	go func() {
		r := got{err: errFault}
		defer func() {
			if fault := recover(); fault != nil { // of a decoder, by what it was given: this goroutine is no handler's, and all would end
				r = got{err: errFault}
			}
			waits <- r
		}()
		r.n, r.err = b.src.Read(b.spare[:])
	}()
	b.waits = waits
	t := time.NewTimer(quiet)
	defer t.Stop()
	select {
	case r := <-waits:
		waits <- r // for more
		return true
	case <-t.C:
		return false
	}
}

// Close is for the interface; see end.
func (b *body) Close() error { return nil }

// end ends the reading, also one that waits.
func (b *body) end() {
	if b.waits != nil {
		b.l.cut()
		<-b.waits
		b.waits = nil
	}
	if b.text != nil {
		b.blank()
	}
	if b.err == nil {
		b.err = errEnded
	}
	if b.spare != nil {
		b.l.i.blocks.Put(b.spare)
	}
	if room := b.buf; room != nil {
		b.l.i.rooms.Put(&room)
	}
	*b = body{l: b.l, err: b.err}
}

var errFault = errors.New("read answer: its decoder failed")

var errTooMuch = errors.New("decode answer: it is too much for its size")
