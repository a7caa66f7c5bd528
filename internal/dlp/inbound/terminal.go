package inbound

import "unicode/utf8"

// terminal follows control sequences (ECMA-48; xterm's ctlseqs for what is its own).
type terminal struct {
	mode  mode
	begin int64
	first rune // of a CSI: the first character of its parameters
	mid   rune // the last intermediate
	num   int  // parameter or number that is read; -1: there is none
	sub   bool // behind a colon: the rest of a parameter
	skip  int  // parameters of SGR that belong to a colour; -1: the next one tells
	dark  bool // SGR 8 was among them
}

type mode uint8

const (
	ground mode = iota
	escape
	csi
	osc
	text
)

// mostNumber is what a number counts as that is larger, however many digits it has.
const mostNumber = 9999

// step takes one character. Within a sequence a terminal obeys, or passes over, the
// controls of C0 and goes on; CAN and SUB end it, and ESC begins another one.
func (t *terminal) step(s *Stream, r rune, at, end int64) {
	switch {
	case t.mode == ground || r == 0x1b && t.mode != osc:
		t.start(s, r, at, end)
	case r == 0x18 || r == 0x1a:
		t.mode = ground
	case r == 0x7f || r < 0x20 && r != 0x1b && (r != 0x07 || t.mode != osc):
	case t.mode == escape:
		t.escaped(s, r, at, end)
	case t.mode == csi:
		t.csi(s, r, at, end)
	case t.mode == osc:
		t.osc(s, r, at, end)
	case t.mode == text:
		t.text(s, r, at, end)
	}
}

func (t *terminal) start(s *Stream, r rune, at, end int64) {
	t.mode = ground
	switch r {
	case 0x1b:
		*t = terminal{mode: escape, begin: at, num: -1}
	case 0x9b: // C1: the same in one character (ECMA-48 section 5.3)
		*t = terminal{mode: csi, begin: at, num: -1}
	case 0x9d:
		*t = terminal{mode: osc, begin: at, num: -1}
	case 0x05: // ENQ: the terminal types its answerback
		if end-at == 1 && s.amidText(at) { // as an escape it stands in lists of characters
			s.tell(terminalQuery, at, end)
		}
	case 0x90, 0x98, 0x9e, 0x9f: // DCS, SOS, PM, APC
		*t = terminal{mode: text, begin: at}
	case 0x8d, 0x9a: // RI, DECID
		if s.chars.prev < 0x80 && s.buf[at-s.base] != '&' {
			*t = terminal{begin: at}
			t.escaped(s, r-0x40, at, end)
		}
	}
}

// text tells a control string of C1 by what follows. The same characters stand in lists
// of all there are, and in text that was decoded wrongly; as references of HTML they are
// letters of Windows-1252.
func (t *terminal) text(s *Stream, r rune, at, end int64) {
	t.mode = ground
	switch {
	case r < 0x20 || r > 0x7e:
		t.start(s, r, at, end)
	case s.buf[max(t.begin-s.base, 0)] != '&':
		s.tell(terminalString, t.begin, end)
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

// escaped takes what follows ESC.
func (t *terminal) escaped(s *Stream, r rune, at, end int64) {
	t.mode = ground
	switch {
	case r >= 0x20 && r <= 0x2f:
		if t.mode = escape; t.mid != 0 {
			r = utf8.RuneError // more than one: none that is known
		}
		t.mid = r
		return
	case r >= 0x80:
		t.start(s, r, at, end)
		return
	case t.mid != 0:
		if rule := designated(t.mid, r); rule != "" {
			s.tell(rule, t.begin, end)
		}
		return
	}
	switch r {
	case '[':
		t.mode = csi
	case ']':
		t.mode = osc
	case 'k': // screen's
		s.tell(terminalTitle, t.begin, end)
	case 'P', 'X', '^', '_': // DCS, SOS, PM, APC: what follows is not shown
		s.tell(terminalString, t.begin, end)
	case 'Z':
		s.tell(terminalQuery, t.begin, end)
	case 'c':
		s.tell(terminalMode, t.begin, end)
	case 'M', '8', '6', '9':
		s.tell(terminalMove, t.begin, end)
	}
}

// designated judges an escape with an intermediate. Sets of characters with a private
// number (ECMA-35 section 14.4) draw lines where there are letters; those with a public
// one stand in texts in ISO-2022.
func designated(mid, final rune) string {
	switch {
	case mid == '#' && final == '8':
		return terminalMove // the screen full of E
	case mid == '#' && final >= '3' && final <= '6', // lines of double height, or width
		mid == ' ' && (final == 'F' || final == 'G'), // answers in C1
		mid == '%' && final == '@',                   // no UTF-8 any more
		mid >= '(' && mid <= '+' && final >= '0' && final <= '?':
		return terminalMode
	}
	return ""
}

// csi takes what follows CSI.
func (t *terminal) csi(s *Stream, r rune, at, end int64) {
	switch {
	case r >= 0x30 && r <= 0x3f:
		if t.first == 0 {
			t.first = r
		}
		t.parameter(r)
	case r >= 0x20 && r <= 0x2f:
		t.mid = r
	case r >= 0x40 && r <= 0x7e:
		t.mode = ground
		t.parameter(';')
		if rule := t.final(r); rule != "" && !(s.chars.form&Script != 0 && r == '{' && t.mid == '$') { // a template of JavaScript
			s.tell(rule, t.begin, end)
		}
	default:
		t.start(s, r, at, end)
	}
}

// parameter reads the parameters as SGR has them: 38, 48 and 58 are followed by 5 and one
// number, or by 2 and three, which are a colour (ITU-T T.416; xterm).
func (t *terminal) parameter(r rune) {
	switch {
	case t.sub && r != ';':
	case r >= '0' && r <= '9':
		t.digit(r)
	case r == ':':
		t.sub = true
	case r == ';':
		colour := t.num == 38 || t.num == 48 || t.num == 58
		switch {
		case t.skip > 0:
			t.skip--
		case t.skip < 0 && t.num == 5:
			t.skip = 1
		case t.skip < 0 && t.num == 2:
			t.skip = 3
		case colour && !t.sub:
			t.skip = -1
		default:
			t.skip, t.dark = 0, t.dark || t.num == 8
		}
		t.num, t.sub = -1, false
	}
}

func (t *terminal) digit(r rune) {
	t.num = min(max(t.num, 0)*10+int(r-'0'), mostNumber)
}

// final judges a CSI by its last character. Colours (SGR, m) and moves over what is
// empty (B, C, E) are harmless.
func (t *terminal) final(r rune) string {
	switch r {
	case 'm':
		switch {
		case t.first == '?':
			return terminalQuery
		case t.first >= '<':
			return terminalMode
		case t.dark && t.mid == 0:
			return terminalConceal
		}
	case 'A', 'D', 'F', 'G', 'H', 'f', 'J', 'K', 'L', 'M', 'P', 'S', 'T', 'X', 'Z', '@', '`', '^', 'b', 'd', 'u', 's', 'r':
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

// osc judges an OSC as soon as its number is known; without one it is a title.
func (t *terminal) osc(s *Stream, r rune, at, end int64) {
	switch {
	case r >= '0' && r <= '9':
		t.digit(r)
		return
	case t.num < 0 && (r == 'l' || r == 'L' || r == 'I' || r == ';'): // Sun's and dtterm's
		s.tell(terminalTitle, t.begin, end)
	case t.num >= 0 && (r == ';' || r == 0x07 || r == 0x1b || r == 0x9c):
		s.tell(command(t.num), t.begin, end)
	}
	t.start(s, r, at, end)
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
