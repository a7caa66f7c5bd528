package inbound

// terminal follows control sequences (ECMA-48; xterm's ctlseqs for what is its own).
type terminal struct {
	mode  mode
	begin int64
	n     int  // characters of the sequence so far
	first rune // parameter of a CSI: its first character
	mid   rune // its last intermediate
	num   int  // of an OSC
}

type mode uint8

const (
	ground mode = iota
	escape
	csi
	osc
)

// longest is how many characters a CSI may have before it is taken for none.
const longest = 64

// step takes one character.
func (t *terminal) step(s *Stream, r rune, at, end int64) {
	switch t.mode {
	case ground:
		t.start(s, r, at, end)
	case escape:
		t.escaped(s, r, end)
	case csi:
		t.csi(s, r, at, end)
	case osc:
		t.osc(s, r, at, end)
	}
}

func (t *terminal) start(s *Stream, r rune, at, end int64) {
	switch r {
	case 0x1b:
		*t = terminal{mode: escape, begin: at}
	case 0x9b: // C1: the same in one character (ECMA-48 section 5.3)
		*t = terminal{mode: csi, begin: at}
	case 0x9d:
		*t = terminal{mode: osc, begin: at, num: -1}
	case 0x05: // ENQ: the terminal types its answerback
		if end-at == 1 && s.amidText(at) { // as an escape it stands in lists of characters
			s.tell(terminalQuery, at, end)
		}
	}
}

// amidText reports whether what stands shortly before a place is text. In bytes that are
// none every 256th is an ENQ, and nobody shows them on a terminal.
func (s *Stream) amidText(at int64) bool {
	const near = 64
	i := int(at - s.base)
	before := s.buf[max(i-near, 0):i]
	for len(before) > 0 && before[0]&0xc0 == 0x80 { // the rest of a character
		before = before[1:]
	}
	return Textual(before)
}

func (t *terminal) escaped(s *Stream, r rune, end int64) {
	t.mode = ground
	switch r {
	case '[':
		t.mode = csi
	case ']':
		t.mode, t.num = osc, -1
	case 'k': // screen's
		s.tell(terminalTitle, t.begin, end)
	case 'P', 'X', '^', '_': // DCS, SOS, PM, APC: what follows is not shown
		s.tell(terminalString, t.begin, end)
	case 'Z':
		s.tell(terminalQuery, t.begin, end)
	case 'c':
		s.tell(terminalMode, t.begin, end)
	case 'M', '8':
		s.tell(terminalMove, t.begin, end)
	case 0x1b:
		t.mode, t.begin = escape, end-1
	}
}

func (t *terminal) csi(s *Stream, r rune, at, end int64) {
	t.n++
	switch {
	case r >= 0x30 && r <= 0x3f:
		if t.first == 0 {
			t.first = r
		}
	case r >= 0x20 && r <= 0x2f:
		t.mid = r
	case r >= 0x40 && r <= 0x7e:
		t.mode = ground
		if rule := t.final(r); rule != "" {
			s.tell(rule, t.begin, end)
		}
		return
	default:
		t.mode = ground
		t.start(s, r, at, end)
		return
	}
	if t.n > longest {
		t.mode = ground
	}
}

// final judges a CSI by its last character. Colours (SGR, m) and moves over what is
// empty (B, C, E) are harmless.
func (t *terminal) final(r rune) string {
	switch r {
	case 'A', 'D', 'F', 'G', 'H', 'f', 'J', 'K', 'L', 'M', 'P', 'S', 'T', 'X', 'Z', '@', '`', 'd', 'u', 's', 'r':
		if t.mid != 0 || t.first >= '<' && r != 'J' && r != 'K' {
			return terminalMode
		}
		return terminalMove
	case 'n', 'c', 'x':
		return terminalQuery
	case 't':
		return terminalTitle // moves the window, and reads its title back
	case 'p':
		if t.mid == '$' {
			return terminalQuery
		}
		return terminalMode
	case 'h', 'l', 'i', 'y', 'q', 'v', 'w', '{', '|', '}', '~':
		return terminalMode
	}
	return ""
}

// osc judges an OSC as soon as its number is known.
func (t *terminal) osc(s *Stream, r rune, at, end int64) {
	t.n++
	switch {
	case r >= '0' && r <= '9' && t.n < 6:
		t.num = max(t.num, 0)*10 + int(r-'0')
		return
	case t.num < 0 && (r == 'l' || r == 'L' || r == 'I'): // Sun's and dtterm's
		s.tell(terminalTitle, t.begin, end)
	case t.num >= 0 && (r == ';' || r == 0x07 || r == 0x1b || r == 0x9c):
		s.tell(command(t.num), t.begin, end)
	case r == 0x1b:
		t.mode = ground
		t.start(s, r, at, end)
		return
	}
	t.mode = ground
}

func command(number int) string {
	switch number {
	case 0, 1, 2:
		return terminalTitle
	case 8:
		return terminalLink
	case 52:
		return terminalClipboard
	}
	return terminalCommand
}
