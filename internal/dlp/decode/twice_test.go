package decode

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
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
