package decode

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"bottle/internal/dlp/decode/alphabet"
	"bottle/internal/dlp/decode/magic"
)

// Eight bytes at a time.
const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// runs looks for runs of digits of base64, and in them for those of base32 and hex,
// which use a part of the same characters. Of minLine characters, eight fill a word,
// and four more a half of the word before or behind: where that is so of the characters
// that are not below '+', which is rare, it looks closer. One branch asks for all.
func (f *finder) runs() {
	text := f.text
	if len(text) < minLine {
		return
	}
	r := run{finder: f}
	before, now := uint64(tops), belowPlus(binary.LittleEndian.Uint64(text))
	for i := 0; i+8 <= len(text); {
		for ; i+24 <= len(text); i += 16 {
			q := text[i+8 : i+24 : i+24]
			first, second := belowPlus(binary.LittleEndian.Uint64(q)), belowPlus(binary.LittleEndian.Uint64(q[8:]))
			if now|(before>>32)*(first&0xffffffff) == 0 || first|(now>>32)*(second&0xffffffff) == 0 {
				break
			}
			before, now = first, second
		}
		next := uint64(0)
		if i+16 <= len(text) {
			next = belowPlus(binary.LittleEndian.Uint64(text[i+8:]))
		}
		if now|(before>>32)*(next&0xffffffff) != 0 || digitTops(binary.LittleEndian.Uint64(text[i:])) != tops {
			i, before, now = i+8, now, next
			continue
		}
		left, right := f.beside(i)
		if n := left + 8 + right; n >= minRun || n >= minLine && (left == 8 || right == 8 || skipBreak(text, i+8+right) > i+8+right) {
			start := i - left
			for start > 0 && alphabet.Base64[text[start-1]] < 64 {
				start--
			}
			right = r.all(start) - i - 8
		}
		i += 8 + right + 1 // what stands behind is no digit, or was looked at
		if i+8 > len(text) {
			return
		}
		before, now = tops, belowPlus(binary.LittleEndian.Uint64(text[i:]))
	}
}

// belowPlus sets the top bit of each of eight bytes that is below '+' without its top bit.
func belowPlus(w uint64) uint64 {
	return ^((w | tops) - ones*'+') & tops
}

// beside counts the digits on both sides of the eight at i, up to eight each.
func (f *finder) beside(i int) (left, right int) {
	text := f.text
	if i >= 8 {
		left = bits.LeadingZeros64(tops&^digitTops(binary.LittleEndian.Uint64(text[i-8:]))) / 8
	} else {
		for left < i && alphabet.Base64[text[i-left-1]] < 64 {
			left++
		}
	}
	if i += 8; i+8 <= len(text) {
		right = bits.TrailingZeros64(tops&^digitTops(binary.LittleEndian.Uint64(text[i:]))) / 8
	} else {
		for i+right < len(text) && alphabet.Base64[text[i+right]] < 64 {
			right++
		}
	}
	return left, right
}

// between sets the top bit of each of eight bytes of ASCII that is none below from and
// none above to.
func between(w uint64, from, to byte) uint64 {
	return ((w | tops) - ones*uint64(from)) & (ones*uint64(to|0x80) - w) & tops
}

// digitTops sets the top bit of each of eight bytes that is a digit of base64. Each
// comparison is a subtraction that leaves the top bit or takes it; none borrows from
// the next byte.
func digitTops(w uint64) uint64 {
	const low = ones * 0x7f
	c := w & low
	l := c | ones*0x20 // small letters of capitals; '_' becomes DEL, which has the bit itself
	letters := ((l | tops) - ones*'a') & (ones*('z'|0x80) - l)
	digits := ((c | tops) - ones*'+') & (ones*('9'|0x80) - c)
	dots := ^c << 7 & (ones*('/'|0x80) - c) // ',' and '.', which are even, and stand between '+' and '/'
	return (letters | digits&^dots | (l+ones)&^(c<<2)) & tops &^ w
}

// Places in a run, in digits.
const (
	block  = 64        // how often a place is noted, from which a group can be counted; a multiple of 8
	around = 2 * block // how far a span reaches beyond the last sign of text
)

// phase is what is known about the digits of a run if its groups begin at one of the
// places modulo the group's length.
type phase struct {
	open   bool
	deep   bool
	start  int // in the text
	sign   int // the last digit by which text was seen
	silent int // digits before this one are known to hold nothing
}

