package upstream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"bottle/test/require"
)

const token = "s3cr3t-Token-that-must-not-show"

// git runs the real program in dir.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(require.Tool(t, "git"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.example")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes a work tree with one commit and a tag, and a bare copy of it.
func repository(t testing.TB) (work, bare string) {
	t.Helper()
	root := t.TempDir()
	work, bare = filepath.Join(root, "work"), filepath.Join(root, "it's repo!.git")
	git(t, root, "init", "-q", "-b", "main", work)
	commit(t, work, "one")
	git(t, work, "tag", "-a", "-m", "first", "v1")
	git(t, root, "clone", "-q", "--bare", work, bare)
	git(t, bare, "config", "http.receivepack", "true")
	git(t, bare, "config", "receive.advertisePushOptions", "true")
	return work, bare
}

func commit(t testing.TB, work, text string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(work, "file"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, work, "add", ".")
	git(t, work, "commit", "-q", "-m", text)
	return git(t, work, "rev-parse", "HEAD")
}

// peer is a way to a bare repository, for tests that hold for all ways.
type peer struct {
	name string
	open func(t testing.TB, bare string) *Remote
}

func peers() []peer {
	return []peer{{"https", overHTTPS}, {"ssh", overSSH}, {"sshd", overSSHD}}
}

func each(t *testing.T, f func(t *testing.T, open func(string) *Remote)) {
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) { f(t, func(bare string) *Remote { return p.open(t, bare) }) })
	}
}

// to dials one address, whatever is asked for.
func to(addr string) Dial {
	return func(ctx context.Context, _ string, _ uint16) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
}

func backend(t testing.TB, root string) http.Handler {
	t.Helper()
	program := filepath.Join(git(t, root, "--exec-path"), "git-http-backend")
	handler := &cgi.Handler{Path: program, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=x", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}, Stderr: io.Discard}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != defaultUser || password != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "you sent "+r.Header.Get("Authorization")+" "+password, http.StatusUnauthorized)
			return
		}
		if r.ContentLength < 0 { // CGI knows no chunks; a web server in front of it gathers them
			f, err := os.CreateTemp(root, "body")
			if err != nil {
				t.Error(err)
			}
			defer os.Remove(f.Name())
			defer f.Close()
			if r.ContentLength, err = io.Copy(f, r.Body); err != nil {
				return
			}
			_, _ = f.Seek(0, io.SeekStart)
			r.Body, r.TransferEncoding = f, nil
		}
		handler.ServeHTTP(w, r)
	})
}

// served gives a Remote for https://git.example<path> that a handler serves.
func served(t testing.TB, path string, h http.Handler) *Remote {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	r, err := New("https://example.com"+path, Auth{Reveal: reveal(token), Roots: roots}, to(server.Listener.Addr().String()), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func reveal(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func overHTTPS(t testing.TB, bare string) *Remote {
	return served(t, "/"+strings.ReplaceAll(filepath.Base(bare), " ", "%20"), backend(t, filepath.Dir(bare)))
}

// keys are a private key as a file's text, and its public half.
func keys(t testing.TB, kind string) (private []byte, public ssh.PublicKey) {
	t.Helper()
	var key any
	var err error
	switch kind {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
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
	return pem.EncodeToMemory(block), signer.PublicKey()
}

func line(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }

func bytesOf(b []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return bytes.Clone(b), nil }
}

// sshServer is a server of our own that gives each command to run, on loopback.
type sshServer struct {
	addr    string
	host    ssh.PublicKey
	private []byte
	config  *ssh.ServerConfig
}

// greet makes the handshake with one client, and waits until it goes.
func (s sshServer) greet(c net.Conn) error {
	server, chans, reqs, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return err
	}
	defer server.Close()
	go ssh.DiscardRequests(reqs)
	for n := range chans {
		_ = n.Reject(ssh.Prohibited, "")
	}
	return nil
}

func startSSH(t testing.TB, hostKind, userKind string, run func(command string, ch ssh.Channel) uint32) sshServer {
	t.Helper()
	hostPEM, hostPublic := keys(t, hostKind)
	signer, err := ssh.ParsePrivateKey(hostPEM)
	if err != nil {
		t.Fatal(err)
	}
	private, public := keys(t, userKind)
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), public.Marshal()) {
			return nil, fmt.Errorf("stranger")
		}
		return nil, nil
	}}
	cfg.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, cfg, run)
		}
	}()
	return sshServer{addr: listener.Addr().String(), host: hostPublic, private: private, config: cfg}
}

