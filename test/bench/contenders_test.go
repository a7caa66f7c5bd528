package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/fake/lean"
)

const (
	identity = "bench-m3hxd"
	token    = "sk-bench-5f3c9a71d2e84b06"  // what the upstreams ask for
	held     = "sk-bench-placeholder-00000" // what a client behind ours holds instead
	hostLean = "lean.example.com"
	hostHTTP = "http.example.com"
)

// contender is one way from the client to the upstreams.
type contender struct {
	name   string
	proxy  string            // host:port of its explicit proxy; empty: none
	to     map[string]string // host -> address that is dialled without a proxy, or asked for in CONNECT
	roots  *x509.CertPool
	token  string // what its client sends
	pid    int
	slow   bool // by orders of magnitude: fewer rounds for it
	serves int  // requests that it is asked for where ours is asked for many
}

// startPart runs a process until the benchmark ends. Its standard input is a pipe,
// which is closed first.
func startPart(b *testing.B, c *exec.Cmd) (io.WriteCloser, *bufio.Reader) {
	b.Helper()
	var said bytes.Buffer
	c.Stderr = &said
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		timer := time.AfterFunc(5*time.Second, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		timer.Stop()
		if b.Failed() && said.Len() > 0 {
			b.Logf("%s said: %s", c.Args[0], said.String())
		}
	})
	return in, bufio.NewReader(out)
}

// play runs one of this binary's own parts, and gives its address.
func play(b *testing.B, word string, p part) (address string, pid int) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	c := exec.Command(self, word, p.String())
	c.Env = []string{}
	_, out := startPart(b, c)
	return firstLine(b, out, word), c.Process.Pid
}

// direct has nothing in the middle.
func direct(to map[string]string, roots *x509.CertPool) contender {
	return contender{name: "direct", to: to, roots: roots, token: token}
}

// ours is the real program, with all that it does for a route with a credential.
func ours(b *testing.B, bin, dir string, to map[string]string, ca string) contender {
	b.Helper()
	what := plan.Gateway{Audit: filepath.Join(dir, "audit.jsonl"), Placeholders: map[string]string{"API_TOKEN": held}}
	for host, address := range to {
		what.Routes = append(what.Routes, bottle.Route{Host: bottle.Pattern{Host: bottle.Host(host)}, Ports: []uint16{443}, TLS: "intercept", DLP: "block",
			Rule: "bench.md:3", Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "API_TOKEN"}, Upstream: &bottle.Upstream{Address: address, CAFile: ca}})
	}
	to443 := map[string]string{}
	for host := range to {
		to443[host] = host + ":443"
	}
	proxy, roots, pid := startGateway(b, bin, what, plan.Secrets{Values: map[string]string{"API_TOKEN": token}})
	return contender{name: "ours", proxy: proxy, to: to443, roots: roots, token: held, pid: pid, serves: manyRequests}
}

