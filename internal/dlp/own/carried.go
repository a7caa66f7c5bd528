package own

import "bytes"

// The limits of what a part of a URL may carry in encoded form, in characters. Real
// names end below: the longest of cloud and content networks' labels is a hash of 40, an
// identifier of a document has 44, a digest 64, one of SHA-512 128 in hex. Above, there
// is room for a key: 48 bytes are 64 characters of base64, 77 of base32, 96 of hex.
// Of 101,919 different URLs in the Go source, the module cache, Debian's /usr/share and
// npm's modules, four are beyond them: a picture in a query, two tokens, and one name of a
// file of 300 characters.
//
// It is a judgement by frequencies and proves nothing of one text. Of 20,000 draws each
// (TestRates), so many in 100 are seen in a host name, in labels of 63:
//
//	bytes      32      40      48      56      64
//	base64url   0.00   55.48   83.47   99.64  100.00
//	base32     99.62   99.81   99.94  100.00  100.00
//	hex       100.00  100.00  100.00  100.00  100.00
//
// A path or a value of a query has room for more than a key: up to 56 bytes of base64url
// and of base32, and 48 of hex, none is seen, nor are 64 of base64url, nor 64 of hex, which are
// a digest of SHA-512 to us; 96 always are. Who splits a text over many requests, or writes
// it as words, is not seen at all: that is for the list of hosts to stop.
const (
	labelLimit   = 47  // in one label of a host name
	hostLimit    = 63  // in all labels of a host name together
	segmentLimit = 100 // in one segment of a path, or in one value of a query
	pathLimit    = 200 // in all segments of a path together
)

// HostLabel tells whether one label of a host name carries data: 48 or more characters
// of base32, base64 or hex. Words and slugs of any length, hashes of up to 40 digits,
// UUIDs and punycode carry none.
func HostLabel(label []byte) bool {
	var t tally
	t.label(label, 12)
	return t.n > labelLimit && t.encoded()
}

// Host tells whether a host name carries data, in one label or spread over many: those
// of 8 and more characters are judged together, as they would be decoded.
func Host(name []byte) bool {
	var all tally
	for len(name) > 0 {
		var label []byte
		label, name, _ = bytes.Cut(name, []byte("."))
		if HostLabel(label) {
			return true
		}
		if len(label) >= 8 {
			all.label(label, 2)
		}
	}
	return all.n > hostLimit && all.encoded()
}

// label adds the pieces of a label of a host name, but for words and numbers between
// hyphens, of which slugs are made.
func (t *tally) label(label []byte, least int) {
	if international(label) {
		return
	}
	for len(label) > 0 {
		var piece []byte
		if i := bytes.IndexAny(label, "-_"); i >= 0 {
			piece, label = label[:i], label[i+1:]
		} else {
			piece, label = label, nil
		}
		if len(piece) >= least && (len(piece) > 16 || !plain(piece)) {
			t.add(piece)
		}
	}
}

// plain tells whether a piece is a word or a number: its kind of character never changes.
func plain(piece []byte) bool {
	var t tally
	t.add(piece)
	return t.changes == 0
}

// international tells whether a label is punycode (RFC 5891) of a usual length: its
// letters and digits are mixed, too. A longer one is judged like all.
func international(label []byte) bool {
	return len(label) > 4 && bytes.EqualFold(label[:4], []byte("xn--")) && len(label) <= 40
}

// PathSegment tells whether one segment of a path, as it is sent, carries data: more
// than 100 characters in encoded form. A digest of SHA-512 in hex is let pass, and so is
// text that is percent-encoded, whose bytes the scanner sees decoded.
func PathSegment(seg []byte) bool {
	return carried(seg) > segmentLimit && !digest(seg)
}

// Path tells whether a path, as it is sent, carries data, in one segment or in many.
func Path(path []byte) bool {
	sum := 0
	for len(path) > 0 {
		var seg []byte
		seg, path, _ = bytes.Cut(path, []byte("/"))
		if digest(seg) {
			continue
		}
		n := carried(seg)
		if n > segmentLimit {
			return true
		}
		sum += n
	}
	return sum > pathLimit
}

// digest tells whether a text is 128 digits of hex, perhaps with the name of its hash.
func digest(b []byte) bool {
	if i := bytes.LastIndexByte(b, ':'); i > 0 && i < 8 {
		b = b[i+1:]
	}
	return len(b) == 128 && onlyHex(b)
}

func onlyHex(b []byte) bool {
	for _, c := range b {
		if !('0' <= c && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// carried counts the characters of a segment or a value that look encoded, judged
// together. Everything but letters and digits, also a byte that is percent-encoded, parts
// pieces; words and numbers between such marks, of which slugs are made, do not count.
func carried(b []byte) int {
	var t tally
	for i := 0; i < len(b); {
		start := i
		for i < len(b) && alphanumeric(b[i]) {
			i++
		}
		if piece := b[start:i]; len(piece) >= 4 && (len(piece) > 16 || !plain(piece)) {
			t.add(piece)
		}
		if i < len(b) && b[i] == '%' {
			i += 2
		}
		i++
	}
	if !t.encoded() {
		return 0
	}
	return t.n
}

// tally counts letters and digits, and how often the kind of character changes. A
// capital that begins a word is one change, so that names writtenLikeThis have few.
type tally struct{ n, digits, kinds, changes int }

// The kinds of characters: a byte's column of 32 in ASCII. Where a piece has others
// than letters and digits, they count as one of these.
const (
	digit   = 1
	capital = 2
	small   = 3

	columns = 0x33333211 // of each column, its kind, in four bits

	// turns has a bit for every three neighbours that end with a change, at the number
	// 16*first + 4*second + third; no neighbour is 0.
	turns = 0x62c06ac062c062c0
)

// add reads most of all that is sent in URLs, so it has no branches: in what looks
// drawn, none of them could be foreseen.
func (t *tally) add(piece []byte) {
	t.n += len(piece)
	last := uint64(0)
	for _, c := range piece {
		k := uint64(columns) >> (c >> 5 * 4) & 3
		t.kinds |= 1 << k
		t.digits += int(k &^ (k >> 1) & 1)
		last = last<<2 | k
		t.changes += int(uint64(turns) >> (last & 63) & 1)
	}
}

// encoded: random base64 changes at every second character, hex and base32 at every
// third or fourth; words hardly ever. Digits alone are a number.
func (t *tally) encoded() bool {
	if t.kinds>>small&1 != 0 && t.kinds>>capital&1 != 0 {
		return t.changes*10 >= t.n*3
	}
	return t.digits*20 >= t.n && t.digits < t.n && t.changes*10 >= t.n
}
