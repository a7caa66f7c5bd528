package live

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/store"
)

const printD1, printD2 = "0d0d0d0d100000000000000000000000", "0d0d0d0d200000000000000000000000"

const printA, printB = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"

// counter is a running bottle's desk: its log has findings, and its gateway says yes.
type counter struct {
	Desk
	id       bottle.Identity
	out, err bytes.Buffer
	mu       sync.Mutex
	asked    []plan.Control
	question string
	answer   bool
	routes   []bottle.Route
	repos    []bottle.Repo
	now      []plan.Admitted // in force
	waiting  []plan.Proposal
	deaf     bool // it answers nothing
	grants   []bottle.Grant
}

func pattern(t *testing.T, s string) bottle.Pattern {
	t.Helper()
	p, err := bottle.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{id: "worker-abc12", answer: true}
	c.routes = []bottle.Route{{Host: pattern(t, "*.example.com"), DLP: "ask"}}
	dir, err := os.MkdirTemp("/tmp", "desk-") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Reserve(c.id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Release() })
	if err := res.Write(store.Metadata{Identity: c.id, Agent: "worker", Bottle: "dev", Backend: "native", Status: store.Running, Started: time.Now().Add(-123 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(res.Layout.Audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []audit.Record{
		{Kind: "http", Host: "first.example.com", Findings: []audit.Finding{{Rule: "github-pat", Place: "url.query:t", Fingerprint: printA}}},
		{Kind: "http", Host: "api.example.com", Findings: []audit.Finding{{Rule: "undecodable"}, {Rule: "known-secret", Secret: ".env:API", Place: "body.json:$.a\x1b[2J", Fingerprint: printA, Length: 20}}},
		{Kind: "http", Host: "api.example.com"},
		{Kind: "http", Host: "off.example.com", Findings: []audit.Finding{{Rule: "github-pat", Fingerprint: printD1}, {Rule: "github-pat", Fingerprint: printD2}}},
	} {
		r.Verdict, r.Reason = audit.Deny, "secret_found"
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	sock, err := net.Listen("unix", res.Layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close() })
	go c.serve(sock)
	c.Desk = Desk{
		Out: &c.out, Err: &c.err, Style: func(io.Writer) plan.Style { return ui.Plain }, Terminal: func(any) bool { return true },
		Confirm: func(q string, yes bool) (bool, error) { c.question = q; return yes || c.answer, nil },
		Store:   func() (*store.Store, error) { return s, nil },
	}
	return c
}

// serve is the gateway: it admits everything, but nothing to refuse.example.com.
func (c *counter) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		line, _ := bufio.NewReader(conn).ReadBytes('\n')
		c.mu.Lock()
		deaf := c.deaf
		c.mu.Unlock()
		if deaf {
			conn.Close()
			continue
		}
		var req plan.Control
		_ = json.Unmarshal(line, &req)
		if req.Op == plan.OpPolicy {
			c.mu.Lock()
			_ = json.NewEncoder(conn).Encode(plan.InForce{Routes: c.routes, Git: plan.Repositories{Repos: c.repos}})
			c.mu.Unlock()
			conn.Close()
			continue
		}
		if req.Op == plan.OpStatus || req.Op == plan.OpMetrics {
			_ = json.NewEncoder(conn).Encode(c.measured(req))
			conn.Close()
			continue
		}
		if req.Op == plan.OpAdmits {
			_ = json.NewEncoder(conn).Encode(plan.Approvals{List: c.now, Recorded: true})
			conn.Close()
			continue
		}
		if req.Op == plan.OpProposals || req.Op == plan.OpGrants || req.Op == plan.OpDecide || req.Grant != "" {
			_ = json.NewEncoder(conn).Encode(c.supervise(req))
			conn.Close()
			continue
		}
		c.mu.Lock()
		c.asked = append(c.asked, req)
		if req.Op == plan.OpRevoke {
			_ = json.NewEncoder(conn).Encode(plan.Approvals{List: []plan.Admitted{{Fingerprint: req.Fingerprint, Host: "api.example.com"}}})
		}
		c.mu.Unlock()
		if req.Host == "refuse.example.com" {
			_ = json.NewEncoder(conn).Encode(map[string]string{"error": "no route leads to it"})
		} else {
			_ = json.NewEncoder(conn).Encode(plan.Admitted{Fingerprint: req.Fingerprint, Host: bottle.Host(req.Host), Until: time.Unix(1<<31, 0).Add(time.Duration(req.Seconds) * time.Second)})
		}
		conn.Close()
	}
}

// lead makes these the routes in force.
func (c *counter) lead(routes ...bottle.Route) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.routes = routes
}

