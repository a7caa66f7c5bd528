package egress

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/egress/decision"
	"bottle/internal/policy"
)

const (
	// watched is a value that the gateway knows; patLike is one that a rule knows.
	watched = "zK8vQ2mX7pL4wN9rT3yB6cF1hJ5sD0gA8eU2"
	patLike = "ghp_x7Kq2LmZ9vTn4RwYb8Jd3HsPf6Gc1QaWe5Ut"
)

// guarded is a gateway that knows watched, before an upstream that keeps what it saw.
// The host's route has this action; so has one for every name of a wildcard.
func guarded(t testing.TB, action string, tune func(*Config)) (*world, *saw) {
	s := &saw{came: make(chan seen, 4096)}
	addr, ca, _ := upstream(t, s, apiHost, "x.wild.example.com")
	r, wild := route(apiHost, addr, ca), route("*.wild.example.com", addr, ca)
	r.DLP, wild.DLP = action, action
	return newWorld(t, func(c *Config) {
		c.DLP = scanner(t, map[string]string{"env:WATCHED": watched})
		if tune != nil {
			tune(c)
		}
	}, r, wild), s
}

func (s *saw) holds(t testing.TB, parts ...string) {
	t.Helper()
	for _, one := range s.all() {
		for _, p := range parts {
			if strings.Contains(one.body, p) || strings.Contains(one.path, p) {
				t.Errorf("the upstream has %s %.80q, whole: %v", one.path, one.body, one.whole)
			}
		}
	}
}

// broken: none of the requests was whole.
func (s *saw) broken(t testing.TB) {
	t.Helper()
	for _, one := range s.all() {
		if one.whole {
			t.Errorf("the upstream has %d bytes whole", len(one.body))
		}
	}
}

// spellings of a secret, each with its name.
func spellings(s string) map[string]string {
	entities, unicode, quoted := "", "", ""
	for _, c := range []byte(s) {
		entities += fmt.Sprintf("&#%d;", c)
		unicode += fmt.Sprintf(`\u%04x`, c)
		quoted += fmt.Sprintf("=%02X", c)
	}
	percent := ""
	for _, c := range []byte(s) {
		percent += fmt.Sprintf("%%%02x", c)
	}
	b := []byte(s)
	slices.Reverse(b)
	half := s[:len(s)/2] + "\u200b" + s[len(s)/2:]
	return map[string]string{
		"plain": s, "within": "abc" + s + "def", "base64 0": base64.StdEncoding.EncodeToString([]byte(s)),
		"base64 1": base64.StdEncoding.EncodeToString([]byte("x" + s + "y")), "base64 2": base64.StdEncoding.EncodeToString([]byte("xy" + s + "yz")),
		"base64url": base64.RawURLEncoding.EncodeToString([]byte("?>?>" + s)), "base32": base32.StdEncoding.EncodeToString([]byte(s)),
		"hex": hex.EncodeToString([]byte(s)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(s))),
		"percent": percent, "percent twice": strings.ReplaceAll(percent, "%", "%25"), "escapes": unicode, "entities": entities, "quoted-printable": quoted,
		"reversed": string(b), "case": strings.ToLower(s), "part": s[7:25], "zero-width": half, "homoglyph": strings.Replace(s, "A", "А", 1),
		"base64 of hex": base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString([]byte(s)))),
	}
}

// The weakness: a secret in any spelling, in any surface of a request. This proves that
// none of them leaves, that the denial says what, and the record too, and that neither
// holds a byte of it.
func TestKnownSecretLeavesInNoSpelling(t *testing.T) {
	w, s := guarded(t, "block", nil)
	n := 0
	for name, spelt := range spellings(watched) {
		for _, where := range []string{"header", "cookie", "query", "path", "body", "json", "form", "chunked", "multipart"} {
			req := bearing(t, where, spelt)
			res, err := w.client().Do(req)
			if err != nil {
				t.Fatalf("%s in %s: %v", name, where, err)
			}
			if res.StatusCode != 403 {
				t.Errorf("%s in %s: status %d", name, where, res.StatusCode)
				continue
			}
			if where == "path" && strings.Contains(url.PathEscape(spelt), "%") {
				_ = res.Body.Close() // bad_path: it can be read in two ways
				continue
			}
			d := denied(t, res, 403, policy.SecretFound)
			if strings.Contains(d.Message, watched[:12]) || strings.Contains(d.Message, spelt) {
				t.Errorf("%s in %s: it tells the secret: %s", name, where, d.Message)
			}
			n++
		}
	}
	w.stop()
	s.holds(t, watched[:8])
	if s.count() != 0 {
		t.Errorf("%d requests left", s.count())
	}
	for _, r := range w.all() {
		if r.Reason == "bad_path" {
			continue
		}
		if r.Verdict != "deny" || r.Reason != "secret_found" && r.Host != "(others)" || r.Host == apiHost && len(r.Findings) == 0 {
			t.Errorf("record %+v", r)
		}
		if strings.Contains(r.Path+r.Host+r.Method, watched[:8]) {
			t.Errorf("the record tells the secret: %+v", r)
		}
		for _, f := range r.Findings {
			if f.Secret != "env:WATCHED" && f.Rule == "known-secret" || f.Place == "" || strings.Contains(fmt.Sprint(f), watched[:8]) {
				t.Errorf("finding %+v", f)
			}
		}
	}
}

