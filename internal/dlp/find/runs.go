package find

import (
	"encoding/binary"
	"math/bits"
)

// longRun is the least run of word bytes (letters, digits, _ and -) behind a short
// literal with which it is found by its run.
const longRun = 16

// shorts are literals of at most four bytes that count only with a long run of word
// bytes behind them, as prefixes of tokens do. They are many, and their few bytes
// stand everywhere; such runs are rare.
type shorts struct {
	literals []int           // in the set
	texts    [][]byte        // in lower case
	first    [1 << 12]uint16 // by the hash of three bytes: one more than an index into next; 0: none
	next     []uint16        // of each, the next with the same hash, in the same way
}

func (s *shorts) add(literal int, low []byte) {
	h := shortHash(low[0], low[1], low[2])
	s.literals, s.texts = append(s.literals, literal), append(s.texts, low)
	s.next = append(s.next, s.first[h])
	s.first[h] = uint16(len(s.literals))
}

func shortHash(a, b, c byte) uint32 { return hash3(a, b, c) & (1<<12 - 1) }

// isWord says what a run is made of.
func isWord(b byte) bool {
	return (b|0x20)-'a' < 26 || b-'0' < 10 || b == '_' || b == '-'
}

// parts sets the top bit of each of eight bytes that surely is in no run: below '0' but
// for '-', as blanks, quotes, dots and brackets are, and beyond ASCII. Each byte is
// compared on its own: its top bit is set before, so nothing is borrowed from the next.
func parts(eight uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	dash := eight ^ '-'*ones
	return (^((eight|tops)-'0'*ones)&(dash&^tops+tops-ones|dash) | eight) & tops
}

func isPart(b byte) bool { return b < '0' && b != '-' || b >= 0x80 }

// find goes by eight bytes at a time and counts those without a part in a row. Its
// branches do not depend on what ordinary text holds.
func (s *shorts) find(dst []Hit, text []byte) []Hit {
	if len(s.literals) == 0 {
		return dst
	}
	p, row := 0, 0 // row bytes before p have no part
	for p+8 <= len(text) {
		m := parts(binary.LittleEndian.Uint64(text[p:]))
		if row+bits.TrailingZeros64(m)>>3 >= longRun {
			end := rowEnd(text, p)
			dst = s.row(dst, text, p-row, end)
			if p, row = end&^7, 0; p+8 > len(text) {
				return dst // at most seven bytes are left
			}
			m = parts(binary.LittleEndian.Uint64(text[p:]))
		}
		whole := row + 8
		row = bits.LeadingZeros64(m) >> 3
		if m == 0 {
			row = whole
		}
		p += 8
	}
	if end := rowEnd(text, p); end-p+row >= longRun {
		dst = s.row(dst, text, p-row, end)
	}
	return dst
}

// rowEnd is where the first part at or behind p is.
func rowEnd(text []byte, p int) int {
	for ; p+8 <= len(text); p += 8 {
		if m := parts(binary.LittleEndian.Uint64(text[p:])); m != 0 {
			return p + bits.TrailingZeros64(m)>>3
		}
	}
	for p < len(text) && !isPart(text[p]) {
		p++
	}
	return p
}

// row looks at the runs in a row.
func (s *shorts) row(dst []Hit, text []byte, from, to int) []Hit {
	for from < to {
		if !isWord(text[from]) {
			from++
			continue
		}
		end := from + 1
		for end < to && isWord(text[end]) {
			end++
		}
		if end-from >= longRun {
			dst = s.run(dst, text, from, end)
		}
		from = end
	}
	return dst
}

// run compares what stands before and in text[start:end].
func (s *shorts) run(dst []Hit, text []byte, start, end int) []Hit {
	for at := max(0, start-4); at+3+longRun-1 <= end; at++ {
		for i := s.first[shortHash(text[at], text[at+1], text[at+2])]; i != 0; i = s.next[i-1] {
			l := s.texts[i-1]
			if behind := at + len(l); behind >= start && behind+longRun <= end && equalFold(text[at:behind], l) {
				dst = append(dst, Hit{s.literals[i-1], at, behind})
			}
		}
	}
	return dst
}
