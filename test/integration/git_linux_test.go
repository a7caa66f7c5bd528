package integration

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"bottle/internal/policy"
	"bottle/test/require"
)

// forge is a git server of somebody else: ssh on loopback in front of a bare repository.
type forge struct {
	t    *testing.T
	bare string
	addr string
	host string // its host key
	key  []byte // that it lets in

	close func()
}

func newForge(t *testing.T) *forge {
	t.Helper()
	require.Tool(t, "git")
	base := t.TempDir()
	f := &forge{t: t, bare: filepath.Join(base, "app.git")}
	work := filepath.Join(base, "seed")
	f.git(base, "init", "-q", "-b", "trunk", work)
	if err := os.WriteFile(filepath.Join(work, "README"), []byte("hello from upstream\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.git(work, "add", ".")
	f.git(work, "commit", "-q", "-m", "first")
	f.git(base, "clone", "-q", "--bare", work, f.bare)
	f.git(f.bare, "config", "receive.advertisePushOptions", "true")
	f.serve()
	return f
}

func (f *forge) git(dir string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.example",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.example")
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// refs is all that upstream has.
func (f *forge) refs() string { return f.git(f.bare, "for-each-ref", "--format=%(refname)") }

// everything is every object that upstream holds, as text.
func (f *forge) everything() string {
	return f.git(f.bare, "cat-file", "--batch-all-objects", "--batch", "--unordered")
}

func (f *forge) serve() {
	f.t.Helper()
	signer := func() (ssh.Signer, []byte) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			f.t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			f.t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(key)
		if err != nil {
			f.t.Fatal(err)
		}
		return s, pem.EncodeToMemory(block)
	}
	host, _ := signer()
	client, text := signer()
	f.key, f.host = text, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host.PublicKey())))
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), client.PublicKey().Marshal()) {
			return nil, errors.New("a stranger")
		}
		return nil, nil
	}}
	cfg.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.close = func() { _ = l.Close() }
	f.t.Cleanup(f.close)
	f.addr = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.speak(c, cfg)
		}
	}()
}

func (f *forge) speak(c net.Conn, cfg *ssh.ServerConfig) {
	defer c.Close()
	conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(reqs)
	for n := range chans {
		ch, requests, err := n.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			var asked struct{ Command string }
			if r.Type != "exec" || ssh.Unmarshal(r.Payload, &asked) != nil {
				_ = r.Reply(r.Type == "env", nil)
				continue
			}
			_ = r.Reply(true, nil)
			go ssh.DiscardRequests(requests)
			service, _, _ := strings.Cut(asked.Command, " ")
			cmd := exec.Command("git", strings.TrimPrefix(service, "git-"), f.bare)
			cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
			in, _ := cmd.StdinPipe()
			code := uint32(0)
			if cmd.Start() == nil {
				go func() { _, _ = io.Copy(in, ch); _ = in.Close() }()
				if cmd.Wait() != nil {
					code = 1
				}
			}
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
			_ = ch.Close()
			break
		}
	}
}

