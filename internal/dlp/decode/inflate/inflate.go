// Package inflate keeps the decompressors, which are dear to make.
package inflate

import (
	"compress/bzip2"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Format is a format of compressed data.
type Format uint8

// The formats. The zero value is none of them.
const (
	None    Format = iota
	Gzip           // RFC 1952
	Zlib           // RFC 1950
	Deflate        // RFC 1951
	Zstd           // RFC 8878
	Brotli         // RFC 7932
	Bzip2
	formats
)

// maxWindow bounds the history of zstd, and by it the memory. RFC 8878 §3.1.1.1.2 asks
// decoders for 8 MiB.
const maxWindow = 8 << 20

// ErrNone says that there is no decompressor of that format.
var ErrNone = errors.New("no format of compressed data")

// Pool keeps used decompressors. The zero value is ready; it is safe for many goroutines.
type Pool struct {
	pools [formats]sync.Pool
	baths sync.Pool // of *bath
}

// Opaque reports whether that error of a decompressor says that others may be able to
// read on.
func Opaque(err error) bool {
	return errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrUnknownDictionary)
}

// A block of Deflate with an empty tree of codes is broken, and the library reads it by what the
// tree before has left: that of another's body. So that the same bytes always give the same, each
// decompressor begins behind a text that is known, in one block with both of its trees.
const (
	washed    = "\x55\xcc\xd9\x09\x80\x40\x0c\x45\xd1\x56\x5e\x09\xee\x5b\x37\x51\x23\x23\xea\x44\x26\x91\xb1\x7c\x05\x11\xf1\xfb\x1e\xae\x39\x86\x51\xbf\xb2\x42\x26\x10\x46\x1e\x64\xdb\x03\xab\x4a\x80\x39\x32\x44\x52\x1c\xca\x23\x28\xdc\xd4\x89\xf2\x23\x8d\x4f\x7b\xc4\xac\x58\xbc\x44\xdf\x21\x49\xb3\xbc\x28\xab\xba\x69\xef\xf2\x1f\x7f\xfc\x1d\x5e"
	washedSum = "\x7a\x8d\x2a\x71"                 // Adler-32, for zlib
	washedEnd = "\x56\x0a\x36\x22\x7b\x00\x00\x00" // CRC-32 and length, for gzip
)

// known is that text as each of the formats has it; empty: the format has no such trees.
func known(f Format) string {
	switch f {
	case Gzip:
		return "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + washed + washedEnd
	case Zlib:
		return "\x78\xda" + washed + washedSum
	case Deflate:
		return washed
	}
	return ""
}

// bath is what a decompressor is washed with.
type bath struct {
	text strings.Reader
	room [256]byte // more than the text has
}

// Take gives a decompressor of what r holds, a used one if there is one. Give takes it
// back. It may fail on a header, or with [ErrNone].
func (p *Pool) Take(f Format, r io.Reader) (io.Reader, error) {
	if f == Bzip2 {
		return bzip2.NewReader(r), nil
	}
	if f == None || f >= formats {
		return nil, ErrNone
	}
	u, _ := p.pools[f].Get().(io.Reader)
	if known := known(f); known != "" {
		var err error
		if u, err = p.wash(f, u, known); err != nil {
			return nil, err
		}
	} else if u == nil {
		return fresh(f, r)
	}
	return u, reset(u, r)
}

// wash has a decompressor read known, a new one if there is none.
func (p *Pool) wash(f Format, u io.Reader, known string) (_ io.Reader, err error) {
	b, _ := p.baths.Get().(*bath)
	if b == nil {
		b = new(bath)
	}
	defer p.baths.Put(b)
	b.text.Reset(known)
	if u == nil {
		u, err = fresh(f, &b.text)
	} else {
		err = reset(u, &b.text)
	}
	for err == nil {
		_, err = u.Read(b.room[:])
	}
	if err != io.EOF {
		return nil, err
	}
	return u, nil
}

func reset(u, r io.Reader) error {
	switch u := u.(type) {
	case *gzip.Reader:
		return u.Reset(r)
	case *zstd.Decoder:
		return u.Reset(r)
	case *brotli.Reader:
		return u.Reset(r)
	case flate.Resetter: // those of flate and zlib
		return u.Reset(r, nil)
	}
	return ErrNone
}

func fresh(f Format, r io.Reader) (io.Reader, error) {
	switch f {
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
	return nil, ErrNone
}

// Give keeps a decompressor for the next one, without what it read from.
func (p *Pool) Give(f Format, u io.Reader) {
	if f == Bzip2 {
		return
	}
	if z, ok := u.(*zstd.Decoder); ok && z.Reset(nil) != nil {
		return
	}
	p.pools[f].Put(u)
}

// Reader gives a reader of what r holds. Its Close gives the decompressor back, and does
// not close r. It fails on damage, and with io.ErrUnexpectedEOF where r ends too early.
func (p *Pool) Reader(f Format, r io.Reader) io.ReadCloser { return &reader{p: p, f: f, r: r} }

type reader struct {
	p   *Pool
	f   Format
	r   io.Reader
	u   io.Reader // made by the first Read: some read a header when they are made
	err error
}

func (i *reader) Read(b []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	if i.u == nil {
		if i.u, i.err = i.p.Take(i.f, i.r); i.err != nil {
			i.u = nil // gzip gives a nil one of its type, and the next to take it would fall over that
			return 0, i.err
		}
	}
	n, err := i.u.Read(b)
	i.err = err
	return n, err
}

func (i *reader) Close() error {
	if u := i.u; u != nil && i.err != io.ErrClosedPipe {
		i.u = nil
		i.p.Give(i.f, u)
	}
	i.err = io.ErrClosedPipe
	return nil
}
