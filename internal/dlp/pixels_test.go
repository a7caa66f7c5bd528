package dlp

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image/png"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/test/require"
)

// pngOf makes a PNG of so many grey pixels in rows of width from its chunks.
func pngOf(width, height int, chunks ...[]byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(width))
	head = append(binary.BigEndian.AppendUint32(head, uint32(height)), 8, 0, 0, 0, 0)
	return slices.Concat([]byte("\x89PNG\r\n\x1a\n"), piece("IHDR", head), slices.Concat(chunks...), piece("IEND", nil))
}

func piece(kind string, data []byte) []byte {
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), kind...)
	out = append(out, data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// idat cuts a stream of zlib into pieces of a size.
func idat(stream []byte, size int) []byte {
	var out []byte
	for part := range slices.Chunk(stream, size) {
		out = append(out, piece("IDAT", part)...)
	}
	return out
}

func deflated(raw []byte, level int) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, level)
	_, _ = w.Write(raw)
	_ = w.Close()
	return b.Bytes()
}

// grey makes rows of noise of two bits, which compress to a quarter, with text in the middle.
func grey(width, height int, text string) []byte {
	r := rand.New(rand.NewPCG(3, uint64(width)))
	raw := make([]byte, (width+1)*height)
	for i := range raw {
		if i%(width+1) != 0 {
			raw[i] = 0xf0 + byte(r.IntN(4))
		}
	}
	copy(raw[len(raw)/2/(width+1)*(width+1)+2:], text)
	return raw
}

// spots put a text somewhere into a PNG. In those that a picture may have, a decoder of
// PNG still reads it.
func spots(secret string) map[string][]byte {
	const w, h = 300, 100
	text := "x " + secret + " y"
	clean := idat(deflated(grey(w, h, ""), 6), 1000)
	pixels := deflated(grey(w, h, text), 6)
	stored := deflated(grey(w, h, text), 0)
	mid := bytes.Index(stored, []byte(secret)) + len(secret)/2
	hidden := deflated([]byte(strings.Repeat("some words before it ", 40)+text), 9)
	field := func(head string, data []byte) []byte { return append([]byte(head), data...) }
	frame := append([]byte{0, 0, 0, 1}, hidden...)
	junk := deflated([]byte("a short one"), 6)
	return map[string][]byte{
		"pixels":                    pngOf(w, h, idat(pixels, 1<<20)),
		"pixels in pieces":          pngOf(w, h, idat(pixels, 100)),
		"pixels in bytes":           pngOf(w, h, idat(pixels, 1)),
		"across a border":           pngOf(w, h, idat(stored, mid)),
		"behind an empty piece":     pngOf(w, h, idat(pixels[:700], 700), idat(nil, 1), piece("IDAT", nil), idat(pixels[700:], 100)),
		"with a chunk between":      pngOf(w, h, idat(pixels[:2000], 1000), piece("prVt", bytes.Repeat([]byte("z"), 3000)), idat(pixels[2000:], 1000)),
		"a frame's end between":     pngOf(w, h, idat(pixels[:2000], 1000), piece("fcTL", make([]byte, 26)), idat(pixels[2000:], 1000)),
		"tEXt":                      pngOf(w, h, piece("tEXt", field("Comment\x00", []byte(text))), clean),
		"zTXt":                      pngOf(w, h, piece("zTXt", field("Comment\x00\x00", hidden)), clean),
		"zTXt behind the pixels":    pngOf(w, h, clean, piece("zTXt", field("Comment\x00\x00", hidden))),
		"iTXt":                      pngOf(w, h, piece("iTXt", field("Comment\x00\x01\x00en\x00\x00", hidden)), clean),
		"eXIf":                      pngOf(w, h, piece("eXIf", field("MM\x00*\x00\x00\x00\x08", []byte(text))), clean),
		"iCCP":                      pngOf(w, h, piece("iCCP", field("icc\x00\x00", hidden)), clean),
		"unknown chunk":             pngOf(w, h, clean, piece("prVt", gzipped([]byte(text+strings.Repeat(" and more", 50))))),
		"behind the end":            append(pngOf(w, h, clean), text...),
		"packed behind the end":     append(pngOf(w, h, clean), gzipped([]byte(text+strings.Repeat(" and more", 50)))...),
		"zlib behind the end":       append(pngOf(w, h, clean), hidden...),
		"between chunks":            pngOf(w, h, clean, []byte(text), piece("tEXt", []byte("Comment\x00x"))),
		"zlib between chunks":       pngOf(w, h, clean, hidden, piece("tEXt", []byte("Comment\x00x"))),
		"a second stream":           pngOf(w, h, idat(append(deflated(grey(w, h, ""), 6), hidden...), 1<<20)),
		"a second stream in pieces": pngOf(w, h, idat(append(deflated(grey(w, h, ""), 6), hidden...), 20)),
		"behind a short stream":     pngOf(w, h, idat(append(slices.Clone(junk), text...), 7)),
		"a stream behind a short":   pngOf(w, h, idat(append(slices.Clone(junk), hidden...), 7)),
		"no zlib at all":            pngOf(w, h, idat([]byte("  "+text+strings.Repeat(" and more", 50)), 9)),
		"no header of zlib":         pngOf(w, h, piece("CgBI", []byte{0x50, 0, 0x20, 6}), idat(hidden[2:], 20)),
		"apple's, its chunk first":  slices.Concat([]byte("\x89PNG\r\n\x1a\n"), piece("CgBI", []byte{0x50, 0, 0x20, 6}), pngOf(w, h, idat(hidden[2:], 20))[8:]),
		"a frame":                   pngOf(w, h, clean, piece("fcTL", make([]byte, 26)), piece("fdAT", frame)),
		"a frame in pieces":         pngOf(w, h, clean, piece("fcTL", make([]byte, 26)), piece("fdAT", frame[:30]), piece("fdAT", append([]byte{0, 0, 0, 2}, frame[30:]...))),
		"a second frame":            pngOf(w, h, clean, piece("fcTL", make([]byte, 26)), piece("fdAT", append([]byte{0, 0, 0, 1}, pixels[:500]...)), piece("fcTL", make([]byte, 26)), piece("fdAT", frame)),
		"a stream behind damage":    pngOf(w, h, idat(slices.Concat(pixels[:600], bytes.Repeat([]byte{0xff}, 50), hidden), 1<<20)),
		"too long a piece":          slices.Concat(pngOf(w, h)[:33], []byte{0, 0x7f, 0xff, 0xff}, []byte("IDAT"), pixels),
		"no last chunk":             pngOf(w, h, idat(pixels, 500))[:33+len(idat(pixels, 500))],
		"a PNG in a chunk":          pngOf(w, h, clean, piece("prVt", pngOf(w, h, idat(pixels, 50)))),
		"a PNG in the pixels":       pngOf(w, h, idat(deflated(pngOf(w, h, idat(pixels, 50)), 0), 70)),
		"a pack in a chunk":         pngOf(w, h, clean, piece("prVt", packOf([]byte(text)))),
	}
}

