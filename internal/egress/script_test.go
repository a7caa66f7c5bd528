package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http/httputil"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"bottle/internal/bottle"
	"bottle/internal/egress/denial"
	"bottle/internal/egress/responder"
	"bottle/internal/manifest"
	"bottle/internal/policy"
	"bottle/internal/secret"
	"bottle/test/require"
)

// TestScriptAttacks runs the attacks testdata/script/egress-*.txtar on a gateway in
// this process. Each tells a weakness, an attack, and what it proves. What the
// scripts can say besides testscript's own words:
//
//	upstream NAME ADDRESS [H] a server at that address of the internet, on every
//	                          port, with TLS if spoken to so, as whatever host it is
//	                          asked for, or as H. It answers GET /x with the file
//	                          NAME/x, else with ok
//	resolver HOST ADDRESS…    what the gateway's resolver says; behind the word then
//	                          stands the answer to the next question; the last stays
//	machine ADDRESS…          addresses of the machine that the gateway runs on
//	credential REF VALUE [P]  what a token_ref stands for; the agent holds P instead
//	watch NAME VALUE          a value that must not leave, by its reference
//	admit HOST                the secret that was refused last may go to that host
//	gateway NAME              starts the gateway of the bottle bottles/NAME.md
//	reload NAME               gives it another policy
//	send [HOW] [FILE]         sends the file's bytes and prints the answer
//	refused STATUS REASON …   send, and the agent is told that, one record says the
//	                          same, and no server hears of it, nor a resolver, but
//	                          where its answer is the reason; STATUS - is no answer
//	passes …                  send, and the answer is 200, and one record says so
//	curl ARGS…                the real one, through the proxy; needs curl
//	ask HOST                  asks the DNS inside the bottle
//	records N                 prints the decisions, of which there must be N
//	upstream-log NAME         prints what the server was sent, to the byte
//	lookups, dials            print the names that the gateway asked for, and the
//	                          addresses that it connected to
//
// HOW is the way into the gateway; none is the port of the proxy itself:
//
//	-https HOST[:PORT]        CONNECT, and TLS with that host's name inside
//	-connect HOST:PORT        CONNECT; with -sni NAME, TLS with that name inside
//	-socks HOST:PORT          the same by SOCKS5
//	-redirected HOST:PORT     the same by a connection that the kernel redirected
//
// A file's lines are sent with CR LF. Where other bytes are meant they are spelt
// \r \n \0 \t \xNN, and a \ at the end of a line stands for no line end. {host} is
// that of HOW; {masked 81 text} is a WebSocket frame of the agent, with that first byte.
// In a server's answer {frame 81 text} is one of its own, {request} is the header that
// it got, and at {wait} it sends what it has and waits.
func TestScriptAttacks(t *testing.T) {
	files, err := filepath.Glob("../../testdata/script/egress-*.txtar")
	if err != nil || len(files) < 29 {
		t.Fatalf("found the scripts %q: %v", files, err)
	}
	testscript.Run(t, testscript.Params{
		Files: files, RequireExplicitExec: true, RequireUniqueNames: true, ContinueOnError: true,
		Setup: setupAttack,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"upstream": told((*stage).upstream), "resolver": told((*stage).resolver), "machine": told((*stage).machine),
			"credential": told((*stage).credential), "watch": told((*stage).watch), "admit": told((*stage).admit), "gateway": told((*stage).gateway), "reload": told((*stage).reload),
			"send": told((*stage).send), "refused": told((*stage).refused), "passes": told((*stage).passes),
			"ask": told((*stage).ask), "curl": told((*stage).curl), "records": told((*stage).printRecords),
			"upstream-log": told((*stage).upstreamLog), "lookups": told((*stage).printLookups), "dials": told((*stage).printDials),
		},
	})
}

// told makes a word of the scripts out of a method.
func told(do func(*stage, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("! has no meaning here")
		}
		do(ts.Value(stageKey{}).(*stage), ts, args)
	}
}

type stageKey struct{}

// stage is the world of one script.
type stage struct {
	t   testing.TB
	w   *world // once there is a gateway
	dir string
	ca  *CA // of every server of the internet

	mu      sync.Mutex
	servers map[string]*farServer
	places  map[netip.Addr]*farServer
	answers map[string][][]netip.Addr
	own     []net.Addr
	secrets map[string]string
	held    map[string]string
	watched map[string]string
	dials   []netip.AddrPort
	ahead   time.Duration // of the gateway's clock before ours
}

func setupAttack(e *testscript.Env) error {
	s := &stage{
		t: e.T().(testing.TB), dir: e.WorkDir, servers: map[string]*farServer{}, places: map[netip.Addr]*farServer{},
		answers: map[string][][]netip.Addr{}, secrets: map[string]string{}, watched: map[string]string{}, held: map[string]string{},
	}
	e.Values[stageKey{}] = s
	e.Setenv("HOME", e.WorkDir)
	var err error
	if s.ca, err = NewCA("the internet"); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(e.WorkDir, "ca.pem"), s.ca.PEM(), 0o600)
}

func (s *stage) upstream(ts *testscript.TestScript, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: upstream name address [host]")
	}
	addr, err := netip.ParseAddr(args[1])
	ts.Check(err)
	f := s.servers[args[0]]
	if f == nil {
		f = newFarServer(s.t, s.ca, filepath.Join(s.dir, args[0]), args[2:]...)
		s.servers[args[0]] = f
		ts.Defer(f.stop)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places[addr] = f
}

func (s *stage) resolver(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: resolver host address… [then address…]")
	}
	list := [][]netip.Addr{nil}
	for _, word := range args[1:] {
		if word == "then" {
			list = append(list, nil)
			continue
		}
		a, err := netip.ParseAddr(word)
		ts.Check(err)
		list[len(list)-1] = append(list[len(list)-1], a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[args[0]] = list
}

func (s *stage) machine(ts *testscript.TestScript, args []string) {
	for _, word := range args {
		a, err := netip.ParseAddr(word)
		ts.Check(err)
		s.own = append(s.own, &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())})
	}
}

func (s *stage) credential(ts *testscript.TestScript, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: credential token_ref value [placeholder]")
	}
	s.secrets[args[0]] = args[1]
	if len(args) == 3 {
		s.held[args[0]] = args[2]
	}
}

func (s *stage) watch(ts *testscript.TestScript, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: watch name value")
	}
	s.watched[args[0]] = args[1]
}

func (s *stage) admit(ts *testscript.TestScript, args []string) {
	list := s.w.all()
	last := list[len(list)-1]
	if len(args) != 1 || len(last.Findings) == 0 {
		ts.Fatalf("usage: admit host, behind what was refused for a secret")
	}
	s.w.p.Admit(last.Findings[0].Fingerprint, bottle.Host(args[0]), s.now().Add(time.Hour))
}

// routes reads bottles/NAME.md as bottle start does.
func (s *stage) routes(ts *testscript.TestScript, args []string) []bottle.Route {
	if len(args) != 1 {
		ts.Fatalf("name one bottle")
	}
	name, err := bottle.ParseName(args[0])
	ts.Check(err)
	if s.w != nil {
		file := ts.MkAbs("bottles/" + args[0] + ".md")
		ts.Check(os.WriteFile(file, []byte(strings.ReplaceAll(ts.ReadFile(file), "$GATEWAY", s.w.addr)), 0o600))
	}
	spec, problems := manifest.Tree{Home: os.DirFS(s.dir), HomeDir: s.dir, UserHome: s.dir}.Bottle(name)
	if problems.Fatal() {
		ts.Fatalf("%v", problems)
	}
	for i := range spec.Routes {
		_, spec.Routes[i].Rule, _ = strings.Cut(spec.Routes[i].Rule, "bottles/") // short, in the records
	}
	return spec.Routes
}

func (s *stage) gateway(ts *testscript.TestScript, args []string) {
	routes := s.routes(ts, args)
	s.w = newWorld(s.t, func(c *Config) {
		c.lookup, c.reach, c.clock, c.Placeholders = s.lookup, s.reach, s.now, s.held
		c.interfaces = func() ([]net.Addr, error) { return s.own, nil }
		values := maps.Clone(s.watched)
		maps.Copy(values, s.secrets)
		c.DLP = scanner(s.t, values)
		c.Inject = func(ref string) (secret.Value, bool) { return secret.New([]byte(s.secrets[ref])), s.secrets[ref] != "" }
	}, routes...)
	for _, l := range []string{s.w.addr, s.w.direct} {
		s.w.p.Avoid(netip.MustParseAddrPort(l))
	}
	ts.Setenv("GATEWAY", s.w.addr)
	ts.Check(os.WriteFile(ts.MkAbs("bottle-ca.pem"), s.w.ca.PEM(), 0o600))
}

