package gateway

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/internal/audit"
	dlprule "bottle/internal/dlp/rule"
	"bottle/internal/plan"
)

const newKey = "sk-renewed-9876543210"

// streamer is an API with one long answer: what is sent on say is written to it.
// Other requests are told by whom they came.
type streamer struct {
	upstream
	say  chan string
	seen chan string // the Authorization of each request
}

func newStreamer(t *testing.T, dir string) *streamer {
	s := &streamer{say: make(chan string), seen: make(chan string, 16)}
	s.ca = filepath.Join(dir, "streamer-ca.pem")
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.seen <- r.Header.Get("Authorization")
		if r.URL.Path != "/long" {
			fmt.Fprint(w, "you are ", r.Header.Get("Authorization"))
			return
		}
		_ = http.NewResponseController(w).Flush() // its client waits for the head
		for part := range s.say {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
		fmt.Fprintf(w, "and it was %s\n", r.Header.Get("Authorization"))
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// news are the log's records about credentials, once there are n.
func news(t *testing.T, path string, n int) (out []audit.Record) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		out = out[:0]
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(body)), "\n") {
			var r audit.Record
			if json.Unmarshal([]byte(line), &r) == nil && r.Kind == audit.KindLog {
				out = append(out, r)
			}
		}
		if len(out) >= n {
			return out
		}
		if time.Now().After(end) {
			t.Fatalf("want %d records, have %+v", n, out)
		}
	}
}

