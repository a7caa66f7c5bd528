package egress

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
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
