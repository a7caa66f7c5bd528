package own

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"math/bits"
	"strings"

	"bottle/internal/dlp/rule"
)

// wordList is the English list of BIP-39, 2,048 words, in its order. It is data of the
// standard; a test holds it to the published hash.
//
//go:embed english.txt
var wordList string

// dictionary finds the number of a word in a few steps. A word has at most eight
// letters, so it is one uint64. The filter has no false negatives, and of other words
// it lets one of 32 pass: it fits into the nearest cache, the table does not.
type dictionary struct {
	filter [1 << 10]uint64
	mask   [64]uint64 // of the first so many bytes
	key    [1 << 13]uint64
	number [1 << 13]uint16
}

func newDictionary(list string) *dictionary {
	d := &dictionary{}
	for n := range d.mask {
		d.mask[n] = 1<<(8*n) - 1
	}
	for i, w := range strings.Fields(list) {
		var b [8]byte
		copy(b[:], w)
		key := binary.LittleEndian.Uint64(b[:])
		h := spread(key)
		d.filter[h>>54] |= 1 << (h >> 48 & 63)
		slot := h >> 51
		for d.key[slot] != 0 {
			slot = (slot + 1) % uint64(len(d.key))
		}
		d.key[slot], d.number[slot] = key, uint16(i)
	}
	return d
}

// spread is Fibonacci hashing: the high bits depend on all of the key.
func spread(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 }

// at gives the number of the word that begins at start and ends before something that
// is no letter, in any case; or -1.
func (d *dictionary) at(text []byte, start int) int {
	key, n := wordAt(text, start)
	if n < 3 || n == 8 && start+8 < len(text) && letter(text[start+8]) {
		return -1
	}
	h := spread(key)
	if !d.passes(h) {
		return -1
	}
	for slot := h >> 51; d.key[slot] != 0; slot = (slot + 1) % uint64(len(d.key)) {
		if d.key[slot] == key {
			return int(d.number[slot])
		}
	}
	return -1
}

// window is how many bytes crowd reads at a time: more than a gap and a word.
const window = 32

// lettersIn sets a bit for each byte of a window that is a letter.
func lettersIn(b []byte) uint64 {
	const pack = 0x0002040810204081 // makes eight bits of eight high bits
	b = b[:window:window]
	return letters(binary.LittleEndian.Uint64(b))*pack>>56 | letters(binary.LittleEndian.Uint64(b[8:]))*pack>>56<<8 |
		letters(binary.LittleEndian.Uint64(b[16:]))*pack>>56<<16 | letters(binary.LittleEndian.Uint64(b[24:]))*pack>>56<<24
}

// crowd tells whether a phrase may stand around i, which is in a gap or at a word's end:
// whether the filter lets twelve words pass that follow each other there. It is the cheap
// test for what Scan meets all the time, has false positives, and gives true where the
// text's borders are near. Where it gives false, no phrase that begins before next holds
// what stands behind i.
func (d *dictionary) crowd(text []byte, i int) (may bool, next int) {
	const fewest = 12
	n, next := d.ahead(text, i, fewest)
	return n >= sure && n+d.behind(text, i, fewest-n) >= fewest, next
}

// ahead counts the words behind i that the filter lets pass, up to most. end is the end
// of the first that it does not.
func (d *dictionary) ahead(text []byte, i, most int) (n, end int) {
	for n < most {
		if i+window+8 > len(text) {
			return most, i
		}
		q := text[i : i+window+8 : i+window+8]
		m := lettersIn(q)
		starts, ends := m&^(m<<1), m<<1&^m&(1<<window-1)
		if ends == 0 { // too long a gap, or too long a word
			return n, i + bits.TrailingZeros64(starts|1<<window)
		}
		for ; ends != 0; n++ {
			start := bits.TrailingZeros64(starts)
			if end = bits.TrailingZeros64(ends); !d.passes(spread((binary.LittleEndian.Uint64(q[start:]) | 0x20*ones) & d.mask[(end-start)&63])) {
				return n, i + end
			}
			starts, ends = starts&(starts-1), ends&(ends-1)
		}
		i += end
	}
	return n, i
}

// behind counts the words before i in the same way. Eight bytes must follow i.
func (d *dictionary) behind(text []byte, i, most int) (n int) {
	for n < most {
		if i < window {
			return most
		}
		m, end := lettersIn(text[i-window:i])<<(64-window), i
		for {
			gap := bits.LeadingZeros64(m)
			size := bits.LeadingZeros64(^(m << gap))
			start := i - gap - size
			if end-start >= window {
				break
			}
			if !d.passes(spread((binary.LittleEndian.Uint64(text[start:]) | 0x20*ones) & d.mask[size&63])) {
				return n
			}
			n++
			m, i = m<<(gap+size), start
		}
		if i == end {
			return n
		}
	}
	return n
}

