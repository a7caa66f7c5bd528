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

// The weakness: pieces were joined only where they stood in the outermost JSON, and in
// forms that fit into the window. The attack: three letters a string, in JSON in a string
// of JSON (arguments of a tool), in a field of a form, in a part, behind a mark of the
// byte order; two letters a field in a form of 800 KB. This proves that all are joined.
func TestPiecesWhereverTheyStand(t *testing.T) {
	in := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	part := func(body []byte) []byte {
		return slices.Concat([]byte("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n"), body, []byte("\r\n"))
	}
	inner := in(map[string]any{"parts": cutInto(watched, 3)})
	once := in(map[string]any{"arguments": string(inner)})
	twice := in(map[string]any{"arguments": string(once)})
	keys := in(map[string]any{"arguments": `{"` + strings.Join(cutInto(watched, 3), `":1,"`) + `":1}`})
	long := strings.Repeat("word ", 160_000)
	var fields, parts string
	for _, piece := range cutInto(watched, 2) {
		fields += "k=" + strings.ReplaceAll(piece, "8", "%38") + "&"
		parts += string(part([]byte(piece)))
	}
	const form, multi = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	for _, c := range []struct {
		name, kind string
		body       []byte
	}{
		{"in a string", "application/json", once},
		{"in a string in a string", "application/json", twice},
		{"keys in a string", "application/json", keys},
		{"a list with a blank before it", "application/json", in([]any{" \n" + string(in(cutInto(watched, 3)))})},
		{"in a long string", "application/json", in([]any{string(in([]any{long, cutInto(watched, 3), long}))})},
		{"in a field", form, append([]byte("payload="), inner...)},
		{"in a large field", form, slices.Concat([]byte("payload="), in([]any{long, cutInto(watched, 3), long}))},
		{"in a part", multi, append(part(inner), "--b--\r\n"...)},
		{"in a large part", multi, append(part(in([]any{long, cutInto(watched, 3), long})), "--b--\r\n"...)},
		{"behind a mark, as text", "text/plain", append([]byte("\xef\xbb\xbf"), inner...)},
		{"a large form", form, []byte(fields + "z=" + long)},
		{"at the end of a large form", form, []byte("z=" + long + "&" + fields)},
		{"around what is large in a form", form, []byte(fields[:len(fields)/2-1] + "&z=" + long + "&" + fields[len(fields)/2:] + "z=" + long + "&" + fields)},
		{"large multipart", multi, append(part([]byte(long)), parts+"--b--\r\n"...)},
	} {
		w, _ := guarded(t, "block", nil)
		if got := reason(t, w, c.kind, "", c.body); got != policy.SecretFound {
			t.Errorf("%s: %q", c.name, got)
		}
		if coded := deflated(t, "gzip", c.body); reason(t, w, c.kind, "gzip", coded) != policy.SecretFound {
			t.Errorf("%s, in gzip, passes", c.name)
		}
	}
}