// startGateway starts the real program as an explicit proxy, until the benchmark ends.
func startGateway(b *testing.B, bin string, what plan.Gateway, secrets plan.Secrets) (proxy string, roots *x509.CertPool, pid int) {
	b.Helper()
	c := exec.Command(filepath.Join(bin, "bottle-gateway"), "serve", "--identity", identity)
	if profile := os.Getenv("BOTTLE_BENCH_PROFILE"); profile != "" {
		self, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		c = exec.Command(self, playGateway, part{Profile: profile}.String())
	}
	c.Env = []string{}
	in, out := startPart(b, c)
	what.Version, what.Identity, what.Bottle, what.Listen = bottle.Version, identity, "bench", "127.0.0.1:0"
	tell := json.NewEncoder(in)
	for _, line := range []any{what, secrets} {
		if err := tell.Encode(line); err != nil {
			b.Fatal(err)
		}
	}
	var hello plan.Hello
	var ready plan.Ready
	for _, line := range []any{&hello, &ready} {
		if err := json.Unmarshal([]byte(firstLine(b, out, "the gateway")), line); err != nil {
			b.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	if hello.Failed != "" || ready.Failed != "" || !roots.AppendCertsFromPEM([]byte(hello.CA)) {
		b.Fatalf("the gateway: %s%s", hello.Failed, ready.Failed)
	}
	return ready.Services[plan.SocketEgress], roots, c.Process.Pid
}

func ceiling(b *testing.B, p part, to map[string]string, roots *x509.CertPool) contender {
	b.Helper()
	p.To = to
	c := contender{name: "net/http", to: map[string]string{}, roots: roots, token: token, serves: manyRequests}
	c.proxy, c.pid = play(b, playCeiling, p)
	for host := range to {
		c.to[host] = host + ":443"
	}
	return c
}

// mitmproxy is Debian's, where it is on PATH.
func mitmproxy(b *testing.B, dir, ca string, to map[string]string) (contender, bool) {
	b.Helper()
	program, err := exec.LookPath("mitmdump")
	if err != nil {
		return contender{}, false
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	c := exec.Command(program, "--quiet", "--mode", "regular", "--listen-host", "127.0.0.1", "--listen-port", fmt.Sprint(address.Port),
		"--set", "confdir="+dir, "--set", "ssl_verify_upstream_trusted_ca="+ca, "--set", "stream_large_bodies=1m", "--set", "flow_detail=0", "--set", "http2=false")
	c.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	startPart(b, c)
	b.Cleanup(func() { _ = c.Process.Signal(os.Interrupt) }) // it does not look at its standard input
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if probe, err := net.Dial("tcp", address.String()); err == nil {
			_ = probe.Close()
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("mitmdump does not listen")
		}
	}
	roots, err := poolOf(filepath.Join(dir, "mitmproxy-ca-cert.pem"))
	if err != nil {
		b.Fatal(err)
	}
	// It resolves names by itself, so its client asks for the address.
	return contender{name: "mitmproxy", proxy: address.String(), to: to, roots: roots, token: token, pid: c.Process.Pid, slow: true, serves: manyRequests / 50}, true
}

// caller is a client with one connection.
type caller interface {
	call() error // one small request and its answer, checked
	Close() error
}

// dial opens a connection to host, through TLS.
func (c contender) dial(host string) (net.Conn, error) {
	address, name := c.to[host], host
	if c.proxy != "" {
		name, _, _ = net.SplitHostPort(address)
		address = c.proxy
	}
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if c.proxy != "" {
		if err := lean.Connect(raw, c.to[host]); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	_ = raw.SetDeadline(time.Now().Add(5 * time.Minute))
	t := tls.Client(raw, &tls.Config{ServerName: name, RootCAs: c.roots, NextProtos: []string{"http/1.1"}})
	if err := t.Handshake(); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("%s: shake hands: %w", c.name, err)
	}
	return t, nil
}

// authority is what the client calls host behind c.
func (c contender) authority(host string) string {
	if c.slow {
		return c.to[host]
	}
	return host
}

type leanCaller struct {
	*lean.Conn
	request []byte
}

func (l leanCaller) call() error { return l.Do(l.request, lean.AnswerSize) }

func (c contender) lean() (caller, error) {
	conn, err := c.dial(hostLean)
	if err != nil {
		return nil, err
	}
	head := lean.Head(http.MethodPost, lean.Small, c.authority(hostLean), c.token, lean.PostSize)
	return leanCaller{lean.NewConn(conn), append(head, lean.Body(lean.PostSize)...)}, nil
}

// httpCaller is a Go program's own client.
type httpCaller struct {
	client *http.Client
	url    string
	token  string
	body   []byte
}

func (c contender) http() (caller, error) {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots}}
	if c.proxy != "" {
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: c.proxy})
	} else {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", c.to[hostHTTP])
		}
	}
	return &httpCaller{client: &http.Client{Transport: tr, Timeout: time.Minute}, url: "https://" + c.authority(hostHTTP) + lean.Small,
		token: c.token, body: lean.Body(lean.PostSize)}, nil
}

func (h *httpCaller) call() error {
	r, err := http.NewRequest(http.MethodPost, h.url, bytes.NewReader(h.body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+h.token)
	r.Header.Set("Content-Type", "application/json")
	res, err := h.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || n != lean.AnswerSize) {
		err = fmt.Errorf("status %d with %d bytes", res.StatusCode, n)
	}
	return err
}

func (h *httpCaller) Close() error {
	h.client.CloseIdleConnections()
	return nil
}