// run is a row of digits, perhaps in lines.
type run struct {
	*finder
	noted    [2]int // offsets of the digits number n and n+block, n the last but one multiple of block
	count    int    // digits so far
	from     int    // where the line begins
	before   int    // where the line before ends; 0 if there is none
	state    step   // of all lanes
	last     step   // the lanes that are asked for
	hexUntil int    // up to here hex was looked at
	phases   [12]phase
	opened   int
	tried    bool // phases holds something
}

// all goes through the run that begins at an offset, with all lines that belong to
// it, and returns its end.
func (r *run) all(start int) (end int) {
	r.noted, r.count, r.from, r.before = [2]int{start, start}, 0, start, 0
	r.state, r.last = step{}, r.d.lanes.last
	if r.tried { // most runs leave no trace
		r.phases, r.tried = [12]phase{}, false
	}
	r.begins(start)
	p := start
	for {
		p = r.line(p)
		if p-r.from < minLine {
			break
		}
		next := skipBreak(r.text, p)
		if next == p || next >= len(r.text) || alphabet.Base64[r.text[next]] > 63 {
			break
		}
		r.before, p, r.from = p, next, next
	}
	if r.opened > 0 {
		for i := range r.phases {
			if ph := &r.phases[i]; ph.open && r.before > ph.start && p-r.from < minLine {
				r.add(kindOf(i), ph.start, r.before) // the last line may be a word that stands below
			}
			r.close(i, p)
		}
	}
	return p
}

// line goes through one line, block by block, and returns its end.
func (r *run) line(p int) int {
	for {
		stop := min(len(r.text), p+block-r.count%block)
		if p < r.hexUntil {
			stop = min(stop, r.hexUntil)
		} else {
			r.last.d |= r.d.lanes.hex
		}
		q := r.scan(p, stop)
		r.count += q - p
		if r.count%block == 0 && q > p {
			r.tick(q)
		}
		p = q
		if p == len(r.text) || alphabet.Base64[r.text[p]] > 63 {
			return p
		}
	}
}

// scan is the inner loop: one character, one step of all lanes. It ends at stop, at
// what is no digit, or at the end of digits of hex.
func (r *run) scan(p, stop int) int {
	l := &r.d.lanes
	s, last, text := r.state, r.last, r.text[:stop]
	for i := p; i < len(text); i++ {
		t := &l.steps[text[i]]
		if t.a == 0 {
			stop = i
			break
		}
		s.a = (s.a<<1 | l.first.a) & t.a
		s.b = (s.b<<1 | l.first.b) & t.b
		s.c = (s.c<<1 | l.first.c) & t.c
		s.d = (s.d<<1 | l.first.d) & t.d
		if s.a&last.a|s.b&last.b|s.c&last.c|s.d&last.d != 0 {
			r.signs(s, r.count+i-p, i)
			last = r.last
			if i < r.hexUntil && r.hexUntil < stop {
				stop = r.hexUntil
				text = text[:stop]
			}
		}
	}
	r.state = s
	return stop
}

// signs acts on the lanes that came to their end at a digit.
func (r *run) signs(s step, count, offset int) {
	l := &r.d.lanes
	for word, m := range [4]uint64{s.a & r.last.a, s.b & r.last.b, s.c & r.last.c, s.d & r.last.d} {
		for ; m != 0; m &= m - 1 {
			r.sign(&l.at[word*64+bits.TrailingZeros64(m)], count, offset)
		}
	}
}

func (r *run) sign(n *lane, count, offset int) {
	if n.kind == Hex {
		r.last.d &^= r.d.lanes.hex
		r.hexUntil = r.hexRun(max(r.from, offset-n.length+1))
		return
	}
	group, base := 4, 0
	if n.kind == Base32 {
		group, base = 8, 4
	}
	at := (count - n.length + 1 - n.skip + group) % group
	ph := &r.phases[base+at]
	if ph.open {
		ph.sign = count
		ph.deep = ph.deep || n.deep
		return
	}
	if !n.deep && (count < ph.silent || !r.confirms(n, offset-n.length+1)) {
		return
	}
	r.try(n.kind, ph, at, count, n.deep)
}

