package gitgate

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/gitgate/confined"
	"bottle/internal/policy"
	"bottle/internal/secret"
	"bottle/test/require"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == confined.Word {
		fmt.Fprintln(os.Stderr, confined.Main(os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Secrets of the gateway's.
const (
	kept  = "q7Vd2mXs9Lk4Tz1RfNb6hWp3"
	kept2 = "Zr8Yc5Jq1Gt6Ph9Kd3Mx7Bv2"
)

// world is a gate in this process, an upstream behind it, and an agent before it.
type world struct {
	t    *testing.T
	root string
	bare string // upstream's
	work string // the agent's clone
	gate *Gate
	url  string

	dialled, open, most atomic.Int64 // connections to upstream: all, now, at one time
	asked               atomic.Int64 // of upstream, for what may be pushed
	posted              atomic.Int64 // pushes that upstream was sent
	dial                atomic.Pointer[func(n int64) error]
	judging             atomic.Pointer[func()] // called when a push begins to be judged
	greet               atomic.Pointer[func()] // called when upstream takes a connection of ssh
	broken              atomic.Int64           // handshakes of ssh that did not come to their end
	cut                 func()                 // ends upstream's connections, and takes none any more

	mu      sync.Mutex
	records []Record
}

// newWorld makes one whose upstream is reached by ssh or by https. When the test ends
// nothing of it may be left.
func newWorld(t *testing.T, scheme string, change ...func(*limits, *bottle.Repo)) *world {
	t.Helper()
	before := goleak.IgnoreCurrent()
	w := &world{t: t, root: t.TempDir()}
	w.bare, w.work = filepath.Join(w.root, "app.git"), filepath.Join(w.root, "work")
	t.Cleanup(func() {
		require.Eventually(t, 10*time.Second, "no connection to upstream", func() bool { return w.open.Load() == 0 })
		goleak.VerifyNone(t, before)
	})
	seed := filepath.Join(w.root, "seed")
	w.git(w.root, "init", "-q", "-b", "trunk", seed)
	w.write(seed, "README", "hello\n")
	w.git(w.root, "clone", "-q", "--bare", seed, w.bare)
	w.git(w.bare, "config", "http.receivepack", "true")
	l, r := usual(), bottle.Repo{Name: "app", ExtraHosts: map[string]string{"example.com": "127.0.0.1"}, Push: bottle.Push{Force: "never"}}
	cfg := Config{
		Identity: "box-agent", Folder: filepath.Join(w.root, "mirrors"), Token: none, Fits: func(bottle.Host, int64) error { return nil }, Open: func() error { return nil },
		Pass: func(bottle.Host) dlp.Pass { return nil },
		Record: func(r Record) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.records = append(w.records, r)
			return nil
		},
		Roots: func(bottle.Repo) (*x509.CertPool, error) { return nil, nil }, Key: none,
	}
	var addr string
	if scheme == "ssh" {
		addr = w.serveSSH(&cfg, &r)
	} else {
		addr = w.serveHTTPS(&cfg)
	}
	r.Upstream = scheme + "://example.com/app.git"
	if scheme == "ssh" {
		r.Upstream = "ssh://git@example.com/app.git"
	}
	engine, err := dlp.New(dlp.Config{Known: []known.Secret{{Name: "DEPLOY", Value: []byte(kept)}, {Name: "OTHER", Value: []byte(kept2)}}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.DLP = func() *dlp.Engine {
		if f := w.judging.Load(); f != nil {
			(*f)()
		}
		return engine
	}
	cfg.Dial = func(ctx context.Context, _ bottle.Host, _ uint16, _ string) (Conn, error) {
		n := w.dialled.Add(1)
		if f := w.dial.Load(); f != nil {
			if err := (*f)(n); err != nil {
				return nil, err
			}
		}
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		now := w.open.Add(1)
		for was := w.most.Load(); now > was && !w.most.CompareAndSwap(was, now); was = w.most.Load() {
		}
		return &counting{Conn: c, gone: sync.OnceFunc(func() { w.open.Add(-1) })}, nil
	}
	for _, c := range change {
		c(&l, &r)
	}
	cfg.Repos = []bottle.Repo{r}
	if w.gate, err = limited(cfg, l); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.gate.Serve(rw, r, policy.GitHost, 80) }))
	t.Cleanup(front.Close)
	w.url = front.URL + "/app.git"
	w.git(w.root, "clone", "-q", w.url, w.work)
	return w
}

func none(string) (secret.Value, bool) { return secret.Value{}, false }

type counting struct {
	net.Conn
	gone func()
}

// Close implements net.Conn.
func (c *counting) Close() error { c.gone(); return c.Conn.Close() }

func (w *world) serveHTTPS(cfg *Config) string {
	backend := &cgi.Handler{Path: filepath.Join(w.git(w.root, "--exec-path"), "git-http-backend"), Stderr: io.Discard, Env: []string{
		"GIT_PROJECT_ROOT=" + w.root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=x", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "service=git-receive-pack" {
			w.asked.Add(1)
		}
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			w.posted.Add(1)
		}
		backend.ServeHTTP(rw, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	w.t.Cleanup(s.Close)
	w.cut = func() { _ = s.Listener.Close(); s.CloseClientConnections() }
	cfg.Roots = func(bottle.Repo) (*x509.CertPool, error) {
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		return roots, nil
	}
	return s.Listener.Addr().String()
}

func (w *world) serveSSH(cfg *Config, r *bottle.Repo) string {
	t := w.t
	signer := func() (ssh.Signer, []byte) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return s, pem.EncodeToMemory(block)
	}
	host, _ := signer()
	client, private := signer()
	r.KeyFile, r.HostKey = "/nonexistent/key", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host.PublicKey())))
	cfg.Key = func(string) (secret.Value, bool) { return secret.New(bytes.Clone(private)), true }
	server := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), client.PublicKey().Marshal()) {
			return nil, errors.New("a stranger")
		}
		return nil, nil
	}}
	server.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var served sync.WaitGroup
	w.cut = func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
	}
	t.Cleanup(func() { w.cut(); served.Wait() })
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			served.Go(func() { w.shell(c, server) })
		}
	})
	return l.Addr().String()
}

