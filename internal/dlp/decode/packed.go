package decode

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the history of zstd, and by it the memory. RFC 8878 §3.1.1.1.2 asks
// decoders for 8 MiB.
const maxWindow = 8 << 20

// packed looks for compressed data by its mark. It is called where a byte is not ASCII.
// Of each mark the byte is looked for that is rarest in text.
func (f *finder) packed() {
	f.marks(Gzip, gzipMark, 0x1f)
	f.marks(Zstd, zstdMark, 0xfd)
	f.marks(Zip, zipMark, 0x03)
	f.marks(Bzip2, bzip2Mark, '&')
	f.marks(Zlib, "x\x9c", 0x9c)
	f.marks(Zlib, "x\xda", 0xda)
	f.marks(Zlib, "x\x01", 0x01)
	f.marks(Zlib, "x^", '^')
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
		if string(f.text[start:min(len(f.text), start+len(mark))]) != mark || kind == Zlib && (f.from <= start && start < f.to || !f.isZlib(start)) {
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

// isZlib tells the mark of zlib, which is short, from two characters of a text.
func (f *finder) isZlib(i int) bool {
	near := f.text[i:min(len(f.text), i+24)]
	return isZlib(near) && firstHigh(near) < len(near)
}

// unpack decodes compressed data to its end, to the limit or to the first damage.
func (d *Decoder) unpack(dst, src []byte, s Span, limit int) (out []byte, whole bool, err error) {
	kind, skip, err := payload(s.Kind, src)
	if errors.Is(err, io.ErrUnexpectedEOF) && s.Cut || errors.Is(err, errOpaque) {
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

// errOpaque: compressed in a way that we do not read, or encrypted.
var errOpaque = errors.New("cannot be read")

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
		skip, err = gzipHeader(src)
		return Deflate, skip, err
	case Zlib:
		return Deflate, min(2, len(src)), nil
	case Zip:
		return zipHeader(src)
	}
	return kind, 0, nil
}

// gzipHeader gives the length of a header by RFC 1952 §2.3.
func gzipHeader(src []byte) (int, error) {
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

// zipHeader reads a local file header. What is stored as it is needs no decoding.
func zipHeader(src []byte) (as Kind, skip int, err error) {
	const header, stored, deflated = 30, 0, 8
	if len(src) < header {
		return None, 0, io.ErrUnexpectedEOF
	}
	version, flags, method := binary.LittleEndian.Uint16(src[4:])&0xff, src[6], binary.LittleEndian.Uint16(src[8:])
	skip = header + int(binary.LittleEndian.Uint16(src[26:])) + int(binary.LittleEndian.Uint16(src[28:]))
	switch {
	case version > 63 || method > 99:
		return None, 0, ErrNot
	case flags&1 != 0: // encrypted
		return None, 0, errOpaque
	case method == stored:
		return None, 0, ErrNot
	case method != deflated:
		return None, 0, errOpaque
	case skip > len(src):
		return None, 0, io.ErrUnexpectedEOF
	}
	return Deflate, skip, nil
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
