package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	apiHost = "api.example.com"
	here    = "9.9.9.9" // in these tests a public address of this host; nothing is sent there
	there   = "8.8.8.8" // a public address of somebody else; nothing is sent there either
)

// world is a Dialer whose names, interfaces and connections the test decides on.
type world struct {
	*Dialer
	t       testing.TB
	mu      sync.Mutex
	answers map[string][]string
	asked   []string
	reached []string
	mine    []net.Addr
}

func newWorld(t testing.TB, cfg Config) *world {
	w := &world{t: t, answers: map[string][]string{}, mine: []net.Addr{&net.IPNet{IP: net.ParseIP(here), Mask: net.CIDRMask(24, 32)}}}
	cfg.Lookup = w.lookup
	cfg.Interfaces = func() ([]net.Addr, error) { return w.mine, nil }
	w.Dialer = New(cfg)
	w.reach = func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reached = append(w.reached, to.String())
		c, other := net.Pipe()
		t.Cleanup(func() { _, _ = c.Close(), other.Close() })
		return c, nil
	}
	return w
}

func (w *world) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, host)
	var out []netip.Addr
	for _, a := range w.answers[host] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// target is the decided host, on a route with this upstream.address.
func target(t testing.TB, host, address string) Target {
	t.Helper()
	pat, err := bottle.ParsePattern(host)
	if err != nil {
		t.Fatal(err)
	}
	r := bottle.Route{Host: pat, Ports: []uint16{443}, Rule: "bottle.md:7"}
	if address != "" {
		r.Upstream = &bottle.Upstream{Address: address}
	}
	pol, err := policy.Compile([]bottle.Route{r})
	if err != nil {
		t.Fatal(err)
	}
	return Target{Host: pat.Host, Port: 443, Route: &r, Policy: pol}
}

// refused checks that a dial was a denial, and that nobody was called.
func (w *world) refused(what string, to Target, reason policy.Reason) {
	w.t.Helper()
	before := len(w.reached)
	c, err := w.Dial(w.t.Context(), to)
	var no *Refusal
	if !errors.As(err, &no) || no.Verdict.Reason != reason || no.Verdict.Allowed() {
		w.t.Errorf("%s: got %v, want a refusal with %s", what, err, reason)
	}
	if c != nil || len(w.reached) != before {
		w.t.Errorf("%s: somebody was called: %v", what, w.reached[before:])
	}
	if no != nil && strings.Contains(no.Verdict.Message, "10.0.0") {
		w.t.Errorf("%s: the message maps the inner network: %s", what, no.Verdict.Message)
	}
}

func (w *world) connected(what string, to Target, addr string) {
	w.t.Helper()
	if _, err := w.Dial(w.t.Context(), to); err != nil {
		w.t.Errorf("%s: %v", what, err)
		return
	}
	if got := w.reached[len(w.reached)-1]; got != addr {
		w.t.Errorf("%s: called %s, want %s", what, got, addr)
	}
}

// The attack: a DNS server that answers with a public address when it is asked
// first, and with an inner one when it is asked again (DNS rebinding). There is no
// second question, and the second dial, whenever it is, judges what it then gets.
func TestRebindingNameIsDialledAsItWasJudged(t *testing.T) {
	w := newWorld(t, Config{})
	now := time.Now()
	w.names.now = func() time.Time { return now }
	turn := 0
	w.names.lookup = func(context.Context, string) ([]netip.Addr, error) {
		turn++
		return []netip.Addr{netip.MustParseAddr([]string{there, "127.0.0.1"}[(turn-1)%2])}, nil
	}
	to := target(t, apiHost, "")
	w.connected("the first dial", to, there+":443")
	if turn != 1 {
		t.Fatalf("one dial asked %d times", turn)
	}
	now = now.Add(remember - time.Millisecond)
	w.connected("while the answer is remembered", to, there+":443")
	now = now.Add(time.Millisecond)
	w.refused("after that", to, policy.PrivateAddress)
	if turn != 2 {
		t.Fatalf("asked %d times, want 2", turn)
	}
}

// What is remembered is no permission: it is judged at each use.
func TestRememberedAnswerIsJudgedAgain(t *testing.T) {
	w := newWorld(t, Config{})
	w.answers[apiHost] = []string{there}
	to := target(t, apiHost, "")
	w.connected("before", to, there+":443")
	w.mine = append(w.mine, &net.IPNet{IP: net.ParseIP(there), Mask: net.CIDRMask(32, 32)})
	w.own.at = time.Time{} // its seconds are over
	w.refused("this host got that address", to, policy.OwnAddress)
	to.Policy = nil
	w.refused("there is no policy any more", to, policy.NoPolicy)
	if len(w.asked) != 1 {
		t.Errorf("asked %v", w.asked)
	}
}

