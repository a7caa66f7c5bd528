package decode

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"bottle/internal/dlp/decode/magic"
)

// maxWindow bounds the history of zstd, and by it the memory. RFC 8878 §3.1.1.1.2 asks
// decoders for 8 MiB.
const maxWindow = 8 << 20

// packed looks for compressed data by its mark. It is called where a byte is not ASCII,
// behind unicode. Of each mark the byte is looked for that is rarest in text.
func (f *finder) packed() {
	f.marks(Gzip, magic.Gzip, 0x1f)
	f.marks(Zstd, magic.Zstd, 0xfd)
	f.marks(Zip, magic.Zip, 0x03)
	f.marks(Bzip2, magic.Bzip2, '&')
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
		if string(f.text[start:min(len(f.text), start+len(mark))]) != mark || kind == Unread && !magic.Unread(f.text[start:]) {
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
			if at < f.to && at >= f.from || !magic.Zlib(text[at:]) {
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
	u, err := d.unpacker(kind, bytes.NewReader(src[skip:]))
	if err != nil {
		return dst, false, ErrNot
	}
	out, err = fill(dst, u, limit)
	d.release(kind, u)
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
	return errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrUnknownDictionary)
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
	case Unread:
		return None, 0, magic.ErrOpaque
	}
	return kind, 0, nil
}

// unpacker gives a decompressor, a used one if there is one.
func (d *Decoder) unpacker(kind Kind, r io.Reader) (io.Reader, error) {
	if kind == Bzip2 {
		return bzip2.NewReader(r), nil
	}
	if kind >= kinds {
		return nil, ErrNot
	}
	used := d.pools[kind].Get()
	if used == nil {
		return newUnpacker(kind, r)
	}
	var err error
	switch u := used.(type) {
	case *gzip.Reader:
		err = u.Reset(r)
	case *zstd.Decoder:
		err = u.Reset(r)
	case *brotli.Reader:
		err = u.Reset(r)
	case flate.Resetter: // those of flate and zlib
		err = u.Reset(r, nil)
	}
	return used.(io.Reader), err
}

func newUnpacker(kind Kind, r io.Reader) (io.Reader, error) {
	switch kind {
	case Gzip:
		return gzip.NewReader(r)
	case Zlib:
		return zlib.NewReader(r)
	case Deflate:
		return flate.NewReader(r), nil
	case Brotli:
		return brotli.NewReader(r), nil
	case Zstd:
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	}
	return nil, ErrNot
}

// release keeps a decompressor for the next one, without what it read from.
func (d *Decoder) release(kind Kind, u io.Reader) {
	if kind == Bzip2 {
		return
	}
	if z, ok := u.(*zstd.Decoder); ok && z.Reset(nil) != nil {
		return
	}
	d.pools[kind].Put(u)
}

// inflater is a reader of a compressed stream.
type inflater struct {
	d    *Decoder
	kind Kind
	r    io.Reader
	u    io.Reader // made by the first Read: some read a header when they are made
	err  error
}

func (i *inflater) Read(p []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	if i.u == nil {
		if i.u, i.err = i.d.unpacker(i.kind, i.r); i.err != nil {
			i.u = nil // gzip gives a nil one of its type, and the next to take it would fall over that
			return 0, i.err
		}
	}
	n, err := i.u.Read(p)
	i.err = err
	return n, err
}

// Close gives the decompressor back. It does not close what it reads from.
func (i *inflater) Close() error {
	if u := i.u; u != nil && i.err != io.ErrClosedPipe {
		i.u = nil
		i.d.release(i.kind, u)
	}
	i.err = io.ErrClosedPipe
	return nil
}