// packOf is a pack of git with one blob.
func packOf(blob []byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), 1)
	c, n := byte(3<<4|len(blob)&15), len(blob)>>4
	for ; n > 0; n >>= 7 {
		out = append(out, c|0x80)
		c = byte(n & 0x7f)
	}
	return append(append(append(out, c), deflated(blob, 6)...), make([]byte, 20)...)
}

// carriers are what a PNG is sent in.
func carriers(t testing.TB) map[string]func(file []byte) []byte {
	noise := make([]byte, 300<<10)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	zipped := func(method uint16) func([]byte) []byte {
		return func(file []byte) []byte {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			w, err := z.CreateHeader(&zip.FileHeader{Name: "a.png", Method: method})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(file)
			_ = z.Close()
			return b.Bytes()
		}
	}
	return map[string]func([]byte) []byte{
		"raw": func(file []byte) []byte { return file },
		"zip": zipped(zip.Deflate),
		"tar": func(file []byte) []byte {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			_ = w.WriteHeader(&tar.Header{Name: "a.png", Size: int64(len(file)), Mode: 0o644})
			_, _ = w.Write(file)
			_ = w.Close()
			return b.Bytes()
		},
		"blob":        packOf,
		"before much": func(file []byte) []byte { return slices.Concat(file, noise) },
		"amid much in a stored zip": func(file []byte) []byte {
			return zipped(zip.Store)(slices.Concat(noise[:200<<10], file, noise[:100<<10]))
		},
	}
}