// gated is a house whose bottle has the forge's repository behind the gate.
func gated(t *testing.T, uid int, push string) (*forge, *house) {
	t.Helper()
	f := newForge(t)
	h := newHouse(t, uid, "")
	h.write("key", string(f.key))
	if err := os.Chmod(filepath.Join(h.base, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(f.addr)
	h.write("home/bottles/box.md", fmt.Sprintf(`---
supervise: false
agent_provider: {template: command}
git_user: {name: app-bot, email: app-bot@example.com}
git:
  - name: app
    upstream: "ssh://git@git.example.com:%s/team/app.git"
    key_file: %q
    host_key: %q
    extra_hosts: {git.example.com: 127.0.0.1}
    push: %s
---
A box with a repository.
`, port, filepath.Join(h.base, "key"), f.host, push))
	h.own()
	h.env = append(h.env, "URL=ssh://git@git.example.com:"+port+"/team/app.git")
	return f, h
}

// inside runs a script with the repository's own URL as $U, and prints each step's end.
func (f *forge) inside(h *house, script string) said {
	h.t.Helper()
	_, port, _ := net.SplitHostPort(f.addr)
	return h.start(`U=ssh://git@git.example.com:` + port + `/team/app.git
set -u; cd /tmp
` + script)
}

// TestGitGateEndToEnd: a bottle without a key clones, commits and pushes by the
// repository's own URL; what the policy or the scanner refuses leaves upstream as it was.
func TestGitGateEndToEnd(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		f, h := gated(t, uid, `{branches: ["agent/*"], force: never}`)
		s := f.inside(h, `
git clone -q $U w || exit 10
cd w; cat README; git branch --show-current
ls -la ~/.ssh 2>/dev/null; grep -c PRIVATE ~/.gitconfig
git checkout -q -b agent/one
echo work > work.txt; git add .; git commit -q -m work || exit 11
git push origin agent/one 2>&1; echo "push $?"
git push origin HEAD:trunk 2>&1; echo "trunk $?"
echo 'AKIAQ3EGRZV5JTKLMN7W and wJalrXUtnFEMI/K7MDENG/bPxRfiCYzq8Kk2LmPv' > leak.txt
printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACDUk3ZQ1v7a0XG0cY8q0wU6s3nJk2Rk0m1p9l8w7v5u4QAAAJhW3c6jVt3O\n-----END OPENSSH PRIVATE KEY-----\n' > id
git add .; git commit -q -m leak; git rm -q leak.txt id; git commit -q -m clean
git push origin agent/one 2>&1; echo "leak $?"
git push --dry-run origin agent/one; echo "dry $?"
git reset -q --hard HEAD~2; git commit -q --amend -m rewritten
git push -f origin agent/one 2>&1; echo "force $?"
git fetch -q origin; echo "fetch $?"; git rev-parse origin/agent/one
git clone -q --depth 1 --filter=blob:none $U w2; echo "partial $?"
git tag v9; git push origin v9 2>&1; echo "tag $?"
curl -s -o /dev/null -w 'undeclared %{http_code}\n' http://git.bottle/other.git/info/refs?service=git-receive-pack
curl -s "https://github.example.net/x/y.git/info/refs?service=git-receive-pack"; curl -s "http://github.example.net/x/y.git/info/refs?service=git-receive-pack"
curl -s http://git.bottle/app/policy; curl -s http://git.bottle/
exit 0`)
		t.Logf("%s\n%s", s.out, s.err)
		for _, want := range []string{"hello from upstream", "trunk\n", "push 0", "trunk 1", "leak 1", "force 1", "fetch 0", "partial 0", "branches you may push: agent/*",
			"tag 1", "undeclared 404", string(policy.RepoNotListed), string(policy.RefNotListed), string(policy.SecretFound), string(policy.ForcePush), string(policy.TagPush)} {
			if !strings.Contains(s.out, want) {
				t.Errorf("the agent does not see %q", want)
			}
		}
		if s.code != 0 {
			t.Errorf("exit %d", s.code)
		}
		if got, want := f.refs(), "refs/heads/agent/one\nrefs/heads/trunk"; got != want {
			t.Errorf("upstream has %q, want %q", got, want)
		}
		if got := f.git(f.bare, "log", "--format=%s %cn", "agent/one"); got != "work app-bot\nfirst a" {
			t.Errorf("upstream's branch is %q", got)
		}
		if all := f.everything(); strings.Contains(all, "AKIAQ3EGRZV5JTKLMN7W") || strings.Contains(all, "OPENSSH PRIVATE") {
			t.Error("the secret is upstream")
		}
		verdicts := map[string]int{}
		for _, r := range h.records() {
			if r["kind"] == "git" {
				verdicts[fmt.Sprint(r["method"], " ", r["verdict"], " ", r["reason"])]++
			}
		}
		for _, want := range []string{"push allow listed", "push deny ref_not_listed", "push deny secret_found", "push deny force_push"} {
			if verdicts[want] != 1 {
				t.Errorf("%d records of %q in %v", verdicts[want], want, verdicts)
			}
		}
	})
}