func (s *stage) reload(ts *testscript.TestScript, args []string) {
	_, err := s.w.p.SetPolicy(compile(s.t, s.routes(ts, args)...))
	ts.Check(err)
}

func (s *stage) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if _, err := s.w.lookup(ctx, host); err == nil {
		return nil, errors.New("the stage has answers of its own")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.answers[host]
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(list) > 1 {
		s.answers[host] = list[1:]
	}
	return slices.Clone(list[0]), nil
}

// reach connects to the server that the script put at an address. No packet leaves
// this machine, whatever the address.
func (s *stage) reach(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	s.mu.Lock()
	s.dials = append(s.dials, to)
	far := s.places[to.Addr()]
	s.mu.Unlock()
	if far == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: syscall.ECONNREFUSED}
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", far.addr())
	if err != nil {
		return nil, err
	}
	return farConn{c, net.TCPAddrFromAddrPort(to)}, nil
}

// farConn is a connection whose other end is at another address than it seems.
type farConn struct {
	net.Conn
	remote net.Addr
}

func (c farConn) RemoteAddr() net.Addr { return c.remote }
func (c farConn) NetConn() net.Conn    { return c.Conn }

func (s *stage) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead)
}

// later lets two minutes pass, so that a refusal like the one before it is recorded
// by itself, and not only counted.
func (s *stage) later() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += 2 * time.Minute
}

func (s *stage) send(ts *testscript.TestScript, args []string) { s.attack(ts, args) }

// attack sends one file and prints the answer. It must end: who asks for something
// that is allowed says Connection: close.
func (s *stage) attack(ts *testscript.TestScript, args []string) string {
	s.later()
	var way, target, sni, file string
	for ; len(args) > 1 && strings.HasPrefix(args[0], "-"); args = args[2:] {
		switch args[0] {
		case "-https":
			way, target = "-connect", args[1]
			if !strings.Contains(target, ":") {
				target += ":443"
			}
			sni, _, _ = net.SplitHostPort(target)
		case "-sni":
			sni = args[1]
		default:
			way, target = args[0], args[1]
		}
	}
	if len(args) > 1 || len(args) == 0 && way == "" {
		ts.Fatalf("usage: send [-https host | -connect host:port | -socks host:port | -redirected host:port] [-sni name] [file]")
	}
	if len(args) == 1 {
		file = s.wire(ts.ReadFile(args[0]))
	}
	host, _, _ := net.SplitHostPort(target)
	file = strings.ReplaceAll(file, "{host}", host)
	c := s.enter(ts, way, target)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(7 * time.Second))
	answer := s.talk(ts, c, way == "" || way == "-redirected", target, sni, file)
	_, _ = io.WriteString(ts.Stdout(), printable(unframed(answer)))
	return answer
}

// enter opens a connection to the port of the gateway that a way leads to.
func (s *stage) enter(ts *testscript.TestScript, way, target string) net.Conn {
	if s.w == nil {
		ts.Fatalf("there is no gateway yet")
	}
	addr, hello := s.w.addr, ""
	host, port, err := net.SplitHostPort(target)
	if way != "" {
		ts.Check(err)
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	switch way {
	case "":
	case "-connect":
		hello = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n"
	case "-socks":
		hello = "\x05\x01\x00\x05\x01\x00\x03" + string([]byte{byte(len(host))}) + host + string([]byte{byte(n >> 8), byte(n)})
	case "-redirected":
		addr = s.w.direct
		at, err := netip.ParseAddr(host)
		if err != nil {
			found := s.w.p.resolveInside(host)
			if at = found.Addr; found.Code != responder.Found {
				ts.Fatalf("the bottle's DNS does not know %s", host)
			}
		}
		s.w.mu.Lock()
		s.w.origin = netip.AddrPortFrom(at, uint16(n))
		s.w.mu.Unlock()
	default:
		ts.Fatalf("%s is no way into a gateway", way)
	}
	return s.w.raw(addr, hello)
}

// talk says what is to be said on an open way, and gives all that comes back.
func (s *stage) talk(ts *testscript.TestScript, c net.Conn, open bool, target, sni, file string) string {
	defer func() {
		s.w.mu.Lock()
		s.w.origin = netip.AddrPort{}
		s.w.mu.Unlock()
	}()
	if !open {
		head, granted := tunnelAnswer(c)
		if !granted {
			rest, _ := io.ReadAll(c)
			return head + string(rest)
		}
	}
	if sni != "" {
		tc := tls.Client(c, &tls.Config{ServerName: sni, RootCAs: s.w.roots()})
		if err := tc.Handshake(); err != nil {
			return "no TLS: " + err.Error() + "\n"
		}
		c = tc
	}
	_, err := io.WriteString(c, file)
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		ts.Fatalf("send: %v", err)
	}
	answer, err := io.ReadAll(c)
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		ts.Fatalf("the gateway does not end the connection; what it said:\n%s", printable(string(answer)))
	}
	return string(answer)
}

