package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

// What must not leave: a value that the gateway was told, and one that a rule knows.
const (
	knownSecret = "q7Vd2mXs9Lk4Tz1RfNb6hWp3"
	ruleSecret  = "AKIAQ3EGRZV5JTKLMN7W"
)

const proofPassword = "a-proxy-password"

// proof is a real gateway in front of a real upstream: OpenSSH with git-shell. Clients
// stand where the agent stands, behind the explicit proxy.
type proof struct {
	t     *testing.T
	base  string
	bare  string // upstream's repository
	fault string // a shell script that runs in front of git-shell
	repo  bottle.Repo
	gw    *exec.Cmd
	stdin io.Closer
	proxy string // URL with the password
	n     int    // of clones

	listener *net.TCPListener
	sshPort  string
}

// newProof starts both. change may alter what the gateway is told of the repository.
func newProof(t *testing.T, change ...func(*bottle.Repo)) *proof {
	t.Helper()
	require.Tool(t, "git")
	p := &proof{t: t, base: t.TempDir()}
	p.bare, p.fault = filepath.Join(p.base, "app.git"), filepath.Join(p.base, "fault")
	p.faulty("")
	if err := os.MkdirAll(filepath.Join(p.base, "home"), 0o755); err != nil {
		t.Fatal(err)
	}
	seed := filepath.Join(p.base, "seed")
	p.direct(p.base, "init", "-q", "-b", "trunk", seed)
	put(t, seed, "README", "hello from upstream\n")
	put(t, seed, "src/main.c", strings.Repeat("int main(void) { return 0; }\n", 200))
	p.direct(seed, "add", ".")
	p.direct(seed, "commit", "-q", "-m", "first")
	p.direct(p.base, "clone", "-q", "--bare", seed, p.bare)
	p.direct(p.bare, "config", "receive.advertisePushOptions", "true")
	p.direct(p.bare, "update-ref", "refs/heads/taken", "refs/heads/trunk")
	p.listen()
	for _, c := range change {
		c(&p.repo)
	}
	p.start()
	t.Cleanup(func() { p.kill() })
	return p
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// faulty makes every later connection to upstream run script first: it may end it.
func (p *proof) faulty(script string) { put(p.t, p.base, "fault", script+"\n") }

// sshKey is a private key as a file's text, and its public line.
func sshKey(t *testing.T) (private, public string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// listen serves upstream by OpenSSH's server, one of it for each connection.
func (p *proof) listen() {
	t := p.t
	t.Helper()
	require.Tool(t, "git-shell")
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
			require.Missing(t, "sshd", "OpenSSH's server is not installed")
		}
		sshd = "/usr/sbin/sshd"
	}
	hostKey, hostLine := sshKey(t)
	private, public := sshKey(t)
	put(t, p.base, "host", hostKey)
	put(t, p.base, "authorized", public+"\n")
	put(t, p.base, "shell", "#!/bin/sh\n. "+p.fault+"\nexec git-shell -c \"$SSH_ORIGINAL_COMMAND\"\n")
	put(t, p.base, "sshd.conf", strings.Join([]string{"HostKey " + p.base + "/host", "AuthorizedKeysFile " + p.base + "/authorized", "StrictModes no",
		"UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "PidFile none", "ForceCommand " + p.base + "/shell"}, "\n")+"\n")
	if err := errors.Join(os.Chmod(p.base+"/host", 0o600), os.Chmod(p.base+"/shell", 0o755)); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.open("127.0.0.1:0", sshd)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	p.repo = bottle.Repo{Name: "app", Upstream: "ssh://" + me.Username + "@git.example.com:" + p.sshPort + p.bare, KeyFile: "/nonexistent/key", HostKey: hostLine,
		ExtraHosts: map[string]string{"git.example.com": "127.0.0.1"}, Push: bottle.Push{Force: "never", Tags: true}}
	put(t, p.base, "key", private)
}

// open begins to accept connections for upstream.
func (p *proof) open(addr, sshd string) {
	p.t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener = l.(*net.TCPListener)
	p.t.Cleanup(func() { _ = l.Close() })
	_, p.sshPort, _ = net.SplitHostPort(l.Addr().String())
	go func() {
		for {
			conn, err := p.listener.AcceptTCP()
			if err != nil {
				return
			}
			socket, err := conn.File()
			_ = conn.Close()
			if err != nil {
				return
			}
			cmd := exec.Command(sshd, "-i", "-e", "-f", p.base+"/sshd.conf")
			cmd.Stdin, cmd.Stdout = socket, socket
			if cmd.Start() == nil {
				go func() { _ = cmd.Wait() }()
			}
			_ = socket.Close()
		}
	}()
}

// start starts the gateway, which finds what one before it left.
func (p *proof) start() {
	t := p.t
	t.Helper()
	key, err := os.ReadFile(filepath.Join(p.base, "key"))
	if err != nil {
		t.Fatal(err)
	}
	p.gw = exec.Command(filepath.Join(require.Binaries(t), "bottle-gateway"), "serve", "--identity", "proof-aaaaa")
	p.gw.Env, p.gw.Stderr = []string{}, os.Stderr
	in, err := p.gw.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = in
	out, err := p.gw.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.gw.Start(); err != nil {
		t.Fatal(err)
	}
	enc := json.NewEncoder(in)
	err = errors.Join(
		enc.Encode(plan.Gateway{Version: bottle.Version, Identity: "proof-aaaaa", Bottle: "box", Audit: filepath.Join(p.base, "audit.jsonl"), Listen: "127.0.0.1:0",
			ProxyAuth: true, Repos: []bottle.Repo{p.repo}, Git: filepath.Join(p.base, "mirrors")}),
		enc.Encode(plan.Secrets{Values: map[string]string{}, Watched: map[string]string{"env:DEPLOY": knownSecret, "git:app key_file": string(key)}, Proxy: proofPassword}))
	if err != nil {
		t.Fatal(err)
	}
	var ready plan.Ready
	lines := bufio.NewReader(out)
	for range 2 {
		line, err := lines.ReadBytes('\n')
		if err != nil || json.Unmarshal(line, &ready) != nil || ready.Failed != "" {
			t.Fatalf("the gateway says %q, %v", line, err)
		}
	}
	for _, addr := range ready.Services {
		p.proxy = "http://agent:" + proofPassword + "@" + addr
	}
}

// kill ends the gateway at once, without a word.
func (p *proof) kill() {
	_ = p.gw.Process.Kill()
	_ = p.gw.Wait() // it was killed: that is its error
	_ = p.stdin.Close()
}

func (p *proof) mirror() string { return filepath.Join(p.base, "mirrors", "app.git") }

// environment is of git as the agent runs it, and as upstream's owner does.
func (p *proof) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.base + "/home", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C.UTF-8",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.example", "http_proxy=" + p.proxy,
		"GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "GIT_CONFIG_KEY_1=protocol.file.allow", "GIT_CONFIG_VALUE_1=always",
		"GIT_CONFIG_KEY_2=gc.auto", "GIT_CONFIG_VALUE_2=0"}
}

// direct runs git past the gate, and it must succeed.
func (p *proof) direct(dir string, args ...string) string {
	p.t.Helper()
	out, err := p.try(dir, args...)
	if err != nil {
		p.t.Fatalf("git %.300q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

// try runs git, and gives all that it says.
func (p *proof) try(dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = dir, p.environment()
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// feed is direct with something to read.
func (p *proof) feed(dir, input string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, p.environment(), strings.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("git %.300q: %v\n%s", args, err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

const gateURL = "http://git.bottle/app.git"

// clone is the repository as the agent has it.
func (p *proof) clone(args ...string) string {
	p.t.Helper()
	p.n++
	dir := filepath.Join(p.base, fmt.Sprintf("w%d", p.n))
	p.direct(p.base, append(append([]string{"clone", "-q"}, args...), gateURL, dir)...)
	return dir
}

// write commits a file, and gives the commit's id.
func (p *proof) write(work, name, text, message string, more ...string) string {
	p.t.Helper()
	put(p.t, work, name, text)
	p.direct(work, "add", "-A")
	p.direct(work, append([]string{"commit", "-q", "--allow-empty", "-m", message}, more...)...)
	return p.direct(work, "rev-parse", "HEAD")
}

// bytesOf is every file below dir: name, kind and content.
func bytesOf(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == filepath.Join(dir, "quarantine") {
			return filepath.SkipDir
		}
		names = append(names, path)
		fmt.Fprintf(h, "%s %v\n", path, d.Type())
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%d\n%s", len(b), b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x %q", h.Sum(nil), names)
}

// upstream is all that upstream has: refs, and each object's id, kind and size.
func (p *proof) upstream() (refs, objects string) {
	p.t.Helper()
	return p.direct(p.bare, "for-each-ref", "--format=%(refname) %(objectname)"), p.direct(p.bare, "cat-file", "--batch-all-objects", "--batch-check")
}

// ref is what upstream has at a ref; empty: nothing.
func (p *proof) ref(name string) string {
	p.t.Helper()
	out, _ := p.try(p.bare, "rev-parse", "--verify", "-q", name)
	return strings.TrimSpace(out)
}

// untouched fails the test unless do leaves every byte of upstream and of the mirror as
// it was, and nothing in quarantine.
func (p *proof) untouched(t *testing.T, do func()) {
	t.Helper()
	before, mirror := bytesOf(t, p.bare), bytesOf(t, p.mirror())
	do()
	p.upstreamRests(t)
	if after := bytesOf(t, p.bare); after != before {
		t.Errorf("upstream changed:\n%.64s\n%.64s", before, after)
	}
	if after := bytesOf(t, p.mirror()); after != mirror {
		t.Errorf("the mirror changed:\n%.64s\n%.64s", mirror, after)
	}
	p.noQuarantine(t)
}

// upstreamRests waits until nothing of upstream works in its repository any more: it goes on
// after it has answered, and after its client has gone.
func (p *proof) upstreamRests(t *testing.T) {
	t.Helper()
	require.Eventually(t, 20*time.Second, "the end of upstream's service", func() bool {
		cwds, err := filepath.Glob("/proc/[0-9]*/cwd")
		return err == nil && !slices.ContainsFunc(cwds, func(link string) bool {
			at, err := os.Readlink(link)
			return err == nil && at == p.bare // receive-pack and its hooks work there
		})
	})
}

func (p *proof) noQuarantine(t *testing.T) {
	t.Helper()
	require.Eventually(t, 10*time.Second, "an empty quarantine", func() bool {
		left, err := os.ReadDir(filepath.Join(p.mirror(), "quarantine"))
		return errors.Is(err, fs.ErrNotExist) || err == nil && len(left) == 0
	})
}

// sound fails the test where the mirror or upstream is broken.
func (p *proof) sound(t *testing.T) {
	t.Helper()
	for _, dir := range []string{p.mirror(), p.bare} {
		if out, err := p.try(dir, "fsck", "--full", "--strict", "--no-dangling"); err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("git fsck of %s: %v\n%s", filepath.Base(filepath.Dir(dir)), err, out)
		}
	}
}

// client speaks HTTP to the gate where git would not.
func (p *proof) client() *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(p.proxy) }, DisableKeepAlives: true}, Timeout: 2 * time.Minute}
}

// raw posts a push that no git would send.
func (p *proof) raw(t *testing.T, body io.Reader) (code int, answer string, err error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, gateURL+"/git-receive-pack", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	resp, err := p.client().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return resp.StatusCode, string(text), err
}

// pkt is one pkt-line.
func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

const (
	flush   = "0000"
	noID    = "0000000000000000000000000000000000000000"
	rawCaps = "\x00 report-status side-band-64k push-options object-format=sha1 agent=attacker"
)

// command is a push's first line, with capabilities.
func command(old, id, ref string) string { return pkt(old + " " + id + " " + ref + rawCaps) }

// peak is the most memory that the gateway itself ever had, in KiB.
func (p *proof) peak() (kib int) {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.gw.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	_, _ = fmt.Sscan(rest, &kib)
	return kib
}
