// Package png reads the chunks of a PNG (W3C, PNG Specification, third edition) for what
// is compressed in its pixels. Those stand in one stream of zlib that is cut into pieces,
// with a length, a type and a sum between them:
//
//	89 50 4e 47 0d 0a 1a 0a │ IHDR │ tEXt │ IDAT 78 9c ···· │ IDAT ···· │ IDAT ···· │ IEND │ what follows
//	                                        └──────── one stream ──────────┘
//
// Nothing is said of all other chunks and of what follows the last one: they stand in the
// text itself, where they are looked at.
package png

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// Mark begins a PNG (§5.2).
const Mark = "\x89PNG\r\n\x1a\n"

const (
	chunkHead = 8 // length and type (§5.3)
	chunkSum  = 4
	sequence  = 4 // numbers a piece of a frame, before its data
	longest   = 1<<31 - 1
)

// Types of chunks.
const (
	pixels  = "IDAT"
	frame   = "fdAT" // pixels of a further frame (§11.3.6.3)
	control = "fcTL" // a further frame begins (§11.3.6.2)
	last    = "IEND"
	header  = "IHDR"
	apples  = "CgBI" // stands first where a tool of Apple's left out the header of zlib
)

// errNone says that something is no PNG.
var errNone = errors.New("no PNG")

// Check fails where b does not begin a PNG, with the mark and a first chunk as each has.
// Where b ends in these it fails with io.ErrUnexpectedEOF.
func Check(b []byte) error {
	if len(b) < len(Mark)+chunkHead {
		return io.ErrUnexpectedEOF
	}
	n, kind, _ := chunk([chunkHead]byte(b[len(Mark):]))
	if bytes.HasPrefix(b, []byte(Mark)) && (kind == header && n == 13 || kind == apples && n == 4) {
		return nil
	}
	return errNone
}

// chunk reads what stands before a chunk's data; ok is false where no chunk is.
func chunk(head [chunkHead]byte) (length int64, kind string, ok bool) {
	length = int64(binary.BigEndian.Uint32(head[:]))
	for _, c := range head[4:] {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return 0, "", false
		}
	}
	switch string(head[4:]) { // constants, so that nothing is allocated
	case pixels:
		kind = pixels
	case frame:
		kind = frame
	case control:
		kind = control
	case last:
		kind = last
	case header:
		kind = header
	case apples:
		kind = apples
	}
	return length, kind, length <= longest
}

// Run is a part of a text that holds nothing but pieces of compressed pixels, and what
// stands between those.
type Run struct{ From, To int64 }

// runs notes pieces, and joins those that follow each other.
func runs(to []Run, from, end int64) []Run {
	if n := len(to); n > 0 && from-to[n-1].To <= chunkSum+chunkHead+sequence {
		to[n-1].To = end
		return to
	}
	return append(to, Run{from, end})
}

// Walk gives where in text the PNG ends that begins at an offset, and whether its end is in
// the text. To noted, if not nil, it appends where its pixels stand. It takes a step for
// each chunk.
func Walk(text []byte, at int, noted *[]Run) (end int, whole bool) {
	if Check(text[at:]) != nil {
		return at, false
	}
	var mine []Run // nothing is joined to what is of another
	if noted != nil {
		mine = (*noted)[len(*noted):]
		defer func() { *noted = append(*noted, mine...) }()
	}
	for at += len(Mark); len(text)-at >= chunkHead; {
		n, kind, ok := chunk([chunkHead]byte(text[at:]))
		if !ok {
			return at, true
		}
		at += chunkHead
		stop := at + int(min(n, int64(len(text)-at)))
		if from := at; noted != nil && (kind == pixels || kind == frame) {
			if kind == frame {
				from = min(at+sequence, stop)
			}
			mine = runs(mine, int64(from), int64(stop))
		}
		if int64(len(text)-at) < n+chunkSum {
			break
		}
		if at = stop + chunkSum; kind == last {
			return at, true
		}
	}
	return len(text), false
}