// TestGitGateLeavesUpstreamToDecide: upstream's own refusal comes word for word, atomic
// means all or none, a branch of this bottle's own may be rewritten and deleted where
// the policy says so, and a dead upstream is an error and never old data.
func TestGitGateLeavesUpstreamToDecide(t *testing.T) {
	f, h := gated(t, -1, `{branches: ["agent/*", "locked"], force: own, protected: [".github/**"]}`)
	hook := filepath.Join(f.bare, "hooks", "update")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\n[ \"$1\" = refs/heads/locked ] && { echo 'the forge says no to that' >&2; exit 1; }\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := f.inside(h, `
git clone -q $U w || exit 10
cd w; git push -q origin HEAD:agent/same 2>&1; echo "same $?"
git commit -q --allow-empty -m one; git push -q origin HEAD:agent/a 2>&1; echo "a $?"
git push origin HEAD:locked 2>&1; echo "locked $?"
git push -q --atomic origin HEAD:agent/b HEAD:locked >/dev/null 2>&1; echo "atomic $?"
git commit -q --amend --allow-empty -m two; git push -q -f origin HEAD:agent/a 2>&1; echo "own $?"
git push -q origin :agent/same 2>&1; echo "delete $?"
git push -f origin HEAD~1:agent/a :agent/a 2>&1 | grep -c fatal
git checkout -q -b p; mkdir .github; echo x > .github/x; git add .github; git commit -q -m p; git push -q origin HEAD:agent/p 2>&1; echo "protected $?"; git checkout -q -
git clone -q --depth 1 $U shallow; cd shallow; git commit -q --allow-empty -m three; git push -q origin HEAD:agent/three 2>&1; echo "shallow $?"; git push -q --signed origin HEAD:agent/four 2>&1; echo "signed $?"
printf '[submodule "x"]\n\tpath = x\n\turl = https://evil.example/x.git\n' > .gitmodules; git add .gitmodules; git commit -q -m modules; git push -q origin HEAD:agent/three 2>&1; echo "submodule $?"
printf '[submodule "x"]\n\tpath = x\n\turl = ../app.git\n' > .gitmodules; git add .gitmodules; git commit -q --amend -m modules; git push -q origin HEAD:agent/three 2>&1; echo "own submodule $?"; cd ..
git -c remote.origin.url=$U ls-remote origin | cut -f2
git -c protocol.version=0 fetch -q origin; echo "v0 $?"
GIT_CONFIG_GLOBAL=/dev/null git ls-remote ssh://git@git.example.com/team/app.git 2>&1 >/dev/null; echo "ssh $?"
exit 0`)
	for _, want := range []string{"same 0", "a 0", "remote: the forge says no to that", "locked 1", "atomic 1", "own 0", "delete 0", "protected 1", "shallow 0", "signed 1\n", "does not support --signed push", "submodule 1", "own submodule 0", string(policy.RepoNotListed), string(policy.ProtectedPath), "needs an operator", "v0 0", "ssh 128"} {
		if !strings.Contains(s.out, want) {
			t.Errorf("the agent does not see %q", want)
		}
	}
	if got, want := f.refs(), "refs/heads/agent/a\nrefs/heads/agent/three\nrefs/heads/trunk"; got != want {
		t.Errorf("upstream has %q, want %q", got, want)
	}
	if got := f.git(f.bare, "log", "--format=%s", "agent/a"); got != "two\nfirst" {
		t.Errorf("upstream's branch is %q", got)
	}
	if t.Failed() {
		t.Logf("%s\n%s", s.out, s.err)
	}
}

// TestGitGateServesNothingOld: when upstream is away a fetch fails and says why.
func TestGitGateServesNothingOld(t *testing.T) {
	f, h := gated(t, -1, `{force: never}`)
	b := h.begin(`cd /tmp; U=$(sed -n 's/.*insteadOf = "\(ssh:.*git\)"/\1/p' ~/.gitconfig | head -1); git clone -q $U w 2>&1; echo "clone $?"; echo ready; read x; git clone -q $U w2 2>&1; echo "again $?"; exit 0`)
	b.says("clone 0")
	f.close()
	b.types("go")
	b.says("upstream_unreachable")
	b.says("again 128")
	b.ends()
	if strings.Contains(b.out.String(), "127.0.0.1") {
		t.Errorf("the agent learns where upstream really is:\n%s", b.out)
	}
	noted := false
	for _, r := range h.records() {
		noted = noted || r["kind"] == "git" && r["verdict"] == "deny" && strings.Contains(fmt.Sprint(r["note"]), "refused")
	}
	if !noted {
		t.Error("the operator does not learn why")
	}
}
