package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/egress/dial"
	"bottle/test/require"
)

const (
	soakTrips  = 10_000
	soakAtOnce = 64
	soakBody   = 64 << 10
	plainHost  = "plain.example.com"
	passHost   = "pass.example.com"
)

// fickle is a client's connection that breaks off, gently or by a reset, when so
// many bytes have gone over it in both directions together.
type fickle struct {
	net.Conn
	mu     sync.Mutex
	left   int
	broken bool
	hard   bool
}

var errBroken = errors.New("the client went away")

// spend gives how many of n bytes may still go.
func (f *fickle) spend(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = min(n, f.left)
	f.left -= n
	return n
}

func (f *fickle) breakOff() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = true
	if tcp, ok := f.Conn.(*net.TCPConn); ok && f.hard {
		_ = tcp.SetLinger(0)
	}
	_ = f.Conn.Close()
	return errBroken
}

func (f *fickle) Write(b []byte) (int, error) {
	n := f.spend(len(b))
	n, err := f.Conn.Write(b[:n])
	if err == nil && n < len(b) {
		err = f.breakOff()
	}
	return n, err
}

func (f *fickle) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if n > 0 && f.spend(n) < n {
		return 0, f.breakOff()
	}
	return n, err
}

// soak is many clients of one gateway.
type soak struct {
	w     *world
	up    *x509.CertPool // trusts the upstream itself, for what is passed through
	seen  sync.Map       // path -> struct{}: what reached an upstream
	twice sync.Map       // the paths that reached it again
}

// serve is the upstream: /small, /up, /down and /ws, each with the number of a trip.
func (s *soak) serve(w http.ResponseWriter, r *http.Request) {
	if _, again := s.seen.LoadOrStore(r.URL.Path, struct{}{}); again {
		s.twice.Store(r.URL.Path, struct{}{})
	}
	if strings.HasPrefix(r.URL.Path, "/ws/") {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		accept := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 section 4.2.2
		_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(accept[:]))
		for frame := make([]byte, 11); ; { // 2 bytes of head, 4 of mask, "hello"
			if _, err := io.ReadFull(buf, frame); err != nil {
				return
			}
			for i := range 5 {
				frame[6+i] ^= frame[2+i%4]
			}
			_, _ = c.Write(append([]byte("\x82\x05"), frame[6:]...))
		}
	}
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	size := 1024
	if strings.HasPrefix(r.URL.Path, "/down/") {
		size = 4 * soakBody
	}
	w.Header().Set("X-Got", strconv.FormatInt(n, 10))
	_, _ = w.Write(bytes.Repeat([]byte("a"), size))
}

// trip is one connection of a client.
type trip struct {
	s    *soak
	id   int
	rng  *rand.Rand
	conn *fickle
	err  error
}

// kinds of trips. Each gives nil if all went as it does when nobody breaks off.
type kind struct {
	name            string
	path            string // where its one request goes; empty: it has none
	ends, tunnelled bool   // it leaves a record of its end; its record is of the tunnel
	refused         bool
	run             func(*trip) error
}