// The attack: hide the inner address behind a public one, or in another spelling.
func TestOneBadAddressRefusesAll(t *testing.T) {
	for bad, reason := range map[string]policy.Reason{
		"10.0.0.7": policy.PrivateAddress, "127.0.0.1": policy.PrivateAddress, "::1": policy.PrivateAddress, "0.0.0.0": policy.PrivateAddress,
		"fd12::1": policy.PrivateAddress, "fe80::1": policy.PrivateAddress, "100.64.0.1": policy.PrivateAddress, "224.0.0.1": policy.PrivateAddress,
		"169.254.169.254": policy.MetadataAddress, "168.63.129.16": policy.MetadataAddress, "100.100.100.200": policy.MetadataAddress,
		"fd00:ec2::254": policy.MetadataAddress, "64:ff9b::a9fe:a9fe": policy.MetadataAddress, "::ffff:169.254.169.254": policy.MetadataAddress,
		"::ffff:10.0.0.7": policy.PrivateAddress, "::10.0.0.7": policy.PrivateAddress, "64:ff9b::10.0.0.7": policy.PrivateAddress,
		"64:ff9b:1::8.8.8.8": policy.PrivateAddress, "2002:808:808::1": policy.PrivateAddress, "2001::808:808": policy.PrivateAddress,
		"2606:4700::5efe:10.0.0.7": policy.PrivateAddress,
		"fe80::1%eth0":             policy.PrivateAddress, "2606:4700::1%eth0": policy.PrivateAddress, // /etc/hosts can give a zone
		here: policy.OwnAddress, "::ffff:" + here: policy.OwnAddress, "64:ff9b::" + here: policy.OwnAddress,
	} {
		for _, answer := range [][]string{{bad}, {bad, there}, {there, bad}, {there, "2606:4700::1111", bad}} {
			w := newWorld(t, Config{})
			w.answers[apiHost] = answer
			w.refused(strings.Join(answer, " "), target(t, apiHost, ""), reason)
		}
	}
}

// The attack: a public name with an alias to an inner one. What the resolver
// gives is the end of the chain, and that is what is judged. And whatever search
// list this machine has, what leaves is the decided name and no other.
func TestCNAMEToAnInnerName(t *testing.T) {
	server, asked := aliasServer(t)
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server)
	}}
	w := newWorld(t, Config{Limit: 5 * time.Second})
	w.names.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) { return rooted(ctx, r, host) }
	w.refused("an alias", target(t, apiHost, ""), policy.PrivateAddress)
	names := asked()
	slices.Sort(names)
	if names = slices.Compact(names); !slices.Equal(names, []string{apiHost + "."}) {
		t.Errorf("asked for %v", names)
	}
	if _, err := w.Dial(t.Context(), target(t, "gone", "")); err == nil {
		t.Error("a name without an address was dialled")
	}
	if names := asked(); slices.ContainsFunc(names, func(s string) bool { return s != "gone." }) {
		t.Errorf("a short name was looked for elsewhere: %v", names)
	}
}

// aliasServer says that every api.example.com is vault.internal, which is 10.0.0.7,
// and that there is nothing else. asked gives what it was asked since the last call.
func aliasServer(t *testing.T) (addr string, asked func() []string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var names []string
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			mu.Lock()
			names = append(names, q.Name.String())
			mu.Unlock()
			out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError}, Questions: m.Questions}
			if q.Name.String() == apiHost+"." {
				inner := dnsmessage.MustNewName("vault.internal.")
				out.RCode = dnsmessage.RCodeSuccess
				out.Answers = []dnsmessage.Resource{
					{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeCNAME, Class: dnsmessage.ClassINET, TTL: 1}, Body: &dnsmessage.CNAMEResource{CNAME: inner}}}
				if q.Type == dnsmessage.TypeA {
					out.Answers = append(out.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: inner, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
						Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, 7}}})
				}
			}
			b, err := out.Pack()
			if err != nil {
				continue
			}
			_, _ = pc.WriteTo(b, from)
		}
	})
	t.Cleanup(func() { _ = pc.Close(); wg.Wait() })
	return pc.LocalAddr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := names
		names = nil
		return out
	}
}