func (c *counter) heard() []plan.Control {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.asked)
}

func (c *counter) run(args ...string) error { return c.does(c.Approve(), args...) }

func (c *counter) does(cmd *cobra.Command, args ...string) error {
	c.out.Reset()
	c.err.Reset()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	return cmd.Execute()
}

// TestApproveAsksAboutWhatTheLogKnows: the host is that of the last request which held
// the value; a person sees what it is, where it stood and where it would go.
func TestApproveAsksAboutWhatTheLogKnows(t *testing.T) {
	c := newCounter(t)
	if err := c.run("worker", strings.ToUpper(printA)); err != nil {
		t.Fatal(err)
	}
	if asked := c.heard(); len(asked) != 1 || asked[0].Op != plan.OpAdmit || asked[0].Host != "api.example.com" || asked[0].Fingerprint != printA || asked[0].Seconds != 3600 {
		t.Errorf("asked %+v", asked)
	}
	for _, part := range []string{"worker-abc12 may send this value to api.example.com for 1h0m0s", "found known-secret .env:API in body.json:$.a\\x1b[2J (20 B) " + printA} {
		if !strings.Contains(c.err.String(), part) {
			t.Errorf("%q is not in %q", part, c.err.String())
		}
	}
	if c.question != "Let it pass?" || !strings.Contains(c.out.String(), "passes to api.example.com until ") {
		t.Errorf("%q, %q", c.question, c.out.String())
	}
	err := c.run("worker", printA, "--host", "First.Example.com.", "--for", "90s")
	if asked := c.heard(); err != nil || len(asked) != 2 || asked[1].Host != "first.example.com" || asked[1].Seconds != 90 || !strings.Contains(c.err.String(), "found github-pat in url.query:t") {
		t.Errorf("%v, asked %+v: %s", err, asked, c.err.String())
	}
}

// TestApproveWithoutAYesAsksNobody: and what is no fingerprint, host or time is told
// before anybody is asked.
func TestApproveWithoutAYesAsksNobody(t *testing.T) {
	c := newCounter(t)
	c.answer = false
	if err := c.run("worker", printA); err == nil || !strings.Contains(c.err.String(), "Nothing was changed") {
		t.Errorf("%v: %s", err, c.err.String())
	}
	for _, bad := range []struct{ args, want string }{
		{"worker nonsense", "8 to 32 hex digits"}, {"worker " + printA + "0", "32 hex digits"},
		{"worker 0a0a0a0", "8 to 32 hex digits"}, {"worker 0c0c0c0c", "begins with 0c0c0c0c"}, {"worker 0d0d0d0d", "beginning of 2 fingerprints"},
		{"worker 0d0d0d0d1 0a0a0a0a", "not sent to one host"},
		{"worker " + printA + " --for 25h", "24h"}, {"worker " + printA + " --for 10ms", "24h"},
		{"worker " + printA + " --host https://x/", "--host"}, {"worker " + printB, "no such fingerprint"},
		{"nobody " + printA, "nobody"}, {"worker", "is no proposal"},
	} {
		if err := c.run(strings.Fields(bad.args)...); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v, want %q", bad.args, err, bad.want)
		}
	}
	if asked := c.heard(); len(asked) > 0 {
		t.Errorf("asked %+v", asked)
	}
	if err := c.run("worker", printB, "--host", "refuse.example.com", "--yes"); err == nil || !strings.Contains(err.Error(), "no route leads to it") || strings.Contains(hint(err), "version") || !strings.Contains(c.err.String(), "nobody can say what it is") {
		t.Errorf("%v: %s", err, c.err.String())
	}
}