func gzipped(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

// The attack: a PNG is a picture to whoever looks at it, and has many places for a secret:
// pixels, in pieces that are cut anywhere, texts, profiles, what programs do not know, what
// they do not look at. This proves that it is found in each, whatever the PNG is sent in, and
// that the file does not leave as a whole.
func TestSecretInPNG(t *testing.T) {
	e, all := engine(t), samples(t)
	for _, id := range []string{KnownSecret, "github-pat"} {
		for spot, file := range spots(all[id]) {
			for how, wrap := range carriers(t) {
				if id != KnownSecret && how != "raw" {
					continue
				}
				body := wrap(file)
				if out, found := send(e, body, slices.Repeat([]int{10_000}, 100), false); !has(found, id) || len(out) >= len(body) {
					t.Errorf("%s, %s, %s: %v, and %d of %d bytes left", id, spot, how, found, len(out), len(body))
				}
			}
		}
	}
}

// Without a secret they pass, so what is proven is not that all such files are refused.
func TestPNGWithoutSecretPasses(t *testing.T) {
	e := engine(t)
	for spot, file := range spots("nothing is hidden in this picture, really") {
		for how, wrap := range carriers(t) {
			if strings.Contains(how, "much") && (spot == "too long a piece" || spot == "between chunks") {
				continue // a chunk's length is wrong, so the PNG has no end
			}
			if _, found := send(e, wrap(file), nil, false); found != nil {
				t.Errorf("%s, %s: %v", spot, how, found)
			}
		}
	}
	for _, spot := range []string{"pixels", "pixels in pieces", "pixels in bytes", "across a border", "tEXt", "zTXt", "iTXt", "eXIf", "behind the end"} {
		if _, err := png.Decode(bytes.NewReader(spots(secretValue)[spot])); err != nil {
			t.Errorf("%s is no PNG to others: %v", spot, err)
		}
	}
}

// inEscapes spells each byte as a program's source does.
func inEscapes(b []byte) []byte {
	out := []byte(`icon = "`)
	for _, c := range b {
		out = fmt.Appendf(out, `\x%02x`, c)
	}
	return append(out, '"')
}

// Large pictures of screens pass: 33 MB of pixels in some 50 KB, a photograph of several
// MB, many in one archive. A secret in the last pixels of one is found.
func TestLargePNG(t *testing.T) {
	e := engine(t)
	w, h := 3840, 8640 // as many bytes as 3840 x 2160 in four colours
	if require.Race {
		h = 2000
	}
	flat := bytes.Repeat(append([]byte{1}, bytes.Repeat([]byte{0x31, 0, 0xff}, w/3)...), h)
	secret := slices.Clone(flat)
	copy(secret[len(secret)-100:], secretValue)
	small := pngOf(900, 900, idat(deflated(grey(900, 900, ""), 9), 8192))
	for name, c := range map[string]struct {
		body []byte
		want bool
	}{
		"flat":           {pngOf(w, h, idat(deflated(flat, 9), 8192)), false},
		"flat, one":      {pngOf(w, h, idat(deflated(flat, 9), 1<<20)), false},
		"flat, secret":   {pngOf(w, h, idat(deflated(secret, 9), 8192)), true},
		"noise":          {pngOf(1500, 1500, idat(deflated(grey(1500, 1500, ""), 6), 8192)), false},
		"noise, secret":  {pngOf(1500, 1500, idat(deflated(grey(1500, 1500, secretValue), 6), 8192)), true},
		"leading text":   {pngOf(900, 900, piece("prVt", bytes.Repeat([]byte("some text\n"), 400_000)), idat(deflated(grey(900, 900, ""), 9), 8192)), false},
		"in escapes":     {inEscapes(pngOf(700, 700, idat(deflated(flat[:701*700], 9), 8192))), false},
		"many":           {bytes.Repeat(small, 12), false},
		"many in a gzip": {gzipped(bytes.Repeat(small, 12)), false},
	} {
		if _, found := send(e, c.body, nil, false); has(found, KnownSecret) != c.want || !c.want && found != nil {
			t.Errorf("%s (%d bytes): %v", name, len(c.body), found)
		}
		if out, found := send(e, c.body, slices.Repeat([]int{Window}, 100), false); has(found, KnownSecret) != c.want || !c.want && !bytes.Equal(out, c.body) {
			t.Errorf("%s (%d bytes) as it flows: %v, %d bytes left", name, len(c.body), found, len(out))
		}
	}
}

// The attack: the last bytes of a secret are still in the decoder when a long chunk follows
// that is none of its input. This proves that what holds them does not leave meanwhile.
func TestPNGHoldsWhatIsInTheDecoder(t *testing.T) {
	e := engine(t)
	raw := grey(1000, 1000, "")
	cut := len(raw) / 3 * 2
	raw = append(append(raw[:cut:cut], secretValue...), raw[cut:]...)
	stream := deflated(raw, 0)
	at := bytes.Index(stream, []byte(secretValue)) + len(secretValue)
	before := pngOf(1000, 1000, idat(stream[:at], 8192))
	before = before[:len(before)-12]
	body := slices.Concat(before, piece("prVt", bytes.Repeat([]byte("some text\n"), 100_000)), idat(stream[at:], 8192))
	out, found := send(e, body, slices.Repeat([]int{50_000}, 100), false)
	if !has(found, KnownSecret) && !has(found, Undecodable) || len(out) > len(before)-len(secretValue) {
		t.Errorf("%d bytes left, the secret ends at %d: %v", len(out), len(before), found)
	}
}

// hostile are PNGs that cost much, or of which nobody can say what is in them.
func hostile() map[string][]byte {
	bomb := deflated(make([]byte, 256<<20), 6)
	clean := deflated(grey(300, 100, ""), 6)
	frame := piece("fdAT", append([]byte{0, 0, 0, 1}, clean...))
	return map[string][]byte{
		"bomb":            pngOf(30000, 30000, idat(bomb, 8192)),
		"mixed frames":    pngOf(300, 100, idat(clean[:100], 100), frame, idat(clean[100:], 100)),
		"bomb in a frame": pngOf(300, 100, idat(clean, 100), piece("fdAT", append([]byte{0, 0, 0, 1}, bomb...))),
	}
}

func TestHostilePNG(t *testing.T) {
	e := engine(t)
	for name, body := range hostile() {
		for how, body := range map[string][]byte{"raw": body, "zip": carriers(t)["zip"](body)} {
			start := time.Now()
			out, found := send(e, body, slices.Repeat([]int{Window}, 200), false)
			if !has(found, Undecodable) || len(out) >= len(body) {
				t.Errorf("%s, %s: %v, %d of %d bytes left", name, how, found, len(out), len(body))
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("%s, %s took %v", name, how, took)
			}
		}
	}
	// Thousands of headers and of empty pieces, which are all gone through.
	heads := bytes.Repeat(pngOf(1, 1)[:33], 30_000)
	empty := pngOf(1, 1, bytes.Repeat(piece("IDAT", nil), 80_000))
	nested := bytes.Repeat(append(pngOf(1, 1)[:33], bytes.Repeat(piece("prVt", nil), 20)...), 3500)
	for name, body := range map[string][]byte{"heads": heads, "empty": empty, "nested": nested} {
		start := time.Now()
		_, found := send(e, body, slices.Repeat([]int{Window}, 200), false)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: %d bytes took %v: %v", name, len(body), took, found)
		}
	}
}

