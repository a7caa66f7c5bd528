package egress

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// hiding is a body in brotli with parts in blocks of metadata, which decoders skip
// (RFC 7932 section 9.2).
func hiding(parts ...string) []byte {
	var out bytes.Buffer
	z := brotli.NewWriter(&out)
	for _, p := range parts {
		_, _ = z.Write(bytes.Repeat([]byte("a b\n"), 100))
		_ = z.Flush() // so that the next block begins with a byte
		p += strings.Repeat(" ", max(0, 300-len(p)))
		v := uint32(3<<1 | 2<<4 | (len(p)-1)<<6) // not the last, no nibbles: metadata; two bytes of length
		out.Write([]byte{byte(v), byte(v >> 8), byte(v >> 16)})
		out.WriteString(p)
	}
	_ = z.Close()
	return out.Bytes()
}

// The attack: what rules find says nothing of compressed bytes, so it does not stop a
// request, but it stopped the scan of them. Behind it a known secret stood in plain text,
// after text that was sent before; or as the last of more findings than are kept.
func TestMetadataOfBrotliIsLookedAtToItsEnd(t *testing.T) {
	w, s := guarded(t, "block", nil)
	post := func(body []byte) int {
		req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", bytes.NewReader(body))
		req.Header.Set("Content-Encoding", "br")
		res, err := w.client().Do(req)
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	const token = "ghp_x7Kq2LmZ9vTn4RwYb8Jd3HsPf6Gc1QaWe5Ut\n"
	var lines strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&lines, "line %d of a text that was sent before\n", i)
	}
	text := strings.Repeat(" ", 300) + lines.String()
	if got := post(hiding(text, text, text, token)); got != http.StatusOK {
		t.Fatalf("a body without a known secret: %d", got)
	}
	for name, parts := range map[string][]string{
		"behind a token and known text": {token, text, text, text, watched},
		"between":                       {text, token, text, text, text, watched, text},
		"behind many tokens":            {strings.Repeat(token, 400), fmt.Sprintf("%x", watched)},
	} {
		if got := post(hiding(parts...)); got == http.StatusOK {
			t.Errorf("%s: %d", name, got)
		}
	}
	w.stop()
	s.holds(t, watched, fmt.Sprintf("%x", watched))
}