// bearing is a request that carries a text in one of its surfaces.
func bearing(t testing.TB, where, text string) *http.Request {
	t.Helper()
	body, kind, target := "", "text/plain", "https://"+apiHost+"/x"
	length := int64(0)
	switch where {
	case "query":
		target += "?a=b&q=" + url.QueryEscape(text)
	case "path":
		target += "/" + url.PathEscape(text) + "/y"
	case "body", "chunked":
		body = "Dear all, " + text + " is it."
	case "json":
		quoted, _ := json.Marshal(text)
		body, kind = `{"messages":[{"role":"user"},{"content":`+string(quoted)+`}]}`, "application/json"
	case "form":
		body, kind = "a=b&c="+url.QueryEscape(text), "application/x-www-form-urlencoded"
	case "multipart":
		body = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n" + text + "\r\n--b--\r\n"
		kind = "multipart/form-data; boundary=b"
	}
	length = int64(len(body))
	if where == "chunked" {
		length = -1
	}
	req, err := http.NewRequest("POST", target, struct{ io.Reader }{strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = length
	if body != "" {
		req.Header.Set("Content-Type", kind)
	}
	switch where {
	case "header":
		req.Header.Set("X-Any", url.PathEscape(text))
		if !strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e }) {
			req.Header.Set("X-Any", text)
		}
	case "cookie":
		req.Header.Set("Cookie", "a=1; s="+url.PathEscape(text)+"; t=2")
	}
	return req
}

