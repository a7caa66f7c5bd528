package gitgate

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// TestWhatIsCountedIsWhatIsServed: a request is counted when Takes says that Serve answers
// it, so the two must agree.
func TestWhatIsCountedIsWhatIsServed(t *testing.T) {
	w := newWorld(t, "https")
	for _, c := range []struct {
		host         bottle.Host
		port         uint16
		method, path string
		want         bool
	}{
		{policy.GitHost, 80, "GET", "/", true}, {policy.GitHost, 80, "GET", "/app/policy", true}, {policy.GitHost, 80, "PUT", "/nothing/here", true}, {policy.GitHost, 80, "GET", "/app.git/info/refs?service=x", true},
		{"example.com", 443, "GET", "/app.git/info/refs?service=x", true}, {"example.com", 443, "GET", "/app/info/refs?service=x", true},
		{"example.com", 443, "POST", "/app.git/git-upload-pack", true}, {"example.com", 443, "POST", "/app.git/git-receive-pack", true}, {"example.com", 443, "POST", "/app.git/info/lfs/objects/batch", true},
		{"example.com", 443, "HEAD", "/app.git/info/refs", false}, {"example.com", 443, "GET", "/app.git/git-receive-pack", false}, {"example.com", 443, "GET", "/app/policy", false}, {"example.com", 443, "GET", "/app.git", false},
		{"example.com", 443, "GET", "/apple.git/info/refs?service=x", false}, {"example.com", 444, "GET", "/app.git/info/refs?service=x", false}, {"example.net", 443, "GET", "/app.git/info/refs?service=x", false},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader("0000"))
		takes := w.gate.Takes(r, c.host, c.port)
		served := false
		front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { served = w.gate.Serve(rw, r, c.host, c.port) }))
		req, err := http.NewRequest(c.method, front.URL+c.path, strings.NewReader("0000"))
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if resp, err := client.Do(req); err != nil {
			t.Error(err)
		} else {
			_ = resp.Body.Close()
		}
		front.Close()
		if takes != c.want || served != c.want {
			t.Errorf("%s %s%s: counted %v, served %v, want %v", c.method, c.host, c.path, takes, served, c.want)
		}
	}
	w.rests()
}
