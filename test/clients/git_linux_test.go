package clients

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

// gitSite is a git server over HTTPS: the real git http-backend, behind Basic
// authentication. It gives the site, whose team/gated.git is behind the git gate, and the
// folder of its repositories: that one, and team/app.git.
func gitSite(t *testing.T) (*site, string) {
	t.Helper()
	git := require.Tool(t, "git")
	root := t.TempDir()
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
	for _, name := range []string{"app.git", "gated.git"} {
		repo := filepath.Join(root, "team", name)
		run("clone", "-q", "--bare", filepath.Join(root, "src"), repo)
		run("-C", repo, "config", "http.receivepack", "true")
	}
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
	s.scheme, s.repo = "Basic", "/team/gated.git"
	_, port, _ := net.SplitHostPort(s.addr)
	if s.port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	return s, filepath.Join(root, "team")
}

// TestGit: clone over smart HTTP by a route; clone, fetch what came later, and push
// through the git gate, which the same program reaches by the repository's own URL.
func TestGit(t *testing.T) {
	s, repos := gitSite(t)
	b := newBox(t, []*site{s})
	r := b.run(`
export GIT_TERMINAL_PROMPT=0 GIT_AUTHOR_NAME=b GIT_AUTHOR_EMAIL=b@example.com GIT_COMMITTER_NAME=b GIT_COMMITTER_EMAIL=b@example.com
h=https://git.example.com:` + strconv.Itoa(s.port) + `/team
u=$h/app.git; g=$h/gated.git
cd /tmp
as clone git clone -q $u proxied
as clone-direct direct git clone -q $u direct
as clone-socks git -c http.proxy=socks5h://127.0.0.1:9099 clone -q $u socks
as cloned git -C direct log --format=%s
as past git -C direct push -q origin HEAD:refs/heads/past
as gated git clone -q $g gated
as gated-direct direct git clone -q $g gated-direct
as gated-socks git -c http.proxy=socks5h://127.0.0.1:9099 clone -q $g gated-socks
as gated-straight env GIT_CONFIG_GLOBAL=/dev/null git clone -q $g gated-straight
echo more >>gated/hello; head -c 3000000 /dev/urandom >gated/large
git -C gated add . && git -C gated commit -q -m second
as push git -C gated push -q origin HEAD:refs/heads/agent
git -C gated checkout -q -b leak
key=ghp_$(head -c 64 /dev/urandom | base64 -w0 | tr -dc A-Za-z0-9 | head -c 36)
{ head -c 700000 /dev/urandom; echo "token = $key"; head -c 700000 /dev/urandom; } >gated/kept
git -C gated add . && git -C gated commit -q -m third
as push-secret git -C gated push -q origin HEAD:refs/heads/leak
as fetch direct git -C gated-direct fetch -q origin agent
as fetched git -C gated-direct log --format=%s FETCH_HEAD
as no-proxy git ls-remote https://no-proxy.example.net/x.git
as no-direct direct git ls-remote https://no-direct.example.net/x.git
`)
	for _, name := range []string{"clone", "clone-direct", "clone-socks", "gated", "gated-direct", "gated-socks", "gated-straight", "push", "fetch"} {
		if s := r.said[name]; s.code != "0" {
			t.Errorf("%s ended with %q: %s", name, s.code, s.text)
		}
	}
	if c, f := r.said["cloned"].text, r.said["fetched"].text; c != "first\n" || f != "second\nfirst\n" {
		t.Errorf("cloned %q, fetched %q", c, f)
	}
	server := func(repo string, args ...string) string {
		out, err := exec.Command("git", append([]string{"-C", filepath.Join(repos, repo), "-c", "safe.directory=*"}, args...)...).CombinedOutput()
		if err != nil {
			t.Error(err)
		}
		return string(out)
	}
	if got := server("gated.git", "log", "--format=%s", "agent"); got != "second\nfirst\n" {
		t.Errorf("the server has %q", got)
	}
	for _, name := range []string{"push-secret", "past"} {
		if s := r.said[name]; s.code == "0" || !strings.Contains(s.text, "remote: bottle: ") {
			t.Errorf("%s was let through, or nobody says why not: %s", name, s.text)
		}
	}
	if got := server("gated.git", "branch", "--list", "leak") + server("app.git", "branch", "--list", "past"); got != "" {
		t.Errorf("the server has %q", got)
	}
	services := map[string]int{}
	for _, q := range s.requests() {
		services[q.Method+" "+q.Path]++
		if user, password, ok := (&http.Request{Header: q.Header}).BasicAuth(); !ok || password != theSecret {
			t.Errorf("%s %s came with %q", q.Method, q.Path, user)
		}
	}
	for want, asked := range map[string]bool{"GET /team/app.git/info/refs?service=git-upload-pack": true, "POST /team/app.git/git-upload-pack": true,
		"GET /team/gated.git/info/refs?service=git-receive-pack": true, "POST /team/gated.git/git-receive-pack": true,
		"GET /team/app.git/info/refs?service=git-receive-pack": false, "POST /team/app.git/git-receive-pack": false} {
		if services[want] > 0 != asked {
			t.Errorf("%s was asked for %d times; %v", want, services[want], services)
		}
	}
	pushed, reasons := int64(0), map[string]int{}
	for _, rec := range r.records {
		switch {
		case rec.Host != s.host:
		case rec.Verdict != "allow":
			reasons[rec.Kind+" "+rec.Reason]++
		case rec.Credential != "OPERATORS_TOKEN":
			t.Errorf("the record is %+v", rec)
		case rec.Kind == "git" && rec.Method == "push":
			pushed += rec.BytesOut
		}
	}
	if len(reasons) != 2 || reasons["git secret_found"] != 1 || reasons["http repo_not_listed"] != 1 {
		t.Errorf("refused: %v", reasons)
	}
	if pushed < 3000000 {
		t.Errorf("%d bytes are recorded as pushed", pushed)
	}
	r.refused(byProxy, "no-proxy")
	r.refused(direct, "no-direct")
}