// deflated is text compressed in one way.
func deflated(t testing.TB, how string, text []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch how {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw deflate":
		w, _ = flate.NewWriter(&b, 6)
	default:
		w = packer(how, &b)
	}
	_, _ = w.Write(text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The weakness: what is compressed can't be read by looking at it. The attack: a secret
// in a compressed body, small and larger than the window, at its start, in its middle
// and at its end, with a Content-Encoding, with several, and with none. This proves that
// the upstream never has a whole request, nor the part with the secret.
func TestSecretInACompressedBody(t *testing.T) {
	w, s := guarded(t, "block", nil)
	noise := noisy(1 << 20)
	for _, how := range []string{"gzip", "x-gzip", "deflate", "raw deflate", "br", "zstd", "gzip, gzip", "none: gzip", "none: zstd"} {
		for _, size := range []int{1000, 900_000} {
			for _, at := range []int{0, size / 2, size} {
				text := slices.Concat(noise[:at], []byte("\n"+watched+"\n"), noise[at:size])
				named, coding := how, strings.TrimPrefix(how, "none: ")
				body := text
				for one := range strings.SplitSeq(coding, ", ") {
					body = deflated(t, one, body)
				}
				req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", bytes.NewReader(body))
				if !strings.HasPrefix(how, "none") {
					req.Header.Set("Content-Encoding", strings.TrimPrefix(named, "raw "))
				}
				res, err := w.client().Do(req)
				if err == nil && strings.Contains(how, ",") && size > 500_000 {
					_ = res.Body.Close() // not_scannable where the window is full first
					if res.StatusCode != 403 {
						t.Errorf("%s, %d at %d: %s", how, size, at, res.Status)
					}
				} else if err == nil {
					denied(t, res, 403, policy.SecretFound)
				} else if size < 500_000 {
					t.Errorf("%s, %d at %d: %v", how, size, at, err)
				}
			}
		}
	}
	w.stop()
	s.holds(t, watched)
	s.broken(t)
}

// noisy is a text that compresses little, and holds no secret.
func noisy(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = " etaoin shrdlu\ncmfwypvbgk"[r.IntN(25)]
	}
	return b
}

// What is compressed in a way not known here, or is damaged, or goes on behind its end,
// is refused; so is everything where there is nothing that could look.
func TestWhatCantBeScannedIsRefused(t *testing.T) {
	w, s := guarded(t, "block", nil)
	good := deflated(t, "gzip", []byte("harmless"))
	z := deflated(t, "zstd", []byte("harmless"))
	named := func() []byte {
		var b bytes.Buffer
		g := gzip.NewWriter(&b)
		g.Comment = watched
		_, _ = g.Write([]byte("harmless"))
		_ = g.Close()
		return b.Bytes()
	}
	for name, c := range map[string]struct {
		coding string
		body   []byte
		reason policy.Reason
	}{
		"unknown":          {"compress", []byte("harmless"), policy.NotScannable},
		"damaged":          {"gzip", append([]byte(nil), good[:len(good)-6]...), policy.NotScannable},
		"no gzip":          {"gzip", []byte("harmless"), policy.NotScannable},
		"behind the end":   {"gzip", append(slices.Clone(good), watched...), policy.NotScannable},
		"behind deflate":   {"deflate", append(deflated(t, "raw deflate", []byte("x")), watched...), policy.NotScannable},
		"behind br":        {"br", append(deflated(t, "br", []byte("x")), watched...), ""},
		"behind inner":     {"deflate, gzip", deflated(t, "gzip", append(deflated(t, "raw deflate", []byte("x")), watched...)), policy.NotScannable},
		"gzip's comment":   {"gzip", named(), policy.SecretFound},
		"second's comment": {"gzip", append(slices.Clone(good), named()...), policy.SecretFound},
		"skippable frame":  {"zstd", slices.Concat(z, []byte("\x50\x2a\x4d\x18\x24\x00\x00\x00"+watched), z), policy.NotScannable},
		"four codings":     {"gzip, gzip, gzip, gzip", good, policy.NotScannable},
	} {
		req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", bytes.NewReader(c.body))
		req.Header.Set("Content-Encoding", c.coding)
		res, err := w.client().Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.reason == "" && res.StatusCode == 403 {
			_ = res.Body.Close()
			continue
		}
		t.Log(name)
		denied(t, res, 403, c.reason)
	}
	if s.count() != 0 {
		t.Errorf("%d requests left", s.count())
	}
	for name, engine := range map[string]func(*Config){
		"no engine":    func(c *Config) { c.DLP = nil },
		"a nil engine": func(c *Config) { c.DLP = nothing },
	} {
		w, s := guarded(t, "block", engine)
		res, err := w.client().Get("https://" + apiHost + "/x")
		if err != nil {
			t.Fatal(name, err)
		}
		if denied(t, res, 403, policy.NotScannable); s.count() != 0 {
			t.Errorf("%s: it left", name)
		}
	}
}

// A secret that is cut over values next to each other is found.
func TestSecretInPieces(t *testing.T) {
	w, s := guarded(t, "block", nil)
	cut := func(n int) []string {
		var out []string
		for c := range slices.Chunk([]byte(watched), n) {
			out = append(out, string(c))
		}
		return out
	}
	for _, size := range []int{3, 7, 12} {
		for name, make := range map[string]func() *http.Request{
			"parameters": func() *http.Request {
				q := ""
				for i, c := range cut(size) {
					q += fmt.Sprintf("&p%d=%s", i, c)
				}
				return must(http.NewRequest("GET", "https://"+apiHost+"/x?"+q[1:], nil))
			},
			"segments": func() *http.Request {
				return must(http.NewRequest("GET", "https://"+apiHost+"/x/"+strings.Join(cut(size), "/"), nil))
			},
			"fields": func() *http.Request {
				r := must(http.NewRequest("GET", "https://"+apiHost+"/x", nil))
				for i, c := range cut(size) {
					r.Header.Set(fmt.Sprintf("X-P%02d", i), c)
				}
				return r
			},
			"cookies": func() *http.Request {
				r := must(http.NewRequest("GET", "https://"+apiHost+"/x", nil))
				all := ""
				for i, c := range cut(size) {
					all += fmt.Sprintf("; c%d=%s", i, c)
				}
				r.Header.Set("Cookie", all[2:])
				return r
			},
			"strings": func() *http.Request {
				b, _ := json.Marshal(cut(size))
				r := must(http.NewRequest("POST", "https://"+apiHost+"/x", bytes.NewReader(b)))
				r.Header.Set("Content-Type", "application/json")
				return r
			},
			"form": func() *http.Request {
				q := ""
				for i, c := range cut(size) {
					q += fmt.Sprintf("&p%d=%s", i, c)
				}
				r := must(http.NewRequest("POST", "https://"+apiHost+"/x", strings.NewReader(q[1:])))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				return r
			},
		} {
			t.Run(fmt.Sprint(name, " of ", size), func(t *testing.T) {
				res, err := w.client().Do(make())
				if err != nil {
					t.Fatal(err)
				}
				denied(t, res, 403, policy.SecretFound)
			})
		}
	}
	if s.count() != 0 {
		t.Errorf("%d requests left", s.count())
	}
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}

// The weakness: each request alone is harmless. The attack: a secret in pieces of eight
// bytes, one with each request. This proves that it does not arrive whole.
func TestSecretInSuccessiveRequests(t *testing.T) {
	for _, way := range []string{"query", "body", "header", "100000", "600000"} {
		w, s := guarded(t, "block", nil)
		stopped := false
		for i := 0; i+8 <= len(watched); i += 8 {
			var req *http.Request
			if n, err := strconv.Atoi(way); err == nil {
				req, _ = http.NewRequest("POST", "https://"+apiHost+"/x", bytes.NewReader(slices.Concat(noisy(n), []byte(" "+watched[i:i+8]+" "), noisy(n))))
			} else {
				req = bearing(t, way, watched[i:i+8])
			}
			res, err := w.client().Do(req)
			if n, _ := strconv.Atoi(way); err != nil && n > 300_000 { // it had begun to go on
				stopped = true
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode == 403 {
				denied(t, res, 403, policy.SecretFound)
				stopped = true
				break
			}
			_ = res.Body.Close()
		}
		if !stopped || s.count() > 2 {
			t.Errorf("in %s %d requests left", way, s.count())
		}
	}
}

// The weakness: pieces may be encoded one by one, and JSON may be called something else.
// The attack: a secret so in the strings of a text, whole and flowing.
func TestSecretInEncodedPieces(t *testing.T) {
	w, s := guarded(t, "block", nil)
	row := func(encode func(string) string, size int) string {
		var out []string
		for p := range slices.Chunk([]byte(watched), size) {
			out = append(out, encode(string(p)))
		}
		all, _ := json.Marshal(map[string]any{"a": out})
		return string(all)
	}
	for name, text := range map[string]string{
		"base64":  row(func(p string) string { return base64.StdEncoding.EncodeToString([]byte(p)) }, 5),
		"url":     row(func(p string) string { return base64.RawURLEncoding.EncodeToString([]byte(p)) }, 7),
		"hex":     row(func(p string) string { return hex.EncodeToString([]byte(p)) }, 4),
		"letters": row(func(p string) string { return p }, 1),
	} {
		for _, kind := range []string{"application/json", "text/plain", "application/octet-stream", ""} {
			for _, pad := range []int{0, 600_000} {
				body := ` {"pad":"` + string(bytes.ReplaceAll(noisy(pad), []byte("\n"), []byte(" "))) + `","x":` + text + `}`
				req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", strings.NewReader(body))
				req.Header.Set("Content-Type", kind)
				res, err := w.client().Do(req)
				if err != nil && pad > 0 {
					continue // it had begun to go on
				}
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != 403 {
					t.Errorf("%s as %q behind %d bytes passed", name, kind, pad)
				}
				denied(t, res, 403, policy.SecretFound)
			}
		}
	}
	w.stop()
	for _, one := range s.all() {
		if one.whole {
			t.Errorf("the upstream has %d bytes, whole", len(one.body))
		}
	}
}

// The weakness: the window. The attack: a secret across its border, behind megabytes,
// in chunks of any size, from a sender that pauses within the secret. This proves that
// the upstream never has a whole request, nor the secret's second half.
func TestSecretAcrossBorders(t *testing.T) {
	w, s := guarded(t, "block", nil)
	noise := string(noisy(3 << 20))
	for _, at := range []int{256 << 10, 256<<10 - 10, 128 << 10, 300_000, 1 << 20, 3 << 20} {
		for _, length := range []bool{true, false} {
			text := noise[:at-17] + watched + noise[at-17:]
			req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", struct{ io.Reader }{strings.NewReader(text)})
			req.ContentLength = int64(len(text))
			if !length {
				req.ContentLength = -1
			}
			if res, err := w.client().Do(req); err == nil {
				denied(t, res, 403, policy.SecretFound)
			}
		}
	}
	w.stop()
	s.holds(t, watched[:16], watched[20:])
	s.broken(t)
	for _, r := range w.all() {
		if r.Verdict != "deny" || r.Reason != "secret_found" {
			t.Errorf("record %+v", r)
		}
	}
}

// A sender that pauses within a secret, chunk by chunk, gains nothing: what came before
// has gone on by then, the end never does.
func TestSecretFromASlowSender(t *testing.T) {
	w, s := guarded(t, "block", nil)
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", pr)
	go func() {
		for _, part := range []string{"hello ", watched[:9], watched[9:14], watched[14:], " end"} {
			if _, err := io.WriteString(pw, part); err != nil {
				break
			}
			time.Sleep(80 * time.Millisecond)
		}
		_ = pw.Close()
	}()
	if res, err := w.client().Do(req); err == nil {
		denied(t, res, 403, policy.SecretFound)
	}
	_ = pr.Close()
	w.stop()
	s.holds(t, watched[:16], watched[14:])
	s.broken(t)
}

// A secret in a name leaves neither as a query nor as anything else.
func TestSecretInAName(t *testing.T) {
	w, s := guarded(t, "block", nil)
	for i, label := range []string{watched, watched[:10] + "." + watched[10:], strings.ToUpper(watched),
		strings.TrimRight(base32.StdEncoding.EncodeToString([]byte(watched)), "=")[:58]} {
		name := label + ".wild.example.com"
		if a := w.p.resolveInside(strings.ToLower(name)); a.Addr.IsValid() {
			t.Errorf("the DNS says %v for %s", a, name)
		}
		res := answered(t, w.raw(w.addr, "CONNECT "+name+":443 HTTP/1.1\r\nHost: "+name+"\r\n\r\n"))
		denied(t, res, 403, policy.SecretFound)
		res = answered(t, w.raw(w.addr, "GET http://"+name+":443/ HTTP/1.1\r\nHost: "+name+":443\r\n\r\n"))
		denied(t, res, 403, policy.SecretFound)
		_ = i
	}
	c := w.raw(w.addr, "")
	say(t, c, "\x05\x01\x00", "\x05\x00")
	say(t, c, socksTo(watched+".wild.example.com", 443), "\x05\x02")
	w.heading("192.0.2.7:443")
	res := ask200(t, w.shake(w.raw(w.direct, ""), watched+".wild.example.com"), "GET / HTTP/1.1\r\nHost: "+watched+".wild.example.com\r\n\r\n")
	denied(t, res, 403, policy.SecretFound)
	if a := w.p.resolveInside(strings.ToLower(watched) + ".evil.example.net"); a.Addr.IsValid() {
		t.Errorf("the DNS says %v", a)
	}
	long := "abq7x2kd9m4wz8tn3vbr6ycj5hfe1gs0ulpoaiqwe7rt5yu8iop2as4df6gh"
	if a := w.p.resolveInside(long + ".wild.example.com"); a.Addr.IsValid() {
		t.Errorf("the DNS says %v to data in a label", a)
	}
	if a := w.p.resolveInside("x.wild.example.com"); !a.Addr.IsValid() {
		t.Error("an honest name is not answered")
	}
	if s.count() != 0 || len(w.looked()) != 0 {
		t.Errorf("%d requests left; looked up %q", s.count(), w.looked())
	}
	w.stop()
	for _, r := range w.all() {
		if r.Reason != "secret_found" || len(r.Findings) == 0 || !strings.HasPrefix(r.Host, "(secret)") {
			t.Errorf("record %+v", r)
		}
	}
}

// What a rule finds is taken out, and the rest goes on, with a length and a grammar
// that hold; what the gateway knows is refused all the same.
func TestRedact(t *testing.T) {
	w, s := guarded(t, "redact", nil)
	body := `{"a":"` + patLike + `","b":["x ` + patLike + ` y"],"n":1}`
	for _, coding := range []string{"", "gzip", "br"} {
		sent := []byte(body)
		if coding != "" {
			sent = deflated(t, coding, sent)
		}
		req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", bytes.NewReader(sent))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Content-Digest", "sha-256=:abc:")
		if coding != "" {
			req.Header.Set("Content-Encoding", coding)
		}
		res, err := w.client().Do(req)
		if got := text(t, res, err); got != "done" {
			t.Fatalf("%s: %s", coding, got)
		}
		one := <-s.came
		var v map[string]any
		if err := json.Unmarshal([]byte(one.body), &v); err != nil || !one.whole || strings.Contains(one.body, patLike[4:]) || strings.Count(one.body, "[redacted:github-pat]") != 2 {
			t.Errorf("%s: the upstream saw %+v", coding, one)
		}
	}
	if r := w.all()[0]; r.Verdict != "allow" || r.Note == "" || len(r.Findings) == 0 || r.Findings[0].Rule != "github-pat" || r.Findings[0].Place != "body.json:$.a" || r.Findings[0].Outcome != "redacted" {
		t.Errorf("record %+v", r)
	}
	if n := w.p.Measured().Scanned.Load(); n < 200 {
		t.Errorf("%d bytes were counted", n)
	}
	for _, where := range []string{"header", "query", "path", "cookie"} {
		res, err := w.client().Do(bearing(t, where, patLike))
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, 403, policy.SecretFound)
	}
	for _, where := range []string{"json", "header"} {
		res, err := w.client().Do(bearing(t, where, watched))
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, 403, policy.SecretFound)
	}
	large := string(noisy(1_200_000)) + patLike
	if res, err := w.client().Post("https://"+apiHost+"/x", "text/plain", strings.NewReader(large)); err == nil {
		denied(t, res, 403, policy.SecretFound)
	}
	w.stop()
	for _, one := range s.all() {
		if strings.Contains(one.body, patLike) || len(one.body) > 1000 && one.whole {
			t.Errorf("the upstream saw %d bytes, whole: %v", len(one.body), one.whole)
		}
	}
}