// confirms decodes a few bytes at a sign, which by chance looks like the beginning of
// text now and then: a row of text goes on. What it cannot judge it takes for text.
func (r *run) confirms(n *lane, start int) bool {
	const look, enough, letters = 12, 8, 3
	if start < r.from { // a line ends within the sign
		return true
	}
	var room [look]byte
	out := room[:0]
	if src := r.text[start:min(len(r.text), start+2*look)]; n.kind == Base64 {
		out, _ = appendBase64(out, src, look)
	} else {
		out, _ = appendBase32(out, src, look)
	}
	if len(out) < enough {
		return true
	}
	wide := 0
	for _, c := range out {
		if c+1 < 2 { // 0 or 0xff
			wide++
		}
	}
	if wide >= letters {
		return true
	}
	i := 0
	for i < 3 && isTail(out[i]) { // of a character that began before
		i++
	}
	for i < enough {
		switch c := out[i]; {
		case isText(c):
			i++
		case c < utf8.RuneSelf || !utf8.FullRune(out[i:]):
			return c >= utf8.RuneSelf
		default:
			_, size := utf8.DecodeRune(out[i:])
			if size == 1 {
				return false
			}
			i += size
		}
	}
	return true
}

// try decodes the neighbourhood of a sign, and opens a span if it holds text, or
// compressed data, indeed.
func (r *run) try(kind Kind, ph *phase, at, count int, deep bool) {
	r.tried = true
	var room [256]byte
	noted := max(count/block-1, 0) * block // the number of the digit at r.noted[0]
	start, ok := advance(r.text, r.noted[0], at)
	if !ok {
		return
	}
	src := r.text[start:min(len(r.text), start+2*len(room))]
	var out []byte
	digits := 0
	if kind == Base64 {
		out, _ = appendBase64(room[:0], src, 240)
		digits = len(out) / 3 * 4
	} else {
		out, _ = appendBase32(room[:0], src, 160)
		digits = len(out) / 5 * 8
	}
	if !telling(out) {
		ph.silent = noted + at + digits - 24
		return
	}
	*ph = phase{open: true, deep: deep || magic.Marked(out), start: start, sign: count}
	r.opened++
}

// tick notes a place, and closes the spans whose text has ended.
func (r *run) tick(p int) {
	r.noted[0], r.noted[1] = r.noted[1], p
	if r.opened == 0 {
		return
	}
	for i := range r.phases {
		if ph := &r.phases[i]; !ph.deep && r.count-ph.sign > around {
			r.close(i, p)
		}
	}
}

func (r *run) close(i, end int) {
	ph := &r.phases[i]
	if !ph.open {
		return
	}
	r.add(kindOf(i), ph.start, end)
	r.opened--
	*ph = phase{silent: ph.silent}
}

// kindOf gives the kind that a phase belongs to.
func kindOf(phase int) Kind {
	if phase < 4 {
		return Base64
	}
	return Base32
}

// begins opens a span where the run begins with a mark that is too short to be looked
// for anywhere else.
func (r *run) begins(start int) {
	if start+16 > len(r.text) {
		return
	}
	w, next := binary.LittleEndian.Uint64(r.text[start:]), binary.LittleEndian.Uint64(r.text[start+1:])
	// The first byte of zlib, 0x08, 0x18 to 0x78, is in base64 one of eight digits, and one
	// of 'A' to 'P' behind it; in base32 one of 'B', 'D' to 'P', and one of 'A' to 'D'.
	base64 := between(next, 'A', 'P') & (tops >> 32)
	base32 := between(next|ones*0x20, 'a', 'd') & between(w|ones*0x20, 'b', 'p') &^ (w << 7)
	for m := base64 | base32; m != 0; m &= m - 1 {
		at := bits.TrailingZeros64(m) / 8
		var room [6]byte
		src := r.text[start+at : start+at+8]
		const d, e = alphabet.Base64, alphabet.Base32
		if head := uint(d[src[0]])<<10 | uint(d[src[1]])<<4 | uint(d[src[2]])>>2; at < 4 && head%31 == 0 {
			if out, _ := appendBase64(room[:0], src, 6); magic.Zlib(out) {
				r.open(at, start+at)
			}
		}
		if head := uint(e[src[0]])<<11 | uint(e[src[1]])<<6 | uint(e[src[2]])<<1 | uint(e[src[3]])>>4; head%31 == 0 {
			if out, _ := appendBase32(room[:0], src, 5); magic.Zlib(out) {
				r.open(4+at, start+at)
			}
		}
	}
	r.beginsOther(start)
}

