package png

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func file(chunks ...[]byte) []byte {
	return slices.Concat([]byte(Mark), one("IHDR", make([]byte, 13)), slices.Concat(chunks...), one("IEND", nil))
}

func one(kind string, data []byte) []byte {
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), kind...)
	return append(append(out, data...), 0, 0, 0, 0) // nobody here asks for the sum
}

func cutUp(data []byte, size int) (out []byte) {
	for part := range slices.Chunk(data, size) {
		out = append(out, one("IDAT", part)...)
	}
	return out
}

func zlibbed(text string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.Bytes()
}

// read reads a PNG from src in whatever parts that comes, and holds what Done says against
// what is left.
func read(t testing.TB, src io.Reader) (out []byte, runs []Run, err error) {
	var r Reader
	r.Reset(bufio.NewReaderSize(src, 16), func(r io.Reader) (io.ReadCloser, error) { return flate.NewReader(r), nil }, func() {
		if r.Done() > r.pos {
			t.Error("more is done than was read")
		}
	})
	defer r.Close()
	done := int64(0)
	for buf := make([]byte, 64); ; {
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if r.Done() < done || r.Done() > r.pos {
			t.Fatalf("%d bytes were done, and %d are", done, r.Done())
		}
		if done = r.Done(); err != nil {
			return out, slices.Clone(r.Runs()), err
		}
	}
}

func TestReader(t *testing.T) {
	text := strings.Repeat("what goes in comes out; ", 100)
	z, extra := zlibbed(text), []byte("what follows the stream")
	frame := func(b []byte) []byte { return one("fdAT", append(make([]byte, 4), b...)) }
	for name, c := range map[string]struct {
		in   []byte
		want string
		err  error
	}{
		"whole":           {file(cutUp(z, 1000)), text, io.EOF},
		"in bytes":        {file(cutUp(z, 1)), text, io.EOF},
		"chunks between":  {file(cutUp(z[:20], 7), one("tEXt", bytes.Repeat([]byte("x"), 100)), one("IDAT", nil), cutUp(z[20:], 9)), text, io.EOF},
		"more in it":      {file(cutUp(append(slices.Clone(z), extra...), 11)), text + apart + string(z[len(z)-4:]) + string(extra), io.EOF},
		"no zlib":         {file(cutUp(extra, 5)), string(extra), io.EOF},
		"frames":          {file(cutUp(z, 30), one("fcTL", nil), frame(z[:40]), frame(z[40:]), one("fcTL", nil), frame(z)), strings.Repeat(text+apart+string(z[len(z)-4:]), 3), io.EOF},
		"mixed":           {file(frame(z), cutUp(z, 30)), text, ErrMixed},
		"damaged":         {file(cutUp(slices.Concat(z[:2], []byte{7}, extra), 4)), apart + string(extra), ErrDamaged},
		"breaks off":      {file(cutUp(z, 30))[:60], "", io.ErrUnexpectedEOF},
		"ends in a chunk": {file(cutUp(z, 30), one("tEXt", []byte("x")))[:33+len(cutUp(z, 30))+3], text, io.ErrUnexpectedEOF},
		"no chunk":        {file(cutUp(z, 30), []byte("\x00\x00\x00\x01 no ")), text, io.EOF},
	} {
		for how, src := range map[string]io.Reader{"at once": bytes.NewReader(c.in), "in bytes": iotest.OneByteReader(bytes.NewReader(c.in))} {
			out, runs, err := read(t, src)
			if !bytes.HasPrefix(out, []byte(c.want)) || !errors.Is(err, c.err) {
				t.Errorf("%s, %s: %q, %v", name, how, out, err)
			}
			var walked []Run
			if Walk(c.in, 0, &walked); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrMixed) && !slices.Equal(runs, walked) {
				t.Errorf("%s, %s: %v, and to who walks %v", name, how, runs, walked)
			}
		}
	}
}

// Whatever comes: it ends, the parts don't matter, and no more is done than was read.
func FuzzReader(f *testing.F) {
	z := zlibbed("a text")
	f.Add(file(cutUp(z, 3)))
	f.Add(file(cutUp(z, 3), one("fcTL", nil), one("fdAT", append(make([]byte, 4), z...)), one("zTXt", z)))
	f.Add([]byte(Mark))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4<<10 {
			return
		}
		out, runs, err := read(t, bytes.NewReader(in))
		again, runs2, err2 := read(t, iotest.OneByteReader(bytes.NewReader(in)))
		if !bytes.Equal(out, again) || !errors.Is(err2, err) || !slices.Equal(runs, runs2) {
			t.Fatalf("%d bytes, %v, %v, and in bytes %d, %v, %v", len(out), runs, err, len(again), runs2, err2)
		}
		if end, _ := Walk(in, 0, nil); end > len(in) {
			t.Fatalf("it ends at %d of %d", end, len(in))
		}
	})
}