// varied are so many bytes that compress well, and that no memory of what was seen knows.
func varied(n int) []byte {
	r := rand.New(rand.NewPCG(5, 5))
	rows := make([]byte, 1<<10)
	for i := range rows {
		rows[i] = byte(r.Uint32())
	}
	out := make([]byte, 0, n+512)
	for len(out) < n {
		at := r.IntN(len(rows) - 512)
		out = append(out, rows[at:at+512]...)
	}
	return out[:n]
}

// BenchmarkHostilePNG says what a megabyte of the worst costs.
func BenchmarkHostilePNG(b *testing.B) {
	e := engine(b)
	all := hostile()
	all["heads"] = bytes.Repeat(pngOf(1, 1)[:33], 30_000)
	all["empty"] = pngOf(1, 1, bytes.Repeat(piece("IDAT", nil), 80_000))
	all["gzip bomb"] = gzipped(make([]byte, 256<<20))
	all["one varied"] = pngOf(3000, 3000, idat(deflated(varied(90<<20), 9), 8192))
	all["one varied, no PNG"] = gzipped(varied(90 << 20))
	all["small varied"] = pngOf(3000, 3000, idat(deflated(varied(8<<20), 9), 8192))
	all["small zeros"] = pngOf(3000, 3000, idat(deflated(make([]byte, 30<<20), 9), 8192))
	all["tiny, twice packed"] = gzipped(deflated(make([]byte, 30<<20), 9))
	for name, body := range all {
		b.Run(fmt.Sprintf("%s/%dKB", strings.ReplaceAll(name, " ", "_"), len(body)>>10), func(b *testing.B) {
			for b.Loop() {
				e.clean.Forget()
				send(e, body, slices.Repeat([]int{Window}, 200), false)
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/(float64(len(body))/(1<<20)), "s/MiB")
		})
	}
}
