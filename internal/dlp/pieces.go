package dlp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"

	"bottle/internal/dlp/once"
	"bottle/internal/dlp/place"
)

// Pieces of a secret in strings of JSON can stand any number of chunks apart: blanks and
// numbers may be between values, and whole messages between keys. So a body keeps the
// last strings that stand before what is looked at:
//
//	"sk-pr"    ·········    "oj-x9"    ·········    "K2mQ7"
//	 a chunk                 a chunk                 a chunk
//
// A chunk whose first or last string may be such a piece is remembered in no company. Of
// the others it is noted whether they hold values and keys, for those part the pieces
// before them from those behind.

// edges is what a chunk means for pieces.
type edges struct {
	values, keys bool // it holds some
	open         bool // its first or its last one may be a piece
}

const (
	noteValues = 1 << 5
	noteKeys   = 1 << 6
)

func (e edges) note() (n uint8) {
	if e.values {
		n |= noteValues
	}
	if e.keys {
		n |= noteKeys
	}
	return n
}

// pieces are strings that stand before a place of a body, each with a quote behind it.
type pieces struct {
	values, keys []byte
	begun        []byte // of the string that goes on there
}

const (
	maxPieces = 256 // bytes of them
	glued     = 5   // bytes at the edge of a longer string by which that may be a piece
)

func (p *pieces) none() pieces { return pieces{p.values[:0], p.keys[:0], p.begun[:0]} }

// each gives one piece after the other.
func each(row []byte, do func([]byte)) {
	for len(row) > 0 {
		n := bytes.IndexByte(row, '"')
		do(row[:n])
		row = row[n+1:]
	}
}

// last appends b to a row and keeps of both the end.
func last(row, b []byte) []byte {
	if len(b) >= maxPieces {
		return append(row[:0], b[len(b)-maxPieces:]...)
	}
	if over := len(row) + len(b) - maxPieces; over > 0 {
		row = row[:copy(row, row[over:])]
	}
	return append(row, b...)
}

func (p *pieces) put(raw []byte, key bool) {
	row := &p.values
	if key {
		row = &p.keys
	}
	if len(raw) > 0 {
		*row = append(last(*row, raw[max(0, len(raw)-maxPieces+1):]), '"')
	}
}

// take takes the strings of text[:n], which begins as q says.
func (p *pieces) take(text []byte, n int, q place.Quoting) {
	rest := q.Skip(text)
	if end := len(text) - len(rest); q != 0 {
		p.begun = last(p.begun, bytes.TrimSuffix(text[:min(end, n)], []byte{'"'}))
		if rest == nil || end > n {
			return
		}
		p.put(p.begun, named(rest))
		p.begun = p.begun[:0]
	}
	place.Strings(rest, func(raw []byte, key bool) bool {
		switch start := cap(text) - cap(raw); {
		case start > n:
			return false
		case start+len(raw) >= n:
			p.begun = last(p.begun[:0], raw[:n-start])
			return false
		}
		p.put(raw, key)
		return true
	})
}

// named reports whether a colon follows: then the string before it is a key.
func named(b []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte{':'}) }

// leave keeps the pieces of the first n chunks, which are not looked at again.
func (b *Body) leave(n int) {
	if !b.quotes() {
		return
	}
	for i, p := range b.back[:n] {
		if p.edges.open {
			b.pieces.take(b.buf[p.start-b.base:], int(b.back[i+1].start-p.start), p.quoting)
			continue
		}
		b.pieces.begun = b.pieces.begun[:0]
		if p.edges.values {
			b.pieces.values = b.pieces.values[:0]
		}
		if p.edges.keys {
			b.pieces.keys = b.pieces.keys[:0]
		}
	}
}

// seen gives what was noted of a chunk that is known and comes next.
func (b *Body) seen(c once.Chunk) edges {
	if b.quotes() && (c.Note == 0 || c.Note>>1&3 != uint8(b.quoting[atCut])) {
		return edges{open: true} // it was seen in another state: it is read again
	}
	return edges{values: c.Note&noteValues != 0, keys: c.Note&noteKeys != 0}
}

// meeting is the work on the edges of the chunks of one text.
type meeting struct {
	chunk int       // number of the present one
	seen  [2]bool   // whether it has a value, and a key
	last  [2][]byte // the last of them
}

func (m *meeting) begin() { *m = meeting{} }

// edge notes what a string means for the chunks that it stands in. Where it goes over
// their border, or the text's, nobody knows yet whether it is a key: it may be a piece
// of either, and parts neither.
func (c *scan) edge(text, raw []byte, key bool) {
	start := cap(text) - cap(raw)
	end := start + len(raw)
	certain := (key || goesOn(text, end+1)) && (start > 0 || c.quoting == 0)
	for m := &c.meet; m.chunk < len(c.held) && start < end; {
		stop := c.ends[m.chunk+1]
		if start >= stop {
			c.closeChunk()
			continue
		}
		from, to := max(start, c.ends[m.chunk]), min(end, stop)
		if from >= to {
			return
		}
		e, part := &c.edges[m.chunk], text[from:to]
		switch all := certain && to-from == len(raw); {
		case !all:
			c.meets(0, part)
			c.meets(1, part)
		case key:
			e.keys = true
			c.meets(1, part)
		default:
			e.values = true
			c.meets(0, part)
		}
		start = to
	}
}

// goesOn reports whether anything but blanks stands behind a place.
func goesOn(text []byte, i int) bool {
	for ; i < len(text); i++ {
		if text[i] > ' ' {
			return true
		}
	}
	return false
}

// meets notes a value (0) or a key (1) of the present chunk.
func (c *scan) meets(which int, part []byte) {
	m := &c.meet
	if !m.seen[which] {
		e := &c.edges[m.chunk]
		e.open = e.open || c.piece(part, part[:min(len(part), glued)])
	}
	m.seen[which], m.last[which] = true, part
}

// closeChunk ends the work on the present chunk.
func (c *scan) closeChunk() {
	m := &c.meet
	if m.chunk < len(c.held) {
		e := &c.edges[m.chunk]
		for _, part := range m.last {
			e.open = e.open || len(part) > 0 && c.piece(part, part[max(0, len(part)-glued):])
		}
	}
	m.chunk, m.seen, m.last = m.chunk+1, [2]bool{}, [2][]byte{}
}

// piece reports whether a string, or its edge, may be a piece of a known secret, as it is
// or encoded.
func (c *scan) piece(part, edge []byte) bool {
	k := c.engine.known
	if k.Holds(edge) {
		return true
	}
	if len(part) < minPieceDigits || len(part) > maxPieceDigits {
		return false
	}
	var room [maxPieceDigits]byte
	for _, read := range []func(dst, src []byte) (int, error){base64.RawStdEncoding.Decode, base64.RawURLEncoding.Decode, hex.Decode} {
		if n, err := read(room[:], bytes.TrimRight(part, "=")); err == nil && (k.Holds(room[:min(n, glued)]) || k.Holds(room[max(0, n-glued):n])) {
			return true
		}
	}
	return false
}
