package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/test/fake/loopback"
	"bottle/test/programs"
)

const (
	// limit bounds one bottle's life.
	limit     = 2 * time.Minute
	theSecret = "ghp_R34Lcr3dentialOfTheOperator000007f1e"
	api       = "api.example.com"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == goClientWord {
		os.Exit(goClient(os.Args[2:]))
	}
	syscall.Umask(0o022) // some systems give files to the group, and such manifests are refused
	code := m.Run()
	programs.Remove()
	os.Exit(code)
}

// site is a server on loopback under the name that a bottle knows it by.
type site struct {
	host     string
	addr     string // on loopback
	ca       []byte // PEM
	requests func() []loopback.Request
	port     int    // that it is known by; 0: 443
	scheme   string // of the credential that the gateway adds; empty: none
	passed   bool   // its TLS is not opened
	repo     string // path of a git repository that is behind the gate; needs port
}

// serve starts a site. The server is closed with the test.
func serve(t *testing.T, srv *loopback.Server, err error, host string) *site {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{host: host, addr: srv.Addr(), ca: srv.CA(), requests: srv.Requests}
}

// apiSite is api.example.com: it wants the operator's token and tells what it got.
func apiSite(t *testing.T) *site {
	t.Helper()
	srv, err := loopback.Serve(http.HandlerFunc(answerAPI), api)
	s := serve(t, srv, err, api)
	s.scheme = "Bearer"
	return s
}

// sockets is a host that takes WebSockets, and nothing else.
const sockets = "socket.example.com"

func socketSite(t *testing.T) *site {
	t.Helper()
	srv, err := loopback.Stream(http.HandlerFunc(echo), sockets)
	return serve(t, srv, err, sockets)
}

// answerAPI answers a request with one line: method, path, and what it got as body.
func answerAPI(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+theSecret {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "the API got %s %s and %d bytes\n", r.Method, r.URL.Path, n)
}

// box is one operator with one bottle, whose routes lead to the test's sites.
type box struct {
	t     *testing.T
	bin   string
	base  string
	sites []*site
	env   []string
}

// newBox makes a home with one bottle and one agent, and a workspace with the
// named files of testdata.
func newBox(t *testing.T, sites []*site, files ...string) *box {
	t.Helper()
	b := &box{t: t, bin: programs.Folder(t, "inside"), sites: sites}
	base, err := os.MkdirTemp("", "bottle-clients-")
	if err != nil {
		t.Fatal(err)
	}
	b.base = base
	t.Cleanup(b.clean)
	for _, d := range []string{"home/agents", "home/bottles", "user", "work"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.write("home/agents/client.md", "---\nbottle: box\ncommand: [\"/bin/bash\"]\n---\nA client.\n")
	b.write("home/bottles/box.md", b.manifest())
	for _, name := range files {
		body, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		b.write("work/"+name, string(body))
	}
	b.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(base, "user"), "BOTTLE_HOME=" + filepath.Join(base, "home"), "TERM=xterm", "LANG=C.UTF-8", "OPERATORS_TOKEN=" + theSecret}
	return b
}

func (b *box) manifest() string {
	var m strings.Builder
	m.WriteString("---\nsupervise: false\nagent_provider: {template: command}\negress:\n  routes:\n")
	for i, s := range b.sites {
		fmt.Fprintf(&m, "    - host: %q\n", s.host)
		if s.port != 0 {
			fmt.Fprintf(&m, "      ports: [%d]\n", s.port)
		}
		if s.scheme != "" {
			fmt.Fprintf(&m, "      auth: {scheme: %q, token_ref: OPERATORS_TOKEN}\n      role: github-token\n", s.scheme)
		}
		if s.passed {
			fmt.Fprintf(&m, "      tls: passthrough\n      dlp: off\n      upstream: {address: %q}\n", s.addr)
			continue
		}
		ca := fmt.Sprintf("ca-%d.pem", i)
		b.write(ca, string(s.ca))
		fmt.Fprintf(&m, "      upstream: {address: %q, ca_file: %q}\n", s.addr, filepath.Join(b.base, ca))
	}
	for i, s := range b.sites {
		if host, _, err := net.SplitHostPort(s.addr); err == nil && s.repo != "" {
			fmt.Fprintf(&m, "git:\n  - {name: gated, upstream: \"https://%s:%d%s\", auth: {token_ref: OPERATORS_TOKEN}, ca_file: %q, extra_hosts: {%s: %s}}\n",
				s.host, s.port, s.repo, filepath.Join(b.base, fmt.Sprintf("ca-%d.pem", i)), s.host, host)
		}
	}
	return m.String() + "---\nA box for clients.\n"
}

