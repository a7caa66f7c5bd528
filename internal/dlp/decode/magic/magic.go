// Package magic tells by its first bytes what is compressed, and reads the headers
// that stand before it.
package magic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/bits"
)

// The marks of what package decode reads.
const (
	Gzip  = "\x1f\x8b\x08"
	Zstd  = "\x28\xb5\x2f\xfd"
	Zip   = "PK\x03\x04"
	Bzip2 = "1AY&SY" // of the first block; it stands after four bytes of header
)

// The marks of what nobody here reads, and that are long enough to be looked for
// anywhere.
const (
	XZ       = "\xfd7zXZ\x00"       // The .xz File Format §2.1.1.1
	SevenZip = "7z\xbc\xaf\x27\x1c" // 7zFormat.txt
	Rar      = "Rar!\x1a\x07"       // both formats, 4 and 5
	LZ4      = "\x04\x22\x4d\x18"   // LZ4 Frame Format
	Lzip     = "LZIP\x01"           // the manual of lzip, "File format"
	compress = "\x1f\x9d"           // of ncompress
)

var (
	// ErrNot says that a header is none.
	ErrNot = errors.New("no such header")
	// ErrOpaque says that something is compressed in a way that we do not read, or
	// encrypted.
	ErrOpaque = errors.New("cannot be read")
)

// Zlib reports whether b begins as RFC 1950 §2.2 says, with any window, a checksum and
// no dictionary, and goes on as a block of deflate can begin. Of random bytes one in
// some 3,500 does; of the rest of b the more is looked at the more of it there is, up
// to some 300 bytes.
func Zlib(b []byte) bool {
	return len(b) > 2 && b[0]&0x8f == 8 && (uint(b[0])<<8|uint(b[1]))%31 == 0 && b[1]&0x20 == 0 && block(b[2:])
}

// block reports whether b may begin a block (RFC 1951 §3.2.3).
func block(b []byte) bool {
	switch b[0] >> 1 & 3 {
	case 0: // stored: a length, and its complement
		return len(b) < 5 || b[1]^b[3] == 0xff && b[2]^b[4] == 0xff
	case 1:
		return true
	case 2:
		return b[0]>>3 < 30 && (len(b) < 2 || b[1]&31 < 30) && (len(b) < 10 || isCode(b) && ends(b))
	}
	return false
}

// isCode reports whether the lengths at the beginning of a block are those of a code
// that is whole, or of one of a single word (RFC 1951 §3.2.7).
func isCode(b []byte) bool {
	const whole, longest = 1 << 7, 7
	sum, lengths := 0, binary.LittleEndian.Uint64(b[2:])>>1
	for range 4 + (b[1]>>5 | b[2]&1<<3) {
		if n := lengths & longest; n > 0 {
			sum += whole >> n
		}
		lengths >>= 3
	}
	return sum == whole || sum == whole/2
}

// ends reports whether the code that b begins with (RFC 1951 §3.2.7) is whole, and has a word
// for the end of the block. Of another zlib refuses it, but not all do: in machine code and
// random bytes a block with one bit for each of two letters, or with no word at all, goes on for
// megabytes. Where b ends in the code it is true.
func ends(b []byte) bool {
	const endOfBlock, symbols, whole = 256, 19, 1 << 15
	order := [symbols]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	var length [symbols]uint8
	r := bitReader{b: b, at: 17}
	for i := range 4 + (b[1]>>5 | b[2]&1<<3) {
		length[order[i]] = uint8(r.take(3))
	}
	sum, last, ended := 0, -1, false
	for n, all := 0, 257+int(b[0]>>3); n < all; {
		symbol := r.symbol(&length)
		times := 1
		switch {
		case symbol < 0:
		case symbol == 16: // the last length again; there is none at the beginning
			symbol, times = last, 3+r.take(2)
		case symbol == 17:
			symbol, times = 0, 3+r.take(3)
		case symbol == 18:
			symbol, times = 0, 11+r.take(7)
		}
		if r.over() {
			return true
		}
		if symbol < 0 {
			return false
		}
		last = symbol
		if symbol > 0 { // what goes on behind the letters are lengths of distances
			sum += min(times, all-n) * (whole >> symbol)
			ended = ended || n <= endOfBlock && endOfBlock < n+times
		}
		n += times
	}
	return ended && (sum == whole || sum == whole/2)
}