// beginsOther is begins for what is not read here, and for bytes that were taken for
// characters: by the two first digits in either base.
func (r *run) beginsOther(start int) {
	const ( // the first digits and the second ones, modulo 64; most runs end here
		firsts = 1<<('/'&63) | 1<<('_'&63) | 1<<('N'&63) | 1<<('U'&63) | 1<<('B'&63) | 1<<('T'&63) | 1<<('X'&63) | 1<<('H'&63) | 1<<('K'&63) | 1<<('e'&63) |
			1<<('7'&63) | 1<<('G'&63) | 1<<('A'&63) | 1<<('J'&63) | 1<<('L'&63) | 1<<('D'&63) | 1<<('F'&63) | 1<<('P'&63) |
			1<<('g'&63) | 1<<('a'&63) | 1<<('j'&63) | 1<<('k'&63) | 1<<('l'&63) | 1<<('d'&63) | 1<<('f'&63) | 1<<('p'&63)
		seconds = 1<<('T'&63) | 1<<('3'&63) | 1<<('m'&63) | 1<<('C'&63) | 1<<('F'&63) | 1<<('Q'&63) | 1<<('5'&63) | 1<<('8'&63) | 1<<('M'&63) |
			1<<('U'&63) | 1<<('J'&63) | 1<<('R'&63) | 1<<('6'&63) | 1<<('7'&63) | 1<<('D'&63) |
			1<<('u'&63) | 1<<('j'&63) | 1<<('q'&63) | 1<<('r'&63) | 1<<('d'&63)
	)
	if uint64(firsts)>>(r.text[start]&63)&(uint64(seconds)>>(r.text[start+1]&63))&1 == 0 {
		return
	}
	var room [64]byte
	switch string(r.text[start : start+2]) {
	case "/T", "_T", "N3", "Um", "BC", "TF", "XQ", "H5", "H8", "KM", "eM":
		if out, _ := appendBase64(room[:0], r.text[start:], len(room)); magic.UnreadFirst(out) || magic.Begins(out) {
			r.open(0, start)
		}
	case "7U", "G5", "KJ", "AQ", "JR", "LU", "D6", "D7", "FD", "PD", "7u", "g5", "kj", "aq", "jr", "lu", "d6", "d7", "fd", "pd":
		if out, _ := appendBase32(room[:0], r.text[start:], len(room)); magic.UnreadFirst(out) || magic.Begins(out) {
			r.open(4, start)
		}
	}
}

// open opens a span at an offset, to the end of the run.
func (r *run) open(place, start int) {
	r.tried = true
	r.phases[place] = phase{open: true, deep: true, start: start}
	r.opened++
}

// advance moves over n digits, and over line breaks between them.
func advance(text []byte, i, n int) (int, bool) {
	for ; n > 0 || i < len(text) && alphabet.Base64[text[i]] > 63; n-- {
		if i < len(text) && alphabet.Base64[text[i]] > 63 {
			next := skipBreak(text, i)
			if next == i {
				return i, false
			}
			i, n = next, n+1
			continue
		}
		if i >= len(text) {
			return i, false
		}
		i++
	}
	return i, true
}

// SkipBreak returns what follows a line break at text[i], as digits may stand in lines:
// i where there is none. A break has 64 bytes at most.
func SkipBreak(text []byte, i int) int { return skipBreak(text, i) }

// skipBreak returns what follows a line break at i: a real one, or one that is escaped
// once or more often, as in JSON, with the next line's indentation. It returns i where
// there is none.
func skipBreak(text []byte, i int) int {
	const most = 64 // characters of one break: more is something else
	j, broken := i, false
	for limit := min(len(text), i+most); j < limit; {
		c := text[j]
		if c == '\n' || c == '\r' {
			j, broken = j+1, true
			continue
		}
		if (c == ' ' || c == '\t') && broken {
			j++
			continue
		}
		if c != '\\' {
			break
		}
		k := j
		for k < limit && text[k] == '\\' {
			k++
		}
		if k == limit || text[k] != 'n' && text[k] != 'r' && (text[k] != 't' || !broken) {
			break
		}
		j, broken = k+1, true
	}
	if !broken {
		return i
	}
	return j
}