func (b *box) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.base, name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) clean() {
	_ = filepath.Walk(b.base, func(path string, fi os.FileInfo, _ error) error {
		if fi != nil && fi.IsDir() {
			_ = os.Chmod(path, 0o755) // the removal below tells what did not work
		}
		return nil
	})
	if err := os.RemoveAll(b.base); err != nil {
		b.t.Error(err)
	}
}

func (b *box) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	b.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "bottle"), args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = filepath.Join(b.base, "work"), b.env, 5*time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it takes its bottle down
	return cmd
}

// prelude is known to every script: "as NAME PROGRAM…" runs a program under a
// heading, and direct runs one without the variables that lead to the proxy.
const prelude = `
as() { echo "== $1"; local began=$EPOCHREALTIME; shift; "$@" 2>&1 </dev/null; echo "-- $?"; echo "took $(( (${EPOCHREALTIME/./} - ${began/./}) / 1000 )) ms"; }
direct() { env -u HTTP_PROXY -u http_proxy -u HTTPS_PROXY -u https_proxy -u ALL_PROXY -u all_proxy "$@"; }
as placeholder printenv GH_TOKEN
`

// result is one bottle's life: what was printed under each heading, and the log.
type result struct {
	t       *testing.T
	said    map[string]said
	records []record
	box     *box
}

type said struct {
	text string
	code string
}

type record struct {
	Kind, Method, Host, Path, Verdict, Reason, Credential string
	Port, Status                                          int
	BytesOut                                              int64 `json:"bytes_out"`
	BytesIn                                               int64 `json:"bytes_in"`
}

// run starts the bottle with a script to its end, and reads the log.
func (b *box) run(script string) *result {
	b.t.Helper()
	began := time.Now()
	s := programs.Finish(b.t, b.command("start", "client", "--yes", "--", "-c", prelude+script))
	b.t.Logf("the bottle lived for %v", time.Since(began).Round(time.Millisecond))
	if s.Code != 0 {
		b.t.Fatalf("exit %d\n%s%s", s.Code, s.Out, s.Err)
	}
	r := &result{t: b.t, said: map[string]said{}, box: b}
	for _, part := range strings.Split("\n"+s.Out, "\n== ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		i := strings.LastIndex(text, "-- ")
		if i < 0 {
			b.t.Fatalf("%s did not end: %s", name, part)
		}
		code, took, _ := strings.Cut(strings.TrimSpace(text[i+3:]), "\n")
		if took != "" {
			b.t.Log(name, took)
		}
		r.said[name] = said{text[:i], code}
	}
	list, err := filepath.Glob(filepath.Join(b.base, "home", "state", "client-*"))
	if err != nil || len(list) != 1 {
		b.t.Fatalf("state folders %q, %v", list, err)
	}
	log := programs.Finish(b.t, b.command("audit", filepath.Base(list[0]), "--format", "json"))
	if log.Code != 0 {
		b.t.Fatalf("audit: exit %d\n%s", log.Code, log.Err)
	}
	for line := range strings.Lines(log.Out) {
		var rec record
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			b.t.Fatal(err)
		}
		r.records = append(r.records, rec)
	}
	r.noPlaceholderLeft()
	return r
}

// noPlaceholderLeft looks for what the agent holds instead of the token in
// everything that reached a site.
func (r *result) noPlaceholderLeft() {
	r.t.Helper()
	word := strings.TrimSpace(r.said["placeholder"].text)
	wanted := slices.ContainsFunc(r.box.sites, func(s *site) bool { return s.scheme != "" })
	if wanted != strings.HasPrefix(word, "ghp_") || word == theSecret {
		r.t.Errorf("the agent's placeholder is %q", word)
	}
	for _, s := range r.box.sites {
		for _, q := range s.requests() {
			var all bytes.Buffer
			if err := errors.Join(q.Header.Write(&all), json.NewEncoder(&all).Encode(q.Path)); err != nil {
				r.t.Fatal(err)
			}
			all.Write(q.Body)
			if word != "" && bytes.Contains(all.Bytes(), []byte(word)) {
				r.t.Errorf("the placeholder reached %s: %s %s", s.host, q.Method, q.Path)
			}
		}
	}
}

// call is what one program did, once.
type call struct {
	name   string   // the heading of its output
	host   string   // default: api
	method string   // default: GET
	path   string   // default: /v1/ and the name
	says   []string // what it printed; default for the API: that it got this
	proto  string   // what the site was spoken to in; empty: not looked at
	body   int      // bytes of the body that the site got
	status int      // default: 200
}

