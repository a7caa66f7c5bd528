package supervise_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"bottle/internal/bottle"
	"bottle/internal/policy"
	"bottle/internal/supervise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is in memory, and decides by the host that is asked for.
type desk struct {
	mu      sync.Mutex
	asked   []bottle.Proposal
	waits   []time.Duration
	waiting int // calls that wait now
	most    int // of them at one time
	routes  []bottle.Route
	denials []bottle.Denial
	decide  chan bottle.ProposalStatus // for hosts under slow.example.com
	fault   bool
	verdict policy.Verdict // of Check
}

func (d *desk) Ask(ctx context.Context, p bottle.Proposal, wait time.Duration) (bottle.Proposal, error) {
	p, err := p.Canonical()
	if err != nil {
		return bottle.Proposal{}, err
	}
	p.ID, p.Status, p.Count = "p234567", bottle.ProposalPending, 1
	d.mu.Lock()
	if d.fault {
		d.mu.Unlock()
		panic("a fault")
	}
	d.asked, d.waits = append(d.asked, p), append(d.waits, wait)
	if wait > 0 {
		d.waiting++
		d.most = max(d.most, d.waiting)
		defer func() { d.mu.Lock(); d.waiting--; d.mu.Unlock() }()
	}
	d.mu.Unlock()
	host := ""
	switch {
	case p.Route != nil:
		host = string(p.Route.Host.Host)
	case p.Content != nil:
		host = string(p.Content.Host)
	}
	switch strings.TrimSuffix(host, ".example.com") {
	case "yes":
		p.Status = bottle.ProposalApproved
	case "other":
		p.Status, p.Given = bottle.ProposalModified, &bottle.Route{Host: p.Route.Host, Ports: []uint16{443}, Methods: []string{"GET"}, Upstream: &bottle.Upstream{CAFile: "/home/ann/ca.pem"}}
	case "no":
		p.Status, p.Note = bottle.ProposalRejected, "use the mirror"
	case "late":
		p.Status = bottle.ProposalExpired
	case "flood":
		return bottle.Proposal{}, errors.New("too many asks in a minute: wait 30 s, then ask once for what you need most")
	case "slow":
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case p.Status = <-d.decide:
		case <-t.C:
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
	return p, nil
}

func (d *desk) Proposal(id string) (bottle.Proposal, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.asked {
		if p.ID == id {
			return p, true
		}
	}
	return bottle.Proposal{}, false
}

func (d *desk) Routes() []bottle.Route { return d.routes }

func (d *desk) Check(method, url string) (policy.Verdict, error) {
	if !strings.Contains(url, "://") {
		return policy.Verdict{}, errors.New("write https://host/path")
	}
	return d.verdict, nil
}

func (d *desk) Denials() []bottle.Denial { return d.denials }

func (d *desk) Policy() string { return "the words of the policy" }

func (d *desk) GitPolicy(repo string) (string, bool) {
	return "the words about " + repo, repo == "app"
}

func (d *desk) last(t testing.TB) bottle.Proposal {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		t.Fatal("nothing was asked")
	}
	return d.asked[len(d.asked)-1]
}

// served is a server behind HTTP, at any address; client reaches every name there.
type served struct {
	desk   *desk
	addr   string
	client *http.Client
	server *supervise.Server
}

func serve(t testing.TB, d *desk, wait time.Duration) served {
	t.Helper()
	return serving(t, supervise.Config{Desk: d, Repos: []string{"app"}, Wait: wait, Version: "test"})
}

func serving(t testing.TB, cfg supervise.Config) served {
	t.Helper()
	s, err := supervise.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port, err := bottle.ParseHostPort(r.Host, 80)
		if err != nil || !s.Serve(w, r, host, port) {
			http.Error(w, "not the server's", http.StatusTeapot)
		}
	}))
	addr := h.Listener.Addr().String()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
	t.Cleanup(func() { tr.CloseIdleConnections(); h.Close() })
	return served{cfg.Desk.(*desk), addr, &http.Client{Transport: tr}, s}
}

const endpoint = "http://supervise.bottle/mcp"

// session is the SDK's client, connected.
func (s served) session(t testing.TB, versions ...string) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	tr := &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: s.client}
	var opts *mcp.ClientSessionOptions
	if len(versions) > 0 {
		opts = &mcp.ClientSessionOptions{ProtocolVersion: versions[0]}
	}
	session, err := c.Connect(t.Context(), tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func call(t testing.TB, s *mcp.ClientSession, tool string, args map[string]any) (text string, failed bool) {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	for _, c := range res.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			text += c.Text
		}
	}
	return text, res.IsError
}