// two tells whether a word of the list begins at start, and another after a gap.
func (d *dictionary) two(text []byte, start int) bool {
	if d.at(text, start) < 0 {
		return false
	}
	_, n := wordAt(text, start)
	at := start + n
	for at < len(text) && at-start-n < maxGap && gapByte(text[at]) {
		at++
	}
	return at > start+n && at < len(text) && d.at(text, at) >= 0
}

func (d *dictionary) passes(h uint64) bool { return d.filter[h>>54]>>(h>>48&63)&1 != 0 }

// wordAt gives the letters from start on, at most eight, in lower case.
func wordAt(text []byte, start int) (key uint64, n int) {
	var w uint64
	if start+8 <= len(text) {
		w = binary.LittleEndian.Uint64(text[start:])
	} else {
		var b [8]byte
		copy(b[:], text[start:])
		w = binary.LittleEndian.Uint64(b[:])
	}
	n = bits.TrailingZeros64(letters(w)^highs) / 8
	if n == 8 {
		return w | 0x20*ones, 8
	}
	return (w | 0x20*ones) & (1<<(8*n) - 1), n
}

// maxGap is how many bytes may stand between two words: `","12":"`, ".\r\n    10. ", or
// `",` and the next line's indentation.
const maxGap = 16

// gapByte tells whether a byte may stand between two words of a phrase: white space,
// numbers, and what lists are written with.
func gapByte(c byte) bool {
	if c == ' ' || c|0x20 >= 'a' { // what follows most words
		return c == ' ' || c == '_' || c == '|'
	}
	switch c {
	case ' ', '\t', '\r', '\n', ',', ';', '.', ':', '"', '\'', ')', '-':
		return true
	}
	return '0' <= c && c <= '9'
}

// judgePhrase looks at the whole run of words of the list around the one that begins
// at start. The secret goes from the first word of the first valid phrase to the last
// word of the last one: parts of a phrase may be valid by chance.
func (s *scanner) judgePhrase(dst []rule.Match, text []byte, start, least int) ([]rule.Match, int) {
	begin := start
	for before := begin; before >= 0; before = s.wordBefore(text, begin, least) {
		begin = before
	}
	var last [24]uint16 // the last words, a ring
	var starts [24]int
	from, to, end := -1, -1, begin
	for count, at := 0, begin; ; {
		number := s.words.at(text, at)
		if number < 0 {
			break
		}
		last[count%24], starts[count%24] = uint16(number), at
		count++
		_, n := wordAt(text, at)
		end = at + n
		if n := phraseEnds(&last, count); n > 0 {
			first := starts[(count-n)%24]
			if from < 0 || first < from {
				from = first
			}
			to = end
		}
		for at = end; at < len(text) && at-end < maxGap && gapByte(text[at]); {
			at++
		}
		if at == end || at >= len(text) {
			break
		}
	}
	if to > 0 {
		dst = found(dst, &s.seed, from, to)
	}
	return dst, max(end, start+1)
}

// wordBefore gives where the word of the list begins that stands before the one at
// begin; or -1.
func (s *scanner) wordBefore(text []byte, begin, least int) int {
	end := begin
	for end > least && begin-end < maxGap && gapByte(text[end-1]) {
		end--
	}
	at := end
	for at > least && end-at < 9 && letter(text[at-1]) {
		at--
	}
	if end == begin || end-at < 3 || end-at > 8 || s.words.at(text, at) < 0 {
		return -1
	}
	return at
}

// phraseEnds gives the length, in words, of the longest valid phrase that ends with the
// last of count words; or 0.
func phraseEnds(last *[24]uint16, count int) (longest int) {
	var phrase [24]uint16
	size := min(count, 24)
	for i := range size {
		phrase[i] = last[(count-size+i)%24]
	}
	if size < 12 || !drawn(phrase[size-12:size]) {
		return 0
	}
	for n := 12; n <= size; n += 3 {
		if checksum(phrase[size-n : size]) {
			longest = n
		}
	}
	return longest
}

// checksum tells whether the last bits of a phrase are the first of the SHA-256 of the
// others (BIP-39): one bit for every three words.
func checksum(phrase []uint16) bool {
	var packed [34]byte
	for i, number := range phrase {
		bit := i * 11
		wide := uint32(number) << (13 - bit%8)
		packed[bit/8] |= byte(wide >> 16)
		packed[bit/8+1] |= byte(wide >> 8)
		if byte(wide) != 0 {
			packed[bit/8+2] |= byte(wide)
		}
	}
	size := len(phrase) / 3
	sum := sha256.Sum256(packed[:size*4])
	return (packed[size*4]^sum[0])>>(8-size) == 0
}

// drawn tells whether words were drawn by chance: not in the order of the alphabet, as
// in a dictionary, and not a few of them again and again, as in examples.
func drawn(phrase []uint16) bool {
	rising, distinct := 0, 0
	for i, w := range phrase {
		if i > 0 && w >= phrase[i-1] {
			rising++
		}
		again := 0
		for _, v := range phrase[:i] {
			if v == w {
				again = 1
			}
		}
		distinct += 1 - again
	}
	return rising > 0 && rising < len(phrase)-1 && distinct >= len(phrase)*3/4
}
