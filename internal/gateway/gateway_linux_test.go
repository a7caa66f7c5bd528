package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

const (
	identity = "researcher-m3hxd"
	version  = bottle.Version
	realKey  = "sk-real-5f3c9a71d2"
	fakeKey  = "placeholder-not-a-key"
)

// The program, built once for all tests that want it: as it is meant to be, and
// as `go install` builds it where a C compiler is.
var (
	program    = sync.OnceValues(func() (string, error) { return build("0") })
	programCgo = sync.OnceValues(func() (string, error) { return build("1") })
)

func build(cgo string) (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("bottle-gateway-test-%d-%s", os.Getpid(), cgo))
	cmd := exec.Command("go", "build", "-o", path, "bottle/cmd/bottle-gateway")
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, os.Chmod(path, 0o755)
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, cgo := range []string{"0", "1"} {
		_ = os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("bottle-gateway-test-%d-%s", os.Getpid(), cgo)))
	}
	os.Exit(code)
}

// running is a gateway under test, in a process of its own or in this one.
type running struct {
	stdin  io.WriteCloser
	lines  *bufio.Reader
	pid    int
	wait   func() error
	said   *transcript // everything it printed
	dir    string
	hand   *net.UnixConn
	closed bool
}

// transcript is a buffer that two streams may write to.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (r *running) stop() error {
	if !r.closed {
		r.closed = true
		r.stdin.Close()
	}
	return r.wait()
}

func (r *running) tell(t testing.TB, values ...any) {
	t.Helper()
	for _, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.stdin.Write(append(b, '\n')); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *running) hear(t testing.TB, into any) {
	t.Helper()
	line, err := r.lines.ReadBytes('\n')
	if err != nil {
		t.Fatalf("no line from the gateway: %v; it said %s", err, r.said)
	}
	if err := json.Unmarshal(line, into); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
}

// pair is a unix socketpair: ours, and the gateway's descriptor 3.
func pair(t testing.TB, kind int) (*net.UnixConn, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	ours := os.NewFile(uintptr(fds[0]), "ours")
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn), os.NewFile(uintptr(fds[1]), "theirs")
}

// inProcess runs the gateway in this process, where the race detector sees it.
func inProcess(t testing.TB, change ...func(*Start)) *running {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	hand, theirs := pair(t, unix.SOCK_STREAM)
	r := &running{stdin: inW, said: &transcript{}, dir: t.TempDir(), hand: hand}
	r.lines = bufio.NewReader(io.TeeReader(outR, r.said))
	done := make(chan error, 1)
	go func() {
		start := Start{Stdin: inR, Stdout: outW, Inherited: theirs, Version: version, Identity: identity}
		for _, c := range change {
			c(&start)
		}
		done <- Run(context.Background(), start)
		outW.Close()
	}()
	r.wait = sync.OnceValue(func() error {
		go io.Copy(io.Discard, r.lines)
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Second):
			return errors.New("it did not end")
		}
	})
	t.Cleanup(func() { r.stop() })
	return r
}

// inOwnProcess runs the program as a caller does: empty environment, pipes, fd 3.
func inOwnProcess(t testing.TB, credential *syscall.Credential) *running {
	t.Helper()
	return inProgram(t, program, credential)
}

func inProgram(t testing.TB, build func() (string, error), credential *syscall.Credential) *running {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	hand, theirs := pair(t, unix.SOCK_STREAM)
	defer theirs.Close()
	cmd := exec.Command(path, "serve", "--identity", identity)
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	r := &running{said: &transcript{}, dir: t.TempDir(), hand: hand}
	cmd.Stderr = r.said
	if r.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.lines = bufio.NewReader(io.TeeReader(out, r.said))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.pid = cmd.Process.Pid
	r.wait = sync.OnceValue(func() error {
		timer := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		defer timer.Stop()
		_, _ = io.Copy(io.Discard, r.lines)
		return cmd.Wait()
	})
	t.Cleanup(func() { r.stop() })
	return r
}

// inside is what a backend makes in a bottle; here it is on loopback.
type inside struct {
	egress, transparent, dnsTCP *net.TCPListener
	dnsUDP                      *net.UDPConn
	names                       []string
	files                       []*os.File
}

func newInside(t testing.TB) *inside {
	t.Helper()
	s := &inside{}
	tcp := func(name string) *net.TCPListener {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		s.add(t, name, l)
		t.Cleanup(func() { l.Close() })
		return l
	}
	s.egress, s.transparent, s.dnsTCP = tcp(plan.SocketEgress), tcp(plan.SocketTransparent), tcp(plan.SocketDNSTCP)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	s.dnsUDP = udp
	s.add(t, plan.SocketDNSUDP, udp)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	s.names, s.files = append(s.names, plan.SocketNFLog), append(s.files, os.NewFile(uintptr(fd), "nflog"))
	return s
}

