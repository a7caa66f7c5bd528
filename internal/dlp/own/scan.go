package own

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync"

	"bottle/internal/dlp/rule"
)

// scanner is what Scan needs: its rules, for the matches to point to, and two tables.
type scanner struct {
	card, iban, seed, wif, stellar, url rule.Rule

	group [256]uint8 // of a byte: 1 if cards and IBANs are made of it, 0 if it may stand between their groups, else 0x80
	ibans [26 * 26]string
	words *dictionary
}

// scan is built at the first use and never changed.
var scan = sync.OnceValue(newScanner)

// Scanned gives the rules that Scan finds, which have neither keywords nor expressions
// but hits and misses like all. The pointers are those in Scan's matches; what they
// point to must not be changed.
func Scanned() []*rule.Rule {
	s := scan()
	return []*rule.Rule{&s.card, &s.iban, &s.seed, &s.wif, &s.stellar, &s.url}
}

// Scan appends to dst what has no keyword: payment cards, IBANs, seed phrases, wallet
// keys, passwords in URLs. It never changes text, allocates only to grow dst, and its
// time is linear in text, whatever the text. Matches of one kind do not overlap. What
// the text's borders cut is not found; the longest thing found is a run of the words of
// seed phrases, the shortest a payment card of 14 digits.
//
// Each kind is longer than a stride, so one look at every stride finds out that there
// is none. Only where that look fails, all bytes around are read.
func Scan(dst []rule.Match, text []byte) []rule.Match {
	s := scan()
	dst = s.groups(dst, text)
	dst = s.runs(dst, text)
	dst = s.seeds(dst, text)
	return s.urls(dst, text)
}

func newScanner() *scanner {
	s := &scanner{words: newDictionary(wordList), ibans: ibanFormats()}
	for c := range s.group {
		switch {
		case '0' <= c && c <= '9' || 'A' <= c && c <= 'Z':
			s.group[c] = 1
		case c == ' ' || c == '-':
			s.group[c] = 0
		default:
			s.group[c] = 0x80
		}
	}
	s.rules()
	return s
}

// found appends one match that is all secret.
func found(dst []rule.Match, r *rule.Rule, start, end int) []rule.Match {
	return append(dst, rule.Match{Rule: r, Start: start, End: end, From: start, To: end})
}

// groupStride: a card has at least 14 bytes and an IBAN 15, so of every 13 bytes, two
// in a row lie within.
const groupStride = 13

// groups finds cards and IBANs.
func (s *scanner) groups(dst []rule.Match, text []byte) []rule.Match {
	seen := 0
	for i := groupStride - 1; i+1 < len(text); i += groupStride {
		if (s.group[text[i]]|s.group[text[i+1]])-1 >= 0x7f || i < seen {
			continue
		}
		// Of the twelve others of a card, the six before the pair or the six after it lie within.
		if i+8 <= len(text) && noGroup(binary.LittleEndian.Uint64(text[i-6:])) != 0 && noGroup(binary.LittleEndian.Uint64(text[i:])) != 0 {
			continue
		}
		lo, hi := s.region(text, seen, i)
		dst = s.judgeRegion(dst, text, lo, hi)
		seen = hi
	}
	return dst
}

// noGroup judges eight bytes. It gives 0 if they may lie in a card or an IBAN: none is
// a control character, a small letter or beyond ASCII, and no two neighbours share the
// column of the space and the hyphen. Much else passes, too; the table tells exactly.
func noGroup(w uint64) uint64 {
	gap := w << 2 &^ (w << 3)
	return (^((w<<1 ^ w<<2) &^ w) | gap&(gap<<8)) & highs
}

// region gives the bytes around i that may belong to one series of groups: never two
// separators in a row.
func (s *scanner) region(text []byte, least, i int) (lo, hi int) {
	lo, hi = i, i
	for lo > least && s.group[text[lo-1]] < 2 && s.group[text[lo-1]]|s.group[text[lo]] != 0 {
		lo--
	}
	for hi++; hi < len(text) && s.group[text[hi]] < 2 && s.group[text[hi]]|s.group[text[hi-1]] != 0; {
		hi++
	}
	return lo, hi
}

// judgeRegion looks at each group's beginning.
func (s *scanner) judgeRegion(dst []rule.Match, text []byte, lo, hi int) []rule.Match {
	for p := lo; p+13 < hi; {
		begins := s.group[text[p]] == 1 && (p == 0 || s.group[text[p-1]] == 0 || !joins(text[p-1]))
		n := 0
		if begins && text[p] <= '9' {
			if n = card(text, p, hi); n > 0 {
				dst = found(dst, &s.card, p, p+n)
			}
		} else if begins {
			if n = s.ibanAt(text, p, hi); n > 0 {
				dst = found(dst, &s.iban, p, p+n)
			}
		}
		if n == 0 { // on to the next group
			n = 1
			for p+n < hi && s.group[text[p+n-1]] != 0 {
				n++
			}
		}
		p += n
	}
	return dst
}

// joins tells whether a byte makes one thing of what stands on its two sides.
func joins(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || '0' <= c && c <= '9' || c >= 0x80 || c == '_' || c == '.' || c == '#' || c == '&' || c == '%' || c == '+' || c == '$' || c == '@'
}

// A seed phrase has at least 12 words of 3 letters, so the words from the first to the
// ninth and the gaps behind them have 36 bytes. Of every 36 bytes, one is among those, and
// behind the word in which it is, there are three others.
const (
	seedStride = 36
	sure       = 3
)