// TestApproveRefusesAHostWithoutARoute: before it says what would be, and with the next
// step; and a value that was sent elsewhere is known by that.
func TestApproveRefusesAHostWithoutARoute(t *testing.T) {
	c := newCounter(t)
	err := c.run("worker", printA, "--host", "nope.example", "--yes")
	if err == nil || !strings.Contains(err.Error(), "no route or git repository of worker-abc12 leads to nope.example") || !strings.Contains(hint(err), "bottle edit bottles/dev && bottle reload worker-abc12") || c.err.Len() > 0 || len(c.heard()) > 0 {
		t.Errorf("%v: %s", err, c.err.String())
	}
	if err := c.run("worker", printA, "--host", "new.example.com", "--yes"); err != nil {
		t.Error(err)
	}
	for _, part := range []string{"it was not sent there yet, but to api.example.com:", "found known-secret .env:API"} {
		if !strings.Contains(c.err.String(), part) {
			t.Errorf("%q is not in %q", part, c.err.String())
		}
	}
}

// TestCompletionOffersWhatCanBeSpokenTo: bottles that run, hosts that the value was sent to.
func TestCompletionOffersWhatCanBeSpokenTo(t *testing.T) {
	c := newCounter(t)
	s, err := c.Store()
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Reserve("gone-abc12")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(res.Write(store.Metadata{Identity: "gone-abc12", Agent: "worker", Bottle: "dev", Backend: "native"}), res.Release()); err != nil {
		t.Fatal(err)
	}
	cmd := c.Approve()
	cmd.SetContext(t.Context())
	if list, d := c.completeApproval(cmd, nil, ""); !slices.Equal(list, []string{"worker-abc12\trunning"}) || d != cobra.ShellCompDirectiveNoFileComp {
		t.Errorf("%q", list)
	}
	for flag, want := range map[string][]string{"host": {"api.example.com", "first.example.com"}, "for": {"15m", "1h", "8h", "24h", "session", "always"}} {
		f, ok := cmd.GetFlagCompletionFunc(flag)
		if !ok {
			t.Fatal(flag)
		}
		if list, d := f(cmd, []string{"worker", printA}, ""); !slices.Equal(list, want) || d != cobra.ShellCompDirectiveNoFileComp {
			t.Errorf("--%s: %q", flag, list)
		}
	}
}

func TestApproveForMachines(t *testing.T) {
	c := newCounter(t)
	if err := c.run("worker", printA, "--yes", "--format", "json"); err != nil || c.err.Len() > 0 {
		t.Fatalf("%v: %s", err, c.err.String())
	}
	var got struct {
		Identity, Fingerprint, Host string
		Until                       time.Time
		Finding                     audit.Finding
	}
	if err := json.Unmarshal(c.out.Bytes(), &got); err != nil || got.Identity != "worker-abc12" || got.Fingerprint != printA || got.Host != "api.example.com" || got.Until.IsZero() || got.Finding.Secret != ".env:API" {
		t.Errorf("%v: %s", err, c.out.String())
	}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	if list, _ := c.completeApproval(cmd, []string{"worker"}, ""); len(list) != 4 || list[2] != printA+"\t.env:API to api.example.com" {
		t.Errorf("%q", list)
	}
	if list, _ := c.completeApproval(cmd, nil, ""); len(list) != 1 {
		t.Errorf("%q", list)
	}
}

// hint is the next step that an error names.
func hint(err error) string {
	var f *ui.Failure
	if errors.As(err, &f) {
		return f.Hint
	}
	return ""
}

