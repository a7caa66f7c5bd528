package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

const theSecret = "R34L-cr3dential-of-the-operator-7f1e"

// upstream is a stand-in for an API that wants a credential, and a house whose
// bottle has one route to it.
func upstream(t *testing.T, uid int) (*loopback.Server, *house) {
	t.Helper()
	srv, err := loopback.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+theSecret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "hello from the API at "+r.URL.Path+"\n") // the client may be gone
	}), "api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	h := newHouse(t, uid, "")
	ca := filepath.Join(h.base, "ca.pem")
	h.write("ca.pem", string(srv.CA()))
	h.write("home/bottles/box.md", fmt.Sprintf(`---
supervise: false
agent_provider: {template: command}
egress:
  routes:
    - host: api.example.com
      path_allowlist: ["/v1/"]
      auth: {scheme: Bearer, token_ref: API_TOKEN}
      upstream: {address: %q, ca_file: %q}
---
A box with one way out.
`, srv.Addr(), ca))
	h.own()
	h.env = append(h.env, "API_TOKEN="+theSecret)
	return srv, h
}

// records are the decisions of the house's one bottle.
func (h *house) records() []map[string]any {
	h.t.Helper()
	body, err := os.ReadFile(filepath.Join(h.home(), "state", string(h.identity()), "audit.jsonl"))
	if err != nil {
		h.t.Fatal(err)
	}
	var out []map[string]any
	for _, line := range bytes.Split(bytes.TrimSpace(body), []byte("\n")) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			h.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func countRecords(list []map[string]any, verdict, host string) int {
	n := 0
	for _, r := range list {
		if r["verdict"] == verdict && r["host"] == host {
			n++
		}
	}
	return n
}

// TestEgressEndToEnd: what the agent may, what it may not, and that the proxy
// variables are a courtesy: who ignores them is caught.
func TestEgressEndToEnd(t *testing.T) {
	require.Tool(t, "curl")
	everybody(t, func(t *testing.T, uid int) {
		srv, h := upstream(t, uid)
		s := h.start(`c() { echo "== $1"; shift; curl -sS -m 10 -w '\n%{http_code}\n' "$@" 2>&1; }
			c allowed https://api.example.com/v1/x
			c stripped -H 'Authorization: Bearer the-agents-own' https://api.example.com/v1/y
			c direct --noproxy '*' https://api.example.com/v1/z
			c path https://api.example.com/v2/secret
			c climb --path-as-is https://api.example.com/v1/../v2/secret
			c host https://evil.example.net/
			c plain http://evil.example.net/
			c ignored --noproxy '*' https://evil.example.net/
			c literal --noproxy '*' https://192.0.2.1/
			c loopback http://` + srv.Addr() + `/v1/x
			c loopback2 --noproxy '*' https://` + srv.Addr() + `/v1/x
			exit 0`)
		got := map[string]string{}
		for _, part := range strings.Split(s.out, "== ")[1:] {
			name, text, _ := strings.Cut(part, "\n")
			got[name] = strings.TrimSpace(text)
		}
		for name, want := range map[string]string{
			"allowed": "hello from the API at /v1/x\n\n200", "stripped": "hello from the API at /v1/y\n\n200", "direct": "hello from the API at /v1/z\n\n200",
		} {
			if got[name] != want {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
		}
		for name, code := range map[string]string{"path": "path_not_listed", "climb": "", "plain": "host_not_listed"} {
			if !strings.HasSuffix(got[name], "403") || !strings.Contains(got[name], `"error":"denied"`) || !strings.Contains(got[name], code) {
				t.Errorf("%s: %q, want a denial by %q", name, got[name], code)
			}
		}
		for _, name := range []string{"host", "ignored", "literal", "loopback", "loopback2"} {
			if strings.Contains(got[name], "hello") || strings.HasSuffix(got[name], "\n200") || got[name] == "" {
				t.Errorf("%s got through: %q", name, got[name])
			}
		}
		if n := len(srv.Requests()); n != 3 {
			t.Errorf("%d requests reached the API: %+v", n, srv.Requests())
		}
		list := h.records()
		if a, d := countRecords(list, "allow", "api.example.com"), countRecords(list, "deny", "evil.example.net"); a < 3 || d < 2 {
			t.Errorf("%d allowed and %d denied in the log: %v", a, d, list)
		}
		h.nothingLeft("egress")
	})
}

// TestInvariant2SecretIsNowhere looks for the credential's bytes in the argv and
// environment of every process but the operator's own, in all files of the home,
// and from inside the bottle.
func TestInvariant2SecretIsNowhere(t *testing.T) {
	require.Tool(t, "curl")
	everybody(t, func(t *testing.T, uid int) {
		_, h := upstream(t, uid)
		// The word is put together inside, so that the search does not find itself.
		b := h.begin(`w=$(printf '%s%s' R34L-cr3dential -of-the-operator); curl -sS -m 10 https://api.example.com/v1/x
			env | grep -q -e "$w" && echo FOUND in env
			grep -rls -e "$w" /proc/[0-9]*/environ /proc/[0-9]*/cmdline /etc /home /tmp /run /workspace /var && echo FOUND in a file
			echo ready; read x; exit 4`)
		if !strings.Contains(b.out.String(), "hello from the API") || strings.Contains(b.out.String(), "FOUND") {
			t.Errorf("inside: %s%s", b.out, b.errs)
		}
		scanProcesses(t, h, b.cmd.Process.Pid)
		scanFiles(t, h.base)
		b.types("")
		if code := b.ends(); code != 4 {
			t.Errorf("exit %d", code)
		}
		scanFiles(t, h.base)
		if s := b.errs.String() + b.out.String(); strings.Contains(s, theSecret) {
			t.Errorf("it was printed: %s", s)
		}
	})
}

func scanProcesses(t *testing.T, h *house, operator int) {
	t.Helper()
	seen := 0
	for _, pid := range h.pids("") {
		for _, name := range []string{"cmdline", "environ"} {
			if pid == operator {
				continue
			}
			body, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
			if err != nil {
				continue // not even the operator may look
			}
			seen++
			if bytes.Contains(body, []byte(theSecret)) {
				t.Errorf("%s of %d holds the secret", name, pid)
			}
		}
	}
	if seen < 3 {
		t.Errorf("looked at %d files only", seen)
	}
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if body, err := os.ReadFile(p); err == nil && bytes.Contains(body, []byte(theSecret)) {
			t.Errorf("%s holds the secret", p)
		}
	}
}

func scanFiles(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil || !fi.Mode().IsRegular() {
			return nil // overlayfs's own folder has no mode
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		if bytes.Contains(body, []byte(theSecret)) {
			t.Errorf("%s holds the secret", path)
		}
		return nil
	})
	if err != nil || n < 4 {
		t.Errorf("looked at %d files, %v", n, err)
	}
}

// TestMissingCredentialStopsTheStart before anything is made.
func TestMissingCredentialStopsTheStart(t *testing.T) {
	_, h := upstream(t, -1)
	h.env = h.env[:len(h.env)-1]
	s := h.start("echo ran")
	if s.code != 125 || strings.Contains(s.out, "ran") || !strings.Contains(s.err, "API_TOKEN") {
		t.Errorf("%+v", s)
	}
	if list, _ := filepath.Glob(filepath.Join(h.home(), "state", "*")); len(list) != 0 {
		t.Errorf("left: %q", list)
	}
}
