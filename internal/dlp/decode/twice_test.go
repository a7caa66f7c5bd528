package decode

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// deep tells whether a view of a text, or a view of a view, holds the secret.
func deep(d *Decoder, text []byte, depth int) bool {
	if bytes.Contains(text, []byte(secret)) {
		return true
	}
	if depth == 0 {
		return false
	}
	spans, _ := d.Find(nil, text, true)
	for _, s := range spans {
		if view, _, err := d.Decode(nil, text, s, 1<<20); err == nil && deep(d, view, depth-1) {
			return true
		}
	}
	return false
}

// Text of which no twelve bytes in a row are ASCII is found in digits and in UTF-16.
func TestDisguisedAndEncoded(t *testing.T) {
	d := New()
	all := encodings(secret)
	for _, inner := range []string{"fullwidth", "invisible U+200B", "invisible U+00AD", "invisible U+E0101", "tags", "combining", "variation bytes"} {
		text := all[inner].text
		for outer, coded := range map[string]string{
			"base64": base64.StdEncoding.EncodeToString([]byte(text)), "base32": base32.StdEncoding.EncodeToString([]byte(text)),
			"hex": hex.EncodeToString([]byte(text)), "utf-16le": enc16(text, false), "utf-16be": enc16(text, true),
			"base64 of utf-16le": base64.StdEncoding.EncodeToString([]byte(enc16(text, false))), "base64 of utf-16be": base64.StdEncoding.EncodeToString([]byte(enc16(text, true))),
			"base32 of utf-16le": base32.StdEncoding.EncodeToString([]byte(enc16(text, false))), "base32 of utf-16be": base32.StdEncoding.EncodeToString([]byte(enc16(text, true))),
		} {
			if inner == "invisible U+E0101" && outer != "base64" && outer != "hex" || inner == "tags" && strings.Contains(outer, "utf") ||
				inner == "variation bytes" && strings.Contains(outer, "utf") {
				continue // see the package's documentation
			}
			for glued := range 9 {
				if !deep(d, []byte("abcdefghi"[:glued]+coded), 3) {
					t.Errorf("%s in %s after %d characters: not found", inner, outer, glued)
				}
			}
		}
	}
}

// What is compressed is found in base32, and where single bytes of it are escaped twice.
func TestPackedAndEscaped(t *testing.T) {
	d := New()
	for _, kind := range []Kind{Gzip, Zlib, Zstd, Zip} {
		packed := pack(t, kind, longText())
		for _, glued := range []string{"", "x", "word"} {
			if !deep(d, []byte("in "+glued+base32.StdEncoding.EncodeToString(packed)+"\nend"), 2) {
				t.Errorf("%s in base32 after %q: not found", kind, glued)
			}
		}
		for name, mark := range map[string]string{"percent": "%%%02X", "quoted": "=%02X"} {
			var b strings.Builder
			for i, c := range packed {
				if i%3 != 0 && c > ' ' && c < 0x7f && c != mark[0] && c != '=' {
					b.WriteByte(c)
				} else {
					fmt.Fprintf(&b, mark, c)
				}
			}
			text, err := json.Marshal(map[string]string{"a": "before it", "content": b.String()})
			if err != nil {
				t.Fatal(err)
			}
			if !deep(d, text, 3) {
				t.Errorf("%s in %s in JSON: not found", kind, name)
			}
		}
	}
}

// A word in the line below is no part of what stands above, though it may be.
func TestWordBelow(t *testing.T) {
	d := New()
	for kind, coded := range map[Kind]string{Base64: base64.RawStdEncoding.EncodeToString([]byte(secret)),
		Base32: strings.TrimRight(base32.StdEncoding.EncodeToString([]byte(secret)), "="), Hex: hex.EncodeToString([]byte(secret))} {
		text := []byte("note: " + coded + "\nfeed")
		spans, _ := d.Find(nil, text, true)
		exact := false
		for _, s := range spans {
			out, _, err := d.Decode(nil, text, s, 1000)
			exact = exact || s.Kind == kind && err == nil && string(out) == secret
		}
		if !exact {
			t.Errorf("%s: what stands below is taken for a part of it: %v", kind, spans)
		}
	}
}

// A soft line break is one however it is escaped; a sign and a line break are none.
func TestSoftBreaks(t *testing.T) {
	for text, want := range map[string]string{"=\n": "", "= \t\r\nx": "x", `=\nx`: "x", `=\r\nx`: "x", `=\\r\\nx`: "x", `=\rx`: `=\rx`, `=\tx`: `=\tx`, `=\`: `=\`, "=": "=", "=x": "=x"} {
		if out, _ := appendInPlace(nil, []byte(text), Quoted, 100); string(out) != want {
			t.Errorf("%q gives %q", text, out)
		}
	}
}

func TestFirstBytesOfDisguise(t *testing.T) {
	d := New()
	text := encodings(secret)["fullwidth"].text
	for _, coded := range []string{perByte(text, "%%%02x"), perByte(text, "=%02X"), perByte(text, `\x%02x`)} {
		if !deep(d, []byte(coded), 2) {
			t.Errorf("not found in %.40q", coded)
		}
	}
}

func perByte(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}
