package demo

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tiny client answers as curl does, for all that the script asks of it.
func TestClientSpeaksAsCurl(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.Host, r.URL, r.Header.Get("Authorization"), body)
	})
	plain, secure := httptest.NewServer(echo), httptest.NewTLSServer(echo)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer plain.Close()
	defer secure.Close()
	defer proxy.Close()
	nobody, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := nobody.Addr().String()
	nobody.Close()
	addr := strings.TrimPrefix(plain.URL, "http://")
	out := filepath.Join(t.TempDir(), "answer")
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		status string
		body   string
	}{
		{"get", []string{plain.URL + "/x?y"}, 0, "201 000", "GET " + addr + " /x?y  "},
		{"post", []string{"-X", "POST", "--data", "a=b", "-H", "Authorization: Bearer p", plain.URL}, 0, "201 000", "POST " + addr + " / Bearer p a=b"},
		{"another place", []string{"--noproxy", "*", "--connect-to", "api.demo.example:80:" + addr, "http://api.demo.example/"}, 0, "201 000", "GET api.demo.example /  "},
		{"nobody there", []string{"http://" + closed + "/"}, 7, "000 000", ""},
		{"a CA of nobody", []string{secure.URL}, 60, "000 000", ""},
		{"no tunnel", []string{"-x", proxy.URL, "https://api.demo.example/"}, 56, "000 403", ""},
		{"refused by a proxy", []string{"--noproxy", "", "-x", proxy.URL, "http://127.0.0.1:1/"}, 0, "403 000", ""},
		{"no file", []string{"-o", "/nonexistent/x", plain.URL}, 23, "201 000", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(out, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			code := Client(append([]string{"-sS", "-m", "5", "-o", out, "-w", "%{http_code} %{http_connect}"}, c.args...), &said)
			if code != c.code || said.String() != c.status {
				t.Errorf("exit %d, said %q; want %d, %q", code, &said, c.code, c.status)
			}
			if body, err := os.ReadFile(out); err != nil || string(body) != c.body {
				t.Errorf("answer %q (%v), want %q", body, err, c.body)
			}
		})
	}
	for _, bad := range [][]string{nil, {"-sS"}, {"-X"}, {"--insecure", "1", plain.URL}, {"-H", "no colon", plain.URL}, {"-m", "soon", plain.URL}} {
		if code := Client(bad, io.Discard); code != clientUsage {
			t.Errorf("%q: exit %d", bad, code)
		}
	}
}

// The demo's own servers tell who came, and the API takes the real token alone.
func TestUpstreams(t *testing.T) {
	u, err := newUpstreams("real-1")
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	if block, _ := pem.Decode(u.ca); block == nil {
		t.Fatal("the CA is not PEM")
	}
	c, err := net.Dial("tcp4", u.paste.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if Client([]string{"http://" + u.service.addr + "/"}, io.Discard) != 0 {
		t.Error("the host's service does not answer the host")
	}
	u.paste.close()
	if n := u.paste.conns.Load(); n != 1 {
		t.Errorf("the pastebin counted %d connections: one that says nothing is one, too", n)
	}
	if n, seen := u.service.conns.Load(), u.service.requests(); n != 1 || len(seen) != 1 || seen[0].Method != "GET" {
		t.Errorf("the service saw %d, %v", n, seen)
	}
	for header, want := range map[string]int{"Bearer real-1": 200, "Bearer placeholder-1": 401, "": 401, "real-1": 401} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/v1/whoami", nil)
		r.Header.Set("Authorization", header)
		api("real-1")(w, r)
		if w.Code != want || strings.Contains(w.Body.String(), "real-1") {
			t.Errorf("%q: %d %s", header, w.Code, w.Body)
		}
	}
}
