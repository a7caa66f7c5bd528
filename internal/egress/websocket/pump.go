package websocket

import (
	"bufio"
	"errors"
	"io"
)

// piece is how many bytes of a payload are handled at once. A frame of at most
// that many is passed on as the one frame that it is; a larger one as it comes, in
// several (RFC 6455 section 5.4 lets who agreed on no extension do so). So every
// write is a whole frame, and a connection can be closed properly at any time.
const piece = 16 << 10

// pump carries the frames of one direction. One goroutine runs it.
type pump struct {
	from   Side
	src    *bufio.Reader
	dst    *sender
	scan   Scanner
	closed func() // called once the close frame of this side has gone on

	open  Opcode // of the message that is not at its end; continuation: none
	begun bool   // the scanner has seen its beginning
	went  bool   // a frame of it has gone on
	text  text
	held  []byte // what the scanner holds back
	work  []byte // room for a header, what is held, and a piece
	ended bool   // the close frame came
	small [maxHead + maxControl]byte
}

func newPump(from Side, src io.Reader, dst *sender, scan Scanner, closed func()) *pump {
	return &pump{from: from, src: bufio.NewReaderSize(flusher{src, dst}, buffered), dst: dst, scan: scan, closed: closed}
}

// flusher writes out what is buffered before a read that may have to wait.
type flusher struct {
	io.Reader
	dst *sender
}

func (f flusher) Read(b []byte) (int, error) {
	if err := f.dst.flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(b)
}

// run carries frames until the side's stream ends between two (nil), a *Fault, an
// error of one of the connections, or errShut.
func (p *pump) run() error {
	var err error
	for err == nil {
		err = p.frame()
	}
	var f *Fault
	switch {
	case errors.As(err, &f):
		f.From = p.from
	case errors.Is(err, io.EOF):
		return p.dst.flush()
	}
	return err
}

// frame carries one frame.
func (p *pump) frame() error {
	h, err := readHeader(p.src)
	switch {
	case err != nil:
		return err
	case h.masked && p.from == Upstream:
		return breach("a masked frame, as only a client may")
	case !h.masked && p.from == Agent:
		return breach("a frame without a mask, as only a server may")
	case p.ended && h.op != Ping && h.op != Pong:
		return breach("a frame after its close frame")
	case h.op.Control():
		return p.control(h)
	case h.op == continuation && p.open == continuation:
		return breach("a continuation of no message")
	case h.op != continuation && p.open != continuation:
		return breach("a message within another")
	}
	if h.op != continuation {
		p.open, p.begun, p.went, p.text = h.op, false, false, text{}
	}
	return p.data(h)
}

// control carries a control frame. It is never held back.
func (p *pump) control(h header) error {
	b := p.small[:maxHead+int(h.size)]
	payload := b[maxHead:]
	if _, err := io.ReadFull(p.src, payload); err != nil {
		return inTheMiddle(err)
	}
	if p.ended {
		return nil // an answer to a ping that was on its way; nobody waits for it
	}
	xor(payload, h.key, 0)
	seen := payload
	if h.op == Close {
		if f := checkClose(payload); f != nil {
			return f
		}
		seen = payload[min(2, len(payload)):]
	}
	if p.scan != nil && len(seen) > 0 {
		if _, err := p.scan(Piece{From: p.from, Op: h.op, Begin: true, Final: true, Data: seen}); err != nil {
			return refused(err)
		}
	}
	if err := p.dst.send(h.op, true, b); err != nil {
		return err
	}
	if h.op == Close {
		p.ended = true
		p.closed()
	}
	return nil
}

// data carries a frame of a message, piece by piece.
func (p *pump) data(h header) error {
	for left := h.size; ; {
		fresh, err := p.read(left)
		if err != nil {
			return err
		}
		if h.masked {
			xor(fresh, h.key, h.size-left)
		}
		left -= uint64(len(fresh))
		final := h.final && left == 0
		if p.open == Text && (!p.text.add(fresh) || final && !p.text.ends()) {
			return &Fault{Code: invalidText, What: "a text that is not UTF-8"}
		}
		if len(fresh) > 0 || final { // empty fragments are left out
			if err := p.pass(len(fresh), final); err != nil {
				return err
			}
		}
		switch {
		case final:
			p.open = continuation
			return nil
		case left == 0:
			return nil
		}
	}
}

// read puts the next bytes of a frame into work, behind what is held.
func (p *pump) read(left uint64) ([]byte, error) {
	front := maxHead + len(p.held)
	size := front + int(min(left, piece))
	if cap(p.work) < size {
		p.work = make([]byte, size, max(size, min(2*cap(p.work), maxHead+piece)))
	}
	p.work = p.work[:size]
	copy(p.work[maxHead:], p.held)
	fresh := p.work[front:]
	if left <= piece {
		_, err := io.ReadFull(p.src, fresh)
		return fresh, inTheMiddle(err)
	}
	n, err := p.src.Read(fresh)
	if n > 0 {
		err = nil // it comes again
	}
	return fresh[:n], inTheMiddle(err)
}

// pass shows the scanner what is held and the fresh bytes behind it, and passes on
// what the scanner lets go.
func (p *pump) pass(fresh int, final bool) error {
	b := p.work[:maxHead+len(p.held)+fresh]
	hold := 0
	if p.scan != nil {
		var err error
		hold, err = p.scan(Piece{From: p.from, Op: p.open, Begin: !p.begun, Final: final, Data: b[maxHead:]})
		switch {
		case err != nil:
			return refused(err)
		case final:
			hold = 0
		case hold < 0 || hold > min(len(b)-maxHead, MaxHeld):
			return &Fault{Code: internalError, What: "what the gateway could not look into", Err: errHeld}
		}
	}
	p.begun = true
	ready := len(b) - hold
	p.held = append(p.held[:0], b[ready:]...)
	if ready == maxHead && !final {
		return nil
	}
	op := p.open
	if p.went {
		op = continuation
	}
	p.went = true
	return p.sendAll(op, final, b[:ready])
}

// sendAll sends a frame, or several if its length asks for more than two bytes.
func (p *pump) sendAll(op Opcode, final bool, b []byte) error {
	const most = 0xffff
	for len(b)-maxHead > most {
		// The header of the next is written over the end of this one, which is out by then.
		if err := p.dst.send(op, false, b[:maxHead+most]); err != nil {
			return err
		}
		op, b = continuation, b[most:]
	}
	return p.dst.send(op, final, b)
}
