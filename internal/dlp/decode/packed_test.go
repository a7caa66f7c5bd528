package decode

import (
	"archive/zip"
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// packers compress with the programs of others; b is a hundred lines or so.
func packers(tb testing.TB) map[Kind]func(io.Writer) io.WriteCloser {
	return map[Kind]func(io.Writer) io.WriteCloser{
		Gzip: func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		Zlib: func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		Zstd: func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				tb.Fatal(err)
			}
			return z
		},
		Zip: func(w io.Writer) io.WriteCloser {
			z := zip.NewWriter(w)
			e, err := z.Create("a.txt")
			if err != nil {
				tb.Fatal(err)
			}
			return struct {
				io.Writer
				io.Closer
			}{e, z}
		},
		Brotli:  func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		Deflate: func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, 6); return z },
	}
}

func pack(tb testing.TB, kind Kind, text string) []byte {
	var b bytes.Buffer
	w := packers(tb)[kind](&b)
	if _, err := io.WriteString(w, text); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func longText() string {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "line %d of %x\n", i, i*i*7919)
	}
	return b.String() + secret + "\nthe end\n"
}

func TestPackedIsFound(t *testing.T) {
	d := New()
	for _, kind := range []Kind{Gzip, Zlib, Zstd, Zip} {
		for _, before := range []string{"", "\r\n\r\n", "Content: xx\x00\xff"} {
			text := append([]byte(before), pack(t, kind, longText())...)
			text = append(text, "--boundary--\xff"...)
			if !found(d, text, kind, secret) {
				t.Errorf("%s after %q is not found", kind, before)
			}
		}
	}
}

// Compressed data in base64 is found with anything glued to it, and with a few bytes
// encoded before it, so that its mark stands at each place of a group.
func TestPackedInDigits(t *testing.T) {
	d := New()
	for _, kind := range []Kind{Gzip, Zlib, Zstd, Zip} {
		for phase := range 3 {
			for _, glued := range []string{"", "x", "xy", "xyz", "payload_"} {
				if kind == Zlib && (phase > 0 || len(glued) > 3) || kind != Gzip && phase > 0 {
					continue // too short a mark to be looked for everywhere
				}
				raw := append([]byte("abc")[:phase:phase], pack(t, kind, longText())...)
				text := []byte("data: " + glued + base64.StdEncoding.EncodeToString(raw) + ";")
				if !nested(d, text, Base64, kind) {
					t.Errorf("%s in base64 after %q, phase %d: not found", kind, glued, phase)
				}
			}
		}
	}
	text := []byte("xyz" + strings.ToLower(base32.StdEncoding.EncodeToString(pack(t, Gzip, longText()))))
	if !nested(d, text, Base32, Gzip) {
		t.Error("gzip in base32 is not found")
	}
}

// nested tells whether the secret is found in a view of a view.
func nested(d *Decoder, text []byte, outer, inner Kind) bool {
	spans, _ := d.Find(nil, text, true)
	for _, s := range spans {
		view, _, err := d.Decode(nil, text, s, 1<<20)
		if s.Kind == outer && err == nil && found(d, view, inner, secret) {
			return true
		}
	}
	return false
}

func TestPackedIsCut(t *testing.T) {
	d := New()
	for _, kind := range []Kind{Gzip, Zlib, Zstd, Zip} {
		full := pack(t, kind, longText())
		text := full[:len(full)/2]
		if kind == Zip {
			text = full[:len(full)/4] // behind the entry stands a directory
		}
		for _, final := range []bool{false, true} {
			spans, _ := d.Find(nil, text, final)
			if len(spans) == 0 || spans[len(spans)-1].Kind != kind {
				t.Fatalf("%s: %v", kind, spans)
			}
			out, whole, err := d.Decode(nil, text, spans[len(spans)-1], 1<<20)
			if kind == Zstd && final && errors.Is(err, ErrNot) {
				continue // half a block is nothing
			}
			if err != nil || whole != final {
				t.Errorf("%s: whole = %v, final = %v, %d bytes, %v", kind, whole, final, len(out), err)
			}
		}
	}
}