// TestInvariant2RenewalUnderALongAnswer: while an answer streams, its credential is
// renewed. The request keeps the value that it began with, the next one has the new
// value, and neither comes back: also not in the answer that began before, not in
// pieces, and not the old value after it was replaced.
func TestInvariant2RenewalUnderALongAnswer(t *testing.T) {
	r := inProcess(t)
	u := newStreamer(t, r.dir)
	_, _, _, client := r.start(t, &u.upstream)
	client.Timeout = 20 * time.Second
	res, err := client.Get("https://example.com/long")
	if err == nil {
		defer res.Body.Close()
	}
	if err != nil || <-u.seen != "Bearer "+realKey {
		t.Fatalf("%v", err)
	}
	lines := bufio.NewReader(res.Body)
	hear := func(want string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			select {
			case u.say <- p:
			case <-time.After(10 * time.Second):
				t.Fatal("the stream has ended")
			}
		}
		got, err := lines.ReadString('\n')
		if err != nil || got != want+"\n" {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	stars, newStars := strings.Repeat("*", len(realKey)), strings.Repeat("*", len(newKey))
	hear("1 "+stars, "1 "+realKey+"\n")
	u.say <- "2 " + realKey[:7] // held back while the renewal comes
	r.tell(t, plan.Update{Secrets: map[string]string{"API_TOKEN": newKey}})
	list := news(t, r.what(&u.upstream).Audit, 1)
	if len(list) != 1 || list[0].Reason != reasonRenewed || list[0].Credential != "API_TOKEN" {
		t.Errorf("recorded %+v", list)
	}
	hear("2 "+stars, realKey[7:]+"\n")
	if _, body, err := get(t, client, "https://example.com/other"); err != nil || body != "you are Bearer "+newStars || <-u.seen != "Bearer "+newKey {
		t.Errorf("the next request: %q, %v", body, err)
	}
	hear("3 "+newStars+stars, "3 ", newKey[:1], newKey[1:12], newKey[12:], realKey[:3], realKey[3:], "\n")
	close(u.say)
	hear("and it was Bearer " + stars)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if said := r.said.String(); strings.Contains(said, newKey) || strings.Contains(said, realKey) {
		t.Error("the gateway printed a value")
	}
}

// TestVoidUpdatesChangeNothing: what can't be read, or is about what nobody named,
// is void as a whole; it is recorded, without a byte of it, and the next is heard.
func TestVoidUpdatesChangeNothing(t *testing.T) {
	r := inProcess(t)
	u := newStreamer(t, r.dir)
	_, _, _, client := r.start(t, &u.upstream)
	void := []string{
		"", "x", "[]", `"` + newKey + `"`, "{}", `{"secrets":{}}`, `{"lapsed":[]}`,
		`{"secrets":{"API_TOKEN":""}}`, `{"secrets":{"OTHER":"` + newKey + `"}}`, `{"secrets":{"API_TOKEN":"` + newKey + `","OTHER":"` + newKey + `"}}`,
		`{"secrets":{"API_TOKEN":"` + newKey + `"},"lapsed":["OTHER"]}`, `{"secrets":{"API_TOKEN":"` + newKey + `"},"more":1}`,
		`{"secrets":{"API_TOKEN":"` + newKey + `"}} {}`, `{"secrets":{"API_TOKEN":["` + newKey + `"]}}`,
	}
	for _, line := range void {
		if _, err := io.WriteString(r.stdin, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	list := news(t, r.what(&u.upstream).Audit, len(void))
	for i, rec := range list {
		if rec.Reason != reasonUpdate || strings.Contains(rec.Note, newKey[:9]) || !strings.Contains(rec.Note, "void") {
			t.Errorf("%q: %+v", void[i], rec)
		}
	}
	if _, _, err := get(t, client, "https://example.com/x"); err != nil || <-u.seen != "Bearer "+realKey {
		t.Errorf("the value has changed: %v", err)
	}
	// After its expiry a value stays in use: the upstream is the judge of it.
	r.tell(t, plan.Update{Lapsed: []string{"API_TOKEN"}})
	list = news(t, r.what(&u.upstream).Audit, len(void)+1)
	if last := list[len(void)]; last.Reason != reasonLapsed || last.Credential != "API_TOKEN" || last.Note == "" {
		t.Errorf("%+v", last)
	}
	if code, _, err := get(t, client, "https://example.com/x"); err != nil || code != 200 || <-u.seen != "Bearer "+realKey {
		t.Errorf("a lapsed credential: %d, %v", code, err)
	}
	r.tell(t, plan.Update{Secrets: map[string]string{"API_TOKEN": newKey}})
	news(t, r.what(&u.upstream).Audit, len(void)+2)
	if _, _, err := get(t, client, "https://example.com/x"); err != nil || <-u.seen != "Bearer "+newKey {
		t.Errorf("the next update was not heard: %v", err)
	}
	if st := ask(t, r.what(&u.upstream).Control); st.Allowed != 3 || st.Denied != 0 {
		t.Errorf("news are counted as decisions: %+v", st)
	}
}

// An endless line ends the gateway: nothing after it could be read for what it is.
func TestEndlessUpdateEndsTheGateway(t *testing.T) {
	r := inProcess(t)
	u := newStreamer(t, r.dir)
	r.start(t, &u.upstream)
	go func() {
		chunk := strings.Repeat("x", 1<<20)
		for range maxTold>>20 + 1 {
			if _, err := io.WriteString(r.stdin, chunk); err != nil {
				return
			}
		}
	}()
	if err := r.wait(); err != nil {
		t.Errorf("%v", err)
	}
}

// TestARenewedCredentialDoesNotLeave: when a request can carry a new value, nobody can
// send it by another way any more, nor the old one: each is refused as secret_found, and
// the log names the credential and holds no byte of it.
func TestARenewedCredentialDoesNotLeave(t *testing.T) {
	r := inProcess(t)
	u := newStreamer(t, r.dir)
	_, _, _, client := r.start(t, &u.upstream)
	client.Timeout = 20 * time.Second
	post := func(body string) int {
		t.Helper()
		res, err := client.Post("https://example.com/notes", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if status := post("what nobody knows: " + newKey); status != http.StatusOK {
		t.Fatalf("before it is told: %d", status)
	}
	path := r.what(&u.upstream).Audit
	r.tell(t, plan.Update{Secrets: map[string]string{"API_TOKEN": newKey}})
	news(t, path, 1)
	for _, body := range []string{"what nobody knows: " + newKey, realKey} {
		if status := post(body); status != http.StatusForbidden {
			t.Errorf("%d", status)
		}
	}
	list := logged(t, path, "secret_found")
	if len(list) == 0 || len(list[0].Findings) != 1 || list[0].Findings[0].Secret != "API_TOKEN" || list[0].Findings[0].Rule != "known-secret" || len(list[0].Findings[0].Fingerprint) != 32 {
		t.Errorf("recorded %+v", list)
	}
	if whole, err := os.ReadFile(path); err != nil || strings.Contains(string(whole), newKey) || strings.Contains(string(whole), realKey) {
		t.Errorf("the log tells a value, %v", err)
	}
}

// TestWithoutAnEngineNothingIsLetOut: where none can be made, every route that does not
// say dlp: off refuses as not_scannable, and the log says why.
func TestWithoutAnEngineNothingIsLetOut(t *testing.T) {
	r := inProcess(t, func(s *Start) { s.rules = func() (*dlprule.Set, error) { return nil, errors.New("no rules today") } })
	u := newUpstream(t, r.dir)
	_, _, _, client := r.start(t, u)
	status, body, err := get(t, client, "https://example.com/v1")
	if err != nil || status != http.StatusForbidden || !strings.Contains(body, "not_scannable") || u.calls.Load() != 0 {
		t.Errorf("%d %s %v", status, body, err)
	}
	if list := logged(t, r.what(u).Audit, reasonUnscanned); len(list) != 1 || !strings.Contains(list[0].Note, "no rules today") {
		t.Errorf("recorded %+v", list)
	}
}
