// Package decode finds what in a text may be encoded, and decodes it. It is a filter
// first: it looks at every byte of everything that leaves, so most of it is about
// telling cheaply that nothing is encoded here.
//
// What it does not see, because it would cost more than it is worth: in UTF-16, text
// of characters outside the basic plane alone (tags, mathematical letters), or with such
// between all letters; in base32, text with such between all letters; in base64 and
// base32, UTF-16 with three or more invisible characters between all letters; in lists
// of numbers, text without [minText] bytes of ASCII in a row, numbers in octal or binary,
// and such as stand alone in a line whose end is escaped; zlib, which has two bytes of a
// mark, and what has a mark in bytes that were taken for characters, in digits elsewhere
// than near their beginning; and such bytes without a control of C1 among them, or read
// as Windows-1252.
package decode

import (
	"errors"
	"io"
	"sync"

	"bottle/internal/dlp/decode/alphabet"
	"bottle/internal/dlp/decode/inflate"
	"bottle/internal/dlp/decode/magic"
	"bottle/internal/dlp/decode/png"
)

// Kind is a way to encode bytes.
type Kind uint8

// The kinds. Deflate and Brotli have no mark by which they could be found in a text:
// they are for [Decoder.Inflate] only.
const (
	None       Kind = iota
	Base64          // RFC 4648 §4 and §5, alphabets mixed, padded or not, in lines or not (RFC 2045)
	Base32          // RFC 4648 §6, either case
	Hex             // digits in a row, in groups, or as 0x41
	Bytes           // decimal numbers in a list: [115, 107, 95]
	Percent         // RFC 3986 §2.1, and %u0041 of JavaScript's escape()
	Escape          // backslashes: JSON, JavaScript, C, Markdown
	Entity          // character references of HTML
	Quoted          // quoted-printable, RFC 2045 §6.7
	Latin1          // bytes taken for characters, ISO 8859-1, in UTF-8
	UTF16LE         // text in two bytes a character, low byte first
	UTF16BE         // the same, high byte first
	Invisible       // characters put in that nobody sees, and tag characters (Unicode 16, chapter 23)
	Confusable      // characters that look like others, or are compatible with them (UTS 39, UAX 15)
	Gzip            // RFC 1952
	Zlib            // RFC 1950
	Deflate         // RFC 1951
	Zstd            // RFC 8878
	Brotli          // RFC 7932
	Bzip2
	Zip    // one deflated entry, by its local header (APPNOTE 4.3.7)
	PNG    // the pixels of a picture: what stands in its IDAT and fdAT chunks, joined
	Unread // xz, lzma, 7z, rar, lz4, lzip and compress: known by their marks, and not decoded here
	kinds
)

// String gives the stable word that stands in records.
func (k Kind) String() string {
	words := [kinds]string{
		None: "none", Base64: "base64", Base32: "base32", Hex: "hex", Bytes: "bytes", Percent: "percent", Escape: "escape",
		Entity: "entity", Quoted: "quoted-printable", Latin1: "latin1", UTF16LE: "utf-16le", UTF16BE: "utf-16be", Invisible: "invisible",
		Confusable: "confusable", Gzip: "gzip", Zlib: "zlib", Deflate: "deflate", Zstd: "zstd", Brotli: "brotli",
		Bzip2: "bzip2", Zip: "zip", PNG: "png", Unread: "unread",
	}
	if k >= kinds {
		k = None
	}
	return words[k]
}

// Span is a place that may be encoded: text[Start:End].
type Span struct {
	Kind       Kind
	Cut        bool // it reaches the window's end, or nearly so, and more text follows
	Start, End int
}

// MaxSpans is how many spans one call of Find adds at most. A window of 256 KiB that
// holds more was made to hold more.
const MaxSpans = 4096

// Shortest runs of digits that are looked at, in characters. Less holds no secret.
const (
	minRun  = 20 // of base64: 15 bytes
	minLine = 16 // of each line but the last where digits stand in lines
	minHex  = 24
)

// ErrNot says that a span does not hold what it seemed to: nothing can be decoded.
var ErrNot = errors.New("not encoded so")

// Damaged reports whether an error says that the pixels of a PNG are damaged, so that zlib in
// them may stand for itself.
func Damaged(err error) bool { return errors.Is(err, png.ErrDamaged) }

// Decoder finds and decodes. Make it with New; it is safe for many goroutines.
type Decoder struct {
	lanes    lanes
	built    sync.Once
	pool     inflate.Pool
	pictures sync.Pool // of *picture
}

// New is a decoder; the first look builds its tables, in about 0.1 ms and 5 KiB.
func New() *Decoder {
	return &Decoder{}
}

