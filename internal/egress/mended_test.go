package egress

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/policy"
)

// reason posts a body, and gives why it was refused; empty: it went on.
func reason(t *testing.T, w *world, kind, coding string, body []byte) policy.Reason {
	t.Helper()
	req, err := http.NewRequest("POST", "https://"+apiHost+"/x", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if coding != "" {
		req.Header.Set("Content-Encoding", coding)
	}
	res, err := w.client().Do(req)
	if err != nil {
		return policy.SecretFound // it was broken off
	}
	defer res.Body.Close()
	var d struct{ Reason policy.Reason }
	if b, _ := io.ReadAll(res.Body); res.StatusCode == http.StatusForbidden {
		_ = json.Unmarshal(b, &d)
	}
	return d.Reason
}

func cutInto(s string, size int) (out []string) {
	for part := range slices.Chunk([]byte(s), size) {
		out = append(out, string(part))
	}
	return out
}

// The weakness: of a compressed body larger than the window, the last window was not held
// against what was sent before. The attack: few bytes on the wire, each time with one
// piece of the secret behind 300 KB of words. This proves that the second piece is seen.
func TestPiecesOverLargeCodedBodies(t *testing.T) {
	for _, coding := range []string{"", "gzip", "br", "zstd"} {
		w, _ := guarded(t, "block", nil)
		for i, piece := range cutInto(watched, 12)[:2] {
			text := []byte(strings.Repeat("word ", 60_000) + " " + piece + " \n")
			if coding != "" {
				text = deflated(t, coding, text)
			}
			want := policy.Reason("")
			if i == 1 {
				want = policy.SecretFound
			}
			if got := reason(t, w, "text/plain", coding, text); got != want {
				t.Errorf("%q, piece %d: %q, want %q", coding, i, got, want)
			}
		}
	}
}

// The weakness: who may send one part of a secret could send all of it in pieces. The
// attack: an operator approves 16 bytes, and the rest goes in pieces behind them. This
// proves that an approval is for those bytes.
func TestApprovalOfAPartIsNoneForTheRest(t *testing.T) {
	w, _ := guarded(t, "ask", nil)
	part := watched[:16]
	res, err := w.client().Do(bearing(t, "json", part))
	if err != nil {
		t.Fatal(err)
	}
	d := denied(t, res, http.StatusForbidden, policy.SecretFound)
	w.p.Admit(d.Print, apiHost, time.Now().Add(time.Hour))
	for i, c := range []struct {
		strings []string
		want    policy.Reason
	}{
		{[]string{part}, ""},
		{[]string{"again", part, "and", part}, ""},
		{append([]string{part}, cutInto(watched[16:], 8)...), policy.SecretFound},
		{cutInto(watched, 8), policy.SecretFound},
		{[]string{part, "some words", watched[16:28]}, policy.SecretFound},
	} {
		b, _ := json.Marshal(c.strings)
		if got := reason(t, w, "application/json", "", b); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}

// What digests a body must not go on behind it when something was taken out of it.
func TestRedactTakesOutDigestsOfTrailers(t *testing.T) {
	var body string
	var got http.Header
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, got = string(b), r.Trailer
	}), apiHost)
	r := route(apiHost, addr, ca)
	r.DLP = "redact"
	w := newWorld(t, func(c *Config) { c.DLP = scanner(t, map[string]string{"W": watched}) }, r)
	req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", io.MultiReader(strings.NewReader(`{"a":"`+patLike+`"}`)))
	req.Header.Set("Content-Type", "application/json")
	req.Trailer = http.Header{"Content-Digest": {"sha-256=:abcd:"}, "Repr-Digest": {"sha-256=:abcd:"}, "Digest": {"x"}, "Content-Md5": {"x"}, "X-Other": {"stays"}}
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if !strings.Contains(body, "[redacted:") || len(got) != 1 || got.Get("X-Other") != "stays" {
		t.Errorf("%s, and behind it %v", body, got)
	}
}
