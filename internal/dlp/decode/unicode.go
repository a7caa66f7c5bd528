package decode

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"bottle/internal/dlp/decode/fold"
)

// firstHigh gives the place of the first byte that is not ASCII, or len(b).
func firstHigh(b []byte) int {
	i := 0
	for ; i+32 <= len(b); i += 32 {
		q := b[i : i+32 : i+32]
		if (binary.LittleEndian.Uint64(q)|binary.LittleEndian.Uint64(q[8:])|binary.LittleEndian.Uint64(q[16:])|binary.LittleEndian.Uint64(q[24:]))&tops != 0 {
			break
		}
	}
	for ; i+8 <= len(b); i += 8 {
		if w := binary.LittleEndian.Uint64(b[i:]) & tops; w != 0 {
			return i + bits.TrailingZeros64(w)/8
		}
	}
	for ; i < len(b); i++ {
		if b[i] >= utf8.RuneSelf {
			return i
		}
	}
	return i
}

// readFold reads one character at the beginning of s, which is not ASCII.
func readFold(s []byte) (value, int) {
	c, n, _ := fold.At(s)
	return value{r: c.R, s: c.S}, n
}

// unicode looks for characters that hide ASCII, from the first one that is not ASCII.
func (f *finder) unicode(first int) {
	text, from := f.text, 0
	for i := first; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i += firstHigh(text[i:])
			continue
		}
		if n := f.foreign(i, c); n > 0 {
			i += n
			continue
		}
		_, n, how := fold.At(text[i:])
		if how == fold.Stays {
			if n == 0 {
				_, n = utf8.DecodeRune(text[i:])
			}
			i += n
			continue
		}
		i = f.disguise(i, from)
		from = i
	}
}

// foreign gives the length of what certainly hides nothing: most of the characters of
// East Asia and India, words of Cyrillic or Greek letters only, and bytes that are no UTF-8.
func (f *finder) foreign(i int, c byte) int {
	text := f.text
	if i+1 == len(text) || text[i+1]>>6 != 2 || c < 0xc2 {
		f.raw = min(f.raw, i)
		return 1
	}
	switch {
	case c == 0xe0 || c > 0xe3 && c < 0xee && c != 0xea, c == 0xe3 && text[i+1] != 0x85 && text[i+1]-0x88 > 7:
		return 3
	case c == 0xe2 && text[i+1] == 0x80 && i+2 < len(text) && text[i+2]-0x93 < 0xa8-0x93: // dashes, quotes, dots
		return 3
	case c == 0xef && text[i+1] == 0xbc && i > 0 && text[i-1] >= utf8.RuneSelf && i+3 < len(text) && text[i+3]-0xe3 < 7:
		return 3 // a comma or the like between characters of East Asia: a row of one
	case c >= 0xd0 && c < 0xd4 || c == 0xce || c == 0xcf:
		j := i
		for j+1 < len(text) && (text[j] >= 0xd0 && text[j] < 0xd4 || text[j] == 0xce || text[j] == 0xcf) && text[j+1]>>6 == 2 {
			j += 2
		}
		if (i == 0 || !isWord(text[i-1])) && (j == len(text) || text[j] < utf8.RuneSelf && !isWord(text[j])) {
			return j - i
		}
	}
	return 0
}

// disguise judges the row of characters around a place, all of which mean ASCII
// and no blank, and returns its end.
func (f *finder) disguise(i, from int) (end int) {
	const (
		before   = 64 // how far it looks back
		shortest = 8  // characters of a row
		accents  = 16 // the same, if it has nothing but letters with marks, and no digit
		secret   = 4  // hidden characters that are a text of their own
		padding  = 64 // invisible ones, with which a few characters are a row
	)
	var seen [fold.Ways]int
	count, words, digits := 0, 0, 0
	plainly := func(c byte) {
		count++
		if isWord(c) {
			words++
		}
		if c-'0' < 10 {
			digits++
		}
	}
	for j := i; j > from && i-j < before && text(f.text[j-1]); j-- {
		plainly(f.text[j-1])
	}
	for end = i; end < len(f.text); {
		if c := f.text[end]; c < utf8.RuneSelf {
			if !text(c) {
				break
			}
			plainly(c)
			end++
			continue
		}
		v, n, how := fold.At(f.text[end:])
		if how == fold.Stays {
			break
		}
		seen[how] += max(1, len(v.S))
		if how != fold.Gone {
			count++
		}
		end += n
	}
	switch {
	case seen[fold.Hidden] >= secret:
	case count < shortest && seen[fold.Gone] < padding:
		return end
	case seen[fold.Compat] > 0 || seen[fold.Looks] > 0 && words > 0:
		f.nearFold(Confusable, i, end)
		return end
	case seen[fold.Gone] > 0 && words > 0 && seen[fold.Accent] == 0:
	case seen[fold.Accent] > 0 && (digits > 0 || count >= accents):
		f.nearFold(Confusable, i, end)
		return end
	default:
		return end
	}
	f.nearFold(Invisible, i, end)
	return end
}

// text tells what may be a character of a secret.
func text(c byte) bool { return c > ' ' && c < 0x7f }

// nearFold is near for the two kinds that are decoded in the same way.
func (f *finder) nearFold(kind Kind, from, to int) {
	if i := len(f.spans) - 1; i >= 0 && f.spans[i].Kind >= Invisible && f.spans[i].Kind <= Confusable {
		kind = max(kind, f.spans[i].Kind)
		if f.spans[i].End >= from-beside {
			f.spans[i].Kind = kind
		}
	}
	f.near(kind, from, to)
}
