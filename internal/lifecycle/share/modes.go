package share

import (
	"bytes"
	"strconv"
)

const (
	mostColour = 192 // bytes of colours and attributes that are kept
	mostKeys   = 8   // codings of the keys that are pushed
	mostMode   = 1 << 16
)

// modes is what an agent has its terminal in, as far as it changes how what follows is
// shown, or what keys say. The zero value is a terminal that was just made.
type modes struct {
	set      uint32 // listed modes that are not as they were at first, by their place
	insert   bool
	newline  bool
	keypad   bool
	shifted  bool
	charsets [2]byte // of G0 and G1; 0: ASCII
	cursor   byte    // its shape; 0: the terminal's own
	other    byte    // xterm's modifyOtherKeys
	keys     [2]pushed
	region   [2]uint16
	colour   [mostColour]byte // whole sequences since the last reset
	colours  int
}

// pushed is kitty's codings of the keys, the newest last; each screen has its own.
type pushed struct {
	flags [mostKeys]byte
	n     int
}

// listed are the DEC private modes that are kept; those that are on at first are named by
// atFirst. The last three are the alternate screen.
func listed() [24]int {
	return [...]int{1, 5, 6, 7, 9, 25, 45, 66, 69, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016, 2004, 2031, 47, 1047, 1049}
}

func atFirst(mode int) bool { return mode == 7 || mode == 25 || mode == 1007 }

// screens is the bits of the alternate screen.
const screens = 1<<21 | 1<<22 | 1<<23

// alternate is whether the agent draws on the other screen.
func (m *modes) alternate() bool { return m.set&screens != 0 }

func (m *modes) top() *pushed {
	if m.alternate() {
		return &m.keys[1]
	}
	return &m.keys[0]
}

// escape takes a sequence without parameters in.
func (m *modes) escape(seq []byte, final byte) {
	switch {
	case len(seq) == 1 && (seq[0] == '(' || seq[0] == ')'):
		m.charsets[seq[0]-'('] = final
	case len(seq) > 0:
	case final == 'c': // RIS
		*m = modes{}
	case final == '=', final == '>':
		m.keypad = final == '='
	}
}

// control takes a control sequence in.
func (m *modes) control(seq []byte, final byte) {
	var private byte
	if len(seq) > 0 && seq[0] >= '<' {
		private, seq = seq[0], seq[1:]
	}
	switch {
	case final == 'm' && private == 0: // most of them
		m.paint(seq)
	case (final == 'h' || final == 'l') && private == '?':
		for len(seq) > 0 {
			var mode int
			mode, seq = number(seq)
			m.private(mode, final == 'h')
		}
	case (final == 'h' || final == 'l') && private == 0:
		for len(seq) > 0 {
			var mode int
			mode, seq = number(seq)
			m.insert = mode == 4 && final == 'h' || mode != 4 && m.insert
			m.newline = mode == 20 && final == 'h' || mode != 20 && m.newline
		}
	case final == 'm' && private == '>':
		what, rest := number(seq)
		level, _ := number(rest)
		if what == 4 {
			m.other = byte(min(level, 9))
		}
	case final == 'u' && private != 0:
		m.coding(private, seq)
	case final == 'r' && private == 0:
		first, rest := number(seq)
		last, _ := number(rest)
		m.region = [2]uint16{uint16(first), uint16(last)}
	case final == 'q' && bytes.HasSuffix(seq, []byte(" ")):
		shape, _ := number(seq)
		m.cursor = byte(min(shape, 9))
	case final == 'p' && bytes.Equal(seq, []byte("!")): // DECSTR
		set := m.set & screens
		*m = modes{set: set, keys: m.keys, other: m.other}
	}
}

func (m *modes) private(mode int, on bool) {
	for i, known := range listed() {
		if known == mode {
			m.set &^= 1 << i
			if on != atFirst(mode) {
				m.set |= 1 << i
			}
			return
		}
	}
}