// tunnelAnswer reads what CONNECT or SOCKS got, byte by byte: what follows is not ours.
func tunnelAnswer(c net.Conn) (head string, granted bool) {
	one := make([]byte, 1)
	for !strings.HasSuffix(head, "\r\n\r\n") {
		if _, err := c.Read(one); err != nil {
			return head, false
		}
		head += string(one)
		if head[0] == 5 && len(head) == 12 {
			return head, head[3] == 0
		}
	}
	return head, strings.HasPrefix(head, "HTTP/1.1 200 ")
}

func (s *stage) refused(ts *testscript.TestScript, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: refused status reason …, as send has it")
	}
	status, reason, heard, before := args[0], args[1], s.heard(args[1]), len(s.w.all())
	answer := s.attack(ts, args[2:])
	if got := lastStatus(answer); got != status {
		ts.Fatalf("the agent got status %s, not %s", got, status)
	}
	if status != "-" {
		var d denial.Denial
		_, body, _ := strings.Cut(answer[strings.LastIndex(answer, "HTTP/1.1 "+status+" "):], "\r\n\r\n")
		if err := json.Unmarshal([]byte(body), &d); err != nil || string(d.Reason) != reason || d.Message == "" || d.Policy == "" {
			ts.Fatalf("the agent was told %q, not %s", d.Reason, reason)
		}
	}
	if r := s.decided(ts, before); r.Verdict != "deny" || r.Reason != reason || status != "-" && strconv.Itoa(r.Status) != status {
		ts.Fatalf("the record says %s", line(r))
	}
	if now := s.heard(reason); now != heard {
		ts.Fatalf("somebody heard of it: %s, before: %s", now, heard)
	}
}

func (s *stage) passes(ts *testscript.TestScript, args []string) {
	before := len(s.w.all())
	if got := lastStatus(s.attack(ts, args)); got != "200" {
		ts.Fatalf("the agent got status %s, not 200", got)
	}
	if r := s.decided(ts, before); r.Verdict != "allow" || r.Status != 200 {
		ts.Fatalf("the record says %s", line(r))
	}
}

// lastStatus is that of the last answer on a connection; - is none.
func lastStatus(answer string) string {
	all := regexp.MustCompile(`HTTP/1\.1 (\d\d\d) `).FindAllStringSubmatch(answer, -1)
	if len(all) == 0 {
		return "-"
	}
	return all[len(all)-1][1]
}

// decided waits for the one decision after n others.
func (s *stage) decided(ts *testscript.TestScript, n int) Record {
	rs := s.await(n + 1)
	if len(rs) != n+1 {
		ts.Fatalf("%d decisions, not one: %+v", len(rs)-n, rs[n:])
	}
	return rs[n]
}

func (s *stage) await(n int) []Record {
	for end := time.Now().Add(5 * time.Second); len(s.w.all()) < n && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	return s.w.all()
}

