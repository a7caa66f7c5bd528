package share

import "bytes"

const (
	// kept is how much of an agent's output those get who attach, in bytes.
	kept = 256 << 10
	// mostLine is within how many bytes the first whole line is looked for.
	mostLine = 4 << 10
)

// past is the last of what an agent wrote, and what its terminal was in before that.
type past struct {
	ring   []byte
	at     int  // where the next byte goes
	full   bool // the ring is, and what is written takes the place of the oldest
	before reader
}

func newPast() *past { return &past{ring: make([]byte, kept)} }

func (p *past) add(b []byte) {
	for len(b) > 0 {
		place := p.ring[p.at:min(len(p.ring), p.at+len(b))]
		if p.full {
			p.before.skip(place)
		}
		n := copy(place, b)
		b = b[n:]
		if p.at += n; p.at == len(p.ring) {
			p.at, p.full = 0, true
		}
	}
}

// replay appends to out what makes a terminal that was just made look as if it had been
// there, as far as that is kept; and gives the reader that stands at the end of it. It asks
// nothing, and rings no bell.
func (p *past) replay(out []byte) ([]byte, reader) {
	r := p.before
	r.noBells = true
	var old []byte
	if p.full {
		old = p.ring[p.at:]
		if r.state == inText {
			old = whole(old)
		}
		if r.state == inText && !r.modes.alternate() { // whole lines, where there are lines
			if n := bytes.IndexByte(old[:min(mostLine, len(old))], '\n'); n >= 0 {
				r.skip(old[:n+1])
				old = old[n+1:]
			}
		}
	}
	out = r.modes.restore(out)
	out = r.pass(r.pass(out, old), p.ring[:p.at])
	r.noBells = false
	return out, r
}

// whole is b without the rest of a character (UTF-8) whose beginning is gone.
func whole(b []byte) []byte {
	for n := range min(3, len(b)) {
		if b[n]&0xc0 != 0x80 {
			return b[n:]
		}
	}
	return b
}