// An agent sends all of its conversation on every turn. This proves that a long one with
// examples of keys in it goes on without them, wherever they stand, as valid JSON, and
// that what follows a key in its token goes with it.
func TestRedactInALongConversation(t *testing.T) {
	w, s := guarded(t, "redact", nil)
	type message struct{ Role, Content string }
	var list []message
	for i := range 150 {
		said := fmt.Sprintf("turn %d: \"%s\"\n", i, noisy(4000))
		if i%37 == 0 {
			said += "the key is " + patLike + "TAILofTHEtoken_1 and\n"
		}
		list = append(list, message{"user", said})
	}
	body, err := json.Marshal(map[string]any{"messages": list})
	if err != nil {
		t.Fatal(err)
	}
	if len(body) < 600_000 {
		t.Fatalf("only %d bytes", len(body))
	}
	for _, bad := range []string{"", watched} {
		sent := bytes.Replace(body, []byte("turn 149"), []byte("turn 149"+bad), 1)
		res, err := w.client().Post("https://"+apiHost+"/x", "application/json", bytes.NewReader(sent))
		if bad != "" {
			if err != nil {
				t.Fatal(err)
			}
			denied(t, res, 403, policy.SecretFound)
			continue
		}
		if got := text(t, res, err); got != "done" {
			t.Fatalf("%s", got)
		}
		one := <-s.came
		var v struct{ Messages []message }
		if err := json.Unmarshal([]byte(one.body), &v); err != nil || len(v.Messages) != len(list) {
			t.Fatalf("%d messages, %v", len(v.Messages), err)
		}
		if n := strings.Count(one.body, "the key is [redacted:github-pat] and"); n != 5 || strings.Contains(one.body, patLike[8:]) || strings.Contains(one.body, "TAIL") {
			t.Errorf("%d were taken out", n)
		}
	}
	w.stop()
	if s.count() != 1 {
		t.Errorf("%d requests left", s.count())
	}
}

