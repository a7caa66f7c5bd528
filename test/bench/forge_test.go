package bench

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"bottle/test/require"
)

// gitPassword is what the https upstream asks for.
const gitPassword = "git-bench-8d21c07fa93e"

// serveSSH runs sshd, and gives the client's key file, user@host:port and the host's key.
func serveSSH(b *testing.B, dir string) (key, host, hostLine string) {
	b.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd = "/usr/sbin/sshd"; exec.Command(sshd, "-V").Err != nil {
			require.Missing(b, "sshd", "OpenSSH's server is not installed")
		}
	}
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	pair := func(name string) (file, line string) {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			b.Fatal(err)
		}
		shown, err := ssh.NewPublicKey(public)
		if err != nil {
			b.Fatal(err)
		}
		return write(name, pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(shown)))
	}
	hostFile, hostLine := pair("host")
	key, public := pair("key")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	config := write("sshd_config", []byte(strings.Join([]string{
		fmt.Sprintf("ListenAddress 127.0.0.1:%d", port), "HostKey " + hostFile, "AuthorizedKeysFile " + write("authorized", []byte(public+"\n")),
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "PidFile none", "MaxStartups 100", "AcceptEnv GIT_PROTOCOL",
		`ForceCommand git-shell -c "$SSH_ORIGINAL_COMMAND"`}, "\n")+"\n"))
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			b.Fatal(err)
		}
	}
	c := exec.Command(sshd, "-D", "-e", "-f", config)
	startPart(b, c)
	b.Cleanup(func() { _ = c.Process.Kill() }) // it does not look at its standard input
	require.Eventually(b, 10*time.Second, "sshd listens", func() bool {
		probe, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = probe.Close()
		}
		return err == nil
	})
	me, err := user.Current()
	if err != nil {
		b.Fatal(err)
	}
	return key, fmt.Sprintf("%s@%s:%d", me.Username, hostGit, port), hostLine
}

// serveWeb runs git http-backend behind TLS and a password, and gives its port.
func serveWeb(b *testing.B, root string, p part) (port string) {
	b.Helper()
	cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
	if err != nil {
		b.Fatal(err)
	}
	backend := &cgi.Handler{Path: filepath.Join(mustGit(b, root, "--exec-path"), "git-http-backend"), Stderr: io.Discard, Env: append(gitEnv(root),
		"GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=x", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != gitPassword {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.ContentLength < 0 { // CGI knows no chunks; a web server in front of it gathers them
			f, err := os.CreateTemp(root, "body")
			if err != nil {
				b.Error(err)
				return
			}
			defer os.Remove(f.Name())
			defer f.Close()
			r.ContentLength, _ = io.Copy(f, r.Body)
			_, _ = f.Seek(0, io.SeekStart)
			r.Body, r.TransferEncoding = f, nil
		}
		backend.ServeHTTP(w, r)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	s.StartTLS()
	b.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}
