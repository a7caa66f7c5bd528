package live

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/metric"
	"bottle/internal/plan"
	"bottle/internal/tui"
	"bottle/test/require"
	"bottle/test/screen"
)

// measured is what a gateway counted.
func (c *counter) measured(req plan.Control) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.Op == plan.OpMetrics {
		return plan.Metrics{Families: []metric.Family{
			{Name: "bottle_host_bytes_out_total", Kind: metric.Counter, Samples: []metric.Sample{{Value: 3 << 20}}},
			{Name: "bottle_host_bytes_in_total", Kind: metric.Counter, Samples: []metric.Sample{{Value: 1 << 20}, {Value: 512 << 10}}},
		}}
	}
	pending := 0
	for _, p := range c.waiting {
		if !p.Settled() {
			pending++
		}
	}
	return map[string]any{"allowed": 1234, "denied": 4, "pending": pending}
}

// change does something to the proposals while others read them.
func (c *counter) change(f func(list []plan.Proposal) []plan.Proposal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = f(c.waiting)
}

// wish is a proposal of an agent that means well.
func (c *counter) wish(t *testing.T, id, method string) {
	c.ask(t, id, "the tests need it")
	c.change(func(list []plan.Proposal) []plan.Proposal {
		p := &list[len(list)-1]
		p.Seq, p.Count, p.Route.Methods = uint64(len(list)), 1, []string{method}
		p.Says = "adds " + method + " to api.example.com/repos/* with credential GH_TOKEN"
		p.Diff = "--- in force\n+++ with it\n@@ -1,3 +1,3 @@\n - host: api.example.com\n-  methods: [GET]\n+  methods: [GET, " + method + "]\n"
		return list
	})
}

// standing is the status of a proposal.
func (c *counter) standing(id string) bottle.ProposalStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.waiting {
		if p.ID == id {
			return p.Status
		}
	}
	return "none"
}

// TestDashboardScreens: what stands where, on the usual screen and on a large one.
func TestDashboardScreens(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			c := newCounter(t)
			c.wish(t, "p222222", "POST")
			c.wish(t, "p333333", "PUT")
			p := newPane(t, c, size[0], size[1])
			golden(t, fmt.Sprintf("overview-%dx%d.txt", size[0], size[1]), p.Shows("> p222222", "deny http off.example.com"))
			p.Keys("a")
			golden(t, fmt.Sprintf("approve-%dx%d.txt", size[0], size[1]), p.Shows("Approve p222222", "y yes"))
			p.Keys("n")
			p.Shows("nothing was decided")
			p.Keys("?")
			golden(t, fmt.Sprintf("help-%dx%d.txt", size[0], size[1]), p.Shows("any key goes back"))
			p.Keys("q")
			p.Shows("a approve")
			p.Keys("q")
			p.Shows("exit code 0.")
			if asked := c.heard(); len(asked) > 0 {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

// TestDashboardDecides: each of the keys that answer a proposal.
func TestDashboardDecides(t *testing.T) {
	c := newCounter(t)
	for i, id := range []string{"p222222", "p333333", "p444444"} {
		c.wish(t, id, []string{"POST", "PUT", "PATCH"}[i])
	}
	p := newPane(t, c, 100, 30)
	p.Shows("> p222222")
	p.Keys("a")
	p.Shows("Approve p222222 of worker-abc12, for as long as the bottle runs?", "adds POST to api", "+  methods: [GET, POST]")
	p.yes("approved p222222, as long as the bottle; to take it back: bottle revoke g234567")
	p.Keys("j") // the cursor stood on what is gone: it waits for the operator
	p.Shows("> p333333")
	p.Keys("l")
	p.Shows("approve p333333 for: 1) 15m")
	p.Keys("1")
	p.Shows("Approve p333333 of worker-abc12, for 15m?", "adds PUT to api")
	p.yes("approved p333333, until ")
	p.Keys("j")
	p.Shows("> p444444")
	p.Keys("r")
	p.Shows("reject p444444, the agent is told:")
	p.Types("use the mirror; q y é")
	p.Shows("use the mirror; q y é_")
	p.Keys("Enter")
	p.Shows("rejected p444444", "none waits")
	asked := c.heard()
	if len(asked) != 3 || asked[0].Verdict != "approve" || asked[0].Seconds != 0 || asked[0].Seen == "" || asked[0].By == "" ||
		asked[1].Verdict != "approve" || asked[1].Seconds != 900 || asked[1].Proposal != "p333333" || asked[1].Seen == "" ||
		asked[2].Verdict != "reject" || asked[2].Note != "use the mirror; q y é" || asked[2].Proposal != "p444444" {
		t.Errorf("asked %+v", asked)
	}
}

// TestDashboardActsByWhatWasDrawn: the weakness is that the list, and what a proposal opens,
// change between the drawing and the key. News moves no cursor; what is gone leaves none;
// and a yes gives what was shown, or nothing.
func TestDashboardActsByWhatWasDrawn(t *testing.T) {
	c := newCounter(t)
	c.wish(t, "p444444", "POST")
	p := newPane(t, c, 100, 30)
	p.Shows("> p444444")
	c.wish(t, "p222222", "DELETE")
	c.change(func(list []plan.Proposal) []plan.Proposal {
		list[1].Created = list[1].Created.Add(-time.Hour) // an older one comes in above it
		return []plan.Proposal{list[1], list[0]}
	})
	text := p.Shows("p222222", "> p444444")
	if strings.Index(text, "p222222") > strings.Index(text, "> p444444") {
		t.Fatalf("it did not come in above:\n%s", text)
	}
	p.Keys("a")
	p.Shows("Approve p444444", "adds POST")
	c.change(func(list []plan.Proposal) []plan.Proposal {
		list[1].Diff += "+- host: evil.example.net\n"
		return list
	})
	p.yes("p444444 would open something else than what you were shown")
	if len(c.heard()) != 1 || c.standing("p444444") != bottle.ProposalPending {
		t.Errorf("%s: %+v", c.standing("p444444"), c.heard())
	}
	p.Keys("Escape") // the error was seen
	p.Shows("evil.example.net")
	c.change(func(list []plan.Proposal) []plan.Proposal {
		list[1].Status, list[1].Decided = bottle.ProposalRejected, time.Now()
		return list
	})
	text = p.Shows("the proposal that stood here waits no longer")
	if strings.Contains(text, "> p222222") {
		t.Errorf("the cursor went to another:\n%s", text)
	}
	p.Keys("a", "y")
	p.Shows("no proposal is chosen")
	if len(c.heard()) != 1 {
		t.Errorf("%+v", c.heard())
	}
}

// TestTwoDashboards: of two operators who decide at once one wins, and the other is told.
func TestTwoDashboards(t *testing.T) {
	c := newCounter(t)
	c.wish(t, "p222222", "POST")
	one, two := newPane(t, c, 100, 30), newPane(t, c, 100, 30)
	for _, p := range []pane{one, two} {
		p.Shows("> p222222")
		p.Keys("a")
		p.Shows("Approve p222222", "y yes")
	}
	one.yes("approved p222222")
	two.yes("p222222 is decided already: approved, ")
	two.Keys("x") // an error stays until somebody puts it away
	two.Keys("n")
	two.Shows("p222222 is decided already: approved, ", "Esc puts the error away")
	two.Keys("Escape")
	two.Until("a screen without it", func(text string) bool { return !strings.Contains(text, "decided already") })
	approved := 0
	for _, a := range c.heard() {
		if a.Verdict == "approve" {
			approved++
		}
	}
	if approved != 2 || c.standing("p222222") != bottle.ProposalApproved {
		t.Errorf("%d, %s", approved, c.standing("p222222"))
	}
}

// TestDashboardIsKilled: at each moment of an approval. What was decided stays so, and what
// was not waits in the next dashboard; nothing is decided twice.
func TestDashboardIsKilled(t *testing.T) {
	for name, until := range map[string]func(pane, *counter){
		"at the list":     func(pane, *counter) {},
		"while it weighs": func(p pane, _ *counter) { p.Keys("a") },
		"at the question": func(p pane, _ *counter) { p.Keys("a"); p.Shows("y yes") },
		"while it decides": func(p pane, c *counter) {
			p.Keys("a")
			p.Shows("y yes")
			var last time.Time
			p.Until("a decision", func(string) bool {
				if time.Since(last) > time.Second/2 {
					p.Keys("y")
					last = time.Now()
				}
				return len(c.heard()) > 0
			})
		},
		"when it is decided": func(p pane, _ *counter) { p.Keys("a"); p.Shows("y yes"); p.yes("approved p222222") },
		"while a reason is typed": func(p pane, _ *counter) {
			p.Keys("r")
			p.Shows("the agent is told:")
			p.Types("because")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCounter(t)
			c.wish(t, "p222222", "POST")
			p := newPane(t, c, 100, 30)
			p.Shows("> p222222")
			until(p, c)
			p.Kill()
			p.Shows("exit code 137.")
			decided := len(c.heard()) == 1
			if (c.standing("p222222") == bottle.ProposalApproved) != decided || len(c.heard()) > 1 {
				t.Errorf("%s: %+v", c.standing("p222222"), c.heard())
			}
			next := newPane(t, c, 100, 30)
			if decided {
				next.Shows("none waits")
				return
			}
			next.Shows("> p222222")
			next.Keys("a")
			next.Shows("Approve p222222", "y yes")
			next.yes("approved p222222")
			if len(c.heard()) != 1 {
				t.Errorf("%+v", c.heard())
			}
		})
	}
}

// TestDashboardOnce prints it for scripts, rings nothing, and never asks for a terminal.
func TestDashboardOnce(t *testing.T) {
	c := newCounter(t)
	c.ask(t, "p222222", "needed\x1b[2J\x1b]0;root\x07")
	if err := c.does(c.Dashboard(), "--once"); err != nil {
		t.Fatal(err)
	}
	got := c.out.String()
	for _, want := range []string{"worker-abc12", "native", "5d3h", "1238", "4.5 MiB", `adds POST to api.example.com/* with credential API\u{1b}[1A`, `needed\u{1b}[2J\u{1b}]0;root\u{7}`, `+- host: api.example.com\u{1b}[2K`, "decisions of worker-abc12", "deny http off.example.com"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.ContainsAny(got, "\x1b\a") {
		t.Errorf("%q", got)
	}
	if err := c.does(c.Dashboard(), "worker", "--once", "--format", "json"); err != nil {
		t.Fatal(err)
	}
	var s tui.Sight
	if err := json.Unmarshal(c.out.Bytes(), &s); err != nil || len(s.Bottles) != 1 || s.Bottles[0].Requests != 1238 || s.Bottles[0].Pending != 1 || len(s.Proposals) != 1 || s.Proposals[0].ID != "p222222" || s.Proposals[0].Identity != "worker-abc12" || len(s.Log) != 4 {
		t.Errorf("%v: %s", err, c.out.String())
	}
	c.Terminal = func(any) bool { return false }
	for _, args := range [][]string{{}, {"--format", "json"}} {
		if err := c.does(c.Dashboard(), args...); err == nil || !strings.Contains(hint(err), "--once") {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := c.does(c.Dashboard(), "nobody", "--once"); err == nil {
		t.Error("there is no such bottle")
	}
}

// TestDashboardRings: on a new proposal, and not for those that were there. Nothing of what
// it says ends the sequence, or begins one.
func TestDashboardRings(t *testing.T) {
	c := newCounter(t)
	c.wish(t, "p222222", "POST")
	p := newPane(t, c, 100, 30)
	p.Shows("> p222222")
	raw := p.Raw()
	c.ask(t, "p333333", "x")
	c.change(func(list []plan.Proposal) []plan.Proposal {
		list[1].Says = "adds \a\x1b\\\x1b]52;c;aGk=\a\u009c;4;3;é " + strings.Repeat("x", 400)
		return list
	})
	p.Shows("p333333")
	var got []byte
	require.Eventually(t, screen.Patience, "the bell", func() bool {
		got, _ = os.ReadFile(raw)
		return bytes.Count(got, []byte("\a")) >= 3
	})
	_, ring, ok := bytes.Cut(got, []byte("\a\x1b]9;bottle: "))
	body, rest, _ := bytes.Cut(ring, []byte("\a"))
	if !ok || !bytes.HasPrefix(body, []byte("p333333 of worker-abc12 adds ")) || !bytes.HasPrefix(rest, append([]byte("\x1b]777;notify;bottle;"), append(body, '\a')...)) || len(body) > 200 {
		t.Fatalf("%q", got)
	}
	for _, b := range body {
		if b < ' ' || b > '~' || b == ';' {
			t.Errorf("%q holds %q", body, b)
		}
	}
	if n := bytes.Count(got, []byte("\x1b]")); n != 2 {
		t.Errorf("%d sequences of that kind: %q", n, got)
	}
}

// TestDashboardModifies: what comes out of the editor is read as a manifest is, can be
// mended, and is given as it was shown; a text that nobody changed gives nothing.
func TestDashboardModifies(t *testing.T) {
	c := newCounter(t)
	c.home(t, mine)
	c.wish(t, "p222222", "POST")
	h := &house{Desk: c.Desk, last: map[bottle.Identity]seen{}}
	a := tui.Answer{Bottle: c.id, Proposal: "p222222"}
	var texts []string
	edits := func(texts ...func(string) string) {
		h.Editor = func(_ context.Context, path string) error {
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			text, _ := os.ReadFile(path)
			next := texts[0]
			texts = texts[1:]
			return os.WriteFile(path, []byte(next(string(text))), 0o600)
		}
	}
	same := func(s string) string { texts = append(texts, s); return s }
	to := func(old, with string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, with, 1) }
	}
	for name, edit := range map[string]func(string) string{"same": same, "empty": func(string) string { return "\n" }} {
		edits(edit)
		if r, err := h.Modify(t.Context(), a); r != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if len(texts) != 1 || !strings.Contains(texts[0], "    - host: api.example.com\n      methods: [POST]\n---\n") || !strings.Contains(texts[0], "Why: the tests need it\n") {
		t.Errorf("%q", texts)
	}
	edits(to("methods: [POST]", "methods: POST: x"), to("methods: POST: x", "methods: [GET]\n      path_allowlist: [/v1/]"))
	r, err := h.Modify(t.Context(), a)
	if err != nil || r == nil || len(r.Methods) != 1 || r.Methods[0] != "GET" || r.Paths[0] != "/v1/" || r.Host.String() != "api.example.com" || r.TLS != "" || r.DLP != "" || r.Rule != "" || c.question != "Edit it again?" {
		t.Errorf("%+v, %v, %q", r, err, c.question)
	}
	c.answer = false
	edits(to("- host", "- hosts"))
	if r, err := h.Modify(t.Context(), a); r != nil || err == nil {
		t.Errorf("%+v, %v", r, err)
	}
	edits(to("---\n\n", "    - host: two.example.com\n---\n\n"))
	if r, err := h.Modify(t.Context(), a); r != nil || err == nil || !strings.Contains(err.Error(), "2 routes") {
		t.Errorf("%+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "p222222-*.md")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	a.Route = r
	if _, err := h.Decide(t.Context(), a); err == nil || !strings.Contains(err.Error(), "nobody saw") || len(c.heard()) > 0 {
		t.Errorf("%v: %+v", err, c.heard())
	}
}

// TestDashboardWritesWhatWasShown: the lines for the manifest are those that were drawn, or
// nothing is decided.
func TestDashboardWritesWhatWasShown(t *testing.T) {
	c := newCounter(t)
	path := c.home(t, mine)
	c.wish(t, "p222222", "POST")
	h := &house{Desk: c.Desk, last: map[bottle.Identity]seen{}}
	a := tui.Answer{Bottle: c.id, Proposal: "p222222", Always: true}
	w, err := h.Weigh(t.Context(), a)
	if err != nil || len(w.Lines) == 0 || w.File != path {
		t.Fatalf("%+v, %v", w, err)
	}
	a.Seen = w.Seen
	for _, lines := range [][]string{nil, {"    - host: other.example.com\n"}} {
		a.Lines = lines
		if _, err := h.Decide(t.Context(), a); err == nil || !strings.Contains(err.Error(), "other lines than you were shown") || len(c.heard()) > 0 {
			t.Errorf("%v: %+v", err, c.heard())
		}
	}
	a.Lines = w.Lines
	said, err := h.Decide(t.Context(), a)
	text, _ := os.ReadFile(path)
	if err != nil || !strings.Contains(said, "and written") || !strings.Contains(string(text), "    - host: api.example.com\n      methods: [POST]\n---\nMine.") {
		t.Errorf("%q, %v\n%s", said, err, text)
	}
}

// TestApproveGivesWhatWasShown: `bottle approve` asks, and meanwhile it would open more.
func TestApproveGivesWhatWasShown(t *testing.T) {
	c := newCounter(t)
	c.wish(t, "p222222", "POST")
	c.Confirm = func(string, bool) (bool, error) {
		c.change(func(list []plan.Proposal) []plan.Proposal { list[0].Diff += "+more"; return list })
		return true, nil
	}
	if err := c.run("p222222"); err == nil || !strings.Contains(err.Error(), "something else than what you were shown") || c.standing("p222222") != bottle.ProposalPending {
		t.Errorf("%v, %s", err, c.standing("p222222"))
	}
	if err := c.run("p222222", "--yes"); err != nil { // he takes what there is
		t.Error(err)
	}
}

// TestLookKeepsWhatASlowGatewayTold: its proposals are not gone, and no news when it answers again.
func TestLookKeepsWhatASlowGatewayTold(t *testing.T) {
	c := newCounter(t)
	c.wish(t, "p222222", "POST")
	h := &house{Desk: c.Desk, last: map[bottle.Identity]seen{}}
	for i, deaf := range []bool{false, true, false} {
		c.mu.Lock()
		c.deaf = deaf
		c.mu.Unlock()
		s := h.Look(t.Context(), c.id)
		if len(s.Bottles) != 1 || len(s.Proposals) != 1 || len(s.Problems) > 0 != deaf || len(s.Log) != 4 {
			t.Errorf("%d: %+v", i, s)
		}
	}
	c.change(func([]plan.Proposal) []plan.Proposal { return nil })
	if s := h.Look(t.Context(), ""); len(s.Proposals) > 0 || len(s.Log) > 0 {
		t.Errorf("%+v", s)
	}
}

// TestBottleThatEndsIsNoProblem: its gateway has ended in order, and the start takes the walls down
// yet. One whose gateway was killed is told of: that leaves the socket's file.
func TestBottleThatEndsIsNoProblem(t *testing.T) {
	c := newCounter(t)
	s, err := c.Store()
	if err != nil {
		t.Fatal(err)
	}
	socket := s.Layout(c.id).Control
	h := &house{Desk: c.Desk, last: map[bottle.Identity]seen{}}
	if err := os.Rename(socket, socket+".away"); err != nil {
		t.Fatal(err)
	}
	if got := h.Look(t.Context(), ""); len(got.Problems) > 0 || len(got.Bottles) > 0 {
		t.Errorf("one that ends: %+v", got)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	go func() { // one that ends while it is asked
		if conn, err := l.Accept(); err == nil {
			_ = os.Remove(socket)
			_ = conn.Close()
		}
	}()
	if got := h.Look(t.Context(), ""); len(got.Problems) > 0 || len(got.Bottles) > 0 {
		t.Errorf("one that ends while it is asked: %+v", got)
	}
	_ = l.Close()
	if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if got := h.Look(t.Context(), ""); len(got.Problems) != 1 || len(got.Bottles) != 1 {
		t.Errorf("one whose gateway was killed: %+v", got)
	}
}

// TestEditThatIsNotPutInForce: what was saved stays, and nobody says that nothing was changed.
func TestEditThatIsNotPutInForce(t *testing.T) {
	if err := saved("dev-abc12", ui.Exit(ui.CodeNo)); err == nil || !strings.Contains(err.Error(), "not in force: bottle reload dev-abc12") {
		t.Error(err)
	}
	if err := saved("dev-abc12", nil); err != nil {
		t.Error(err)
	}
	c := newCounter(t) // an editor whose text is thrown away saves nothing
	h := &house{Desk: c.Desk, last: map[bottle.Identity]seen{}}
	h.EditBottle = func(context.Context, bottle.Name) error { return ui.Exit(ui.CodeNo) }
	if err := h.Edit(t.Context(), c.id); err == nil || err.Error() != "nothing was changed" {
		t.Error(err)
	}
}

// TestApprovedIsTold on a narrow terminal: the terminal breaks none of it.
func TestApprovedIsTold(t *testing.T) {
	c := newCounter(t)
	c.wish(t, "p222222", "POST")
	s, err := c.Store()
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Dir(s.Root())
	p := screen.New(t, 60, 30, func(cmd *exec.Cmd) {
		cmd.Env = []string{"HOME=" + home, "BOTTLE_HOME=" + home, "PATH=" + os.Getenv("PATH"), "TZ=UTC", "NO_COLOR=1"}
	}, filepath.Join(require.Binaries(t), "bottle"), "approve", "p222222", "--for", "15m", "--yes")
	text := p.Shows("approved p222222", "exit code 0.")
	if _, told, _ := strings.Cut(text, "approved p222222"); !strings.Contains(told, "\n  ") {
		t.Errorf("what goes on is not indented:\n%s", text)
	}
}