// runStride: the shortest key of a wallet has 51 letters and digits. Of every 40 bytes,
// 12 in a row lie within.
const runStride = 40

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// letters sets the high bit of each byte of w that is an ASCII letter.
func letters(w uint64) uint64 {
	low := (w | 0x20*ones) &^ highs
	return (low + (0x80-'a')*ones) &^ (low + (0x80-'z'-1)*ones) &^ w & highs
}

// digits sets the high bit of each byte of w that is an ASCII digit.
func digits(w uint64) uint64 {
	low := w &^ highs
	return (low + (0x80-'0')*ones) &^ (low + (0x80-'9'-1)*ones) &^ w & highs
}

// seeds finds seed phrases. Behind a word that is in none, another may begin: the next
// look is a stride behind it.
func (s *scanner) seeds(dst []rule.Match, text []byte) []rule.Match {
	seen, i := 0, seedStride-1
	for i+8+window+8 <= len(text) {
		l := letters(binary.LittleEndian.Uint64(text[i:]))
		may, next := s.words.crowd(text, i+bits.TrailingZeros64(^l&highs)/8)
		if next += seedStride - 1; may {
			dst, seen = s.judgeWord(dst, text, i, seen)
			next = i + seedStride
		}
		i = next
	}
	for ; i < len(text); i += seedStride {
		dst, seen = s.judgeWord(dst, text, i, seen)
	}
	return dst
}

// runs finds keys of wallets.
func (s *scanner) runs(dst []rule.Match, text []byte) []rule.Match {
	run := 0
	for i := 0; i+12 <= len(text); i += runStride {
		if w := binary.LittleEndian.Uint64(text[i:]); letters(w)|digits(w) == highs && i >= run && longRun(text, i) {
			dst, run = s.judgeRun(dst, text, i)
		}
	}
	return dst
}

// judgeWord looks at the phrase in which the first word lies that begins after i, if
// that is one of the list, and if another may follow it.
func (s *scanner) judgeWord(dst []rule.Match, text []byte, i, seen int) ([]rule.Match, int) {
	start := i
	for start < len(text) && start-i < 8 && letter(text[start]) {
		start++
	}
	for end := start + maxGap; start < len(text) && start < end && gapByte(text[start]); {
		start++
	}
	if start < seen || start == i || letter(text[start-1]) || !s.words.two(text, start) {
		return dst, seen
	}
	return s.judgePhrase(dst, text, start, seen)
}

// longRun tells whether the twelve bytes at i are letters and digits.
func longRun(text []byte, i int) bool {
	if i+12 > len(text) {
		return false
	}
	v, w := binary.LittleEndian.Uint64(text[i:]), binary.LittleEndian.Uint64(text[i+4:])
	return (letters(v)|digits(v))&(letters(w)|digits(w)) == highs
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// judgeRun looks at the whole run of letters and digits around i.
func (s *scanner) judgeRun(dst []rule.Match, text []byte, i int) ([]rule.Match, int) {
	lo, hi := i, i
	for lo > 0 && i-lo < 64 && alphanumeric(text[lo-1]) {
		lo--
	}
	for hi < len(text) && alphanumeric(text[hi]) {
		hi++
	}
	if n := hi - lo; n < 51 || n > 56 {
		return dst, hi
	}
	switch {
	case wif(text[lo:hi]):
		dst = found(dst, &s.wif, lo, hi)
	case stellar(text[lo:hi]):
		dst = found(dst, &s.stellar, lo, hi)
	}
	return dst, hi
}

func alphanumeric(c byte) bool { return letter(c) || '0' <= c && c <= '9' }

// urls finds user:password@ in URLs (RFC 3986 section 3.2.1), of every scheme.
func (s *scanner) urls(dst []rule.Match, text []byte) []rule.Match {
	for from := 0; ; {
		at := bytes.IndexByte(text[from:], '@')
		if at < 0 {
			return dst
		}
		at += from
		if start := userinfo(text, from, at); start >= 0 {
			if colon := bytes.IndexByte(text[start:at], ':'); colon >= 0 && at+1 < len(text) && hostByte(text[at+1]) {
				if secret := text[start+colon+1 : at]; urlPassword(secret) {
					dst = append(dst, rule.Match{Rule: &s.url, Start: at - len(secret), End: at, From: start, To: at + 1})
				}
			}
		}
		from = at + 1
	}
}

// userinfo gives where the user's name begins, if at is the @ behind one; or -1.
func userinfo(text []byte, least, at int) int {
	for k := at - 1; k >= max(least, at-256); k-- {
		switch c := text[k]; {
		case c == '/':
			if k >= 3 && text[k-1] == '/' && text[k-2] == ':' && alphanumeric(text[k-3]) {
				return k + 1
			}
			return -1
		case c <= ' ', c == '"', c == '\'', c == '`', c == '<', c == '>', c == '\\', c >= 0x7f:
			return -1
		}
	}
	return -1
}

func hostByte(c byte) bool { return alphanumeric(c) || c == '[' || c == '-' || c == '_' }

// urlPassword judges a password as it is when it is no longer percent-encoded. It
// wants a digit, or a length that no example has.
func urlPassword(secret []byte) bool {
	var room [256]byte
	n := 0
	for i := 0; i < len(secret); i++ {
		c := secret[i]
		if c == '%' && i+2 < len(secret) && onlyHex(secret[i+1:i+3]) {
			c = unhex(secret[i+1])<<4 | unhex(secret[i+2])
			i += 2
		}
		room[n] = c
		n++
	}
	plain := room[:n]
	return password(plain) && (!lettersOnly(plain) || n >= 16 || classes(plain) >= 3)
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}