func (c call) full() call {
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	def(&c.host, api)
	def(&c.method, http.MethodGet)
	def(&c.path, "/v1/"+c.name)
	if c.status == 0 {
		c.status = http.StatusOK
	}
	if c.says == nil && c.host == api {
		c.says = []string{fmt.Sprintf("the API got %s %s and %d bytes", c.method, c.path, c.body)}
	}
	return c
}

// allowed holds each call against what was printed, what the site received, and the log.
func (r *result) allowed(calls ...call) {
	r.t.Helper()
	for _, c := range calls {
		c := c.full()
		r.t.Run(c.name, func(t *testing.T) {
			s, ok := r.said[c.name]
			if !ok || s.code != "0" {
				t.Errorf("ended with %q: %s", s.code, s.text)
			}
			for _, want := range c.says {
				if !strings.Contains(s.text, want) {
					t.Errorf("it printed no %q: %s", want, s.text)
				}
			}
			r.received(t, c)
			r.recorded(t, c)
		})
	}
}

func (r *result) site(host string) *site {
	i := slices.IndexFunc(r.box.sites, func(s *site) bool { return s.host == host })
	if i < 0 {
		r.t.Fatalf("no site is called %s", host)
	}
	return r.box.sites[i]
}

func (r *result) received(t *testing.T, c call) {
	t.Helper()
	s, n := r.site(c.host), 0
	for _, q := range s.requests() {
		path, _, _ := strings.Cut(q.Path, "?")
		if path != c.path || q.Method != c.method {
			continue
		}
		n++
		want := ""
		if s.scheme != "" {
			want = s.scheme + " " + theSecret
		}
		if got := q.Header.Get("Authorization"); got != want {
			t.Errorf("the site got the credential %q, want %q", got, want)
		}
		if q.Host != "" && q.Host != c.host {
			t.Errorf("the site was called %q", q.Host)
		}
		if c.proto != "" && q.Proto != c.proto {
			t.Errorf("the site was spoken to in %s, want %s", q.Proto, c.proto)
		}
		for name := range q.Header {
			if strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "X-Forwarded") || name == "Via" {
				t.Errorf("the site got %s: %q", name, q.Header[name])
			}
		}
	}
	if n != 1 {
		t.Errorf("the site got %d requests %s %s", n, c.method, c.path)
	}
}

func (r *result) recorded(t *testing.T, c call) {
	t.Helper()
	s, n := r.site(c.host), 0
	for _, rec := range r.records {
		if rec.Kind != "http" || rec.Host != c.host || rec.Path != c.path || rec.Method != c.method {
			continue
		}
		n++
		wantCredential, wantPort := "", 443
		if s.scheme != "" {
			wantCredential = "OPERATORS_TOKEN"
		}
		if s.port != 0 {
			wantPort = s.port
		}
		if rec.Verdict != "allow" || rec.Status != c.status || rec.Credential != wantCredential || rec.Port != wantPort || rec.BytesOut < int64(c.body) {
			t.Errorf("the record is %+v", rec)
		}
	}
	if n != 1 {
		t.Errorf("%d records of it; of the host: %+v", n, r.about(c.host))
	}
}

// about is the log's records about a host.
func (r *result) about(host string) []record {
	return slices.DeleteFunc(slices.Clone(r.records), func(rec record) bool { return rec.Host != host })
}

// The ways in which a name that no route lists is refused: they tell the way that a
// program went.
const (
	byProxy   = "connect" // it asked the proxy for a tunnel
	direct    = "dns"     // it asked for the name's address
	eitherWay = ""
)

// stranger is the name that a program tries under a heading.
func stranger(name string) string { return name + ".example.net" }

// refused holds that each heading's call to a stranger was refused in that way,
// and that the program noticed.
func (r *result) refused(way string, names ...string) {
	r.t.Helper()
	for _, name := range names {
		r.t.Run(name, func(t *testing.T) {
			if s, ok := r.said[name]; !ok || s.code == "0" {
				t.Errorf("ended with %q: %s", s.code, s.text)
			}
			r.wentBy(t, way, name)
		})
	}
}

// wentBy holds that all tries of a stranger's name were refused, in that way.
func (r *result) wentBy(t *testing.T, way, name string) {
	t.Helper()
	var ways []string
	for _, rec := range r.about(stranger(name)) {
		ways = append(ways, rec.Kind+" "+rec.Verdict)
	}
	other := func(w string) bool {
		return w != byProxy+" deny" && w != direct+" deny" || way != eitherWay && w != way+" deny"
	}
	if len(ways) == 0 || slices.ContainsFunc(ways, other) {
		t.Errorf("want a refusal by %s, got %q", way, ways)
	}
}
