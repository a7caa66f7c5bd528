package decode

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"bottle/internal/dlp/decode/inflate"
	"bottle/internal/dlp/decode/magic"
	"bottle/internal/dlp/decode/png"
)

// packed looks for compressed data by its mark. It is called where a byte is not ASCII,
// behind unicode. Of each mark the byte is looked for that is rarest in text.
func (f *finder) packed() {
	f.marks(Gzip, magic.Gzip, 0x1f)
	f.marks(Zstd, magic.Zstd, 0xfd)
	f.marks(Zip, magic.Zip, 0x03)
	f.marks(Bzip2, magic.Bzip2, '&')
	f.pictures()
	f.marks(Unread, magic.XZ, 0xfd)
	f.marks(Unread, magic.SevenZip, 0x1c)
	f.marks(Unread, magic.Rar, 0x1a)
	f.marks(Unread, magic.LZ4, 0x18)
	f.marks(Unread, magic.Lzip, 0x01)
	if f.raw < len(f.text) {
		f.zlibs(max(0, f.raw-64)) // what is compressed soon has bytes that are no UTF-8
	}
}

// marks adds a span from each mark to the end: only the decompressor knows where the data
// ends. It looks for one byte of the mark.
func (f *finder) marks(kind Kind, mark string, rare byte) {
	before := bytes.IndexByte([]byte(mark), rare)
	for i := before; i < len(f.text); i++ {
		j := bytes.IndexByte(f.text[i:], rare)
		if j < 0 {
			return
		}
		i += j
		start := i - before
		if string(f.text[start:min(len(f.text), start+len(mark))]) != mark || kind == Unread && !magic.Unread(f.text[start:]) || kind == Zstd && !magic.ZstdFrame(f.text[start:]) {
			continue
		}
		if kind == Bzip2 {
			if start -= 4; start < 0 {
				continue
			}
		}
		if !f.add(kind, start, len(f.text)) {
			return
		}
	}
}

// pictures adds PNGs. Where one ends is known but for such as stand as they are within
// another one: so all is gone through once.
func (f *finder) pictures() {
	before, end := len(f.spans), 0
	f.marks(PNG, png.Mark, png.Mark[0])
	for i := before; i < len(f.spans); i++ {
		s := &f.spans[i]
		if s.Start < end {
			continue
		}
		var whole bool
		if end, whole = png.Walk(f.text, s.Start, nil); whole {
			s.End, s.Cut = end, false
		}
	}
}

// Pieces appends to dst where in text, from at on, the pixels of the PNG stand that begins
// there: for [Decoder.FindBut], or to pass over the zlib there that Find gave.
func Pieces(dst []Dark, text []byte, at int) []Dark {
	png.Walk(text, at, &dst)
	return dst
}

// isDark reports whether no zlib is looked for at an offset. It is asked in rising order.
func (f *finder) isDark(at int) bool {
	for len(f.dark) > 0 && int64(at) >= f.dark[0].To {
		f.dark = f.dark[1:]
	}
	return len(f.dark) > 0 && int64(at) >= f.dark[0].From
}

// zlibs looks for the mark of zlib, which is one of some thirty pairs of bytes, from an
// offset on, and only where a byte that is not ASCII follows soon.
func (f *finder) zlibs(i int) {
	const soon = 24
	text := f.text
	for ; i+2 < len(text); i += 8 {
		m := uint64(tops) >> (8 * max(0, i+8-len(text)))
		if i+8 <= len(text) {
			w := binary.LittleEndian.Uint64(text[i:])&(ones*0x8f) ^ ones*8 // 0 where a byte is 0x08, 0x18 to 0x78
			m = (w - ones) &^ w & tops
		}
		for ; m != 0; m &= m - 1 {
			at := i + bits.TrailingZeros64(m)/8
			if !magic.Zlib(text[at:]) || f.isDark(at) {
				continue
			}
			if near := text[at:min(len(text), at+soon)]; firstHigh(near) < len(near) && !f.add(Zlib, at, len(text)) {
				return
			}
		}
	}
}