func (s *inside) add(t testing.TB, name string, from interface{ File() (*os.File, error) }) {
	t.Helper()
	f, err := from.File()
	if err != nil {
		t.Fatal(err)
	}
	s.names, s.files = append(s.names, name), append(s.files, f)
}

// handOver sends the sockets and keeps none of them open.
func (s *inside) handOver(t testing.TB, to *net.UnixConn) {
	t.Helper()
	var fds []int
	for _, f := range s.files {
		fds = append(fds, int(f.Fd()))
	}
	if _, _, err := to.WriteMsgUnix([]byte(strings.Join(s.names, "\n")), syscall.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range s.files {
		f.Close()
	}
	for _, c := range []io.Closer{s.egress, s.transparent, s.dnsTCP, s.dnsUDP} {
		c.Close()
	}
}

// upstream is an API that demands the real key.
type upstream struct {
	*httptest.Server
	ca    string
	calls atomic.Int64
}

func newUpstream(t testing.TB, dir string) *upstream {
	t.Helper()
	u := &upstream{ca: filepath.Join(dir, "upstream-ca.pem")}
	u.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.calls.Add(1)
		if r.Header.Get("Authorization") != "Bearer "+realKey {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprint(w, "hello from ", r.Host)
	}))
	t.Cleanup(u.Close)
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.Certificate().Raw})
	if err := os.WriteFile(u.ca, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return u
}

// what tells a gateway to serve one route to u. httptest's certificate is for
// example.com.
func (r *running) what(u *upstream) plan.Gateway {
	return plan.Gateway{Version: version, Identity: identity, Bottle: "dev", Inherit: true,
		Audit: filepath.Join(r.dir, "audit.jsonl"), Control: filepath.Join(r.dir, "control.sock"),
		Placeholders: map[string]string{"API_TOKEN": fakeKey}, Watch: []string{"~/.aws"},
		Routes: []bottle.Route{{Host: bottle.Pattern{Host: "example.com"}, Ports: []uint16{443}, TLS: "intercept", DLP: "block", Rule: "dev.md:3",
			Auth:     &bottle.Auth{Scheme: "Bearer", TokenRef: "API_TOKEN"},
			Upstream: &bottle.Upstream{Address: u.Listener.Addr().String(), CAFile: u.ca}}}}
}

// start brings r up and gives a client that stands where the agent stands.
func (r *running) start(t testing.TB, u *upstream) (*inside, plan.Hello, plan.Ready, *http.Client) {
	t.Helper()
	return r.startAs(t, r.what(u))
}

// startAs is start with another word on what to serve.
func (r *running) startAs(t testing.TB, what plan.Gateway) (*inside, plan.Hello, plan.Ready, *http.Client) {
	t.Helper()
	return r.startIn(t, what, newInside(t))
}

// startIn is startAs with sockets of the test's.
func (r *running) startIn(t testing.TB, what plan.Gateway, in *inside) (*inside, plan.Hello, plan.Ready, *http.Client) {
	t.Helper()
	r.tell(t, what, plan.Secrets{Values: map[string]string{"API_TOKEN": realKey}})
	var hello plan.Hello
	r.hear(t, &hello)
	if hello.Failed != "" {
		t.Fatal(hello.Failed)
	}
	in.handOver(t, r.hand)
	var ready plan.Ready
	r.hear(t, &ready)
	if ready.Failed != "" {
		t.Fatal(ready.Failed)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(hello.CA)) {
		t.Fatalf("CA %q", hello.CA)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: in.egress.Addr().String()}), TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(tr.CloseIdleConnections)
	return in, hello, ready, &http.Client{Transport: tr, Timeout: 5 * time.Second}
}

func get(t testing.TB, c *http.Client, url string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+fakeKey)
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func ask(t testing.TB, path string) (st Status) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("{\"op\":\"status\"}\n")); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(c).Decode(&st); err != nil {
		t.Fatal(err)
	}
	return st
}

// TestWholeLife is one gateway from its first line to its end.
func TestWholeLife(t *testing.T) {
	t.Run("in this process", func(t *testing.T) { wholeLife(t, inProcess(t)) })
	t.Run("in its own process", func(t *testing.T) { wholeLife(t, inOwnProcess(t, nil)) })
	t.Run("built with cgo", func(t *testing.T) {
		require.Tool(t, "gcc")
		wholeLife(t, inProgram(t, programCgo, nil))
	})
}