// Who is asked says how; what was let pass passes to that host until its time is over.
func TestAskAndAdmit(t *testing.T) {
	for _, mode := range []string{"ask", "block"} {
		var passed atomic.Int64 // ns; the proxy's own goroutines read the clock, too
		now := time.Now()
		w, s := guarded(t, mode, func(c *Config) { c.clock = func() time.Time { return now.Add(time.Duration(passed.Load())) } })
		for _, where := range []string{"json", "header", "chunked"} {
			for _, secret := range []string{patLike, watched} {
				ask := func() *http.Response {
					res, err := w.client().Do(bearing(t, where, secret))
					if err != nil {
						t.Fatal(err)
					}
					return res
				}
				d := denied(t, ask(), 403, policy.SecretFound)
				if d.Print == "" || mode == "ask" && (d.Ask == nil || d.Ask.Print != d.Print || d.Ask.Host != apiHost || !strings.Contains(d.Message, "bottle approve tester-00000 "+d.Print) || !strings.HasSuffix(d.Message, " --host "+apiHost)) ||
					mode == "block" && d.Ask != nil {
					t.Fatalf("%+v", d)
				}
				hour := now.Add(time.Duration(passed.Load())).Add(time.Hour)
				w.p.Admit(d.Print, "other.example.com", hour)
				denied(t, ask(), 403, policy.SecretFound)
				w.p.Admit(d.Print, apiHost, hour)
				if got := text(t, ask(), nil); got != "done" {
					t.Fatalf("%s in %s: %s", mode, where, got)
				}
				if one := <-s.came; !one.whole || where != "header" && !strings.Contains(one.body, secret) {
					t.Errorf("the upstream saw %+v", one)
				}
				passed.Add(int64(2 * time.Hour))
				denied(t, ask(), 403, policy.SecretFound)
			}
		}
	}
}

