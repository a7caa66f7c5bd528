package integration

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"bottle/internal/policy"
	"bottle/test/require"
)

// webForge is a git server of somebody else: git http-backend behind TLS and a password.
type webForge struct {
	*forge
	ca      string // PEM
	port    string
	asked   atomic.Int64 // requests
	posted  atomic.Int64 // pushes
	strange atomic.Int64 // requests without the password
	knocked atomic.Int64 // connections that were not TLS
}

const forgePassword = "q7Vd2mXs9Lk4Tz1RfNb6"

// newWebForge serves the folder of a forge's repository, and a second one beside it.
func newWebForge(t *testing.T) *webForge {
	t.Helper()
	w := &webForge{forge: newForge(t)}
	w.close() // its ssh server
	root := filepath.Dir(w.bare)
	w.git(root, "clone", "-q", "--bare", w.bare, filepath.Join(root, "other.git"))
	for _, r := range []string{"app.git", "other.git"} {
		w.git(filepath.Join(root, r), "config", "http.receivepack", "true")
	}
	// A signed push: the server tells with which nonce it came.
	w.git(w.bare, "config", "receive.certNonceSeed", "seed")
	w.git(w.bare, "config", "receive.certNonceSlop", "3600")
	hook := "#!/bin/sh\n[ -z \"$GIT_PUSH_CERT\" ] || echo \"nonce $GIT_PUSH_CERT_NONCE_STATUS\" >&2\n"
	if err := os.WriteFile(filepath.Join(w.bare, "hooks", "post-receive"), []byte(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: filepath.Join(w.git(root, "--exec-path"), "git-http-backend"), Stderr: io.Discard, Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=x", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "receive-pack") {
			w.posted.Add(1)
		}
		if user, password, _ := r.BasicAuth(); user != "robot" || password != forgePassword {
			w.strange.Add(1)
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(rw, "who are you?", http.StatusUnauthorized)
			return
		}
		if r.ContentLength < 0 { // CGI knows no chunks; a web server in front of it gathers them
			f, err := os.CreateTemp(root, "body")
			if err != nil {
				t.Error(err)
			}
			defer os.Remove(f.Name())
			defer f.Close()
			r.ContentLength, _ = io.Copy(f, r.Body)
			_, _ = f.Seek(0, io.SeekStart)
			r.Body, r.TransferEncoding = f, nil
		}
		backend.ServeHTTP(rw, r)
	}))
	s.StartTLS()
	t.Cleanup(s.Close)
	_, w.port, _ = net.SplitHostPort(s.Listener.Addr().String())
	w.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return w
}