// paint takes colours and attributes in. One that is reset is not kept; of more than there
// is room for, the newest are.
func (m *modes) paint(seq []byte) {
	for {
		first, rest := number(seq)
		if first != 0 || len(seq) > 0 && seq[0] != '0' && seq[0] != ';' {
			break
		}
		m.colours = 0
		if seq = rest; len(seq) == 0 {
			return
		}
	}
	for _, c := range seq {
		if c < '0' || c > ';' { // no colours: a terminal does with it what it does
			return
		}
	}
	size := len(seq) + len("\x1b[m")
	if m.colours+size > len(m.colour) {
		m.colours = 0
	}
	kept := append(append(append(m.colour[:m.colours], "\x1b["...), seq...), 'm')
	m.colours = len(kept)
}

// coding takes in how keys shall be written (kitty's keyboard protocol).
func (m *modes) coding(private byte, seq []byte) {
	first, rest := number(seq)
	top := m.top()
	switch private {
	case '>':
		if top.n == len(top.flags) { // the oldest is pushed out, as the protocol has it
			copy(top.flags[:], top.flags[1:])
			top.n--
		}
		top.flags[top.n] = byte(first & 31)
		top.n++
	case '<':
		top.n = max(0, top.n-max(1, first))
	case '=':
		how, _ := number(rest)
		if top.n == 0 {
			top.n, top.flags[0] = 1, 0
		}
		now := &top.flags[top.n-1]
		switch how {
		case 2:
			*now |= byte(first & 31)
		case 3:
			*now &^= byte(first & 31)
		default:
			*now = byte(first & 31)
		}
	}
}

// number is the first parameter, and what comes behind it. None is 0.
func number(seq []byte) (n int, rest []byte) {
	for i, c := range seq {
		switch {
		case c >= '0' && c <= '9':
			n = min(n*10+int(c-'0'), mostMode-1)
		case c == ';':
			return n, seq[i+1:]
		}
	}
	return n, nil
}

// plain is what makes a terminal in whatever modes an empty one, as it was made. What was
// begun and never ended is cancelled first.
func plain(out []byte) []byte {
	out = append(out, "\x18\x1b[?1049l\x1b[0m\x0f\x1b(B\x1b)B\x1b>\x1b[4l\x1b[20l\x1b[r"...)
	for i, mode := range listed() {
		if 1<<i&screens == 0 {
			out = onOff(out, mode, atFirst(mode))
		}
	}
	return append(out, "\x1b[<99u\x1b[>4m\x1b[0 q\x1b[H\x1b[2J"...)
}

func onOff(out []byte, mode int, on bool) []byte {
	out = append(strconv.AppendInt(append(out, "\x1b[?"...), int64(mode), 10), 'l')
	if on {
		out[len(out)-1] = 'h'
	}
	return out
}

// restore is what puts a terminal that is plain into these modes.
func (m *modes) restore(out []byte) []byte {
	out = m.keys[0].restore(out)
	list := listed()
	for i := len(list) - 1; i >= 0; i-- { // the screen first: it is cleared, and has keys of its own
		if m.set&(1<<i) != 0 && 1<<i&screens != 0 {
			out = onOff(out, list[i], true)
		}
	}
	out = m.keys[1].restore(out)
	if m.region != [2]uint16{} {
		out = append(strconv.AppendUint(append(out, "\x1b["...), uint64(m.region[0]), 10), ';')
		out = append(strconv.AppendUint(out, uint64(m.region[1]), 10), 'r')
	}
	for i, mode := range list {
		if m.set&(1<<i) != 0 && 1<<i&screens == 0 {
			out = onOff(out, mode, !atFirst(mode))
		}
	}
	for i, set := range m.charsets {
		if set != 0 {
			out = append(out, esc, "()"[i], set)
		}
	}
	for _, on := range []struct {
		is   bool
		text string
	}{{m.insert, "\x1b[4h"}, {m.newline, "\x1b[20h"}, {m.keypad, "\x1b="}, {m.shifted, "\x0e"}} {
		if on.is {
			out = append(out, on.text...)
		}
	}
	if m.other != 0 {
		out = append(out, "\x1b[>4;"+strconv.Itoa(int(m.other))+"m"...)
	}
	if m.cursor != 0 {
		out = append(out, "\x1b["+strconv.Itoa(int(m.cursor))+" q"...)
	}
	return append(out, m.colour[:m.colours]...)
}

func (p *pushed) restore(out []byte) []byte {
	for _, flags := range p.flags[:p.n] {
		out = append(out, "\x1b[>"+strconv.Itoa(int(flags))+"u"...)
	}
	return out
}