func serveSSH(conn net.Conn, cfg *ssh.ServerConfig, run func(string, ssh.Channel) uint32) {
	defer conn.Close()
	server, chans, reqs, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	defer server.Close()
	go ssh.DiscardRequests(reqs)
	for c := range chans {
		ch, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			var exec struct{ Command string }
			_ = ssh.Unmarshal(r.Payload, &exec)
			_ = r.Reply(true, nil)
			go ssh.DiscardRequests(requests)
			code := run(exec.Command, ch)
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
			_ = ch.Close()
			break
		}
	}
}

func (s sshServer) remote(t testing.TB, path string) *Remote {
	t.Helper()
	r, err := New("git@ssh.example:"+path, Auth{SSHKey: bytesOf(s.private), HostKey: line(s.host)}, to(s.addr), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// gitShell runs what OpenSSH would give to git-shell.
func gitShell(t testing.TB) func(string, ssh.Channel) uint32 {
	program := require.Tool(t, "git-shell")
	return func(command string, ch ssh.Channel) uint32 {
		cmd := exec.Command(program, "-c", command)
		cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
		in, _ := cmd.StdinPipe()
		if cmd.Start() != nil {
			return 127
		}
		go func() {
			_, _ = io.Copy(in, ch)
			_ = in.Close()
		}()
		if cmd.Wait() != nil {
			return 128
		}
		return 0
	}
}

func overSSH(t testing.TB, bare string) *Remote {
	return startSSH(t, "ed25519", "ed25519", gitShell(t)).remote(t, bare)
}

// overSSHD is OpenSSH's own server, which gives the connection to git-shell.
func overSSHD(t testing.TB, bare string) *Remote {
	t.Helper()
	require.Tool(t, "git-shell")
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd = "/usr/sbin/sshd"; !isFile(sshd) {
			require.Missing(t, "sshd", "OpenSSH's server is not installed")
		}
	}
	dir := t.TempDir()
	hostPEM, hostPublic := keys(t, "ecdsa")
	private, public := keys(t, "rsa")
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("config", []byte(strings.Join([]string{
		"HostKey " + write("host", hostPEM),
		"AuthorizedKeysFile " + write("authorized", []byte(line(public)+"\n")),
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "PidFile none",
		`ForceCommand git-shell -c "$SSH_ORIGINAL_COMMAND"`,
	}, "\n")+"\n"))
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	user := strings.TrimSpace(output(t, "id", "-un"))
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			socket, err := conn.File()
			_ = conn.Close()
			if err != nil {
				return
			}
			cmd := exec.Command(sshd, "-i", "-e", "-f", config) // it serves this one connection
			cmd.Stdin, cmd.Stdout = socket, socket
			if cmd.Start() == nil {
				go func() { _ = cmd.Wait() }()
			}
			_ = socket.Close()
		}
	}()
	r, err := New("ssh://"+user+"@ssh.example"+bare, Auth{SSHKey: bytesOf(private), HostKey: line(hostPublic)}, to(listener.Addr().String()), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func isFile(path string) bool { _, err := os.Stat(path); return err == nil }

func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// shorter gives a Remote less patience.
func shorter(r *Remote, idle time.Duration) *Remote {
	c := *r
	c.limits.Idle, c.limits.Connect = idle, idle
	return &c
}