// The record of a request with an approved secret says so, and where it stood, also in a
// body that is judged as it flows: behind the first secret, too.
func TestApprovedIsRecordedWithItsPlace(t *testing.T) {
	w, s := guarded(t, "block", nil)
	other := strings.Replace(patLike, "x7", "y8", 1)
	small := `{"n":1,"a":["` + patLike + `"],"b":"` + other + `"}`
	padding := `{"p":"` + strings.Repeat("lorem ipsum ", 40_000) + `","a":["`
	large := padding + patLike + `"],"q":"` + strings.Repeat("dolor sit ", 40_000) + `","b":"` + other + `"}`
	for _, secret := range []string{patLike, other} {
		res, err := w.client().Do(bearing(t, "header", secret))
		if err != nil {
			t.Fatal(err)
		}
		w.p.Admit(denied(t, res, 403, policy.SecretFound).Print, apiHost, time.Now().Add(time.Hour))
	}
	for name, body := range map[string]string{"small": small, "large": large} {
		res, err := w.client().Post("https://"+apiHost+"/x", "application/json", strings.NewReader(body))
		if got := text(t, res, err); got != "done" {
			t.Fatalf("%s: %s", name, got)
		}
		for one := range s.came {
			if one.body == body {
				break
			}
		}
		all := w.all()
		r := all[len(all)-1]
		if len(r.Findings) != 2 || r.Verdict != "allow" || r.Findings[0].Place != "body.json:$.a[0]" || r.Findings[1].Place != "body.json:$.b" ||
			r.Findings[0].Outcome != "approved" || r.Findings[1].Outcome != "approved" {
			t.Errorf("%s: %+v", name, r.Findings)
		}
	}
	res, err := w.client().Do(bearing(t, "header", patLike))
	_ = text(t, res, err)
	all := w.all()
	if r := all[len(all)-1]; len(r.Findings) != 1 || r.Findings[0].Place != "header:X-Any" || r.Findings[0].Outcome != "approved" {
		t.Errorf("%+v", r)
	}
	// What is refused behind an approved one is placed by the whole body.
	res, err = w.client().Post("https://"+apiHost+"/x", "application/json", strings.NewReader(large[:len(large)-2]+`","c":"`+watched+`"}`))
	if err == nil {
		_ = res.Body.Close()
	}
	w.stop()
	all = w.all()
	if f := all[len(all)-1].Findings; !slices.ContainsFunc(f, func(f decision.Finding) bool { return f.Secret != "" && f.Place == "body.json:$.c" && f.Outcome == "" }) {
		t.Errorf("%+v", f)
	}
}

