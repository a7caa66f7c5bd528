package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// asker is an MCP client where the agent stands.
func asker(t *testing.T, client *http.Client) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	http := &http.Client{Transport: client.Transport} // a call may wait for longer than the other's requests
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: "http://" + plan.SuperviseHost + plan.SupervisePath, HTTPClient: http}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func callTool(t *testing.T, s *mcp.ClientSession, tool string, args map[string]any) string {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Error(err)
		return ""
	}
	text := ""
	for _, c := range res.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			text += c.Text
		}
	}
	return text
}

// TestAnAgentAsksAndTheNextRequestPasses: the whole way of an ask through one gateway. What
// is denied is asked for, the operator approves while the call waits, and when the call
// comes back the very next request passes.
func TestAnAgentAsksAndTheNextRequestPasses(t *testing.T) {
	r := inProcess(t)
	u := newUpstream(t, t.TempDir())
	what := r.what(u)
	what.Asked, what.Supervise = r.dir+"/proposals", true
	what.Routes[0].Methods, what.Routes[0].Paths = []string{"GET"}, []string{"/v1"}
	in, _, _, client := r.startAs(t, what)
	resolve(t, in, plan.SuperviseHost, true)
	s := asker(t, client)
	if code, body, err := get(t, client, "https://example.com/v2/things"); code != http.StatusForbidden || err != nil || !strings.Contains(body, `"ask":{"tool":"egress-block","host":"example.com"}`) {
		t.Fatalf("before: %d %s %v", code, body, err)
	}
	if got := callTool(t, s, "check-egress", map[string]any{"method": "GET", "url": "https://example.com/v2/things"}); !strings.Contains(got, "path_not_listed") {
		t.Errorf("check-egress: %s", got)
	}
	denials, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "bottle://denials"})
	if err != nil || !strings.Contains(denials.Contents[0].Text, `"path": "/v2/things"`) || !strings.Contains(denials.Contents[0].Text, "egress-block") {
		t.Errorf("denials: %v, %v", denials, err)
	}
	said := make(chan string)
	go func() {
		said <- callTool(t, s, "egress-block", map[string]any{"host": "example.com", "methods": []string{"GET"}, "path_allowlist": []string{"/v2"}, "justification": "the list of things is there"})
	}()
	p := pending(t, what, bottle.Host("example.com"))
	if p.Why != "the list of things is there" || p.Auto {
		t.Errorf("%+v", p)
	}
	var out plan.Decided
	ctl(t, what.Control, plan.Control{Op: plan.OpDecide, Proposal: p.ID, Verdict: "approve", By: "ann"}, &out)
	decided := time.Now()
	if got := <-said; !strings.Contains(got, `"status":"approved"`) || !strings.Contains(got, p.ID) {
		t.Errorf("egress-block: %s", got)
	}
	if got := status(t, client, "https://example.com/v2/things"); got != http.StatusOK {
		t.Errorf("after: %d", got)
	}
	t.Logf("from the decision to the answer of the next request: %v", time.Since(decided))
	if got := callTool(t, s, "proposal-status", map[string]any{"id": p.ID}); !strings.Contains(got, `"status":"approved"`) {
		t.Errorf("proposal-status: %s", got)
	}
	if got := callTool(t, s, "list-egress-routes", nil); !strings.Contains(got, `"/v2"`) || strings.Contains(got, realKey) || strings.Contains(got, u.ca) {
		t.Errorf("list-egress-routes: %s", got)
	}
	// The gateway's own names are nobody's to open.
	if got := callTool(t, s, "egress-block", map[string]any{"host": plan.SuperviseHost, "justification": "a test"}); !strings.Contains(got, "gateway's own") {
		t.Errorf("%s", got)
	}
}

// Without `supervise` there is no server, and its name is unknown.
func TestWithoutSuperviseThereIsNoServer(t *testing.T) {
	r := inProcess(t)
	what := r.what(newUpstream(t, t.TempDir()))
	what.Asked = r.dir + "/proposals"
	in, _, _, client := r.startAs(t, what)
	resolve(t, in, plan.SuperviseHost, false)
	res, err := client.Get("http://" + plan.SuperviseHost + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); res.StatusCode != http.StatusForbidden || err != nil || !strings.Contains(string(body), `"ask":{"host":`) {
		t.Errorf("%d %s %v", res.StatusCode, body, err)
	}
}

// TestTheManifestSaysHowLongAnAskWaits, where the call says nothing of it.
func TestTheManifestSaysHowLongAnAskWaits(t *testing.T) {
	r := inProcess(t)
	what := r.what(newUpstream(t, t.TempDir()))
	what.Asked, what.Supervise, what.Wait = r.dir+"/proposals", true, 1
	_, _, _, client := r.startAs(t, what)
	s := asker(t, client)
	began := time.Now()
	got := callTool(t, s, "egress-block", map[string]any{"host": "www.example.com", "justification": "a test"})
	if took := time.Since(began); !strings.Contains(got, `"status":"pending"`) || took < time.Second || took > 20*time.Second {
		t.Errorf("after %v: %s", took, got)
	}
}