// TestGitGateServesHTTPS: a repository of a server with a private CA and a password is
// cloned, fetched and pushed by its own https URL, once by way of the bottle's git config
// and once straight, past it; the neighbour on the same server, which a route lets the
// agent read, takes no push; and SSH leads nowhere.
func TestGitGateServesHTTPS(t *testing.T) {
	f := newWebForge(t)
	require.Tool(t, "curl", "ssh-keygen")
	h := newHouse(t, -1, "")
	h.write("ca.pem", f.ca)
	h.write("password", "robot:"+forgePassword+"\n")
	if err := os.Chmod(filepath.Join(h.base, "password"), 0o600); err != nil {
		t.Fatal(err)
	}
	ssh, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ssh.Close()
	go func() {
		for c, err := ssh.Accept(); err == nil; c, err = ssh.Accept() {
			f.knocked.Add(1)
			_ = c.Close()
		}
	}()
	_, sshPort, _ := net.SplitHostPort(ssh.Addr().String())
	auth := `{token_ref: "file:` + filepath.Join(h.base, "password") + `"}`
	h.write("home/bottles/box.md", fmt.Sprintf(`---
supervise: false
agent_provider: {template: command}
git_user: {name: app-bot, email: app-bot@example.com}
egress:
  routes:
    - host: example.com
      ports: [%[1]s]
      auth: {scheme: Basic, token_ref: "file:%[2]s/password"}
      upstream: {address: "127.0.0.1:%[1]s", ca_file: %[2]s/ca.pem}
git:
  - name: app
    upstream: "https://example.com:%[1]s/app.git"
    auth: %[3]s
    ca_file: %[2]s/ca.pem
    extra_hosts: {example.com: 127.0.0.1}
    push: {branches: ["agent/*"]}
---
A box with a repository.
`, f.port, h.base, auth))
	h.own()
	s := h.start(`U=https://example.com:` + f.port + `
set -u; cd /tmp; export GIT_TERMINAL_PROMPT=0
git clone -q $U/app.git a; echo "rewritten clone $?"
cd a; git checkout -q -b agent/one; git commit -q --allow-empty -m one; git push -q origin agent/one; echo "rewritten push $?"; cd ..
git config user.name >/dev/null && export GIT_COMMITTER_NAME=app-bot GIT_COMMITTER_EMAIL=app-bot@example.com GIT_AUTHOR_NAME=app-bot GIT_AUTHOR_EMAIL=app-bot@example.com
export GIT_CONFIG_GLOBAL=/dev/null
git clone -q $U/app.git b; echo "straight clone $?"
cd b; git remote get-url origin; git checkout -q -b agent/two origin/agent/one; git commit -q --allow-empty -m two; git push origin agent/two 2>&1; echo "straight push $?"
git push origin HEAD:trunk 2>&1; echo "trunk $?"
ssh-keygen -q -t ed25519 -N '' -f /tmp/k; git commit -q --allow-empty -m signed
git -c gpg.format=ssh -c user.signingkey=/tmp/k push --signed -o bottle.dry-run -o ci.skip origin agent/two 2>&1; echo "signed dry run $?"; git rev-parse -q origin/agent/two HEAD | uniq | wc -l
git -c gpg.format=ssh -c user.signingkey=/tmp/k push --signed origin agent/two 2>&1; echo "signed push $?"
git -c http.version=HTTP/1.1 -c protocol.version=0 fetch -q origin; echo "old fetch $?"
curl -s --proto-default https $U/app/policy | head -c 30 >/dev/null
echo "id='AKIAQ3EGRZV5JTKLMN7W'" > leak; git add leak; git commit -q -m leak; git push origin agent/two 2>&1; echo "leak $?"
cd ..; git clone -q $U/other.git c; echo "other clone $?"
cd c; git commit -q --allow-empty -m three; git push origin HEAD:agent/three 2>&1; echo "other push $?"
head -c 8 /dev/zero | curl -s -o /dev/null -w 'pack %{http_code}\n' -H 'Content-Type: application/x-git-receive-pack-request' --data-binary @- "$U/other.git/git-receive-pack;x"
git push https://elsewhere.example.net/x/y.git HEAD:agent/three 2>&1; echo "elsewhere $?"
for p in 22 ` + f.port + ` ` + sshPort + `; do bash -c "exec 3<>/dev/tcp/example.com/$p; printf 'SSH-2.0-x\r\n' >&3; head -c 9 <&3" 2>&1; echo; done
git ls-remote ssh://git@example.com/app.git >/dev/null 2>&1; echo "ssh $?"
env | grep -c ` + forgePassword + `; exit 0`)
	for _, want := range []string{"rewritten clone 0", "rewritten push 0", "straight clone 0", "https://example.com:" + f.port + "/app.git", "straight push 0", "agent/two (dry run: this push would be accepted)", "signed dry run 1\n2\n", "signed push 0", "trunk 1", "old fetch 0", "leak 1",
		"other clone 0", "other push 128", "remote: bottle: blocked: a push goes to a repository of the bottle's manifest only", "an operator adds others under `git`", "pack 403",
		"elsewhere 128", string(policy.RefNotListed), string(policy.SecretFound), string(policy.RepoNotListed), "ssh 128"} {
		if !strings.Contains(s.out, want) {
			t.Errorf("the agent does not see %q", want)
		}
	}
	if !strings.Contains(s.out, "remote: nonce OK") && !strings.Contains(s.out, "remote: nonce SLOP") { // OK: all of it within one second
		t.Error("upstream does not know the certificate's nonce")
	}
	if got, want := f.refs(), "refs/heads/agent/one\nrefs/heads/agent/two\nrefs/heads/trunk"; got != want {
		t.Errorf("upstream has %q, want %q", got, want)
	}
	if got := f.git(filepath.Join(filepath.Dir(f.bare), "other.git"), "for-each-ref", "--format=%(refname)"); got != "refs/heads/trunk" {
		t.Errorf("the other repository has %q", got)
	}
	if strings.Contains(f.everything(), "AKIAQ3EGRZV5JTKLMN7W") {
		t.Error("the secret is upstream")
	}
	if f.strange.Load() > 0 || f.asked.Load() == 0 || f.knocked.Load() > 0 {
		t.Errorf("of %d requests %d came without the password; %d knocked at the door of ssh", f.asked.Load(), f.strange.Load(), f.knocked.Load())
	}
	if t.Failed() {
		t.Logf("%s\n%s", s.out, s.err)
	}
}