// A record holds no token that is in a name which no route lists, though the name is
// refused for that alone.
func TestTokenInAnUnlistedNameIsNotRecorded(t *testing.T) {
	w, _ := guarded(t, "block", nil)
	token := strings.ToLower(patLike)
	for _, name := range []string{token + ".elsewhere.example.org", token + "." + apiHost} {
		c := w.raw(w.addr, "CONNECT "+name+":443 HTTP/1.1\r\nHost: "+name+":443\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if said, _ := io.ReadAll(c); !bytes.Contains(said, []byte(`"reason":"host_not_listed"`)) {
			t.Errorf("%s", said)
		}
	}
	w.stop()
	for _, r := range w.all() {
		if strings.Contains(fmt.Sprintf("%+v", r), token) || !strings.HasPrefix(r.Host, "(secret).") || r.Reason != string(policy.HostNotListed) {
			t.Errorf("%+v", r)
		}
	}
	if n := len(w.all()); n != 1 && n != 2 {
		t.Errorf("%d records", n)
	}
}

// A record holds no token that is in the path of a request which is refused for that path
// alone.
func TestTokenInAnUnlistedPathIsNotRecorded(t *testing.T) {
	r := route(apiHost, "127.0.0.1:1", "")
	r.Paths = []string{"/v1"}
	w := newWorld(t, func(c *Config) { c.DLP = scanner(t, map[string]string{"W": watched}) }, r)
	for _, secret := range []string{patLike, watched, url.PathEscape(watched)} {
		res, err := w.client().Get("https://" + apiHost + "/v2/" + secret + "/x")
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, 403, policy.PathNotListed)
	}
	w.stop()
	for _, r := range w.all() {
		if r.Path != "/v2/(secret)" || len(r.Findings) == 0 || r.Findings[0].Place != "url.path[1]" {
			t.Errorf("%+v", r)
		}
	}
}

