// Package inflate keeps the decompressors, which are dear to make.
package inflate

import (
	"compress/bzip2"
	"errors"
	"io"
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
}

// Opaque reports whether that error of a decompressor says that others may be able to
// read on.
func Opaque(err error) bool {
	return errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrUnknownDictionary)
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
	used := p.pools[f].Get()
	if used == nil {
		return fresh(f, r)
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