// unpack decodes compressed data to its end, to the limit or to the first damage.
func (d *Decoder) unpack(dst, src []byte, s Span, limit int) (out []byte, whole bool, err error) {
	kind, skip, err := payload(s.Kind, src)
	if errors.Is(err, io.ErrUnexpectedEOF) && s.Cut || errors.Is(err, magic.ErrOpaque) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, ErrNot
	}
	u, err := d.take(kind, bytes.NewReader(src[skip:]))
	if err != nil {
		return dst, false, ErrNot
	}
	out, err = fill(dst, u, limit)
	d.give(kind, u)
	switch {
	case err == nil: // more would come
		return out, false, nil
	case errors.Is(err, io.EOF):
		return out, true, nil
	case errors.Is(err, io.ErrUnexpectedEOF) && s.Cut && (s.Kind != Zlib || len(out)-len(dst) >= minText):
		return out, false, nil
	case Opaque(err):
		return out, false, nil
	case len(out)-len(dst) < minText:
		return dst, false, ErrNot
	case Damaged(err):
		return out, !s.Cut, err
	}
	return out, true, nil
}

// fill reads until r fails or limit bytes are there; err is nil if there is more.
func fill(dst []byte, r io.Reader, limit int) ([]byte, error) {
	const step = 16 << 10
	for end := len(dst) + limit; ; {
		if len(dst) == end {
			var one [1]byte
			n, err := io.ReadFull(r, one[:])
			if n > 0 {
				err = nil
			}
			return dst, err
		}
		dst = grow(dst, step, end-len(dst))
		n, err := r.Read(dst[len(dst):min(cap(dst), end)])
		dst = dst[:len(dst)+n]
		if err != nil {
			return dst, err
		}
	}
}

// Header gives what kind of stream the payload of something compressed is, which src
// begins with, and where in src that begins: [Deflate], [Zstd] or [Bzip2]. It fails
// where src is none, or cannot be read further.
func Header(kind Kind, src []byte) (as Kind, skip int, err error) { return payload(kind, src) }

// Opaque reports whether that error of a decompressor says that others may be able to
// read on.
func Opaque(err error) bool {
	return inflate.Opaque(err) || errors.Is(err, png.ErrMixed)
}

// payload passes over a header. The headers are read here rather than by the
// libraries, whose limits for names are narrower than those of other programs.
func payload(kind Kind, src []byte) (as Kind, skip int, err error) {
	switch kind {
	case Gzip:
		skip, err = magic.GzipHeader(src)
		return Deflate, skip, err
	case Zlib:
		return Deflate, min(2, len(src)), nil
	case Zip:
		skip, err = magic.ZipHeader(src)
		return Deflate, skip, err
	case PNG:
		return PNG, 0, png.Check(src)
	case Unread:
		return None, 0, magic.ErrOpaque
	}
	return kind, 0, nil
}

// picture reads the pixels of a PNG.
type picture struct {
	png.Reader
	src *bufio.Reader
}

// take gives what reads a kind; give takes it back.
func (d *Decoder) take(kind Kind, r io.Reader) (io.Reader, error) {
	if kind != PNG {
		return d.pool.Take(format(kind), r)
	}
	p, ok := d.pictures.Get().(*picture)
	if !ok {
		p = &picture{src: bufio.NewReaderSize(nil, 4<<10)}
	}
	p.src.Reset(r)
	p.Reset(p.src, d.deflated, nil)
	return p, nil
}

func (d *Decoder) give(kind Kind, r io.Reader) {
	p, ok := r.(*picture)
	if !ok {
		d.pool.Give(format(kind), r)
		return
	}
	p.Close()
	p.src.Reset(nil)
	d.pictures.Put(p)
}

func (d *Decoder) deflated(r io.Reader) (io.ReadCloser, error) { return d.Inflate(Deflate, r) }

// Pixels gives a reader of the pixels of a PNG that src begins with, as [Decoder.Decode]
// reads them. idle, if not nil, is called where it has used up all that it says it has.
// Close gives the memory back.
func (d *Decoder) Pixels(src *bufio.Reader, idle func()) *png.Reader {
	r := &png.Reader{}
	r.Reset(src, d.deflated, idle)
	return r
}

func format(k Kind) inflate.Format {
	return [kinds]inflate.Format{Gzip: inflate.Gzip, Zlib: inflate.Zlib, Deflate: inflate.Deflate,
		Zstd: inflate.Zstd, Brotli: inflate.Brotli, Bzip2: inflate.Bzip2}[k]
}
