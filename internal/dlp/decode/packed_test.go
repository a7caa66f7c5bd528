package decode

import (
	"archive/zip"
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bottle/internal/dlp/decode/magic"

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

// small is zlib with a window of 2^(8+size) bytes, by a level that its header tells.
func small(tb testing.TB, size, level byte, text string) []byte {
	tb.Helper()
	var b bytes.Buffer
	head := uint16(size<<4|8)<<8 | uint16(level)<<6
	head += 31 - head%31
	_ = binary.Write(&b, binary.BigEndian, head)
	w, err := flate.NewWriterWindow(&b, max(flate.MinCustomWindowSize, 1<<(8+size)))
	if err != nil {
		tb.Fatal(err)
	}
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	_ = binary.Write(&b, binary.BigEndian, adler32.Checksum([]byte(text)))
	return b.Bytes()
}

// Zlib is found with every window and level that its header can tell, as it is, in
// digits, and as numbers.
func TestZlibOfAnyWindow(t *testing.T) {
	d := New()
	for size := range byte(8) {
		for level := range byte(4) {
			raw := small(t, size, level, longText())
			for name, text := range map[string]struct {
				kind Kind
				text string
			}{
				"base64": {Base64, base64.StdEncoding.EncodeToString(raw)}, "base32": {Base32, base32.StdEncoding.EncodeToString(raw)},
				"hex": {Hex, hex.EncodeToString(raw)}, "numbers": {Bytes, numbered(raw, ",")}, "latin1": {Latin1, taken(raw)},
			} {
				if !nested(d, []byte(`"data": "`+text.text), text.kind, Zlib) {
					t.Errorf("%#x in %s is not found", raw[:2], name)
				}
			}
			if !found(d, append([]byte("a\r\n\r\n"), raw...), Zlib, secret) {
				t.Errorf("%#x is not found", raw[:2])
			}
		}
	}
}

// Random bytes are taken for zlib some ten times in 64 KiB: each time costs a look.
func TestZlibByChance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	spans, _ := New().Find(nil, text, true)
	zlibs := 0
	for _, s := range spans {
		if s.Kind == Zlib {
			zlibs++
		}
	}
	if zlibs > 16*16 {
		t.Errorf("%d spans of zlib of %d in 1 MiB", zlibs, len(spans))
	}
}

