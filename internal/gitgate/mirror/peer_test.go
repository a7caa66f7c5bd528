package mirror

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
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
	"sync/atomic"
	"testing"

	"bottle/internal/gitgate/confined"
	"bottle/internal/gitgate/upstream"
	"bottle/test/require"
)

// Words that make the test's own program something else: a confined git, or the child
// that TestKilledAtAnyMoment kills.
const victimWord = "victim"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == confined.Word {
		fmt.Fprintln(os.Stderr, confined.Main(os.Args[2:]))
		os.Exit(1)
	}
	if len(os.Args) == 5 && os.Args[1] == victimWord {
		fmt.Fprintln(os.Stderr, victim(os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// forge is an upstream: a work tree, a bare repository, and git http-backend before it.
type forge struct {
	t     testing.TB
	work  string
	bare  string
	addr  string
	ca    []byte
	asked atomic.Int64  // lists of refs
	open  atomic.Int64  // connections
	gate  chan struct{} // nil, or what each list waits for
}

func newForge(t testing.TB) *forge {
	t.Helper()
	root := t.TempDir()
	f := &forge{t: t, work: filepath.Join(root, "work"), bare: filepath.Join(root, "app.git")}
	f.git(root, "init", "-q", "-b", "main", f.work)
	f.commit("one")
	f.git(root, "clone", "-q", "--bare", f.work, f.bare)
	f.git(f.bare, "config", "http.receivepack", "true")
	f.git(f.bare, "config", "uploadpack.allowAnySHA1InWant", "true")
	backend := &cgi.Handler{Path: filepath.Join(f.git(root, "--exec-path"), "git-http-backend"), Stderr: io.Discard, Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=x", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			f.asked.Add(1)
			if f.gate != nil {
				<-f.gate
			}
		}
		backend.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // who is killed hangs up
	s.Config.ConnState = func(_ net.Conn, is http.ConnState) {
		switch is {
		case http.StateNew:
			f.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			f.open.Add(-1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	f.addr = s.Listener.Addr().String()
	f.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return f
}

func (f *forge) git(dir string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command(require.Tool(f.t, "git"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.example",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.example")
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %.200q: %v\n%.2000s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (f *forge) commit(text string) string {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.work, "file"), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	f.git(f.work, "add", ".")
	f.git(f.work, "commit", "-q", "-m", text)
	return f.git(f.work, "rev-parse", "HEAD")
}

// publish puts a branch of the work tree into the upstream.
func (f *forge) publish(refspec string) {
	f.t.Helper()
	f.git(f.work, "push", "-q", "-f", f.bare, refspec)
}

func remote(addr string, ca []byte) (*upstream.Remote, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return upstream.New("https://example.com/app.git", upstream.Auth{Roots: roots}, func(ctx context.Context, _ string, _ uint16) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}, upstream.Limits{})
}

func open(root, addr string, ca []byte) (*Mirror, *upstream.Remote, error) {
	r, err := remote(addr, ca)
	if err != nil {
		return nil, nil, err
	}
	run, err := confined.New()
	if err != nil {
		return nil, nil, err
	}
	m, err := Open(root, "app", run, r)
	return m, r, err
}

func (f *forge) mirror(root string) *Mirror {
	f.t.Helper()
	m, _, err := open(root, f.addr, f.ca)
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// same asserts that the mirror is what upstream is, and whole.
func (f *forge) same(m *Mirror) {
	f.t.Helper()
	list := func(dir string) string {
		return f.git(dir, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags", "refs/notes")
	}
	if got, want := list(m.Dir()), list(f.bare); got != want {
		f.t.Errorf("the mirror has\n%s\nand upstream\n%s", got, want)
	}
	for name, id := range m.Refs() {
		if got := f.git(f.bare, "rev-parse", name); got != id {
			f.t.Errorf("the mirror says that %s is %s, and it is %s", name, id, got)
		}
	}
	f.git(m.Dir(), "fsck", "--full", "--strict", "--no-dangling")
}

// pack is what the ids need beyond main's history.
func (f *forge) pack(revisions string) []byte {
	f.t.Helper()
	cmd := exec.Command("git", "pack-objects", "--thin", "--stdout", "--revs", "-q")
	cmd.Dir, cmd.Stdin = f.work, strings.NewReader(revisions)
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatal(err)
	}
	return bytes.Clone(out)
}