// What the operator wrote into upstream.address may be private and this host's
// own. It can't be what no server has, nor the gateway; and a name, whose answers
// others give, never leads to a metadata service.
func TestUpstreamAddressIsTheOperatorsWord(t *testing.T) {
	w := newWorld(t, Config{})
	w.answers["inner.example.com"] = []string{"10.0.0.7"}
	w.answers["cloud.example.com"] = []string{"169.254.169.254"}
	w.answers["azure.example.com"] = []string{there, "168.63.129.16"}
	w.answers["here.example.com"] = []string{here}
	w.answers["linked.example.com"] = []string{"fe80::1%eth0"}
	for address, addr := range map[string]string{
		"10.0.0.7:8443": "10.0.0.7:8443", "[::1]:8443": "[::1]:8443", "127.0.0.1:1": "127.0.0.1:1", "169.254.169.254:80": "169.254.169.254:80",
		here + ":443": here + ":443", "inner.example.com:8443": "10.0.0.7:8443", "here.example.com:443": here + ":443",
	} {
		w.connected(address, target(t, apiHost, address), addr)
	}
	for address, reason := range map[string]policy.Reason{
		"cloud.example.com:80": policy.MetadataAddress, "azure.example.com:80": policy.MetadataAddress,
		"0.0.0.0:443": policy.PrivateAddress, "[::]:443": policy.PrivateAddress, "224.0.0.1:443": policy.PrivateAddress,
		"linked.example.com:443": policy.PrivateAddress,
	} {
		w.refused(address, target(t, apiHost, address), reason)
	}
	if slices.Contains(w.asked, apiHost) {
		t.Error("the decided name was looked up although an address is written")
	}
	zoned := target(t, apiHost, "10.0.0.7:443")
	zoned.Route.Upstream.Address = "[fe80::1%lo]:443" // past the policy, which refuses it, too
	if _, err := w.Dial(t.Context(), zoned); err == nil {
		t.Error("an address with a zone was dialled")
	}
}

// The attack: a listed name that leads to a public address of the machine that the
// gateway runs on. Its services take callers from outside for strangers; these
// would come from inside.
func TestOwnAddressIsRefused(t *testing.T) {
	w := newWorld(t, Config{})
	w.answers[apiHost] = []string{here}
	w.refused("a public address of this host", target(t, apiHost, ""), policy.OwnAddress)
	w.refused("as a literal", target(t, here, ""), policy.OwnAddress)
	w.connected("a neighbour", target(t, "9.9.9.10", ""), "9.9.9.10:443")

	w.own.at = time.Time{}
	w.own.read = func() ([]net.Addr, error) { return nil, errors.New("out of descriptors") }
	w.refused("its addresses can't be read", target(t, there, ""), policy.Internal)

	w = newWorld(t, Config{})
	w.Avoid(netip.MustParseAddrPort("127.0.0.1:3128"))
	w.refused("the gateway itself, named", target(t, apiHost, "127.0.0.1:3128"), policy.OwnAddress)
	w.connected("its neighbour", target(t, apiHost, "127.0.0.1:3129"), "127.0.0.1:3129")
}

// An own address that no list has (a route to a whole prefix, or one that came a
// moment ago) shows when the connection has the same address at both ends.
func TestConnectionToItself(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	w := newWorld(t, Config{})
	w.reach = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) { return reach(ctx, addrOf(l)) }
	_, err := w.Dial(t.Context(), target(t, there, ""))
	var no *Refusal
	if !errors.As(err, &no) || no.Verdict.Reason != policy.OwnAddress {
		t.Errorf("got %v", err)
	}
	c, err := w.Dial(t.Context(), target(t, apiHost, l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// The real list is read, and has the loopback address.
func TestInterfacesOfThisHost(t *testing.T) {
	d := New(Config{})
	if mine, err := d.own.has(netip.MustParseAddr("127.0.0.1")); err != nil || !mine {
		t.Errorf("127.0.0.1 is not ours: %v", err)
	}
	if mine, err := d.own.has(netip.MustParseAddr("192.0.2.1")); err != nil || mine {
		t.Errorf("192.0.2.1 is ours: %v", err)
	}
}

func TestZeroTargetIsRefused(t *testing.T) {
	w := newWorld(t, Config{})
	full := target(t, there, "")
	for what, to := range map[string]Target{
		"zero": {}, "no policy": {Host: full.Host, Port: 443, Route: full.Route}, "no route": {Host: full.Host, Port: 443, Policy: full.Policy},
		"no host": {Port: 443, Route: full.Route, Policy: full.Policy}, "no port": {Host: full.Host, Route: full.Route, Policy: full.Policy},
	} {
		w.refused(what, to, policy.NoPolicy)
	}
	behind := newWorld(t, Config{Proxy: &bottle.UpstreamProxy{Host: "127.0.0.1", Port: 3128}})
	behind.refused("a name for the upstream proxy without a policy", Target{Host: apiHost, Port: 443, Route: full.Route}, policy.NoPolicy)
	named := target(t, apiHost, "127.0.0.1:1")
	named.Policy = nil
	w.refused("an upstream address without a policy", named, policy.NoPolicy)
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func addrOf(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }
