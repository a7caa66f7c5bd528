package supervise_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/supervise"
)

// post sends one message as a client would; header is name, value, …
func (s served) post(t testing.TB, body io.Reader, header ...string) (int, string) {
	t.Helper()
	code, text, err := s.try(t.Context(), body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return code, text
}

func (s served) try(ctx context.Context, body io.Reader, header ...string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, body)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

func message(method string, params any) string {
	b, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	return string(b)
}

func tool(name string, args any) string {
	return message("tools/call", map[string]any{"name": name, "arguments": args})
}

// The attack: a message of another page, another host, another form, to another place.
// This proves that each is refused before anything of it is read.
func TestTheDoorTakesOneMessageOfTheAgentAlone(t *testing.T) {
	s := serve(t, &desk{}, time.Second)
	ask := tool("egress-block", map[string]any{"host": "yes.example.com", "justification": "a test"})
	for what, x := range map[string]struct {
		body   string
		code   int
		header []string
	}{
		"a page of another origin":     {ask, http.StatusForbidden, []string{"Origin", "https://evil.example"}},
		"a page without an origin":     {ask, http.StatusForbidden, []string{"Origin", "null"}},
		"a page of another site":       {ask, http.StatusForbidden, []string{"Sec-Fetch-Site", "cross-site"}},
		"a page of a neighbour":        {ask, http.StatusForbidden, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://gateway.bottle"}},
		"another host":                 {ask, http.StatusTeapot, []string{"Host", "evil.example"}},
		"another port":                 {ask, http.StatusTeapot, []string{"Host", "supervise.bottle:8080"}},
		"a form":                       {ask, http.StatusUnsupportedMediaType, []string{"Content-Type", "text/plain"}},
		"compressed":                   {ask, http.StatusUnsupportedMediaType, []string{"Content-Encoding", "gzip"}},
		"an unknown version":           {ask, http.StatusBadRequest, []string{"Mcp-Protocol-Version", "1999-01-01"}},
		"no stream wanted":             {ask, http.StatusBadRequest, []string{"Accept", "application/json"}},
		"nothing":                      {"", http.StatusBadRequest, nil},
		"no JSON":                      {"egress-block", http.StatusBadRequest, nil},
		"half of one":                  {ask[:len(ask)-1], http.StatusBadRequest, nil},
		"a batch":                      {"[" + ask + "," + ask + "]", http.StatusBadRequest, nil},
		"a batch of an older protocol": {"[" + ask + "]", http.StatusBadRequest, []string{"Mcp-Protocol-Version", "2024-11-05"}},
		"two messages":                 {ask + ask, http.StatusBadRequest, nil},
		"too deep":                     {tool("egress-block", json.RawMessage(strings.Repeat("[", supervise.MaxDepth)+strings.Repeat("]", supervise.MaxDepth))), http.StatusBadRequest, nil},
		"too long":                     {ask + strings.Repeat(" ", supervise.MaxBody), http.StatusRequestEntityTooLarge, nil},
	} {
		if code, text := s.post(t, strings.NewReader(x.body), x.header...); code != x.code {
			t.Errorf("%s: %d, want %d: %s", what, code, x.code, text)
		}
	}
	if _, text := s.post(t, strings.NewReader("["+ask+"]")); !strings.Contains(text, "batches") {
		t.Errorf("a batch is told: %s", text)
	}
	if len(s.desk.asked) != 0 {
		t.Errorf("asked: %v", s.desk.asked)
	}
	for _, h := range [][]string{nil, {"Origin", "http://supervise.bottle"}, {"Host", "supervise.bottle:9100"}, {"Mcp-Session-Id", "made up"}} { // and this is how one is taken
		if code, text := s.post(t, strings.NewReader(ask), h...); code != http.StatusOK || !strings.Contains(text, "approved") {
			t.Errorf("%q: %d %s", h, code, text)
		}
	}
	w := httptest.NewRecorder() // whatever led it here
	s.server.Serve(w, httptest.NewRequest(http.MethodPost, "http://evil.example/mcp", strings.NewReader(ask)), "supervise.bottle", 80)
	if w.Code != http.StatusMisdirectedRequest {
		t.Errorf("a request for another host that was led here: %d %s", w.Code, w.Body)
	}
	for _, x := range []struct {
		method, url string
		code        int
	}{
		{"GET", endpoint, 405}, {"DELETE", endpoint, 405}, {"OPTIONS", endpoint, 405}, {"PUT", endpoint, 405}, {"HEAD", endpoint, 405},
		{"GET", "http://supervise.bottle/", 200}, {"POST", "http://supervise.bottle/", 404}, {"POST", endpoint + "/", 404}, {"POST", endpoint + "?x", 404}, {"POST", "http://supervise.bottle/%6dcp", 404},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), x.method, x.url, strings.NewReader(ask))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		res, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != x.code || res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: %d, want %d", x.method, x.url, res.StatusCode, x.code)
		}
	}
}

// The attack: what the protocol has besides, and this server does not need: streams that
// stay open, state, and a cursor, which the SDK decodes with gob.
func TestNothingElseOfTheProtocolIsServed(t *testing.T) {
	s := serve(t, &desk{}, time.Second)
	var bomb bytes.Buffer
	if err := gob.NewEncoder(&bomb).Encode(struct{ LastUID string }{"z"}); err != nil {
		t.Fatal(err)
	}
	cursor := map[string]any{"cursor": base64.URLEncoding.EncodeToString(bomb.Bytes())}
	for method, params := range map[string]any{
		"logging/setLevel": map[string]any{"level": "debug"}, "resources/subscribe": map[string]any{"uri": "bottle://policy"},
		"resources/unsubscribe": map[string]any{"uri": "bottle://policy"}, "prompts/list": map[string]any{}, "prompts/get": map[string]any{"name": "x"},
		"completion/complete":  map[string]any{"ref": map[string]any{"type": "ref/prompt", "name": "x"}, "argument": map[string]any{"name": "x", "value": "y"}},
		"subscriptions/listen": map[string]any{"notifications": map[string]any{"toolsListChanged": true}},
		"tools/list":           cursor, "resources/list": cursor, "resources/templates/list": cursor,
	} {
		code, text := s.post(t, strings.NewReader(message(method, params)))
		if code == http.StatusOK && !strings.Contains(text, "-32601") || code != http.StatusOK && code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", method, code, text)
		}
	}
	listen := map[string]any{"notifications": map[string]any{"toolsListChanged": true}, "_meta": map[string]any{
		"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": map[string]any{"name": "x", "version": "1"}, "io.modelcontextprotocol/clientCapabilities": map[string]any{}}}
	code, text := s.post(t, strings.NewReader(message("subscriptions/listen", listen)), "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen")
	if code != http.StatusNotFound || !strings.Contains(text, "-32601") {
		t.Errorf("subscriptions/listen in the version that has it: %d %s", code, text)
	}
}

// The attack: words past every bound, of the wrong kind, or of keys that are the
// operator's. This proves that each is refused, with words, and nothing is asked.
func TestEveryBoundOfACallHolds(t *testing.T) {
	d := &desk{}
	s := serve(t, d, time.Second)
	c := s.session(t)
	long := func(n int) string { return strings.Repeat("a", n) }
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("/%d", i))
		}
		return out
	}
	egress := func(key string, v any) map[string]any {
		args := map[string]any{"host": "yes.example.com", "justification": "a test"}
		if args[key] = v; v == nil {
			delete(args, key)
		}
		return args
	}
	content := func(key string, v any) map[string]any {
		args := map[string]any{"failed_url": "https://yes.example.com/a", "justification": "a test"}
		if args[key] = v; v == nil {
			delete(args, key)
		}
		return args
	}
	for _, x := range []struct {
		tool string
		args map[string]any
	}{
		{"egress-block", egress("host", nil)}, {"egress-block", egress("host", "")}, {"egress-block", egress("host", long(256))}, {"egress-block", egress("host", 7)},
		{"egress-block", egress("host", "https://yes.example.com/x")}, {"egress-block", egress("host", "*")}, {"egress-block", egress("host", "a b")},
		{"egress-block", egress("justification", nil)}, {"egress-block", egress("justification", "")}, {"egress-block", egress("justification", long(2049))},
		{"egress-block", egress("justification", strings.Repeat("☃", 2000))},
		{"egress-block", egress("ports", []int{})}, {"egress-block", egress("ports", []int{0})}, {"egress-block", egress("ports", []int{65536})}, {"egress-block", egress("ports", []float64{1.5})},
		{"egress-block", egress("ports", []int{1, 2, 3, 4, 5, 6, 7, 8, 9})}, {"egress-block", egress("ports", []int{443, 443})},
		{"egress-block", egress("methods", []string{})}, {"egress-block", egress("methods", many(17))}, {"egress-block", egress("methods", []string{long(33)})}, {"egress-block", egress("methods", []string{"G T"})},
		{"egress-block", egress("path_allowlist", []string{})}, {"egress-block", egress("path_allowlist", many(33))}, {"egress-block", egress("path_allowlist", []string{"/" + long(512)})},
		{"egress-block", egress("path_allowlist", []string{"/a/../b"})}, {"egress-block", egress("path_allowlist", "/a")},
		{"egress-block", egress("auth", "KEY")}, {"egress-block", egress("auth", map[string]any{"scheme": "Bearer"})}, {"egress-block", egress("auth", map[string]any{"scheme": "Bearer", "token_ref": long(129)})},
		{"egress-block", egress("auth", map[string]any{"scheme": "Bearer", "token_ref": "KEY", "value": "sk-live"})},
		{"egress-block", egress("wait_seconds", 56)}, {"egress-block", egress("wait_seconds", -1)}, {"egress-block", egress("wait_seconds", "1h")}, {"pipelock-block", content("wait_seconds", 56)},
		{"egress-block", egress("upstream", map[string]any{"address": "10.0.0.1:443"})}, {"egress-block", egress("tls", "passthrough")}, {"egress-block", egress("dlp", "off")},
		{"egress-block", egress("role", "x")}, {"egress-block", egress("Host", "other.example.com")}, {"egress-block", egress("status", "approved")}, {"egress-block", egress("id", "p234567")},
		{"pipelock-block", content("failed_url", nil)}, {"pipelock-block", content("failed_url", "https://yes.example.com/"+long(8<<10))}, {"pipelock-block", content("fingerprint", "xyz")},
		{"pipelock-block", content("fingerprint", long(33))}, {"pipelock-block", content("path", "/b")}, {"pipelock-block", content("justification", nil)},
		{"capability-block", map[string]any{}}, {"capability-block", map[string]any{"packages": many(33), "justification": "a test"}}, {"capability-block", map[string]any{"dockerfile": long(32<<10 + 1), "justification": "a test"}},
		{"git-push-review", map[string]any{"repo": "other"}}, {"git-push-review", map[string]any{}},
		{"check-egress", map[string]any{"method": long(33), "url": "https://a/"}}, {"check-egress", map[string]any{"method": "GET", "url": long(8<<10 + 1)}}, {"check-egress", map[string]any{"url": "https://a/"}},
		{"proposal-status", map[string]any{"id": long(129)}}, {"proposal-status", map[string]any{}}, {"list-egress-routes", map[string]any{"all": true}},
	} {
		got, failed := call(t, c, x.tool, x.args)
		if !failed || got == "" || len(got) > 1100 {
			t.Errorf("%s %.200v: %v, %d bytes: %.300s", x.tool, x.args, failed, len(got), got)
		}
	}
	if len(d.asked) != 0 {
		t.Errorf("asked: %v", d.asked)
	}
	if code, text := s.post(t, strings.NewReader(tool("no-such-tool", nil))); !strings.Contains(text, "unknown tool") {
		t.Errorf("%d %s", code, text)
	}
}

// The attack: bodies without end, fast and slow. This proves that each is cut off at its
// bound, and that the answer says why.
func TestBodiesWithoutEnd(t *testing.T) {
	s := serve(t, &desk{}, time.Second)
	s.server.Hurry(200 * time.Millisecond)
	for what, x := range map[string]struct {
		head string
		feed func(io.Writer) error
		code string
	}{
		"announced": {"Content-Length: 10000000000\r\n", func(io.Writer) error { return nil }, "413"},
		"chunked": {"Transfer-Encoding: chunked\r\n", func(w io.Writer) error {
			_, err := io.WriteString(w, "1000\r\n"+strings.Repeat(" ", 0x1000)+"\r\n")
			return err
		}, "413"},
		"slow": {"Content-Length: 1000\r\n", func(w io.Writer) error {
			_, err := io.WriteString(w, " ")
			time.Sleep(10 * time.Millisecond)
			return err
		}, "408"},
		"none": {"Content-Length: 1000\r\n", func(io.Writer) error { time.Sleep(10 * time.Millisecond); return nil }, "408"},
	} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		begun := time.Now()
		_, _ = io.WriteString(c, "POST /mcp HTTP/1.1\r\nHost: supervise.bottle\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"+x.head+"\r\n")
		done := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if x.feed(c) != nil {
					return
				}
			}
		})
		got := make([]byte, 12)
		if _, err := io.ReadFull(c, got); err != nil || !strings.HasSuffix(string(got), x.code) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("%s: answered after %v", what, d)
		}
		close(done)
		_ = c.Close()
		wg.Wait()
	}
}

