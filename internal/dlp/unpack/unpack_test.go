package unpack

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"bottle/internal/dlp/decode"
)

var kinds = []decode.Kind{decode.Gzip, decode.Zlib, decode.Zstd, decode.Bzip2, decode.Base64, decode.PNG}

// stream makes a stream by a number, so that a fuzzer can choose; nil: src begins nothing.
func stream(d *decode.Decoder, n uint8, src []byte) *Stream {
	if i := int(n) % (len(kinds) + 1); i < len(kinds) {
		s, _ := New(d, kinds[i], src)
		return s
	}
	if !IsPack(src) {
		return nil
	}
	return NewPack(d)
}

// feed gives text in pieces of a size, and holds what may go on against what is clean.
func feed(t testing.TB, s *Stream, text []byte, size int) (out []byte, took int, err error) {
	defer s.Close()
	for at := 0; at < len(text) && !s.Ended(); {
		p := text[at:min(len(text), at+size)]
		n, failed := s.Feed(p, at+len(p) == len(text), func(b []byte) error { out = append(out, b...); return nil })
		if n < 0 || n > len(p) || n < len(p) && !s.Ended() && failed == nil {
			t.Fatalf("took %d of %d bytes", n, len(p))
		}
		at, took = at+n, at+n
		for _, clean := range []int64{0, int64(len(out)) / 2, int64(len(out))} {
			if free := s.Free(clean); free < 0 || free > s.Fed() {
				t.Fatalf("%d of %d bytes may go on", free, s.Fed())
			}
		}
		if failed != nil {
			return out, took, failed
		}
	}
	return out, took, nil
}

func gzipped(text []byte) []byte {
	return written(text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

func zlibbed(text []byte) []byte {
	return written(text, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
}

func written(text []byte, to func(io.Writer) io.WriteCloser) []byte {
	var b bytes.Buffer
	w := to(&b)
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

// pack is a pack of a blob, and of one that is a difference to it: two sizes, four bytes
// to copy, and what is put in.
func pack(blob, put string) []byte {
	b := append([]byte(PackMark), 2)
	b = binary.BigEndian.AppendUint32(b, 2)
	object := func(kind byte, size int, before, text []byte) {
		b = append(b, kind<<4|byte(size&15)|0x80, byte(size>>4))
		b = append(append(b, before...), zlibbed(text)...)
	}
	object(3, len(blob), nil, []byte(blob))
	delta := append([]byte{byte(len(blob)), byte(4 + len(put)), 0x90, 4, byte(len(put))}, put...)
	object(byName, len(delta), make([]byte, packName), delta)
	return append(b, make([]byte, 20)...) // its sum
}

// picture is a PNG with its pixels in pieces, two of them empty; nobody looks at the sums.
func picture(pixels []byte) []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(data))), kind...)
		b = append(append(b, data...), "sum."...)
	}
	chunk("IHDR", make([]byte, 13))
	z := zlibbed(pixels)
	for piece := range slices.Chunk(z, len(z)/3+1) {
		chunk("IDAT", piece)
		chunk("IDAT", nil)
	}
	chunk("IEND", nil)
	return b
}

// What comes out is what was put in, whatever the pieces are; of a difference, what it
// puts in.
func TestStreamsInAnyPieces(t *testing.T) {
	d := decode.New()
	text := []byte(strings.Repeat("what goes in comes out; ", 3000))
	for _, c := range []struct {
		name string
		kind uint8
		in   []byte
		want string
	}{
		{"gzip", 0, gzipped(text), string(text)},
		{"zlib", 1, zlibbed(text), string(text)},
		{"base64", 4, []byte(base64.StdEncoding.EncodeToString(text) + "\""), string(text)},
		{"png", 5, picture(text), string(text) + "\x00\n" + string(zlibbed(text)[len(zlibbed(text))-4:])},
		{"pack", 6, pack("a blob of git", "a secret put in"), "a blob of git\x00\na secret put in\x00\n"},
	} {
		for _, size := range []int{1, 7, 4096, len(c.in)} {
			s := stream(d, c.kind, c.in)
			if s == nil {
				t.Fatalf("%s is not followed", c.name)
			}
			out, _, err := feed(t, s, c.in, size)
			if err != nil || string(out) != c.want || !s.Ended() {
				t.Errorf("%s in pieces of %d: %d bytes, %v", c.name, size, len(out), err)
			}
		}
	}
}

// What breaks off is not taken for a whole.
func TestStreamThatIsCut(t *testing.T) {
	d := decode.New()
	for n, in := range map[uint8][]byte{0: gzipped([]byte("a text")), 1: zlibbed([]byte("a text")), 6: pack("a blob of git", "put in"), 5: picture([]byte("a text"))} {
		behind := map[uint8]int{0: 8, 1: 4, 6: 20 + 4, 5: 3*12 + 4}[n] // sums
		if _, _, err := feed(t, stream(d, n, in), in[:len(in)-behind-1], 5); !errors.Is(err, ErrCut) {
			t.Errorf("%s: %v", stream(d, n, in).Name(), err)
		}
	}
}

// Whatever comes: no more is said to be free than was fed, the pieces don't matter, and
// it ends.
func FuzzStream(f *testing.F) {
	for n, in := range [][]byte{gzipped([]byte("a text")), zlibbed([]byte("a text")), {0x28, 0xb5, 0x2f, 0xfd, 4, 0, 1, 0, 0}, []byte("BZh91AY&SY"), []byte("YSB0ZXh0\\nIGE="), pack("a blob", "put in"), picture([]byte("a text"))} {
		f.Add(in, uint8(n), uint8(3))
	}
	d := decode.New()
	f.Fuzz(func(t *testing.T, in []byte, n, size uint8) {
		if len(in) > 4<<10 {
			return
		}
		s := stream(d, n, in)
		if s == nil {
			return
		}
		whole, _, err := feed(t, s, in, max(1, len(in)))
		parts, _, err2 := feed(t, stream(d, n, in), in, int(size)+1)
		if (err == nil) != (err2 == nil) || !bytes.Equal(whole, parts) {
			t.Fatalf("whole %d bytes, %v; in pieces of %d %d bytes, %v", len(whole), err, int(size)+1, len(parts), err2)
		}
	})
}
