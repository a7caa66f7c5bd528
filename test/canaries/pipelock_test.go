package canaries

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

// TestPipelockBehindTheGateway: a real pipelock, with the configuration that
// `bottle export` wrote, as the upstream proxy of the gateway. What is allowed
// passes both; a secret in a body is stopped by one or the other. pipelock is in
// no registry that this house fetches from, so it must be on PATH.
func TestPipelockBehindTheGateway(t *testing.T) {
	require.Canary(t)
	pipelock := require.Tool(t, "unshare", "pipelock")
	require.Userns(t)
	bin := require.Binaries(t)
	srv, err := loopback.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }), "api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	_, port, _ := net.SplitHostPort(srv.Addr())
	listen := freePort(t)
	home := scratch(t)
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "BOTTLE_HOME=" + filepath.Join(home, "bb"), "LANG=C.UTF-8",
		"SSL_CERT_FILE=" + write(t, filepath.Join(home, "api-ca.pem"), srv.CA(), 0o644)}
	write(t, filepath.Join(home, "bb/bottles/box.md"), fmt.Appendf(nil, `---
egress:
  routes:
    - {host: api.example.com, ports: [%s], methods: [GET, POST]}
  upstream_proxy: {url: "http://%s", ca_file: %q}
---
A box behind pipelock.
`, port, listen, filepath.Join(home, ".pipelock/ca.pem")), 0o644)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	output(t, command(ctx, home, env, pipelock, "tls", "init"))
	exported := output(t, command(ctx, home, env, filepath.Join(bin, "bottle"), "export", "pipelock", "box", "--listen", listen))
	// The test's API is on loopback, which pipelock would refuse for good reason.
	conf := write(t, filepath.Join(home, "pipelock.yaml"), []byte(exported+"internal: [\"10.0.0.0/8\"]\n"), 0o600)
	hosts := write(t, filepath.Join(home, "hosts"), []byte("127.0.0.1 localhost api.example.com\n"), 0o644)

	said := launch(t, command(ctx, home, env, "unshare", "--user", "--map-root-user", "--mount",
		"/bin/sh", "-c", `mount --bind "$1" /etc/hosts && exec "$2" run --config "$3"`, "sh", hosts, pipelock, conf))
	require.Eventually(t, limit, "pipelock listens", func() bool {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	gate := launch(t, command(ctx, home, env, filepath.Join(bin, "bottle"), "proxy", "box", "--listen", "127.0.0.1:0", "--no-auth"))
	require.Eventually(t, limit, "the gateway serves", func() bool { return strings.Contains(gate.String(), "Ctrl-C") })
	client := through(t, gate.String())

	api := "https://api.example.com:" + port
	if code, body := ask(t, client, http.MethodGet, api+"/v1/x", ""); code != http.StatusOK || body != answer {
		t.Errorf("an allowed call: %d %q\npipelock: %s", code, body, said)
	}
	if code, body := ask(t, client, http.MethodPost, api+"/v1/x", `{"text":"nothing in particular"}`); code != http.StatusOK || body != answer {
		t.Errorf("an allowed body: %d %q\npipelock: %s", code, body, said)
	}
	token := "ghp_" + strings.Repeat("A1b2C3", 6)
	if code, body := ask(t, client, http.MethodPost, api+"/v1/x", `{"text":"`+token+`"}`); code < 400 || body == answer {
		t.Errorf("a secret in a body: %d %q", code, body)
	}
	for _, r := range srv.Requests() {
		if bytes.Contains(r.Body, []byte(token)) {
			t.Error("the secret reached the API")
		}
	}
	if n := len(srv.Requests()); n != 2 {
		t.Errorf("%d requests reached the API, want 2", n)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// lines is what a program says, while it goes on saying it.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// launch starts a program that the end of the test interrupts.
func launch(t *testing.T, cmd *exec.Cmd) *lines {
	t.Helper()
	out := &lines{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		late := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	})
	return out
}

// through is a client of the gateway that printed its address and its CA.
func through(t *testing.T, printed string) *http.Client {
	t.Helper()
	said := map[string]string{}
	for line := range strings.Lines(printed) {
		if f := strings.Fields(line); len(f) == 2 {
			said[f[0]] = f[1]
		}
	}
	address, err := url.Parse(said["proxy"])
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(said["CA"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	tr := &http.Transport{Proxy: http.ProxyURL(address), TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: limit}
}

func ask(t *testing.T, c *http.Client, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(got)
}