func wholeLife(t *testing.T, r *running) {
	u := newUpstream(t, r.dir)
	in, hello, ready, client := r.start(t, u)
	block, _ := pem.Decode([]byte(hello.CA))
	if sum := sha256.Sum256(block.Bytes); hello.Version != version || hello.CAFingerprint != hex.EncodeToString(sum[:]) {
		t.Errorf("hello %+v", hello)
	}
	if len(ready.PolicyHash) != 64 || len(ready.Services) != 5 || ready.Services[plan.SocketEgress] != in.egress.Addr().String() {
		t.Errorf("ready %+v", ready)
	}
	status, body, err := get(t, client, "https://example.com/v1/models?key=in-the-query")
	if err != nil || status != 200 || body != "hello from example.com" {
		t.Errorf("the allowed call: %d %q %v", status, body, err)
	}
	if _, _, err := get(t, client, "https://pastebin.example.net/"); err == nil || !strings.Contains(err.Error(), "blocked by bottle: host_not_listed") {
		t.Errorf("a host that is not listed: %v", err)
	}
	if u.calls.Load() != 1 {
		t.Errorf("%d calls reached the upstream", u.calls.Load())
	}
	resolve(t, in, "example.com", true)
	resolve(t, in, "pastebin.example.net", false)
	what := r.what(u)
	st := ask(t, what.Control)
	if st.Identity != identity || st.PolicyHash != ready.PolicyHash || st.Allowed != 1 || st.Denied < 2 || !st.Recording || st.Audit.Seq < 3 {
		t.Errorf("status %+v", st)
	}
	if info, err := os.Stat(what.Control); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v %v", info, err)
	}
	idle, err := net.Dial("tcp", in.egress.Addr().String()) // somebody who never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("it ended with %v; it said %s", err, r.said)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	nothingLeft(t, in, what)
	records(t, what.Audit, st.Audit, ready.PolicyHash)
	if strings.Contains(r.said.String(), realKey) {
		t.Errorf("it printed the credential: %s", r.said)
	}
}

func resolve(t *testing.T, in *inside, name string, want bool) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		res := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			addr := in.dnsUDP.LocalAddr().String()
			if network == "tcp" {
				addr = in.dnsTCP.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
		got, err := res.LookupHost(context.Background(), name+".")
		if (err == nil) != want || (want && !strings.HasPrefix(got[0], "198.18.")) {
			t.Errorf("%s by %s: %v, %v", name, network, got, err)
		}
	}
}

func nothingLeft(t *testing.T, in *inside, what plan.Gateway) {
	t.Helper()
	if _, err := os.Lstat(what.Control); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket is left: %v", err)
	}
	for _, l := range []*net.TCPListener{in.egress, in.transparent, in.dnsTCP} {
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			c.Close()
			t.Errorf("%s still listens", l.Addr())
		}
	}
	names, err := os.ReadDir(filepath.Dir(what.Audit))
	if err != nil || len(names) != 2 { // the log, and the test's own CA file
		t.Errorf("left: %v %v", names, err)
	}
}

func records(t *testing.T, path string, kept audit.Head, hash string) {
	t.Helper()
	if rep, err := audit.VerifyAgainst(path, kept); err != nil || !rep.OK {
		t.Errorf("verify: %+v %v", rep, err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{realKey, fakeKey, "in-the-query"} {
		if bytes.Contains(raw, []byte(never)) {
			t.Errorf("the log holds %q", never)
		}
	}
	var allowed, denied, names int
	for rec, err := range audit.Read(context.Background(), path, audit.Filter{}, false) {
		switch {
		case err != nil:
			t.Error(err)
		case rec.Policy != hash:
			t.Errorf("policy of %+v", rec)
		case rec.Kind == "dns" && rec.Host == "pastebin.example.net":
			names++
		case rec.Verdict == audit.Allow:
			allowed++
			if rec.Host != "example.com" || rec.Port != 443 || rec.Path != "/v1/models" || rec.Credential != "API_TOKEN" || rec.Rule != "dev.md:3" ||
				rec.Status != 200 || rec.BytesIn == 0 || rec.Micros == 0 || rec.Method != "GET" {
				t.Errorf("the allowed call: %+v", rec)
			}
		case rec.Host == "pastebin.example.net" && rec.Reason == "host_not_listed":
			denied++
		default:
			t.Errorf("an unexpected record: %+v", rec)
		}
	}
	if allowed != 1 || denied != 1 || names == 0 {
		t.Errorf("%d allowed, %d denied, %d names", allowed, denied, names)
	}
}

func itoa(n int) string { return fmt.Sprint(n) }

func contextOf(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// resident is the resident memory of a process, in KiB.
func resident(tb testing.TB, pid int) (kib int) {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		tb.Fatal(err)
	}
	return kib
}