// TestGitGateTrustsTheNamedCAOnly: without ca_file a server with a private CA is told of
// and not talked to.
func TestGitGateTrustsTheNamedCAOnly(t *testing.T) {
	f := newWebForge(t)
	h := newHouse(t, -1, "")
	h.write("password", "robot:"+forgePassword)
	if err := os.Chmod(filepath.Join(h.base, "password"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write("home/bottles/box.md", fmt.Sprintf(`---
supervise: false
agent_provider: {template: command}
git: [{name: app, upstream: "https://example.com:%s/app.git", auth: {token_ref: "file:%s/password"}, extra_hosts: {example.com: 127.0.0.1}}]
---
`, f.port, h.base))
	h.own()
	s := h.start("git clone -q https://example.com:" + f.port + "/app.git /tmp/a 2>&1; echo clone $?; exit 0")
	for _, want := range []string{"clone 128", string(policy.UpstreamTLS), "ca_file"} {
		if !strings.Contains(s.out, want) {
			t.Errorf("the agent does not see %q", want)
		}
	}
	if f.asked.Load() > 0 || t.Failed() {
		t.Errorf("%d requests\n%s\n%s", f.asked.Load(), s.out, s.err)
	}
}

// TestGitGateKeepsToTheQuota: what goes to a repository's server counts as sent by the
// bottle. A push that is more than an hour's is refused before any of it goes.
func TestGitGateKeepsToTheQuota(t *testing.T) {
	f, h := gated(t, -1, `{branches: ["agent/*"]}`)
	box, err := os.ReadFile(filepath.Join(h.base, "home/bottles/box.md"))
	if err != nil {
		t.Fatal(err)
	}
	h.write("home/bottles/box.md", strings.Replace(string(box), "git_user:", "egress: {limits: {bytes_out_per_hour: 1MiB}}\ngit_user:", 1))
	h.own()
	s := f.inside(h, `git clone -q $U w || exit 10
cd w; head -c 1000 /dev/urandom > small; git add .; git commit -q -m small; git push -q origin HEAD:agent/small 2>&1; echo "small $?"
head -c 1200000 /dev/urandom > large; git add .; git commit -q -m large; git push -q origin HEAD:agent/large 2>&1; echo "large $?"
git reset -q --hard HEAD~1; for i in 1 2 3; do head -c 400000 /dev/urandom > f; git add .; git commit -q -m $i; git push -q origin HEAD:agent/small 2>&1; echo "part $i $?"; done; exit 0`)
	for _, want := range []string{"small 0", "large 1", "larger than all that the bottle may send in an hour", "part 1 0", "part 3 1", "nothing was sent", "wait 1h"} {
		if !strings.Contains(s.out, want) {
			t.Errorf("the agent does not see %q", want)
		}
	}
	if strings.Contains(f.refs(), "large") || t.Failed() {
		t.Errorf("upstream has %q\n%s\n%s", f.refs(), s.out, s.err)
	}
	n := 0
	for _, r := range h.records() {
		if r["kind"] == "git" && r["reason"] == string(policy.LimitBytesOut) {
			n++
		}
	}
	if n < 2 {
		t.Errorf("%d records say why", n)
	}
}