func soakKinds() []kind {
	return []kind{
		{name: "plain", path: "/small/", run: func(t *trip) error {
			return t.exchange(t.dial(t.s.w.addr), fmt.Sprintf("POST http://%s/small/%d HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\nhello", plainHost, t.id, plainHost), 5, 1024)
		}},
		{name: "tunnel", path: "/small/", run: func(t *trip) error { return t.post(t.tunnel(apiHost), "/small/", 2048, 1024) }},
		{name: "transparent", path: "/small/", run: func(t *trip) error {
			return t.post(t.shake(t.dial(t.s.w.direct), apiHost, t.s.w.roots()), "/small/", 2048, 1024)
		}},
		{name: "SOCKS5", path: "/small/", run: func(t *trip) error {
			return t.post(t.shake(t.socks(apiHost), apiHost, t.s.w.roots()), "/small/", 2048, 1024)
		}},
		{name: "upload", path: "/up/", run: func(t *trip) error { return t.post(t.tunnel(apiHost), "/up/", soakBody, 1024) }},
		{name: "download", path: "/down/", run: func(t *trip) error { return t.post(t.tunnel(apiHost), "/down/", 2, 4*soakBody) }},
		{name: "websocket", path: "/ws/", ends: true, run: (*trip).webSocket},
		{name: "http2", path: "/small/", run: (*trip).overHTTP2},
		{name: "passthrough", tunnelled: true, ends: true, run: func(t *trip) error {
			return t.exchange(t.shake(t.connect(passHost), passHost, t.s.up), fmt.Sprintf("GET /pass/%d HTTP/1.1\r\nHost: %s\r\n\r\n", t.id, passHost), 0, 1024)
		}},
		{name: "garbage", refused: true, run: (*trip).garbage},
		{name: "half a handshake", refused: true, run: func(t *trip) error {
			c := t.connect(apiHost)
			t.write(c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
			return t.err
		}},
		{name: "a host that is not listed", refused: true, run: (*trip).stranger},
	}
}

func (t *trip) dial(to string) net.Conn {
	c, err := net.Dial("tcp", to)
	if err != nil {
		t.err = err
		return t.conn
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	t.conn.Conn = c
	return t.conn
}

func (t *trip) write(c io.Writer, text string) {
	if t.err == nil {
		_, t.err = io.WriteString(c, text)
	}
}

func (t *trip) connect(host string) net.Conn {
	c := t.dial(t.s.w.addr)
	t.write(c, fmt.Sprintf("CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", host, host))
	line := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
	if t.err == nil {
		_, t.err = io.ReadFull(c, line)
	}
	return c
}

// socks opens a tunnel by SOCKS5 with a remote name (RFC 1928).
func (t *trip) socks(host string) net.Conn {
	c := t.dial(t.s.w.addr)
	t.write(c, "\x05\x01\x00")
	if t.err == nil {
		_, t.err = io.ReadFull(c, make([]byte, 2))
	}
	t.write(c, "\x05\x01\x00\x03"+string(byte(len(host)))+host+"\x01\xbb")
	if t.err == nil {
		_, t.err = io.ReadFull(c, make([]byte, 10))
	}
	return c
}

func (t *trip) shake(c net.Conn, host string, roots *x509.CertPool) net.Conn {
	if t.err != nil {
		return c
	}
	tc := tls.Client(c, &tls.Config{ServerName: host, RootCAs: roots})
	t.err = tc.Handshake()
	return tc
}

func (t *trip) tunnel(host string) net.Conn { return t.shake(t.connect(host), host, t.s.w.roots()) }

func (t *trip) post(c net.Conn, path string, out, in int) error {
	return t.exchange(c, fmt.Sprintf("POST %s%d HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", path, t.id, apiHost, out, strings.Repeat("b", out)), out, in)
}

// exchange sends one request and holds its answer against what it must be.
func (t *trip) exchange(c net.Conn, request string, out, in int) error {
	t.write(c, request)
	if t.err != nil {
		return t.err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	return whole(res, out, in)
}

func whole(res *http.Response, out, in int) error {
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || n != int64(in) || res.Header.Get("X-Got") != strconv.Itoa(out)) {
		err = fmt.Errorf("status %d, %d bytes, the upstream got %s", res.StatusCode, n, res.Header.Get("X-Got"))
	}
	return err
}

func (t *trip) webSocket() error {
	c := t.tunnel(apiHost)
	t.write(c, strings.Replace(wsAsk, "/ws", fmt.Sprintf("/ws/%d", t.id), 1))
	if t.err != nil {
		return t.err
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(res.Status)
	}
	t.err = err
	frame := "\x82\x85\x00\x00\x00\x00hello" // binary, final, masked by zeros (RFC 6455 section 5.2)
	for range 3 {
		t.write(c, frame)
		got := make([]byte, len("\x82\x05hello"))
		if t.err == nil {
			_, t.err = io.ReadFull(r, got)
		}
		if t.err == nil && string(got) != "\x82\x05hello" {
			t.err = fmt.Errorf("the echo is %q", got)
		}
	}
	return t.err
}

func (t *trip) overHTTP2() error {
	var h2 http.Protocols
	h2.SetHTTP2(true)
	tr := &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: t.s.w.addr}), TLSClientConfig: &tls.Config{RootCAs: t.s.w.roots()}, Protocols: &h2,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if t.conn.Conn != nil {
				return nil, errBroken // one trip is one connection
			}
			return t.dial(t.s.w.addr), t.err
		},
	}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Post(fmt.Sprintf("https://%s/small/%d", apiHost, t.id), "text/plain", strings.NewReader("hello"))
	if err != nil {
		return err
	}
	if res.ProtoMajor != 2 {
		err = errors.New(res.Proto)
	}
	return errors.Join(err, whole(res, 5, 1024))
}