// TestApproveTakesSeveralAndTheirBeginnings: as a denial lists them; each is told, and asked
// about once.
func TestApproveTakesSeveralAndTheirBeginnings(t *testing.T) {
	c := newCounter(t)
	if err := c.run("worker", "0d0d0d0d1", "0D0D0D0D2", printD1, "--for", "15m"); err != nil {
		t.Fatal(err)
	}
	asked := c.heard()
	if len(asked) != 2 || asked[0].Fingerprint != printD1 || asked[1].Fingerprint != printD2 || asked[1].Host != "off.example.com" {
		t.Errorf("asked %+v", asked)
	}
	if c.question != "Let them pass?" || !strings.Contains(c.err.String(), "these 2 values") || strings.Count(c.out.String(), "passes to off.example.com") != 2 {
		t.Errorf("%q: %s%s", c.question, c.err.String(), c.out.String())
	}
	var got []struct{ Fingerprint string }
	if err := c.run("worker", printD1, "0a0a0a0a", "--host", "api.example.com", "--yes", "--format", "json"); err != nil {
		t.Fatal(err)
	} else if err := json.Unmarshal(c.out.Bytes(), &got); err != nil || len(got) != 2 || got[1].Fingerprint != printA {
		t.Errorf("%v: %s", err, c.out.String())
	}
}

// TestApproveSaysWhatTheRouteSays: an approval opens a route that says block as well, so a
// person is told; where nobody looks there is nothing to approve.
func TestApproveSaysWhatTheRouteSays(t *testing.T) {
	c := newCounter(t)
	for mode, want := range map[string]string{"": "this route says dlp: block", "block": "this route says dlp: block", "redact": "this route says dlp: redact"} {
		c.lead(bottle.Route{Host: pattern(t, "*.example.com"), DLP: mode})
		if err := c.run("worker", printA); err != nil || !strings.Contains(c.err.String(), want) {
			t.Errorf("%q: %v: %s", mode, err, c.err.String())
		}
	}
	c.lead(bottle.Route{Host: pattern(t, "*.example.com"), DLP: "ask"})
	if err := c.run("worker", printA); err != nil || strings.Contains(c.err.String(), "this route says") {
		t.Errorf("%v: %s", err, c.err.String())
	}
	before := len(c.heard())
	c.lead(bottle.Route{Host: pattern(t, "off.example.com"), DLP: "off"}, bottle.Route{Host: pattern(t, "*.example.com"), DLP: "ask"})
	if err := c.run("worker", printD1); err != nil { // another route to it is looked into
		t.Error(err)
	}
	c.lead(bottle.Route{Host: pattern(t, "off.example.com"), DLP: "off"})
	if err := c.run("worker", printD1); err == nil || !strings.Contains(err.Error(), "nothing to approve") || len(c.heard()) != before+1 {
		t.Errorf("%v: %s", err, c.err.String())
	}
}

// TestApproveForAPush: the host of a git repository needs no route, and what a route says
// of dlp is nothing to a push.
func TestApproveForAPush(t *testing.T) {
	c := newCounter(t)
	c.repos = []bottle.Repo{{Name: "app", Upstream: "ssh://git@off.example.com:2222/team/app.git"}}
	for name, routes := range map[string][]bottle.Route{"no route": nil, "nobody looks": {{Host: pattern(t, "off.example.com"), DLP: "off"}}} {
		c.lead(routes...)
		if err := c.run("worker", printD1, "--host", "off.example.com"); err != nil || !strings.Contains(c.err.String(), "by git push: app") || strings.Contains(c.err.String(), "this route says") {
			t.Errorf("%s: %v: %s", name, err, c.err.String())
		}
	}
	c.lead(bottle.Route{Host: pattern(t, "off.example.com")})
	if err := c.run("worker", printD1, "--host", "off.example.com"); err != nil || !strings.Contains(c.err.String(), "by git push, too: app") || !strings.Contains(c.err.String(), "this route says dlp: block") {
		t.Errorf("%v: %s", err, c.err.String())
	}
	c.lead()
	if err := c.run("worker", printD1, "--host", "api.example.com"); err == nil || !strings.Contains(err.Error(), "no route or git repository") {
		t.Errorf("%v: %s", err, c.err.String())
	}
}