// The name of a field may end with a space; words about it do not.
func TestPlaceHasNoSpaceAtItsEnd(t *testing.T) {
	w, _ := guarded(t, "block", nil)
	res, err := w.client().Post("https://"+apiHost+"/x", "application/x-www-form-urlencoded", strings.NewReader("key = "+watched))
	if err != nil {
		t.Fatal(err)
	}
	if d := denied(t, res, 403, policy.SecretFound); !strings.Contains(d.Message, "in body.form:key. Take") {
		t.Error(d.Message)
	}
	res, err = w.client().Get("https://" + apiHost + "/x?key+=" + watched)
	if err != nil {
		t.Fatal(err)
	}
	if d := denied(t, res, 403, policy.SecretFound); !strings.Contains(d.Message, "in url.query:key. Take") {
		t.Error(d.Message)
	}
	for _, r := range w.all() {
		for _, f := range r.Findings {
			if f.Place != strings.TrimSpace(f.Place) {
				t.Errorf("%q", f.Place)
			}
		}
	}
}

// Off looks at nothing.
func TestOffLooksAtNothing(t *testing.T) {
	w, s := guarded(t, "off", func(c *Config) { c.DLP = nil })
	for _, where := range []string{"json", "header", "path", "chunked"} {
		res, err := w.client().Do(bearing(t, where, watched))
		if got := text(t, res, err); got != "done" {
			t.Errorf("%s: %s", where, got)
		}
		<-s.came
	}
}

// What honest programs send goes through, to the byte.
func TestHonestBodiesPass(t *testing.T) {
	w, s := guarded(t, "block", nil)
	var talk []map[string]string
	for i := range 3000 {
		talk = append(talk, map[string]string{"role": "user", "id": fmt.Sprintf("%08x-0000-4000-8000-%012d", i, i), "content": string(noisy(200))})
	}
	conversation, _ := json.Marshal(map[string]any{"model": "m", "messages": talk})
	blob := make([]byte, 3<<20)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range blob {
		blob[i] = byte(r.Uint32())
	}
	for name, c := range map[string]struct {
		kind, coding string
		body         []byte
	}{
		"conversation":       {"application/json", "", conversation},
		"conversation, gzip": {"application/json", "gzip", deflated(t, "gzip", conversation)},
		"conversation, zstd": {"application/json", "zstd", deflated(t, "zstd", conversation)},
		"conversation, br":   {"application/json", "br", deflated(t, "br", conversation)},
		"binary":             {"application/octet-stream", "", blob},
		"binary, gzip":       {"application/octet-stream", "", deflated(t, "gzip", blob)},
		"binary, coded zstd": {"application/octet-stream", "zstd", deflated(t, "zstd", blob)},
		"binary, coded br":   {"application/octet-stream", "br", deflated(t, "br", blob)},
		"small":              {"application/json", "", []byte(`{"a":1}`)},
		"exactly the window": {"text/plain", "", noisy(256 << 10)},
		"one more":           {"text/plain", "", noisy(256<<10 + 1)},
		"zeros, gzip":        {"text/plain", "gzip", deflated(t, "gzip", make([]byte, 20<<20))},
	} {
		for _, length := range []bool{true, false} {
			req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", struct{ io.Reader }{bytes.NewReader(c.body)})
			req.ContentLength = -1
			if length {
				req.ContentLength = int64(len(c.body))
			}
			req.Header.Set("Content-Type", c.kind)
			if c.coding != "" {
				req.Header.Set("Content-Encoding", c.coding)
			}
			res, err := w.client().Do(req)
			if got := text(t, res, err); got != "done" {
				t.Errorf("%s: %s", name, got)
				continue
			}
			if one := <-s.came; !one.whole || one.body != string(c.body) {
				t.Errorf("%s: the upstream saw %d of %d bytes", name, len(one.body), len(c.body))
			}
		}
	}
}

// The attack: with one approved value in it, a window is given on although something
// compressed begins in it, whose rest nobody can then read.
func TestNothingCompressedGoesBehindWhatIsApproved(t *testing.T) {
	w, s := guarded(t, "block", nil)
	res, err := w.client().Do(bearing(t, "header", patLike))
	if err != nil {
		t.Fatal(err)
	}
	w.p.Admit(denied(t, res, 403, policy.SecretFound).Print, apiHost, time.Now().Add(time.Hour))
	inner := append(noisy(700<<10), watched...)
	body := `{"a":"` + patLike + `","d":"` + base64.StdEncoding.EncodeToString(deflated(t, "gzip", inner)) + `"}`
	if len(body) < 512<<10 {
		t.Fatalf("%d bytes fit into the window", len(body))
	}
	res, err = w.client().Post("https://"+apiHost+"/x", "application/json", strings.NewReader(body))
	if err == nil {
		_ = text(t, res, nil)
	}
	w.stop()
	select {
	case one := <-s.came:
		if one.body == body {
			t.Error("the whole body came to the upstream")
		}
	default:
	}
	all := w.all()
	if r := all[len(all)-1]; r.Verdict != "deny" {
		t.Errorf("the record is %+v", r)
	}
}
