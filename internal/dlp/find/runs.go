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

const ones, tops = 0x0101010101010101, 0x8080808080808080

// parts sets the top bit of each of eight bytes that is in no run. No sum of a byte
// goes over into the next.
func parts(eight uint64) uint64 {
	low := eight &^ tops
	letter := low | ' '*ones // '_' becomes DEL
	letters := (letter + (0x80-'a')*ones) &^ (letter + (0x80-'z'-1)*ones)
	digits := (low + (0x80-'0')*ones) &^ (low + (0x80-'9'-1)*ones)
	under, dash := (low^'_'*ones)+0x7f*ones, (low^'-'*ones)+0x7f*ones // the top bit says: it is another
	return (under&dash&^letters&^digits | eight) & tops
}

func isPart(b byte) bool { return !isWord(b) }

// belowDash sets the top bit of each of eight bytes that is below '-' without its top bit.
func belowDash(eight uint64) uint64 {
	return ^((eight | tops) - '-'*ones) & tops
}

// find goes by eight bytes at a time. A run fills one such word, and of what is left of
// it, half of the word before or behind: where nothing is below '-' so far, which is
// rare, it looks closer. One branch asks for two words.
func (s *shorts) find(dst []Hit, text []byte) []Hit {
	if len(s.literals) == 0 || len(text) < longRun {
		return dst
	}
	const half = 0xffffffff
	before, now := uint64(0), belowDash(binary.LittleEndian.Uint64(text))
	for i := 0; i+8 <= len(text); {
		for ; i+24 <= len(text); i += 16 {
			q := text[i+8 : i+24 : i+24]
			first, second := belowDash(binary.LittleEndian.Uint64(q)), belowDash(binary.LittleEndian.Uint64(q[8:]))
			if now|(before>>32)*(first&half) == 0 || first|(now>>32)*(second&half) == 0 {
				break
			}
			before, now = first, second
		}
		next := uint64(0)
		if i+16 <= len(text) {
			next = belowDash(binary.LittleEndian.Uint64(text[i+8:]))
		}
		if i += 8; now|(before>>32)*(next&half) != 0 || parts(binary.LittleEndian.Uint64(text[i-8:])) != 0 {
			before, now = now, next
			continue
		}
		start, end := runStart(text, i-8), runEnd(text, i)
		if end-start >= longRun {
			dst = s.run(dst, text, start, end)
		}
		if i = end + 1; i+8 > len(text) { // a part stands at end
			return dst
		}
		before, now = 0, belowDash(binary.LittleEndian.Uint64(text[i:]))
	}
	return dst
}

// runStart is where the word bytes before i begin.
func runStart(text []byte, i int) int {
	for ; i >= 8; i -= 8 {
		if m := parts(binary.LittleEndian.Uint64(text[i-8:])); m != 0 {
			return i - bits.LeadingZeros64(m)>>3
		}
	}
	for i > 0 && !isPart(text[i-1]) {
		i--
	}
	return i
}

// runEnd is where the first part at or behind p is.
func runEnd(text []byte, p int) int {
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