// shell serves one connection of ssh.
func (w *world) shell(c net.Conn, server *ssh.ServerConfig) {
	defer c.Close()
	if f := w.greet.Load(); f != nil {
		(*f)()
	}
	conn, chans, reqs, err := ssh.NewServerConn(c, server)
	if err != nil {
		w.broken.Add(1)
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
			in := io.Reader(ch)
			if service == "git-receive-pack" {
				w.asked.Add(1)
				in = &firstLine{r: ch, seen: func() { w.posted.Add(1) }}
			}
			cmd := exec.Command("git", strings.TrimPrefix(service, "git-"), w.bare)
			cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
			to, _ := cmd.StdinPipe()
			if cmd.Start() == nil {
				go func() { _, _ = io.Copy(to, in); _ = to.Close() }()
				_ = cmd.Wait()
			}
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{0}))
			_ = ch.Close()
			break
		}
	}
}

// firstLine tells of the first bytes that are more than the flush packet of one who only
// looked.
type firstLine struct {
	r    io.Reader
	seen func()
	told bool
}

func (f *firstLine) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if n > 4 && !f.told {
		f.told = true
		f.seen()
	}
	return n, err
}

func (w *world) try(dir string, args ...string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, require.Tool(w.t, "git"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C.UTF-8", "no_proxy=*",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.example")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	out, err := w.try(dir, args...)
	if err != nil {
		w.t.Fatalf("git %.300q: %v\n%s", args, err, out)
	}
	return out
}

// write commits a file, and gives the commit's id.
func (w *world) write(dir, name, text string) string {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.git(dir, "add", "-A")
	w.git(dir, "commit", "-q", "-m", name)
	return w.git(dir, "rev-parse", "HEAD")
}

// state is upstream's refs, and the mirror's.
func (w *world) state() string {
	w.t.Helper()
	return w.git(w.bare, "for-each-ref") + "\n\n" + w.git(filepath.Join(w.root, "mirrors", "app.git"), "for-each-ref")
}

// ref is what upstream has at a ref; empty: nothing.
func (w *world) ref(name string) string {
	out, _ := w.try(w.bare, "rev-parse", "--verify", "-q", name)
	return out
}

// rests fails the test unless no connection is left, and nothing in quarantine.
func (w *world) rests() {
	w.t.Helper()
	require.Eventually(w.t, 10*time.Second, "no connection to upstream is left", func() bool { return w.open.Load() == 0 })
	require.Eventually(w.t, 10*time.Second, "nothing is left in quarantine", func() bool {
		left, err := os.ReadDir(filepath.Join(w.root, "mirrors", "app.git", "quarantine"))
		return err != nil || len(left) == 0
	})
}

// onJudging calls f once, when the next push begins to be judged.
func (w *world) onJudging(f func()) {
	once := sync.OnceFunc(f)
	w.judging.Store(&once)
}
