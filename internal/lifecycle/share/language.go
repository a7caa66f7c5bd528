package share

import "bytes"

// How a terminal's language is spelt: ECMA-48, section 5.4 to 5.6, and what xterm made of it
// (its "ctlseqs"). One-byte controls of C1 are not looked for: in UTF-8 they are none.
const (
	inText   = iota
	inEscape // after ESC
	inSecond // after ESC and an intermediate byte, as in ESC ( B
	inCSI    // in a control sequence
	inString // in OSC, DCS, SOS, PM or APC, up to ST
)

const (
	esc = 0x1b
	bel = 0x07
	can = 0x18
	sub = 0x1a
	enq = 0x05

	shiftOut = 0x0e
	shiftIn  = 0x0f
)

// mostParams bounds a sequence, in bytes; a longer one is dropped.
const mostParams = 64

// reader follows an agent's output and knows at each byte what the terminal was told last.
// It is a value: a copy goes its own way. The zero value is a terminal that was just made.
type reader struct {
	state   byte
	osc     bool // the string ends with BEL, too
	long    bool // the sequence is longer than mostParams
	seq     [mostParams]byte
	length  int
	modes   modes
	noBells bool // of what is passed on
}

// pass reads a piece of output, cut anywhere, and appends to out what of it may be shown to
// a terminal that is asked nothing: all but questions, reports, bells if so wished, and
// whole strings (titles, links, pictures, the clipboard). What is not complete yet comes
// with the piece that completes it.
func (r *reader) pass(out, b []byte) []byte { return r.read(out, b, true) }

// skip is pass for what is shown to nobody.
func (r *reader) skip(b []byte) { r.read(nil, b, false) }

func (r *reader) read(out, b []byte, show bool) []byte {
	plain := !show && bytes.IndexByte(b, shiftOut) < 0 && bytes.IndexByte(b, shiftIn) < 0 // all text in it
	for len(b) > 0 {
		switch r.state {
		case inText:
			text := b
			if n := bytes.IndexByte(b, esc); n >= 0 {
				text = b[:n]
			}
			if b = b[len(text):]; len(text) > 0 && !plain {
				out = r.text(out, text, show)
			}
			if len(b) == 0 {
				return out
			}
			if n := wholeControl(b); n > 0 {
				out, b = r.sequence(out, b[:n], show), b[n:]
				continue
			}
		case inString:
			if n := stringLength(b); n > 0 {
				b = b[n:]
				continue
			}
		}
		out = r.byte(out, b[0], show)
		b = b[1:]
	}
	return out
}

// text takes what has no escape in it.
func (r *reader) text(out, b []byte, show bool) []byte {
	if bytes.IndexByte(b, shiftOut) >= 0 || bytes.IndexByte(b, shiftIn) >= 0 {
		r.modes.shifted = bytes.LastIndexByte(b, shiftOut) > bytes.LastIndexByte(b, shiftIn)
	}
	if !show {
		return out
	}
	if bytes.IndexByte(b, enq) < 0 && bytes.IndexByte(b, bel) < 0 && bytes.IndexByte(b, can) < 0 && bytes.IndexByte(b, sub) < 0 {
		return append(out, b...)
	}
	for _, c := range b {
		if c != enq && (c != bel || !r.noBells) && c != can && c != sub {
			out = append(out, c)
		}
	}
	return out
}

// wholeControl is the length of a control sequence that b begins with; 0: there is none, or
// it is not so plain.
func wholeControl(b []byte) int {
	if len(b) < 3 || b[1] != '[' {
		return 0
	}
	for i, c := range b[2:min(len(b), mostParams+3)] {
		switch {
		case c >= 0x40 && c < 0x7f:
			return i + 3
		case c < 0x20 || c >= 0x40:
			return 0
		}
	}
	return 0
}

// sequence takes a whole control sequence.
func (r *reader) sequence(out, b []byte, show bool) []byte {
	seq, final := b[2:len(b)-1], b[len(b)-1]
	r.modes.control(seq, final)
	if show && !asks(seq, final) {
		out = append(out, b...)
	}
	return out
}

// stringLength is how much of b is within a string.
func stringLength(b []byte) int {
	for i, c := range b {
		if c < 0x20 && 1<<c&(1<<esc|1<<bel|1<<can|1<<sub) != 0 {
			return i
		}
	}
	return len(b)
}

// byte takes one that is not plain text, or within a sequence.
func (r *reader) byte(out []byte, c byte, show bool) []byte {
	switch {
	case c == esc: // ends a string, too: ST is ESC and a backslash, which says nothing by itself
		r.state, r.length, r.long = inEscape, 0, false
		return out
	case c == can || c == sub:
		r.state = inText
		return out
	case r.state == inString:
		if c == bel && r.osc {
			r.state = inText
		}
		return out
	case c < 0x20: // obeyed, wherever it stands
		if c == shiftOut || c == shiftIn {
			r.modes.shifted = c == shiftOut
		}
		if show && c != enq && (c != bel || !r.noBells) {
			out = append(out, c)
		}
		return out
	case r.state == inText:
		return append(out, c)
	}
	return r.within(out, c, show)
}

// within takes a byte of a sequence.
func (r *reader) within(out []byte, c byte, show bool) []byte {
	switch {
	case r.state == inEscape && c == '[':
		r.state = inCSI
		return out
	case r.state == inEscape && bytes.IndexByte([]byte("]PX^_"), c) >= 0:
		r.state, r.osc = inString, c == ']'
		return out
	case r.state == inCSI && c >= 0x20 && c < 0x40, r.state != inCSI && c < 0x30:
		if r.state != inCSI {
			r.state = inSecond
		}
		if r.long = r.long || r.length == len(r.seq); !r.long {
			r.seq[r.length] = c
			r.length++
		}
		return out
	}
	state, seq := r.state, r.seq[:r.length]
	r.state = inText
	if r.long || c >= 0x7f {
		return out
	}
	if state != inCSI {
		r.modes.escape(seq, c)
		if show && !(len(seq) == 0 && (c == 'Z' || c == '\\')) { // DECID asks; ST ends nothing here
			out = append(append(append(out, esc), seq...), c)
		}
		return out
	}
	r.modes.control(seq, c)
	if show && !asks(seq, c) {
		out = append(append(append(out, esc, '['), seq...), c)
	}
	return out
}

// asks reports a control sequence that a terminal answers, or that does something to more
// than its screen (the window, a printer).
func asks(seq []byte, final byte) bool {
	var private, between byte
	if len(seq) > 0 && seq[0] >= '<' {
		private = seq[0]
	}
	if n := len(seq); n > 0 && seq[n-1] < '0' {
		between = seq[n-1]
	}
	switch between {
	case 0, ' ', '!', '"':
	default: // rectangles, checksums, modes, locators: few draw with them, and many ask
		return true
	}
	switch final {
	case 'n', 'c', 't', 'x', 'i':
		return true
	case 'q':
		return between == 0 // XTVERSION, and the lamps of a keyboard
	case 'u', 'm':
		return private == '?'
	case 'S':
		return private == '?'
	case 'h', 'l':
		return private == '?' && bytes.Contains(seq, []byte("2048")) // sizes are reported at once
	}
	return false
}
