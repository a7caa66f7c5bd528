package decode

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/test/require"

	"pgregory.net/rapid"
)

// Any text of twenty characters or more within any bytes, encoded, with any digits
// glued to the front, is found.
func TestDigitsProperty(t *testing.T) {
	d := New()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.StringMatching(`[!-~]{20,60}`).Draw(t, "secret")
		raw := slices.Concat(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "before"), []byte(want), rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "behind"))
		kind := rapid.SampledFrom([]Kind{Base64, Base32, Hex}).Draw(t, "kind")
		var text string
		switch kind {
		case Base64:
			e := rapid.SampledFrom([]*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding}).Draw(t, "alphabet")
			text = e.EncodeToString(raw)
		case Base32:
			text = base32.StdEncoding.EncodeToString(raw)
		case Hex:
			text = hex.EncodeToString(raw)
		}
		if kind != Base64 && rapid.Bool().Draw(t, "swap case") {
			text = strings.ToLower(text)
			if kind == Hex {
				text = strings.ToUpper(text)
			}
		}
		if n := rapid.SampledFrom([]int{0, 0, 16, 20, 64, 76}).Draw(t, "line"); n > 0 {
			text = lines(text, n, rapid.SampledFrom([]string{"\n", "\r\n", `\n`, `\r\n`, "\n\t  "}).Draw(t, "break"))
		} else { // what is glued on is a part of the first line
			text = rapid.StringMatching(`[a-zA-Z0-9]{0,9}`).Draw(t, "glued") + text
		}
		text = rapid.StringMatching(`([ -~]{0,400}[ "=:])?`).Draw(t, "plain") + text + rapid.StringMatching(`([ "=&][ -~]{0,40})?`).Draw(t, "tail")
		if !found(d, []byte(text), kind, want) {
			t.Fatalf("not found in %q", text)
		}
	})
}

func TestInPlaceProperty(t *testing.T) {
	d := New()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.StringMatching(`[a-zA-Z0-9_]{12,60}`).Draw(t, "secret")
		all := encodings(want)
		name := rapid.SampledFrom([]string{"percent", "percent u", "escape u", "escape braces", "escape x", "escape U", "escape octal", "entity", "entity hex", "quoted",
			"fullwidth", "invisible U+200B", "invisible U+00AD", "tags", "utf-16le", "utf-16be", "combining", "variation bytes"}).Draw(t, "encoding")
		e := all[name]
		text := []rune(e.text)
		if n := rapid.IntRange(0, 3).Draw(t, "partly"); n == 0 && e.kind < UTF16LE { // only some characters
			one := len(text) / len(want)
			if one*len(want) == len(text) {
				var b []rune
				for i, r := range want {
					if rapid.Bool().Draw(t, "encoded") || i == 3 {
						b = append(b, text[i*one:(i+1)*one]...)
					} else {
						b = append(b, r)
					}
				}
				text = b
			}
		}
		junk := rapid.StringMatching(`([ -$(-<>-\[\]-~é界]{0,400}[ ,;])?`)
		whole := []byte(junk.Draw(t, "before") + string(text) + rapid.StringMatching(`( [ -~]{0,400})?`).Draw(t, "behind"))
		if !found(d, whole, e.kind, want) && !strings.Contains(string(whole), want) {
			t.Fatalf("%s: not found in %q", name, whole)
		}
	})
}

// A span that reaches the end of a window is never taken for whole.
func TestCut(t *testing.T) {
	d := New()
	for name, e := range encodings(secret + secret) {
		text := []byte("a word, " + e.text)
		for n := len(text) / 2; n < len(text); n++ {
			spans, _ := d.Find(nil, text[:n], false)
			for _, s := range spans {
				_, whole, err := d.Decode(nil, text[:n], s, 1<<20)
				if whole && err == nil && s.End == n {
					t.Errorf("%s cut at %d: %v is whole", name, n, s)
				}
			}
		}
		if spans, _ := d.Find(nil, text[:len(text)*3/4], false); len(spans) > 0 && !slices.ContainsFunc(spans, func(s Span) bool { return s.Cut }) {
			t.Errorf("%s: no span is cut: %v", name, spans)
		}
	}
}

// Texts that are made to cost time.
func floods() map[string]string {
	m := map[string]string{"digits and controls": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("abcdefghij\x01"), 3000))}
	for _, s := range []string{"%", "%41", "\\", `\u`, `\u0041`, "&", "&#", "&#65;", "&amp", "=", "=\n", "=41", "\x00", "a\x00", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd",
		"PK\x03\x04", "x\x9c\x01\xff", "BZh91AY&SY\xff", "é", "é1", "aé\u200b", "\u200b", "а", "аb", "\U000e0041", "\ufe00", "a", "ab ", "0x41,", "41 ", "41        ", "65,", "65,\n          ", "1            ", "-65,", "65\\n", "31,139,8,", "\x08\x1d\x03\xff", "\u008b", "x\u009c\x03", "\\\u008b", `\u008b`, "\xfd7zXZ\x00", "\x04\"M\x18", "999,", "H4sI",
		"eJw", "eJwA", "KLUv/", "YWFh", "me", "4141", "0", "f", "00112233445566778899aabbccdd ", "QUFBQUFBQUFBQUFBQUFB\n", "QUFBQUFBQUFBQUFBQUFB\\n", "ffffffffffffffff\n", "\xff", "\xe3\x85", "ａ", "ａ ", "\u0301"} {
		m[s] = s
	}
	return m
}

