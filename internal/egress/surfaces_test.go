package egress

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"bottle/internal/policy"
)

// moreSpellings are those that spellings has not.
func moreSpellings(t *testing.T, s string) map[string]string {
	percent, entities, unicode, quoted := "", "", "", ""
	for i, c := range []byte(s) {
		switch i % 3 {
		case 0:
			percent += fmt.Sprintf("%%%02X", c)
			unicode += fmt.Sprintf(`\u%04X`, c)
			quoted += fmt.Sprintf("=%02x", c)
			entities += fmt.Sprintf("&#x%x;", c)
		default:
			percent, unicode, quoted, entities = percent+string(c), unicode+string(c), quoted+string(c), entities+string(c)
		}
	}
	long := base64.StdEncoding.EncodeToString([]byte("a text before it, so that it stands in the middle of lines: " + s + " and one behind it"))
	lines := func(sep string) string {
		var out []string
		for l := range slices.Chunk([]byte(long), 76) {
			out = append(out, string(l))
		}
		return strings.Join(out, sep)
	}
	out := map[string]string{
		"percent in part": percent, "escapes in part": unicode, "quoted in part": quoted, "hex entities in part": entities,
		"base64 in lines": lines("\r\n"), "base64 in lines, LF": lines("\n"), "base64url, no padding": base64.RawURLEncoding.EncodeToString([]byte("~?~" + s)),
		"base64url, padding": base64.URLEncoding.EncodeToString([]byte("~?~" + s + "~")), "soft breaks": s[:11] + "=\r\n" + s[11:25] + "=\r\n" + s[25:],
		"16 bytes": s[9:25], "upper case": strings.ToUpper(s), "zero-width between all": strings.Join(strings.Split(s, ""), "\u200d"), "full width": fullWidth(s),
	}
	for _, how := range []string{"gzip", "deflate", "br", "zstd"} {
		if how != "br" { // nothing announces it
			out[how+" in base64"] = base64.StdEncoding.EncodeToString(deflated(t, how, []byte("see "+s+" here")))
		}
	}
	return out
}

// fullWidth are the letters of East Asian text (Unicode's U+FF01 and on).
func fullWidth(s string) (out string) {
	for _, c := range s {
		out += string(c - '!' + 0xff01)
	}
	return out
}

// The weakness: a scanner that looks only into bodies of kinds that it knows. The attack:
// each spelling in bodies of any Content-Type, one that lies, and none. This proves that
// what a body says of itself keeps nobody from looking.
func TestSecretInAnyContentType(t *testing.T) {
	w, s := guarded(t, "block", nil)
	all := moreSpellings(t, watched)
	for name, spelt := range spellings(watched) {
		all[name] = spelt
	}
	for _, kind := range []string{"", "application/octet-stream", "image/png", "application/xml", "text/html; charset=utf-8", "application/x-ndjson",
		"application/json", "application/x-www-form-urlencoded", "application/pdf", "multipart/mixed", "no type at all", "application/x-git-upload-pack-request"} {
		for name, spelt := range all {
			if kind == "application/x-www-form-urlencoded" && strings.ContainsAny(spelt, "&+%=") {
				continue // it would say something else there
			}
			req := must(http.NewRequest("POST", "https://"+apiHost+"/x", strings.NewReader("Dear all,\n"+spelt+"\nis it.")))
			req.Header.Set("Content-Type", kind)
			if kind == "" {
				req.Header.Del("Content-Type")
			}
			res, err := w.client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 403 {
				t.Errorf("%q as %s: status %d", kind, name, res.StatusCode)
			} else if d := denied(t, res, 403, policy.SecretFound); strings.Contains(d.Message, watched[:12]) {
				t.Errorf("%q as %s: it tells the secret: %s", kind, name, d.Message)
			}
		}
	}
	w.stop()
	if s.count() != 0 {
		t.Errorf("%d requests left", s.count())
	}
}

// The weakness: names are chosen by the sender, too. The attack: a secret as the name of
// a field, a cookie, a parameter, a member, a file; in a part that says how it is
// encoded; in a field that is repeated. This proves that each of them is looked at, and
// that the record does not hold the name.
func TestSecretInANameOfSomething(t *testing.T) {
	w, s := guarded(t, "block", nil)
	part := func(head, body string) (string, string) {
		return "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nfirst\r\n--b\r\n" + head + "\r\n\r\n" + body + "\r\n--b--\r\n"
	}
	b64 := base64.StdEncoding.EncodeToString([]byte("x" + watched))
	for _, c := range []struct{ name, query, kind, body, field, value string }{
		{name: "field", field: "X-" + watched, value: "1"},
		{name: "Grpc metadata", field: "Grpc-Metadata-Bin", value: b64},
		{name: "cookie", field: "Cookie", value: "a=b; " + watched + "=1"},
		{name: "parameter", query: "?" + watched + "=1"},
		{name: "parameter alone", query: "?" + watched},
		{name: "matrix parameter", query: ";v=" + watched},
		{name: "fragmentless path", query: "/.well-known/" + url.PathEscape(watched)},
		{name: "form", kind: "application/x-www-form-urlencoded", body: "a=b&" + watched + "=c"},
		{name: "member", kind: "application/json", body: `{"a":{"` + watched + `":1}}`},
		{name: "part"}, {name: "file"}, {name: "encoded part"}, {name: "header of a part"}, {name: "preamble", kind: "multipart/form-data; boundary=b", body: watched + "\r\n--b\r\n\r\nx\r\n--b--\r\n"},
		{name: "epilogue", kind: "multipart/form-data; boundary=b", body: "--b\r\n\r\nx\r\n--b--\r\n" + watched},
		{name: "boundary", kind: "multipart/form-data; boundary=" + watched, body: "--" + watched + "--"},
	} {
		switch c.name {
		case "part":
			c.kind, c.body = part(`Content-Disposition: form-data; name="`+watched+`"`, "x")
		case "file":
			c.kind, c.body = part(`Content-Disposition: form-data; name="f"; filename="`+watched+`.txt"`, "x")
		case "encoded part":
			c.kind, c.body = part("Content-Disposition: form-data; name=\"f\"\r\nContent-Transfer-Encoding: base64", b64)
		case "header of a part":
			c.kind, c.body = part("Content-Disposition: form-data; name=\"f\"\r\nX-Any: "+watched, "x")
		}
		req := must(http.NewRequest("POST", "https://"+apiHost+"/x"+c.query, strings.NewReader(c.body)))
		if c.kind != "" {
			req.Header.Set("Content-Type", c.kind)
		}
		if c.field != "" {
			req.Header[c.field] = []string{"harmless", c.value}
		}
		res, err := w.client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 403 {
			t.Errorf("%s: status %d", c.name, res.StatusCode)
			continue
		}
		denied(t, res, 403, policy.SecretFound)
	}
	w.stop()
	if s.count() != 0 {
		t.Errorf("%d requests left", s.count())
	}
	for _, r := range w.all() {
		if strings.Contains(fmt.Sprint(r), watched[:8]) {
			t.Errorf("the record tells it: %+v", r)
		}
	}
}
