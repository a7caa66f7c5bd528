package mask

import (
	"bytes"
	"io"
)

// Reader gives src's bytes with every needle starred, also where a needle came in
// pieces. It holds back only a tail that could be the beginning of a needle, so
// an event of a stream goes on at once. The set is asked for anew at each read: a
// stream may outlive the credentials that were there when it began.
func Reader(latest func() *Set, src io.Reader) io.Reader { return &reader{src: src, latest: latest} }

type reader struct {
	src    io.Reader
	latest func() *Set
	set    *Set   // of the last read
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
		// After the bytes have come: what is in them was sent before, and was known then.
		if r.set = r.latest(); r.set.Empty() && len(r.raw) == 0 {
			return n, err
		}
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
	r.set.tell(len(r.spans))
	ready := len(b) - r.hold(b)
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
	r.set.tell(fresh(r.spans, len(r.raw)))
	ready := len(raw) - r.hold(raw)
	r.raw, r.out, r.spill = bytes.Clone(raw[ready:]), bytes.Clone(out[ready:]), out[:ready]
}

// fresh is how many spans end behind the bytes that were held back: those that end
// in them were told of before.
func fresh(spans []span, held int) (n int) {
	for _, s := range spans {
		if s[1] > held {
			n++
		}
	}
	return n
}

// hold is how many bytes at the end of raw must wait.
func (r *reader) hold(raw []byte) int {
	if r.err != nil {
		return 0
	}
	return r.set.held(raw)
}

// Pieces stars texts that come in pieces, for a caller that keeps what must wait
// itself. It is not for several goroutines.
type Pieces struct {
	latest func() *Set
	set    *Set   // of the last piece
	raw    []byte // what waits, as it came: where a needle may go on
	was    []byte // the same, as the caller has it
	spans  []span
}

// NewPieces makes a Pieces that holds each piece against the set which latest gives
// when it comes.
func NewPieces(latest func() *Set) *Pieces { return &Pieces{latest: latest} }

// Next stars the next piece of a text in place, and gives how many bytes at its end
// must wait, since they could be the beginning of a needle: fewer than the longest
// needle has. The next piece begins with them, as they are now. At the end of a
// text none wait. A piece that is both begin and end may come while another text is
// not at its end, and changes nothing of that.
func (p *Pieces) Next(b []byte, begin, end bool) (held int) {
	if begin && end {
		p.latest().Bytes(b)
		return 0
	}
	if begin {
		p.raw = p.raw[:0]
	}
	if p.set = p.latest(); p.set.Empty() && len(p.raw) == 0 {
		return 0
	}
	p.was = append(p.was[:0], b[:len(p.raw)]...)
	copy(b, p.raw)
	p.spans = p.set.find(p.spans[:0], b)
	p.set.tell(fresh(p.spans, len(p.raw)))
	for i, was := range p.was {
		if was != b[i] {
			p.spans = append(p.spans, span{i, i + 1}) // starred before
		}
	}
	if !end {
		held = p.set.held(b)
	}
	p.raw = append(p.raw[:0], b[len(b)-held:]...)
	star(b, p.spans)
	return held
}