// Twice the text takes about twice the time, whatever it holds. The factor leaves room
// for a machine that does other things; a square would be 16 times as much a byte.
func TestLinear(t *testing.T) {
	if require.Race {
		t.Skip("there is one goroutine here; it runs without the race detector")
	}
	d := New()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var spans []Span
	per := func(s string, size int) float64 {
		text := bytes.Repeat([]byte(s), size/len(s)+1)
		best := time.Duration(1 << 62)
		for range 2 {
			start := cpu(t)
			spans, _ = d.Find(spans[:0], text, false)
			best = min(best, cpu(t)-start)
		}
		if len(spans) > MaxSpans {
			t.Errorf("%q: %d spans", s, len(spans))
		}
		return float64(best) / float64(len(text))
	}
	for name, s := range floods() {
		small, large := per(s, 64<<10), per(s, 512<<10)
		if large > 8*small+5 || large > 1000 {
			t.Errorf("%.20q: %.1f ns a byte in 64 KiB, %.1f in 512 KiB", name, small, large)
		}
	}
}

// More spans than a window honestly holds are told.
func TestMore(t *testing.T) {
	text := []byte(strings.Repeat(base64.StdEncoding.EncodeToString([]byte(secret))+" ", 3*MaxSpans))
	spans, more := New().Find(nil, text, true)
	if !more || len(spans) != MaxSpans {
		t.Errorf("%d spans, more = %v", len(spans), more)
	}
	if _, more = New().Find(nil, text[:10_000], true); more {
		t.Error("more without need")
	}
}

func TestNoAllocation(t *testing.T) {
	d := New()
	text := comments(tree(t, 1<<20, ".go"))
	spans := make([]Span, 0, MaxSpans)
	if n := testing.AllocsPerRun(5, func() { d.Find(spans[:0], text, true) }); n > 0 {
		t.Errorf("Find allocates %v times", n)
	}
}

func TestWords(t *testing.T) {
	seen := map[string]bool{}
	for k := None; k < kinds; k++ {
		if w := k.String(); seen[w] || k != None && w == "none" {
			t.Errorf("kind %d is called %q", k, w)
		} else {
			seen[w] = true
		}
	}
}

func FuzzFind(f *testing.F) {
	d := New()
	for _, e := range encodings(secret) {
		f.Add([]byte("key: "+e.text), true)
	}
	for _, s := range floods() {
		f.Add([]byte(strings.Repeat(s, 40)), false)
	}
	for _, kind := range []Kind{Gzip, Zlib, Zstd, Zip} {
		f.Add([]byte(taken(pack(f, kind, secret))), true)
		f.Add([]byte(numbered(pack(f, kind, secret), ",")), true)
		f.Add(append([]byte("ab"), pack(f, kind, secret)...), false)
	}
	for _, head := range unread() {
		f.Add([]byte(head), false)
	}
	f.Add([]byte("\x7f00eJx0000000000"), false) // DEL is no digit
	f.Fuzz(func(t *testing.T, text []byte, final bool) {
		const limit = 1 << 16
		kept := []Span{{Kind: Gzip}}
		spans, _ := d.Find(kept, text, final)
		if len(spans) > MaxSpans+1 || spans[0] != kept[0] {
			t.Fatalf("%d spans, the first %v", len(spans), spans[0])
		}
		for _, s := range spans[1:] {
			if s.Start < 0 || s.Start >= s.End || s.End > len(text) || s.Cut && (final || s.End+64 < len(text)) {
				t.Fatalf("%v of %d bytes", s, len(text))
			}
			out, whole, err := d.Decode([]byte("kept"), text, s, limit)
			if len(out) > limit+4 || string(out[:4]) != "kept" || err == nil && whole && s.Cut && s.Kind < Gzip {
				t.Fatalf("%v: %d bytes, whole = %v, %v", s, len(out), whole, err)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	d := New()
	for _, e := range encodings(secret) {
		f.Add([]byte(e.text), uint8(e.kind), 0, len(e.text), 1000)
	}
	for kind := range packers(f) {
		if kind != Brotli && kind != Deflate {
			text := pack(f, kind, secret)
			f.Add(text, uint8(kind), 0, len(text), 20)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, kind uint8, start, end, limit int) {
		if limit > 1<<20 {
			limit = 1 << 20
		}
		out, _, err := d.Decode([]byte("kept"), text, Span{Kind: Kind(kind), Start: start, End: end}, limit)
		if string(out[:4]) != "kept" || len(out) > 4+max(limit, 0) || err != nil && len(out) != 4 {
			t.Fatalf("%d bytes at a limit of %d, %v", len(out), limit, err)
		}
	})
}