// bitReader reads bits, the lowest first, and words of a code, the highest first.
type bitReader struct {
	b  []byte
	at int // in bits
}

func (r *bitReader) over() bool { return r.at > 8*len(r.b) }

func (r *bitReader) take(bits int) (n int) {
	for i := range bits {
		if at := r.at; at < 8*len(r.b) {
			n |= int(r.b[at/8]>>(at%8)&1) << i
		}
		r.at++
	}
	return n
}

// symbol reads a word of the code with those lengths; negative: there is none.
func (r *bitReader) symbol(length *[19]uint8) int {
	const longest = 7
	word, first := 0, 0
	for size := uint8(1); size <= longest; size++ {
		word = word<<1 | r.take(1)
		for symbol, n := range length {
			if n == size {
				if word == first {
					return symbol
				}
				first++
			}
		}
		first <<= 1
	}
	return -1
}

// ZstdFrame reports whether b, which begins with the mark of zstd, may be a frame: its header
// and that of its first block are as RFC 8878 §3.1.1 says. Of random bytes behind a mark one
// in some 40 is. Where b ends in them it is true.
func ZstdFrame(b []byte) bool {
	const largest = 128 << 10 // of a block
	if len(b) < 5 {
		return true
	}
	flags, at := b[4], 5
	if flags&8 != 0 { // reserved, and refused by decoders
		return false
	}
	single := flags >> 5 & 1
	at += int(1 - single)                        // the window
	at += [4]int{0, 1, 2, 4}[flags&3]            // the dictionary's name
	at += [4]int{int(single), 2, 4, 8}[flags>>6] // the size of what is in it
	if len(b) < at+3 {
		return true
	}
	block := uint(b[at]) | uint(b[at+1])<<8 | uint(b[at+2])<<16
	return block>>1&3 != 3 && block>>3 <= largest
}

// Unread reports whether b begins something compressed that is not read here: xz, 7z,
// rar, lz4 or lzip. Programs that read such hold the marks, so what follows is checked,
// too: up to 32 bytes of b.
func Unread(b []byte) bool {
	if len(b) < 12 {
		return false
	}
	// What a sum is taken of is copied: else b would have to be on the heap in each call.
	sum := binary.LittleEndian.Uint32(b[8:])
	switch string(b[:4]) {
	case XZ[:4]:
		return string(b[4:6]) == XZ[4:] && crc32.ChecksumIEEE(bytes.Clone(b[6:8])) == sum
	case SevenZip[:4]:
		return string(b[4:6]) == SevenZip[4:] && len(b) >= 32 && crc32.ChecksumIEEE(bytes.Clone(b[12:32])) == sum
	case Rar[:4]:
		return string(b[4:6]) == Rar[4:] && (b[6] == 0 || b[6] == 1 && b[7] == 0)
	case LZ4: // version 1, and no bit that is not used yet
		return b[4]>>6 == 1 && b[4]&2 == 0 && b[5]&0x8f == 0 && b[5] >= 0x40
	case Lzip[:4]: // a size of 2^12 to 2^29, and the first byte of the range coder
		return b[4] == 1 && b[5]&31 >= 12 && b[5]&31 <= 29 && b[6] == 0
	}
	return false
}

// UnreadFirst is Unread for the beginning of a text, where shorter marks are enough, too:
// those of compress and of lzma.
func UnreadFirst(b []byte) bool {
	return len(b) >= 18 && (lzw(b) || lzma(b)) || Unread(b)
}

// lzw tells what compress writes: a number of bits, and eight words of nine bits, none of
// which may stand for more than is known when it comes.
func lzw(b []byte) bool {
	if string(b[:2]) != compress || b[2]&0x60 != 0 || b[2]&31 < 9 || b[2]&31 > 16 {
		return false
	}
	for i := range 8 {
		if int(binary.LittleEndian.Uint16(b[3+i:])>>i&0x1ff) > 256+i {
			return false
		}
	}
	return true
}