// Find appends to dst the spans of text that may be encoded, in no order. final says
// that nothing follows text. Spans of different kinds, or of digits read from another
// first digit, may overlap. more says that there were over [MaxSpans]: the caller
// must not take the text for clean. It takes time in proportion to the text.
func (d *Decoder) Find(dst []Span, text []byte, final bool) (spans []Span, more bool) {
	return d.FindBut(dst, text, final, nil)
}

// Dark is a part of a text in which no zlib is looked for.
type Dark = png.Run

// FindBut is Find that looks for no zlib in parts of text, which are in order and do not
// overlap: who calls follows what is compressed there. A mark of two bytes stands in
// compressed data by chance, and before each object of a pack of git.
func (d *Decoder) FindBut(dst []Span, text []byte, final bool, dark []Dark) (spans []Span, more bool) {
	d.built.Do(d.lanes.build)
	f := finder{d: d, text: text, final: final, spans: dst, room: MaxSpans, raw: len(text), dark: dark}
	f.runs()
	f.lists()
	f.percents()
	f.escapes()
	f.entities()
	f.quoted()
	f.escapedToo(len(dst))
	if first := firstHigh(text); first < len(text) {
		f.unicode(first)
		f.latin1(first)
		f.packed()
	}
	if magic.UnreadFirst(text) {
		f.add(Unread, 0, len(text))
	}
	f.wide()
	return f.spans, f.more
}

// finder is one call of Find.
type finder struct {
	d      *Decoder
	text   []byte
	final  bool
	spans  []Span
	room   int // spans that may still be added
	more   bool
	dark   []Dark // here no zlib is looked for
	raw    int    // the first byte that is no UTF-8
	listed int    // up to here lists of numbers were read
}

// add appends one span. It reports whether there was room.
func (f *finder) add(kind Kind, start, end int) bool {
	if f.room == 0 {
		f.more = true
		return false
	}
	f.room--
	f.spans = append(f.spans, Span{Kind: kind, Cut: !f.final && kind != Unread && f.mayGoOn(end), Start: start, End: end})
	return true
}

// mayGoOn tells whether nothing but what separates digits or numbers stands between a
// place and the window's end.
func (f *finder) mayGoOn(end int) bool {
	const most = 64
	rest := f.text[end:]
	if len(rest) > most {
		return false
	}
	for _, c := range rest {
		if alphabet.List[c] >= alphabet.NotInList && c != '\\' && c != 'n' && c != 'r' {
			return false
		}
	}
	return true
}

// Decode appends what a span of text holds to dst, at most limit bytes. whole says
// that nothing is missing: the span does not go on past the window's end, the limit
// was not reached, and no bound of ours (such as a decompressor's memory) was met.
// Damaged data counts as whole: nobody gets more out of it than was appended.
// Where even the beginning is damaged it fails with [ErrNot]. An error that says [Damaged]
// comes with all that there is.
func (d *Decoder) Decode(dst, text []byte, s Span, limit int) (out []byte, whole bool, err error) {
	if s.Start < 0 || s.End > len(text) || s.Start > s.End || limit <= 0 || s.Kind >= kinds {
		return dst, false, ErrNot
	}
	src, n := text[s.Start:s.End], len(dst)
	if s.Kind >= Gzip {
		return d.unpack(dst, src, s, limit)
	}
	var full bool
	switch s.Kind {
	case Base64:
		out, full = appendBase64(dst, src, limit)
	case Base32:
		out, full = appendBase32(dst, src, limit)
	case Hex:
		out, full = appendHex(dst, src, limit)
	case Bytes:
		out, full = appendDecimals(dst, src, limit)
	case UTF16LE, UTF16BE:
		out, full = appendWide(dst, src, s.Kind == UTF16BE, limit)
	default:
		out, full = appendInPlace(dst, src, s.Kind, limit)
	}
	if len(out) == n {
		return out, false, ErrNot
	}
	return out, full && !s.Cut, nil
}

// Inflate gives a reader of what r holds compressed, with bounded memory: 8 MiB of
// history for zstd, 16 for brotli. It is for bodies that are compressed as a whole,
// by their Content-Encoding or by their first bytes. The reader fails on damage and on a
// stream that ends too early. Kinds other than Gzip, Zlib, Deflate, Zstd, Brotli and
// Bzip2 fail with [ErrNot]. Close gives the memory back.
func (d *Decoder) Inflate(kind Kind, r io.Reader) (io.ReadCloser, error) {
	switch kind {
	case Gzip, Zlib, Deflate, Zstd, Brotli, Bzip2:
		return d.pool.Reader(format(kind), r), nil
	}
	return nil, ErrNot
}