func TestDamage(t *testing.T) {
	d := New()
	text := pack(t, Gzip, longText())
	for i := len(text) / 2; i < len(text); i++ {
		text[i] ^= 0x55
	}
	out, whole, err := d.Decode(nil, text, Span{Kind: Gzip, End: len(text)}, 1<<20)
	if err != nil || !whole || !strings.HasPrefix(longText(), string(out[:100])) {
		t.Errorf("what stands before damage is lost: %d bytes, %v, %v", len(out), whole, err)
	}
	noise := []byte("\x1f\x8b\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	if _, _, err := d.Decode(nil, noise, Span{Kind: Gzip, End: len(noise)}, 1<<20); !errors.Is(err, ErrNot) {
		t.Errorf("noise: %v", err)
	}
}

// A header with a long name and an extra field is read by every program.
func TestGzipHeader(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Extra = make([]byte, 3000)
	io.WriteString(w, longText())
	w.Close()
	plain := b.Bytes()
	head := append([]byte(nil), plain[:10]...)
	head[3] |= 8 | 16
	text := append(head, plain[10:10+2+3000]...)
	text = append(text, strings.Repeat("n", 5000)+"\x00comment\x00"...)
	text = append(text, plain[10+2+3000:]...)
	if !found(New(), text, Gzip, secret) {
		t.Error("not found")
	}
}

func TestBomb(t *testing.T) {
	d := New()
	for _, kind := range []Kind{Gzip, Zlib, Zstd, Zip} {
		text := pack(t, kind, strings.Repeat("0", 64<<20))
		const limit = 100_000
		out, whole, err := d.Decode([]byte("kept"), text, Span{Kind: kind, End: len(text)}, limit)
		if whole || err != nil || len(out) != limit+4 || cap(out) > 4*limit {
			t.Errorf("%s: %d bytes of %d, whole = %v, %v", kind, len(out), cap(out), whole, err)
		}
		exact := pack(t, kind, strings.Repeat("0", limit))
		if out, whole, err = d.Decode(nil, exact, Span{Kind: kind, End: len(exact)}, limit); !whole || err != nil || len(out) != limit {
			t.Errorf("%s of just the limit: %d bytes, whole = %v, %v", kind, len(out), whole, err)
		}
	}
}

// What others can decode and we cannot is never taken for nothing.
func TestOpaque(t *testing.T) {
	d := New()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		io.WriteString(z, longText())
		z.Flush()
	}
	z.Close()
	encrypted := pack(t, Zip, longText())
	encrypted[6] |= 1
	other := pack(t, Zip, longText())
	other[8] = 14 // LZMA
	for name, s := range map[string]struct {
		kind Kind
		text []byte
	}{"zstd with a long window": {Zstd, b.Bytes()}, "zip encrypted": {Zip, encrypted}, "zip with lzma": {Zip, other}} {
		if _, whole, err := d.Decode(nil, s.text, Span{Kind: s.kind, End: len(s.text)}, 1<<20); whole || err != nil {
			t.Errorf("%s: whole = %v, %v", name, whole, err)
		}
	}
}

func TestInflate(t *testing.T) {
	d := New()
	want := strings.Repeat(longText(), 300)
	for _, kind := range []Kind{Gzip, Zlib, Deflate, Zstd, Brotli} {
		packed := pack(t, kind, want)
		for range 2 { // the second time with a used decompressor
			r, err := d.Inflate(kind, bytes.NewReader(packed))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != want {
				t.Errorf("%s: %d bytes of %d, %v", kind, len(got), len(want), err)
			}
			r.Close()
			if _, err := r.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: reads after Close", kind)
			}
		}
		r, _ := d.Inflate(kind, bytes.NewReader(packed[:len(packed)/2]))
		if _, err := io.ReadAll(r); err == nil {
			t.Errorf("%s: half a stream passes for a whole one", kind)
		}
		r.Close()
	}
	if _, err := d.Inflate(Base64, nil); !errors.Is(err, ErrNot) {
		t.Errorf("base64: %v", err)
	}
}

// TestInflateAfterDamage: a stream with a damaged header leaves nothing behind that the
// next one would fall over.
func TestInflateAfterDamage(t *testing.T) {
	d := New()
	for range 3 {
		for _, kind := range []Kind{Gzip, Zlib, Deflate, Zstd, Brotli, Bzip2} {
			r, err := d.Inflate(kind, strings.NewReader("\xffharmless"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(r); err == nil {
				t.Errorf("%v reads what is none", kind)
			}
			_ = r.Close()
		}
	}
}