// garbage begins with a byte that no protocol begins with.
func (t *trip) garbage() error {
	to := t.s.w.addr
	if t.rng.IntN(2) == 0 {
		to = t.s.w.direct
	}
	c := t.dial(to)
	junk := []byte{0x80}
	for range t.rng.IntN(300) {
		junk = append(junk, byte(t.rng.Uint32()))
	}
	t.write(c, string(junk))
	if t.err == nil {
		if n, err := c.Read(junk); err == nil {
			t.err = fmt.Errorf("it was answered %q", junk[:n])
		}
	}
	return t.err
}

func (t *trip) stranger() error {
	c := t.dial(t.s.w.addr)
	t.write(c, "CONNECT denied.example.net:443 HTTP/1.1\r\nHost: denied.example.net:443\r\n\r\n")
	if t.err != nil {
		return t.err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil && res.StatusCode != http.StatusForbidden {
		err = errors.New(res.Status)
	}
	return err
}

// one takes trip id, and reports whether its client broke off.
func (s *soak) one(k kind, seed uint64, id int, fickleToo bool) (broke bool, err error) {
	rng := rand.New(rand.NewPCG(seed, uint64(id)))
	t := &trip{s: s, id: id, rng: rng, conn: &fickle{left: 1 << 30}}
	if fickleToo && rng.IntN(5) < 2 {
		t.conn.left, t.conn.hard = 1+rng.IntN(6000), rng.IntN(2) == 0
	}
	err = k.run(t)
	if t.conn.Conn != nil {
		_ = t.conn.Conn.Close()
	}
	if t.conn.broken {
		return true, nil
	}
	return false, err
}

// open is how many goroutines and descriptors this process has.
func open(t testing.TB) (goroutines, descriptors int) {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(require.Marker + "procfs: there is no /proc/self/fd to count descriptors in")
	}
	return runtime.NumGoroutine(), len(names)
}

func soakSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("BOTTLE_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("BOTTLE_TEST_SEED=%d makes the same trips again", seed)
	return seed
}

