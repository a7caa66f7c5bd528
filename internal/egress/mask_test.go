package egress

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"bottle/internal/bottle"
	"bottle/internal/secret"
)

// The weakness: an upstream that echoes its request. The attack: ask it for the
// request's own headers. This proves that the agent gets stars, in every scheme,
// in the body and in a header, compressed or not, and that nothing else changes.
func TestInvariant2AnEchoedCredentialIsMasked(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", strings.Join(r.Header["Authorization"], "")+strings.Join(r.Header["X-Api-Key"], ""))
		w.Header().Set("X-Coding", r.Header.Get("Accept-Encoding"))
		echo(w, r)
	})
	addr, ca, _ := upstream(t, h, apiHost)
	for _, c := range []struct{ scheme, header string }{{"Bearer", ""}, {"token", ""}, {"Basic", ""}, {"header", "X-Api-Key"}} {
		t.Run(c.scheme, func(t *testing.T) {
			w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), c.scheme, c.header))
			req, _ := http.NewRequest("GET", "https://"+apiHost+"/v1/x", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			req.Header.Set("X-Harmless", "stays")
			res, err := w.client().Do(req)
			got := text(t, res, err) + res.Header.Get("X-Echo")
			mustContain(t, got, "X-Harmless: stays", "*******")
			coded := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + realKey))
			for _, leak := range []string{realKey, coded} {
				if strings.Contains(got, leak) {
					t.Errorf("the credential came back:\n%s", got)
				}
			}
			if res.Header.Get("X-Coding") != "identity" {
				t.Errorf("the upstream may answer in %q", res.Header.Get("X-Coding"))
			}
		})
	}
}

// Cut anywhere, the masked stream is the text with the needles starred.
func TestMaskerAcrossBorders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		needle := rapid.StringMatching(`[ab]{8,10}`).Draw(t, "needle")
		text := rapid.StringMatching(`[ab]{0,60}`).Draw(t, "before") + needle + rapid.StringMatching(`[abc]{0,40}`).Draw(t, "after")
		want := []byte(text)
		mask(want, [][]byte{[]byte(needle)})
		var src io.Reader = strings.NewReader(text)
		if rapid.Bool().Draw(t, "byte by byte") {
			src = iotest.OneByteReader(src)
		}
		m := &masker{ReadCloser: io.NopCloser(src), needles: [][]byte{[]byte(needle)}}
		size := rapid.IntRange(1, 16).Draw(t, "buffer")
		var got bytes.Buffer
		if _, err := io.CopyBuffer(&got, struct{ io.Reader }{m}, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(got.Bytes(), []byte(needle)) || got.Len() != len(text) {
			t.Fatalf("%q became %q, want like %q", text, got.String(), want)
		}
	})
}

func TestShortCredentialsAreNotLookedFor(t *testing.T) {
	auth := &bottle.Auth{Scheme: "Bearer", TokenRef: tokenRef}
	if n := needlesOf(auth, secret.New([]byte("short"))); len(n) != 0 {
		t.Errorf("looks for %q", n)
	}
}
