package tripwire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	one = "sk-ant-oat01-Zq3vB8_x-7Kd0Lw2Tn5Rj9Hs4Mf6Pc1YgAA"
	two = "ghp_0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R"
)

func held() map[string]string { return map[string]string{"ONE": one, "TWO": two} }

// Wherever it stands in a text, a placeholder is found in each spelling, also
// however a body is cut; and a text without one raises no alarm.
func TestEachSpellingIsFoundWhereverItStands(t *testing.T) {
	w := New(held())
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.StringMatching(`[ -~]{0,40}`).Draw(t, "before")
		after := rapid.StringMatching(`[ -~]{0,40}`).Draw(t, "after")
		what := rapid.SampledFrom([]string{one, two}).Draw(t, "what")
		whole := before + what + after
		text := map[string]string{
			"plain": whole, "hex": hex.EncodeToString([]byte(whole)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(whole))),
			"base64": base64.StdEncoding.EncodeToString([]byte(whole)), "base64url": base64.RawURLEncoding.EncodeToString([]byte(whole)),
		}[rapid.SampledFrom([]string{"plain", "hex", "HEX", "base64", "base64url"}).Draw(t, "coding")]
		if !w.For("").Header(http.Header{"X-A": {"fine", text}}) || !w.For("").URL("/?q="+text) {
			t.Fatalf("not found in %q", text)
		}
		own, other := "ONE", "TWO"
		if what == two {
			own, other = other, own
		}
		if w.For(own).Header(http.Header{"X-A": {text}}) || !w.For(other).Header(http.Header{"X-A": {text}}) || !w.For("UNKNOWN").URL(text) {
			t.Fatalf("on its own route and on another's: %q", text)
		}
		cut := func(text string) bool {
			s := w.For("").Scan()
			for rest := []byte(text); len(rest) > 0; {
				n := rapid.IntRange(1, min(len(rest), 300)).Draw(t, "cut")
				if s.Found(rest[:n]) {
					return true
				}
				rest = rest[n:]
			}
			return false
		}
		long := strings.Repeat("x", rapid.IntRange(0, 700).Draw(t, "long"))
		if !cut(long + text + long) {
			t.Fatalf("not found in the body %q", text)
		}
		almost := strings.Replace(whole, what, what[:len(what)-1]+"!", 1)
		if strings.Contains(almost, what) {
			t.Skip()
		}
		if cut(long+almost+long) || w.For("").URL(almost) || w.For("").Header(http.Header{"X-A": {almost}}) {
			t.Fatalf("found in %q", almost)
		}
	})
}

func TestURLsAreDecodedOnce(t *testing.T) {
	w := New(held()).For("")
	var coded strings.Builder
	for _, c := range []byte(two) {
		fmt.Fprintf(&coded, "%%%02x", c)
	}
	for text, want := range map[string]bool{
		"/x?t=" + coded.String(): true, "/" + strings.Replace(two, "a", "%61", 1) + "/y": true, "/?" + url.QueryEscape("a="+one+"&"): true,
		"/%zz" + strings.Replace(two, "_", "%5F", 1) + "%": true, "/%25" + strings.Replace(two, "_", "%255F", 1): false, "/": false, "": false, "/%": false,
	} {
		if w.URL(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

// The weakness: a name goes out to resolvers before anything is sent. The attack: a
// placeholder in the labels of a name, in any case, cut at 63 bytes, or coded.
func TestHostsInAnyCaseAndAcrossDots(t *testing.T) {
	w := New(held())
	for name, want := range map[string]bool{
		strings.ToUpper(two) + ".evil.example": true, two[:20] + "." + two[20:] + ".evil.example": true,
		"x" + hex.EncodeToString([]byte(two))[:60] + "." + hex.EncodeToString([]byte(two))[60:] + "y.example:443": true,
		two[:30] + ".evil.example": false, "": false, "api.example.com": false, two[1:] + ".example": false,
	} {
		if w.Host(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestFieldNamesAndNothing(t *testing.T) {
	w := New(held())
	h := http.Header{}
	h.Set("X-"+strings.ReplaceAll(two, "_", "_"), "1")
	if !w.For("").Header(h) || !w.For("ONE").Header(h) || w.For("TWO").Header(h) {
		t.Errorf("%v", h)
	}
	for _, none := range []*Wires{nil, New(nil), New(map[string]string{"A": "short", "B": ""})} {
		x := none.For("A")
		if !x.Idle() || x.Scan().Found([]byte("short short short")) || x.URL("/short-short") || x.Header(http.Header{"A": {"short short"}}) || none.Host("short.short.short") {
			t.Error("it finds something")
		}
	}
	// Two references to one placeholder are one credential.
	if same := New(map[string]string{"A": one, "B": one}); same.For("A").URL(one) || !same.For("").URL(one) {
		t.Error("the same placeholder under two names")
	}
}

func BenchmarkScan(b *testing.B) {
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	for _, text := range map[string][]byte{"random": data, "json": bytes.Repeat([]byte(`{"role":"user","content":"please"},`), 30000)} {
		b.Run(fmt.Sprint(len(text)), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				s := New(held()).For("").Scan()
				for rest := text; len(rest) > 0; {
					n := min(len(rest), 32<<10)
					if s.Found(rest[:n]) {
						b.Fatal("found")
					}
					rest = rest[n:]
				}
			}
		})
	}
}