// taken takes each byte for a character.
func taken(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// numbered writes bytes as numbers, with sep between them.
func numbered(b []byte, sep string) string {
	var s []string
	for _, c := range b {
		s = append(s, strconv.Itoa(int(c)))
	}
	return "[" + strings.Join(s, sep) + "]"
}

// What is compressed is found in lists of numbers, however they are laid out, and with
// signs.
func TestPackedInNumbers(t *testing.T) {
	d := New()
	for _, kind := range []Kind{Gzip, Zlib, Zstd, Zip} {
		raw := pack(t, kind, longText())
		var signs []string
		for _, c := range raw {
			signs = append(signs, strconv.Itoa(int(int8(c))))
		}
		texts := []string{"[" + strings.Join(signs, ", ") + "]"}
		for _, sep := range []string{",", ", ", " ", "\n", ",\n        "} {
			texts = append(texts, numbered(raw, sep))
		}
		var rows []string // as od writes them, in a string of JSON
		for row := range slices.Chunk(raw, 16) {
			rows = append(rows, strings.Trim(numbered(row, " "), "[]"))
		}
		texts = append(texts, strings.Join(rows, `\n`), strings.Join(rows, `\\n   `))
		for _, text := range texts {
			if !nested(d, []byte(`{"type":"Buffer","data":`+text+"}"), Bytes, kind) {
				t.Errorf("%s is not found in %.60q", kind, text)
			}
		}
	}
}

// Bytes that were taken for characters are found in strings of JSON, in both ways to
// write it.
func TestPackedAsCharacters(t *testing.T) {
	d := New()
	for _, kind := range []Kind{Gzip, Zlib, Zstd} {
		plain := taken(pack(t, kind, longText()))
		var ascii strings.Builder // as Python writes JSON
		for _, r := range plain {
			if r < 0x7f && r >= ' ' && r != '"' && r != '\\' {
				ascii.WriteRune(r)
			} else if i := strings.IndexRune("\b\f\n\r\t", r); i >= 0 {
				ascii.WriteString(`\` + "bfnrt"[i:i+1])
			} else {
				fmt.Fprintf(&ascii, `\u%04x`, r)
			}
		}
		marshalled, _ := json.Marshal(plain)
		for name, text := range map[string]string{"ascii": `{"data": "` + ascii.String() + `"}`, "utf-8": `{"data": ` + string(marshalled) + `}`} {
			if !through(d, []byte(text), Escape, Latin1, kind) {
				t.Errorf("%s in JSON (%s) is not found", kind, name)
			}
		}
		if !nested(d, []byte("data: "+plain), Latin1, kind) {
			t.Errorf("%s is not found", kind)
		}
		for kind32, text := range map[Kind]string{Base64: base64.StdEncoding.EncodeToString([]byte(plain)), Base32: base32.StdEncoding.EncodeToString([]byte(plain)), Hex: hex.EncodeToString([]byte(plain))} {
			if !through(d, []byte(text), kind32, Latin1, kind) {
				t.Errorf("%s in %s is not found", kind, kind32)
			}
		}
	}
	if spans, _ := d.Find(nil, []byte("Größe, naïve, 5 °C, « ça va ? », 3 µm"), true); slices.ContainsFunc(spans, func(s Span) bool { return s.Kind == Latin1 }) {
		t.Errorf("words are taken for bytes: %v", spans)
	}
}

// through is nested for a view within a view.
func through(d *Decoder, text []byte, outer, middle, inner Kind) bool {
	spans, _ := d.Find(nil, text, true)
	for _, s := range spans {
		view, _, err := d.Decode(nil, text, s, 1<<20)
		if s.Kind == outer && err == nil && nested(d, view, middle, inner) {
			return true
		}
	}
	return false
}

// unread are beginnings of files by the programs of others.
func unread() map[string]string {
	return map[string]string{
		"xz":   "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3",
		"lzma": "]\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00:\x1b\xca\xd2\x9f\x33\x4f",
		"7z":   "7z\xbc\xaf'\x1c\x00\x04" + sevenZip(),
		"rar4": "Rar!\x1a\x07\x00\xcf\x90s\x00\x00\r\x00\x00\x00\x00\x00\x00\x00", "rar5": "Rar!\x1a\x07\x01\x00\x33\x92\xb5\xe5\n\x01\x05\x06\x00\x05\x01\x01\x80\x80\x00",
		"lz4":  "\x04\"M\x18d@\xa7\x0c\x00\x00\x80ab\x80abcdefg\x80\x00\x00",
		"lzip": "LZIP\x01\x0c\x00\x3a\x1b\xca\xd2\x9f\x33\x4f\x80abcdefg",
		"Z":    "\x1f\x9d\x90t\xde\xac!\x03F\x8e\x99\x36s\xc0\xa8\x01q\xc6\x8c\x9a7",
	}
}

func sevenZip() string {
	head := []byte("\x20\x00\x00\x00\x00\x00\x00\x00\x30\x00\x00\x00\x00\x00\x00\x00abcd")
	return string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(head))) + string(head)
}

// What is compressed in a way that is not read here is never taken for text: at the
// beginning, in digits, as numbers and, where the mark is long, behind other bytes.
func TestUnreadIsTold(t *testing.T) {
	d := New()
	told := func(text []byte) bool {
		spans, _ := d.Find(nil, text, false)
		return slices.ContainsFunc(spans, func(s Span) bool {
			out, whole, err := d.Decode(nil, text, s, 100)
			return s.Kind == Unread && !s.Cut && len(out) == 0 && !whole && err == nil
		})
	}
	within := func(text string, kind Kind) bool {
		spans, _ := d.Find(nil, []byte(text), true)
		return slices.ContainsFunc(spans, func(s Span) bool {
			view, _, err := d.Decode(nil, []byte(text), s, 1<<20)
			return s.Kind == kind && err == nil && told(view)
		})
	}
	for name, head := range unread() {
		head += "\xff\x00\x81 and some more of it"
		if !told([]byte(head)) {
			t.Errorf("%s is not told", name)
		}
		if name != "lzma" && name != "Z" && !told([]byte("a member of an archive\x00"+head)) {
			t.Errorf("%s behind other bytes is not told", name)
		}
		for kind, text := range map[Kind]string{
			Base64: base64.StdEncoding.EncodeToString([]byte(head)), Base32: base32.StdEncoding.EncodeToString([]byte(head)),
			Hex: hex.EncodeToString([]byte(head)), Bytes: numbered([]byte(head), ", "),
		} {
			if !within("data: "+text, kind) {
				t.Errorf("%s in %s is not told", name, kind)
			}
		}
	}
	// Programs that read such hold the marks.
	for _, mark := range []string{magic.XZ, magic.SevenZip, magic.LZ4, magic.Lzip} {
		if text := "a program \xff\x00" + mark + "\xff\xff\xff\xff and what it says, in words, to its user"; told([]byte(text)) {
			t.Errorf("%q alone is refused", mark)
		}
	}
}