// heard sums up who was told of anything so far. Where an address is the reason, the
// resolver had to be asked.
func (s *stage) heard(reason string) string {
	asked := len(s.w.looked())
	switch policy.Reason(reason) {
	case policy.PrivateAddress, policy.MetadataAddress, policy.OwnAddress:
		asked = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, bytes := 0, 0
	for _, f := range s.servers {
		c, b := f.heard()
		n, bytes = n+c, bytes+b
	}
	return fmt.Sprintf("%d lookups, %d dials, %d connections, %d bytes", asked, len(s.dials), n, bytes)
}

func line(r Record) string {
	text := fmt.Sprintf("%s %s %s %s %s:%d%s %d", r.Verdict, r.Reason, r.Kind, r.Method, r.Host, r.Port, r.Path, r.Status)
	if r.Credential != "" {
		text += " credential=" + r.Credential
	}
	text += " rule=" + r.Rule
	for _, f := range r.Findings {
		text += " found=" + strings.Join(append([]string{f.Rule + "@" + f.Place}, f.Encoding...), "+")
	}
	return text
}

func (s *stage) printRecords(ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: records number")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	rs := s.await(n)
	for _, r := range rs {
		fmt.Fprintln(ts.Stdout(), line(r))
	}
	if len(rs) != n {
		ts.Fatalf("%d decisions, not %d", len(rs), n)
	}
}

func (s *stage) printLookups(ts *testscript.TestScript, args []string) {
	_ = ts.Stdout() // nothing is an answer, too
	for _, name := range s.w.looked() {
		fmt.Fprintln(ts.Stdout(), name)
	}
}

func (s *stage) printDials(ts *testscript.TestScript, args []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = ts.Stdout() // nothing is an answer, too
	for _, a := range s.dials {
		fmt.Fprintln(ts.Stdout(), a)
	}
}

func (s *stage) upstreamLog(ts *testscript.TestScript, args []string) {
	if len(args) != 1 || s.servers[args[0]] == nil {
		ts.Fatalf("usage: upstream-log name")
	}
	_, _ = io.WriteString(ts.Stdout(), printable(s.servers[args[0]].log()))
}

// ask HOST: what a program in the bottle is told of a name.
func (s *stage) ask(ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: ask host")
	}
	s.later()
	if got := s.w.p.resolveInside(args[0]); got.Code == responder.Found {
		fmt.Fprintln(ts.Stdout(), got.Addr)
	} else {
		fmt.Fprintln(ts.Stdout(), "no such name")
	}
}

// curl ARGS…: the real one, as an agent in the bottle would run it.
func (s *stage) curl(ts *testscript.TestScript, args []string) {
	s.later()
	program := require.Tool(s.t, "curl")
	cmd := exec.Command(program, append([]string{"--silent", "--show-error", "--max-time", "10", "--proxy", "http://" + s.w.addr,
		"--cacert", ts.MkAbs("bottle-ca.pem")}, args...)...)
	cmd.Env = []string{"HOME=" + s.dir}
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(ts.Stderr(), err)
	}
}

// wire gives the bytes that a file of a script stands for.
func (s *stage) wire(text string) string {
	text = strings.ReplaceAll(text, "\\\n", "\x00")
	text = strings.ReplaceAll(text, "\n", "\r\n")
	text = strings.ReplaceAll(text, "\x00", "")
	text = regexp.MustCompile(`\\(x[0-9a-f]{2}|[rnt0])`).ReplaceAllStringFunc(text, func(esc string) string {
		out, err := strconv.Unquote(`"` + strings.Replace(esc, `\0`, `\x00`, 1) + `"`)
		if err != nil {
			s.t.Fatal(err)
		}
		return out
	})
	return regexp.MustCompile(`\{(frame|masked) ([0-9a-f]{2}) ([^}]*)\}`).ReplaceAllStringFunc(text, func(f string) string {
		words := strings.SplitN(strings.Trim(f, "{}"), " ", 3)
		first, _ := strconv.ParseUint(words[1], 16, 8)
		if words[0] == "masked" {
			return fromClient(byte(first), words[2])
		}
		return fromServer(byte(first), words[2])
	})
}

// unframed takes the chunks out of answers, so that a script sees a body as a program
// of the agent would: what is cut in two is found.
func unframed(answer string) string {
	var out strings.Builder
	for answer != "" {
		head, rest, ok := strings.Cut(answer, "\r\n\r\n")
		if !ok {
			break
		}
		out.WriteString(head + "\r\n\r\n")
		answer = rest
		if !strings.Contains(strings.ToLower(head)+"\r\n", "\r\ntransfer-encoding: chunked\r\n") {
			continue // what a length frames needs no mending
		}
		br := bufio.NewReader(strings.NewReader(rest))
		body, err := io.ReadAll(httputil.NewChunkedReader(br))
		out.Write(body)
		if err != nil {
			return out.String() + "\n(the answer breaks off)\n"
		}
		left, _ := io.ReadAll(br)
		out.WriteString("\r\n")
		answer = string(left)
	}
	return out.String() + answer
}

// printable shows bytes so that a script can match them by line.
func printable(text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
		case c == '\n' || c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}