// The attack: sessions by the thousand, and floods of progress that nobody asked for.
// This proves that nothing of them stays.
func TestNothingOfAFloodStays(t *testing.T) {
	s := serve(t, &desk{}, time.Second)
	flood := func() {
		for i := range 1000 {
			body := message("initialize", map[string]any{"protocolVersion": "2025-06-18", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": strings.Repeat("x", 10000), "version": "1"}})
			if i%2 == 1 {
				body = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"` + strings.Repeat("x", 10000) + `","progress":1}}`
			}
			if code, text := s.post(t, strings.NewReader(body)); code != http.StatusOK && code != http.StatusAccepted {
				t.Fatalf("%d %s", code, text)
			}
		}
	}
	flood()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, routines := heap(), runtime.NumGoroutine()
	flood()
	if after := heap(); after > before+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	if n := runtime.NumGoroutine(); n > routines+4 {
		t.Errorf("%d goroutines, before %d", n, routines)
	}
}

// The attack: many calls that wait. This proves that few wait, that the others are told
// at once, that more than that are turned away, and that what asks nothing still works.
func TestFewWaitForTheOperator(t *testing.T) {
	d := &desk{decide: make(chan bottle.ProposalStatus)}
	s := serve(t, d, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	ask := tool("egress-block", map[string]any{"host": "slow.example.com", "justification": "a test"})
	waits := func(n int) {
		t.Helper()
		for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			d.mu.Lock()
			now := d.waiting
			d.mu.Unlock()
			if now == n {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("%d wait, not %d", now, n)
			}
		}
	}
	for range supervise.MaxWaiting {
		wg.Go(func() { _, _, _ = s.try(ctx, strings.NewReader(ask)) })
	}
	waits(supervise.MaxWaiting)
	for range 3 {
		if code, text := s.post(t, strings.NewReader(ask)); code != http.StatusOK || !strings.Contains(text, `pending`) {
			t.Errorf("%d %s", code, text)
		}
	}
	var code, launched int
	var text string
	for until := time.Now().Add(10 * time.Second); code != http.StatusServiceUnavailable && time.Now().Before(until); {
		if launched < 3*supervise.MaxRequests { // until there is no room: a call of this loop may have taken some
			wg.Go(func() { _, _, _ = s.try(ctx, silent{ctx}) })
			launched++
		}
		code, text = s.post(t, strings.NewReader(tool("list-egress-routes", nil)))
	}
	if code != http.StatusServiceUnavailable || !strings.Contains(text, "try again") {
		t.Errorf("%d %s", code, text)
	}
	cancel() // the clients hang up
	wg.Wait()
	waits(0)
	if d.most != supervise.MaxWaiting {
		t.Errorf("%d waited at one time", d.most)
	}
}

// silent is a body of which nothing ever comes.
type silent struct{ ctx context.Context }

func (s silent) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// A fault of ours in one call is that call's alone.
func TestAFaultEndsOneCall(t *testing.T) {
	d := &desk{fault: true}
	s := serve(t, d, time.Second)
	ask := tool("egress-block", map[string]any{"host": "yes.example.com", "justification": "a test"})
	if code, text := s.post(t, strings.NewReader(ask)); code != http.StatusOK || !strings.Contains(text, "-32603") || strings.Contains(text, "a fault") {
		t.Errorf("%d %s", code, text)
	}
	d.fault = false
	if code, text := s.post(t, strings.NewReader(ask)); code != http.StatusOK || !strings.Contains(text, "approved") {
		t.Errorf("%d %s", code, text)
	}
}

// Without a desk there is no server, and without a server nothing is near.
func TestAServerNeedsADesk(t *testing.T) {
	if _, err := supervise.New(supervise.Config{}); err == nil {
		t.Error("a server without a desk")
	}
	s := serve(t, &desk{}, 0).server
	for host, want := range map[bottle.Host]map[uint16]bool{
		"supervise.bottle": {0: true, 80: true, 9100: true, 443: false, 9099: false}, "git.bottle": {0: false, 80: false}, "x.supervise.bottle": {0: false, 80: false},
	} {
		for port, want := range want {
			if got := s.Near(host, port); got != want {
				t.Errorf("%s:%d: %v", host, port, got)
			}
		}
	}
}

// FuzzMessage: whatever a body is, the server answers with a code of HTTP that it means
// to give, lives, and what reaches the desk is canonical.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		tool("egress-block", map[string]any{"host": "yes.example.com", "justification": "a test", "auth": map[string]any{"scheme": "Bearer", "token_ref": "KEY"}}),
		tool("pipelock-block", map[string]any{"failed_url": "https://yes.example.com/a", "justification": "a test"}),
		message("initialize", map[string]any{"protocolVersion": "2025-06-18", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "x", "version": "1"}}),
		message("resources/read", map[string]any{"uri": "bottle://policy"}), message("tools/list", nil), message("server/discover", nil),
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":null,"method":"ping"}`, `[]`, `{`,
	} {
		f.Add(seed, "")
		f.Add(seed, "2026-07-28")
	}
	d := &desk{}
	s := serve(f, d, time.Millisecond)
	f.Fuzz(func(t *testing.T, body, version string) {
		if strings.ContainsFunc(version, func(c rune) bool { return c < ' ' || c > '~' }) {
			return
		}
		code, text := s.post(t, strings.NewReader(body), "Mcp-Protocol-Version", version)
		switch code {
		case 200, 202, 400, 404, 413:
		default:
			t.Errorf("%d %s", code, text)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, p := range d.asked {
			if canon, err := p.Canonical(); err != nil || canon.Key() != p.Key() {
				t.Errorf("asked: %+v, %v", p, err)
			}
		}
		d.asked, d.waits = nil, nil
	})
}