// lzma tells the header of the old format of xz: properties, a window of 2^n or
// 2^n+2^(n-1), the text's size, if that is known, and the first byte of the range coder.
func lzma(b []byte) bool {
	const properties, unknown, most = 9 * 5 * 5, 1<<64 - 1, 1 << 40
	window, size := binary.LittleEndian.Uint32(b[1:]), binary.LittleEndian.Uint64(b[5:])
	high := uint32(1) << (bits.Len32(window|1) - 1)
	return b[0] < properties && window >= 1<<12 && (window == high || window == high|high>>1) &&
		(size == unknown || size > 0 && size < most) && b[13] == 0
}

// Begins reports whether b, of which a few bytes are enough, may begin something
// compressed that has a short mark, one that is not read here, or one of the usual in
// which each byte was taken for a character (ISO 8859-1) and written in UTF-8.
func Begins(b []byte) bool {
	if Zlib(b) || bytes.HasPrefix(b, []byte(compress)) || bytes.HasPrefix(b, []byte("\x5d\x00\x00")) {
		return true
	}
	for _, mark := range [...]string{XZ, SevenZip, Rar, LZ4, Lzip, "\x1f\u008b", "(µ/ý", "x\u009c", "xÚ"} {
		if len(b) >= len(mark) && string(b[:len(mark)]) == mark {
			return true
		}
	}
	return false
}

// Marked reports whether something compressed begins anywhere in b, or such with a
// short mark at its beginning.
func Marked(b []byte) bool {
	return Begins(b) || bytes.Contains(b, []byte(Gzip)) || bytes.Contains(b, []byte(Zstd)) ||
		bytes.Contains(b, []byte(Zip)) || bytes.Contains(b, []byte(Bzip2))
}

// GzipHeader gives the length of a header by RFC 1952 §2.3. It fails with ErrNot, or
// with io.ErrUnexpectedEOF where src ends in the header. Names may be of any length.
func GzipHeader(src []byte) (int, error) {
	const extra, name, comment, sum, reserved = 4, 8, 16, 2, 0xe0
	if len(src) < 10 {
		return 0, io.ErrUnexpectedEOF
	}
	flags, i := src[3], 10
	if flags&reserved != 0 {
		return 0, ErrNot
	}
	if flags&extra != 0 {
		if len(src) < i+2 {
			return 0, io.ErrUnexpectedEOF
		}
		i += 2 + int(binary.LittleEndian.Uint16(src[i:]))
	}
	for _, flag := range []byte{name, comment} {
		if flags&flag == 0 {
			continue
		}
		n := bytes.IndexByte(src[min(i, len(src)):], 0)
		if n < 0 {
			return 0, io.ErrUnexpectedEOF
		}
		i += n + 1
	}
	if flags&sum != 0 {
		i += 2
	}
	if i > len(src) {
		return 0, io.ErrUnexpectedEOF
	}
	return i, nil
}

// ZipHeader gives the length of a local file header (APPNOTE 4.3.7) of an entry that is
// deflated. What is stored as it is needs no decoding, and fails with ErrNot; what is
// packed otherwise, or encrypted, with ErrOpaque; and io.ErrUnexpectedEOF says that src
// ends in the header.
func ZipHeader(src []byte) (skip int, err error) {
	const header, stored, deflated = 30, 0, 8
	if len(src) < header {
		return 0, io.ErrUnexpectedEOF
	}
	version, flags, method := binary.LittleEndian.Uint16(src[4:])&0xff, src[6], binary.LittleEndian.Uint16(src[8:])
	skip = header + int(binary.LittleEndian.Uint16(src[26:])) + int(binary.LittleEndian.Uint16(src[28:]))
	switch {
	case version > 63 || method > 99:
		return 0, ErrNot
	case flags&1 != 0: // encrypted
		return 0, ErrOpaque
	case method == stored:
		return 0, ErrNot
	case method != deflated:
		return 0, ErrOpaque
	case skip > len(src):
		return 0, io.ErrUnexpectedEOF
	}
	return skip, nil
}