// TestNoLeakAfter10000MixedConnections: every kind of client at the same time, two
// in five of which break off somewhere. When all are gone, nothing of them is left
// but their records, of which there is one for each decision.
func TestNoLeakAfter10000MixedConnections(t *testing.T) {
	seed := soakSeed(t)
	s := &soak{}
	addr, ca, _ := upstream(t, http.HandlerFunc(s.serve), apiHost, passHost)
	plain := route(plainHost, plainUpstream(t, http.HandlerFunc(s.serve)), "")
	plain.Ports = []uint16{80}
	routes := compile(t, withAuth(route(apiHost, addr, ca), "Bearer", ""), plain, passRoute(addr))
	var redirects sync.Map // local address of a listener -> where its connections were going
	s.w = newWorld(t, func(c *Config) {
		c.Policy = routes
		c.originalDst = func(c net.Conn) (netip.AddrPort, error) {
			if to, ok := redirects.Load(c.LocalAddr().String()); ok {
				return to.(netip.AddrPort), nil
			}
			return netip.AddrPort{}, errors.New("not redirected")
		}
	})
	var err error
	if s.up, err = dial.Roots(ca); err != nil {
		t.Fatal(err)
	}
	redirects.Store(s.w.direct, netip.MustParseAddrPort(s.w.named(apiHost)+":443"))
	kinds := soakKinds()
	settle := func(what string, ok func(goroutines, descriptors int) bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			_, _ = s.w.p.SetPolicy(routes) // drops the pools of idle upstream connections
			g, d := open(t)
			if inside := s.w.p.crowd.Inside(); inside == 0 && ok(g, d) {
				return
			} else if time.Now().After(deadline) {
				_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
				t.Fatalf("waiting until %s: %d goroutines, %d descriptors, %d connections inside", what, g, d, inside)
			}
		}
	}
	for id, k := range kinds { // what is made once is made now
		if _, err := s.one(k, seed, soakTrips+id, false); err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
	}
	var goroutines, descriptors int
	settle("the first trips end", func(g, d int) bool {
		same := g == goroutines && d == descriptors
		goroutines, descriptors = g, d
		return same
	})
	broke := make([]bool, soakTrips)
	together(soakAtOnce, soakTrips, func(id int) {
		k := kinds[id%len(kinds)]
		var err error
		if broke[id], err = s.one(k, seed, id, true); err != nil {
			t.Errorf("trip %d, %s: %v", id, k.name, err)
		}
	})
	settle("all is as before", func(g, d int) bool { return g <= goroutines && d <= descriptors })
	s.w.stop()
	s.account(t, kinds, broke)
}

// account holds the records against the trips.
func (s *soak) account(t *testing.T, kinds []kind, broke []bool) {
	t.Helper()
	paths, ends := map[string]int{}, map[string]int{}
	var passed, passedEnd, denied int
	for _, r := range s.w.all() {
		switch {
		case r.Verdict != "allow":
			denied += max(r.Count, 1)
		case r.Kind == KindStreamEnd && r.Path == "":
			passedEnd++
		case r.Kind == KindStreamEnd:
			ends[r.Path]++
		case r.Kind == KindTLS:
			passed++
		default:
			paths[r.Path]++
		}
	}
	var whole, refused, torn, through int
	for id, gone := range broke {
		k := kinds[id%len(kinds)]
		path := k.path + strconv.Itoa(id)
		switch {
		case gone:
			torn++
		case k.refused:
			refused++
		case k.tunnelled:
			through++
		default:
			whole++
			if n := paths[path]; n != 1 {
				t.Errorf("trip %d, %s: %d records of its request", id, k.name, n)
			}
			if n := ends[path]; n > 1 || k.ends != (n == 1) {
				t.Errorf("trip %d, %s: %d records of its end", id, k.name, n)
			}
		}
		if n := paths[path]; k.path != "" && n > 1 {
			t.Errorf("trip %d, %s: %d records of one request", id, k.name, n)
		}
	}
	t.Logf("%d requests, %d passed through, %d refused, %d broken off; %d denials", whole, through, refused, torn, denied)
	if whole == 0 || through == 0 || refused == 0 || torn < soakTrips/5 {
		t.Error("that is no mixture")
	}
	if passed != passedEnd || passed < through {
		t.Errorf("%d tunnels passed through with %d ends, want %d or more", passed, passedEnd, through)
	}
	if denied < refused || denied > refused+torn+1 {
		t.Errorf("%d denials, want %d and at most one for each of %d that broke off", denied, refused, torn)
	}
	s.seen.Range(func(path, _ any) bool {
		// What a broken client asked for may be on record as a refusal, without its path.
		if !strings.HasPrefix(path.(string), "/pass/") && paths[path.(string)] == 0 {
			torn--
		}
		return true
	})
	if torn < 0 {
		t.Error("more requests reached the upstream than there are records")
	}
	s.twice.Range(func(path, _ any) bool {
		t.Errorf("%s reached the upstream twice", path)
		return true
	})
}
