package find

import "encoding/binary"

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

// parted reports whether one of eight bytes is below '-', as blanks, quotes, brackets
// and commas are: no run goes over it. Each byte is compared on its own: its top bit is
// set before, so nothing is borrowed from the next.
func parted(eight uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	return ^((eight|tops)-'-'*ones)&^eight&tops != 0
}

// find looks at eight bytes at a time: a run of longRun bytes, wherever it begins,
// takes at least eight of them whole.
func (s *shorts) find(dst []Hit, text []byte) []Hit {
	if len(s.literals) == 0 {
		return dst
	}
	for p := 0; p+8 <= len(text); p += 8 {
		if parted(binary.LittleEndian.Uint64(text[p:])) || !isWord(text[p]) {
			continue
		}
		start, end := p, p+1
		for start > 0 && isWord(text[start-1]) {
			start--
		}
		for end < len(text) && isWord(text[end]) {
			end++
		}
		if end-start >= longRun {
			dst = s.run(dst, text, start, end)
			p = (end+7)/8*8 - 8 // on behind the run
		}
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
