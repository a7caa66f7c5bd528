package clients

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

// gitSite is a git server over HTTPS: the real git http-backend, behind Basic
// authentication. It gives the site and the folder of its one repository.
func gitSite(t *testing.T) (*site, string) {
	t.Helper()
	git := require.Tool(t, "git")
	root := t.TempDir()
	repo := filepath.Join(root, "team", "app.git")
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(git, args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+root, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	run("init", "-q", "-b", "main", filepath.Join(root, "src"))
	if err := os.WriteFile(filepath.Join(root, "src", "hello"), []byte(strings.Repeat("the repository says hello\n", 5000)), 0o644); err != nil {
		t.Fatal(err)
	}
	run("-C", filepath.Join(root, "src"), "add", ".")
	run("-C", filepath.Join(root, "src"), "commit", "-q", "-m", "first")
	run("clone", "-q", "--bare", filepath.Join(root, "src"), repo)
	run("-C", repo, "config", "http.receivepack", "true")
	backend := &cgi.Handler{Path: git, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + root}, InheritEnv: []string{"PATH"}}
	srv, err := loopback.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != theSecret {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		// net/http/cgi takes no chunked body, in which git sends what is large.
		r.TransferEncoding, r.ContentLength, r.Body = nil, int64(len(body)), io.NopCloser(bytes.NewReader(body))
		backend.ServeHTTP(w, r)
	}), "git.example.com")
	s := serve(t, srv, err, "git.example.com")
	s.scheme = "Basic"
	return s, repo
}

// TestGit: clone, fetch what came later, and push, over smart HTTP.
func TestGit(t *testing.T) {
	s, repo := gitSite(t)
	b := newBox(t, []*site{s})
	r := b.run(`
export GIT_TERMINAL_PROMPT=0 GIT_AUTHOR_NAME=b GIT_AUTHOR_EMAIL=b@example.com GIT_COMMITTER_NAME=b GIT_COMMITTER_EMAIL=b@example.com
u=https://git.example.com/team/app.git
cd /tmp
as clone git clone -q $u proxied
as clone-direct direct git clone -q $u direct
as clone-socks git -c http.proxy=socks5h://127.0.0.1:9099 clone -q $u socks
as cloned git -C direct log --format=%s
echo more >>proxied/hello; head -c 3000000 /dev/urandom >proxied/large
git -C proxied add . && git -C proxied commit -q -m second
as push git -C proxied push -q origin HEAD:refs/heads/agent
git -C proxied checkout -q -b leak
key=ghp_$(head -c 64 /dev/urandom | base64 -w0 | tr -dc A-Za-z0-9 | head -c 36)
{ head -c 700000 /dev/urandom; echo "token = $key"; head -c 700000 /dev/urandom; } >proxied/kept
git -C proxied add . && git -C proxied commit -q -m third
as push-secret git -C proxied push -q origin HEAD:refs/heads/leak
as fetch direct git -C direct fetch -q origin agent
as fetched git -C direct log --format=%s FETCH_HEAD
as no-proxy git ls-remote https://no-proxy.example.net/x.git
as no-direct direct git ls-remote https://no-direct.example.net/x.git
`)
	for _, name := range []string{"clone", "clone-direct", "clone-socks", "push", "fetch"} {
		if s := r.said[name]; s.code != "0" {
			t.Errorf("%s ended with %q: %s", name, s.code, s.text)
		}
	}
	if c, f := r.said["cloned"].text, r.said["fetched"].text; c != "first\n" || f != "second\nfirst\n" {
		t.Errorf("cloned %q, fetched %q", c, f)
	}
	if out, err := exec.Command("git", "-C", repo, "-c", "safe.directory=*", "log", "--format=%s", "agent").CombinedOutput(); err != nil || string(out) != "second\nfirst\n" {
		t.Errorf("the server has %q, %v", out, err)
	}
	if s := r.said["push-secret"]; s.code == "0" {
		t.Errorf("a secret was pushed: %s", s.text)
	}
	if out, err := exec.Command("git", "-C", repo, "-c", "safe.directory=*", "branch", "--list", "leak").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the server has %q, %v", out, err)
	}
	services := map[string]int{}
	for _, q := range s.requests() {
		services[q.Method+" "+q.Path]++
		if user, password, ok := (&http.Request{Header: q.Header}).BasicAuth(); !ok || password != theSecret {
			t.Errorf("%s %s came with %q", q.Method, q.Path, user)
		}
	}
	for _, want := range []string{"GET /team/app.git/info/refs?service=git-upload-pack", "POST /team/app.git/git-upload-pack", "GET /team/app.git/info/refs?service=git-receive-pack", "POST /team/app.git/git-receive-pack"} {
		if services[want] == 0 {
			t.Errorf("never asked for: %s; %v", want, services)
		}
	}
	pushed, leaks := int64(0), 0
	for _, rec := range r.records {
		if rec.Reason == "secret_found" && rec.Path == "/team/app.git/git-receive-pack" {
			leaks++
			continue
		}
		if rec.Host == s.host && (rec.Verdict != "allow" || rec.Credential != "OPERATORS_TOKEN" || rec.Status != http.StatusOK) {
			t.Errorf("the record is %+v", rec)
		}
		if rec.Path == "/team/app.git/git-receive-pack" {
			pushed += rec.BytesOut
		}
	}
	if leaks != 1 {
		t.Errorf("%d records of a secret in a push", leaks)
	}
	if pushed < 3000000 {
		t.Errorf("%d bytes are recorded as pushed", pushed)
	}
	r.refused(byProxy, "no-proxy")
	r.refused(direct, "no-direct")
}
