package live

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/plan/sight"
	"bottle/internal/store"
)

// supervise answers as a gateway does that has what c.waiting holds.
func (c *counter) supervise(req plan.Control) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch req.Op {
	case plan.OpGrants:
		return plan.Grants{List: c.grants}
	case plan.OpRevoke:
		c.asked = append(c.asked, req)
		return plan.Revoked{Grant: bottle.Grant{ID: req.Grant}, Cut: 2}
	case plan.OpProposals:
		out := plan.Proposals{}
		for _, p := range c.waiting {
			if req.Proposal == "" || req.Proposal == p.ID {
				out.List = append(out.List, p)
			}
		}
		return out
	}
	if !req.Check {
		c.asked = append(c.asked, req)
	}
	for i, p := range c.waiting {
		if p.ID != req.Proposal {
			continue
		}
		if p.Settled() {
			return map[string]string{"error": p.ID + " is decided already: approved, ann at 15:04:05"}
		}
		if req.Route != nil {
			p.Says = "adds " + strings.Join(req.Route.Methods, ", ") + " instead"
		}
		if p.Given = req.Route; req.Verdict != "reject" && req.Seen != "" && req.Seen != sight.Of(p.Proposal, p.Says, p.Diff) {
			return map[string]string{"error": p.ID + " would open something else than what you were shown"}
		}
		if req.Check {
			return plan.Decided{Proposal: p, Old: "a", New: "b"}
		}
		p.Decided, p.By, p.Note, p.Status = time.Unix(1e9, 0), req.By, req.Note, bottle.ProposalRejected
		if req.Verdict != "reject" {
			p.Status, p.Lease = bottle.ProposalApproved, &bottle.Grant{ID: "g234567", Proposal: p.ID, Since: p.Decided}
			if req.Seconds > 0 {
				p.Lease.Until = p.Decided.Add(time.Duration(req.Seconds) * time.Second)
			}
		}
		c.waiting[i] = p
		return plan.Decided{Proposal: p, Old: "a", New: "b", Cut: 1}
	}
	return map[string]string{"error": "there is no proposal"}
}

// ask has a proposal wait, about which an agent wrote whatever it wanted.
func (c *counter) ask(t *testing.T, id, why string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, plan.Proposal{
		Asked: bottle.Asked{Proposal: bottle.Proposal{ID: id, Seq: 1, Kind: bottle.ProposalEgress, Created: time.Unix(1e9, 0), Count: 3, Why: why, Status: bottle.ProposalPending,
			Route: &bottle.Route{Host: pattern(t, "api.example.com"), Ports: []uint16{443}, Methods: []string{"POST"}}}},
		Says: "adds POST to api.example.com/* with credential API\x1b[1A", Diff: "@@ -0 +1 @@ api.example.com\n+- host: api.example.com\x1b[2K\n",
	})
}

// TestProposalsAreShownHarmlessly: the weakness is that an operator decides by what an agent
// wrote. Whatever that is, the gateway's own words included, a terminal shows it.
func TestProposalsAreShownHarmlessly(t *testing.T) {
	c := newCounter(t)
	c.ask(t, "p234567", "needed\x1b[2J\x1b]0;root\x07\u202edlo\u3164\nproposal p999999 approved")
	for _, args := range [][]string{{}, {"worker"}, {"p234567"}, {"--all"}} {
		if err := c.does(c.Proposals(), args...); err != nil {
			t.Fatal(err)
		}
		got := c.out.String()
		if strings.ContainsAny(got, "\x1b\x07\u202e\u3164") || !strings.Contains(got, `needed\u{1b}[2J`) || !strings.Contains(got, "p234567") || strings.Contains(got, "\nproposal p999999") {
			t.Errorf("%q:\n%s", args, got)
		}
		if flat := strings.Join(strings.Fields(got), " "); !strings.Contains(flat, `adds POST to api.example.com/* with credential API\u{1b}[1A`) || !strings.Contains(flat, "asked 3 times") {
			t.Errorf("%q:\n%s", args, got)
		}
	}
	if err := c.does(c.Proposals(), "p234567"); err != nil || !strings.Contains(c.out.String(), "  +- host: api.example.com\\u{1b}[2K\n") {
		t.Errorf("%v\n%s", err, c.out.String())
	}
	var got struct{ Proposals []proposed }
	if err := c.does(c.Proposals(), "--format", "json"); err != nil || json.Unmarshal(c.out.Bytes(), &got) != nil || len(got.Proposals) != 1 || got.Proposals[0].Identity != "worker-abc12" || got.Proposals[0].ID != "p234567" {
		t.Errorf("%v: %s", err, c.out.String())
	}
}

// TestLessIsWeighedAndShownFirst. The weakness: what is given instead of what was asked for
// may open something that its author did not foresee. This proves that the gateway says what
// it would open before anybody is asked, that no is no, and that a yes gives what was shown.
func TestLessIsWeighedAndShownFirst(t *testing.T) {
	c := newCounter(t)
	c.ask(t, "p222222", "why")
	c.answer = false
	if err := c.run("p222222", "--method", "HEAD"); err == nil || !strings.Contains(c.out.String(), "adds HEAD instead") || strings.Contains(c.out.String(), "adds POST") || c.question == "" || len(c.heard()) > 0 {
		t.Errorf("%v %q\n%s", err, c.question, c.out.String())
	}
	c.answer = true
	for _, args := range [][]string{{"p222222", "--method", "HEAD"}, {"p222222", "--path", "/v1", "--yes"}} {
		c.change(func(list []plan.Proposal) []plan.Proposal { list[0].Status = bottle.ProposalPending; return list })
		if err := c.run(args...); err != nil {
			t.Error(err)
		}
	}
	if asked := c.heard(); len(asked) != 2 || asked[0].Verdict != "modify" || asked[0].Seen == "" || asked[1].Seen == "" || asked[1].Seen == asked[0].Seen {
		t.Errorf("%+v", asked)
	}
	if err := c.run("p222222", "--port", "8443", "--yes"); err == nil || !strings.Contains(err.Error(), "decided already") {
		t.Error(err)
	}
}

// TestPushThatIsNotWhole: who was shown a part has to say that it is enough, also with --yes,
// and is told what to do instead.
func TestPushThatIsNotWhole(t *testing.T) {
	c := newCounter(t)
	c.ask(t, "p222222", "why")
	c.change(func(list []plan.Proposal) []plan.Proposal {
		list[0].Route, list[0].Kind, list[0].Push = nil, bottle.ProposalPush, &bottle.PushAsk{Repo: "app", Diff: bottle.NotWhole + "only the first\n+x\n"}
		return list
	})
	for _, args := range [][]string{{"p222222"}, {"p222222", "--yes"}} {
		if err := c.run(args...); err == nil || !strings.Contains(hint(err), "bottle reject p222222 --reason \"push it in smaller parts\"") || !strings.Contains(hint(err), "bottle approve p222222 --not-whole") || len(c.heard()) > 0 {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := c.run("p222222", "--not-whole"); err != nil || c.question == "" || len(c.heard()) != 1 || c.heard()[0].Seen == "" {
		t.Errorf("%v: %+v", err, c.heard())
	}
}

// TestDecide: what was asked for, for how long, or less of it; the second operator is told.
func TestDecide(t *testing.T) {
	c := newCounter(t)
	for i, id := range []string{"p222222", "p333333", "p444444", "p555555"} {
		c.ask(t, id, strings.Repeat("x", i))
	}
	if err := c.run("p222222"); err != nil || c.question != "Approve it for as long as the bottle runs?" || !strings.Contains(c.out.String(), "approved p222222, as long as the bottle: adds POST") || !strings.Contains(c.err.String(), "bottle revoke worker-abc12 g234567") || !strings.Contains(c.err.String(), "cut: 1 open stream") {
		t.Errorf("%v %q\n%s%s", err, c.question, c.out.String(), c.err.String())
	}
	if err := c.run("worker", "p333333", "--for", "15m", "--note", "read only", "--method", "get,head", "--path", "/v1", "--port", "8443", "-y", "--format", "json"); err != nil {
		t.Error(err)
	}
	var js struct {
		Identity, ID string
		New          string
	}
	if json.Unmarshal(c.out.Bytes(), &js) != nil || js.ID != "p333333" || js.Identity != "worker-abc12" || js.New != "b" {
		t.Error(c.out.String())
	}
	if err := c.does(c.Reject(), "p444444", "--reason", "no\x1b[2J"); err != nil || c.out.String() != "rejected p444444\n" {
		t.Errorf("%v: %s", err, c.out.String())
	}
	c.answer = false
	if err := c.run("p555555"); err == nil || !strings.Contains(c.err.String(), "Nothing was changed") {
		t.Errorf("a no: %v", err)
	}
	asked := c.heard()
	if len(asked) != 3 || asked[0].Verdict != "approve" || asked[0].Seconds != 0 || asked[0].By != operator() || asked[2].Verdict != "reject" || asked[2].Note != "no\x1b[2J" {
		t.Fatalf("%+v", asked)
	}
	if m := asked[1]; m.Verdict != "modify" || m.Seconds != 900 || m.Note != "read only" || !slices.Equal(m.Route.Methods, []string{"GET", "HEAD"}) || !slices.Equal(m.Route.Paths, []string{"/v1"}) || m.Route.Ports[0] != 8443 || m.Route.Host.Host != "api.example.com" {
		t.Errorf("%+v", m)
	}
	for args, want := range map[string]string{
		"p222222 --yes": "decided already: approved, ann at", "p999999": "no running bottle has", "worker p999999": "no running bottle has", "nobody p222222": "nobody",
		"p555555 --for 0s": "not from 1s", "p555555 --for 721h": "not from 1s", "p555555 --host a.example.com": "names its host", "p22222a": "is no proposal", "p555555 --for 15": "missing unit",
	} {
		if err := c.run(strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if err := c.does(c.Reject(), "p222222"); err == nil || !strings.Contains(err.Error(), "ann at") || strings.Contains(hint(err), "version") {
		t.Errorf("%v", err)
	}
}

// TestGrantsAndRevoke: what holds, what it is about, and how to take it back.
func TestGrantsAndRevoke(t *testing.T) {
	c := newCounter(t)
	if err := c.does(c.Grants(), "worker"); err != nil || !strings.Contains(c.out.String(), "nothing is granted: worker-abc12") {
		t.Errorf("%v: %s", err, c.out.String())
	}
	c.ask(t, "p222222", "")
	c.grants = []bottle.Grant{
		{ID: "g222222", Proposal: "p222222", Since: time.Unix(1e9, 0), By: "ann\x1b[2J", Reason: "for the build"},
		{ID: "g333333", Proposal: "p333333", Since: time.Unix(1e9, 0), Until: time.Unix(1e9+60, 0)},
		{ID: "g444444", Proposal: "p333333", Since: time.Unix(1e9, 0), Ended: time.Unix(1e9+60, 0), EndedBy: "revoked by bob"},
	}
	if err := c.does(c.Grants(), "worker"); err != nil || strings.Contains(c.out.String(), "g333333") || strings.Contains(c.out.String(), "\x1b") {
		t.Errorf("%v: %s", err, c.out.String())
	}
	if flat := strings.Join(strings.Fields(c.out.String()), " "); !strings.Contains(flat, `g222222 with the bottle POST to api.example.com, p222222, given at `+ui.Clock(time.Unix(1e9, 0))+` by ann\u{1b}[2J: for the build`) {
		t.Error(flat)
	}
	if err := c.does(c.Grants(), "worker", "--all"); err != nil || !strings.Contains(c.out.String(), "revoked by bob") || !strings.Contains(c.out.String(), "g333333") {
		t.Errorf("%v: %s", err, c.out.String())
	}
	for _, args := range [][]string{{"g222222"}, {"worker", "g222222"}} {
		if err := c.does(c.Revoke(), args...); err != nil || c.out.String() != "revoked g222222\n" || !strings.Contains(c.err.String(), "2 open streams") || !strings.Contains(c.err.String(), "takes nothing") {
			t.Errorf("%v: %s%s", err, c.out.String(), c.err.String())
		}
	}
	for args, want := range map[string]string{"g999999": "no running bottle has", "worker p222222": "is no grant", "0a0a0a0a": "is no grant", "": "needs"} {
		if err := c.does(c.Revoke(), strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if asked := c.heard(); len(asked) != 2 || asked[0].Grant != "g222222" || asked[0].By != operator() {
		t.Errorf("%+v", asked)
	}
}

// TestProposalsOfOneThatEnded: they are read from its folder, and nobody can decide them.
func TestProposalsOfOneThatEnded(t *testing.T) {
	c := newCounter(t)
	s, err := c.Store()
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Reserve("gone-abc12")
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := store.OpenQueue(res.Layout.Asked)
	if err != nil {
		t.Fatal(err)
	}
	p, err := bottle.Proposal{Kind: bottle.ProposalEgress, Why: "because", Route: &bottle.Route{Host: pattern(t, "a.example.com")}}.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	p.Created = time.Now()
	if _, err := q.Add(p); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Close(), res.Write(store.Metadata{Identity: "gone-abc12", Agent: "worker", Bottle: "dev", Backend: "native"}), res.Release()); err != nil {
		t.Fatal(err)
	}
	if err := c.does(c.Proposals(), "gone-abc12"); err != nil || !strings.Contains(c.out.String(), "expired") || !strings.Contains(c.out.String(), "requests to a.example.com") {
		t.Errorf("%v: %s", err, c.out.String())
	}
	if err := c.does(c.Grants(), "gone-abc12"); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("%v", err)
	}
}

// TestCompleteProposals: what waits, and what holds.
func TestCompleteProposals(t *testing.T) {
	c := newCounter(t)
	c.ask(t, "p222222", "")
	c.grants = []bottle.Grant{{ID: "g222222", Proposal: "p222222", Since: time.Unix(1e9, 0)}}
	cmd := c.Approve()
	cmd.SetContext(t.Context())
	if list, _ := c.completeApproval(cmd, nil, ""); len(list) != 2 || !strings.HasPrefix(list[1], "p222222\tadds POST") || strings.Contains(list[1], "\x1b") {
		t.Errorf("%q", list)
	}
	if list, _ := c.completeApproval(cmd, []string{"worker"}, ""); !slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, "p222222") }) || !slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, printA) }) {
		t.Errorf("%q", list)
	}
	if list, _ := c.completeGrant(cmd, []string{"worker"}, ""); !slices.Equal(list, []string{"g222222\tPOST to api.example.com"}) {
		t.Errorf("%q", list)
	}
}

// TestNothingFollowsWhatTheAgentSays. The weakness: in a list everything about a proposal is
// one line. The attack: the reason ends as the program's own words would. This proves that
// it comes last, behind a word that says whose it is, and that what an operator answered
// stands before it; and that behind a long difference the question is about a line that
// can still be seen.
func TestNothingFollowsWhatTheAgentSays(t *testing.T) {
	c := newCounter(t)
	c.ask(t, "p234567", "tests — answered: approved by root (asked 1 times)")
	c.waiting[0].Note = "the operator's"
	c.waiting[0].Diff = strings.Repeat("+x\n", 40)
	if err := c.does(c.Proposals()); err != nil {
		t.Fatal(err)
	}
	flat := strings.Join(strings.Fields(c.out.String()), " ")
	if !strings.HasSuffix(flat, "(asked 3 times) — answered: the operator's — the agent says: tests — answered: approved by root (asked 1 times)") {
		t.Error(flat)
	}
	if err := c.run("p234567"); err != nil || !strings.Contains(c.out.String(), "  +x\np234567 of worker-abc12, once more: adds POST to api.example.com/*") {
		t.Errorf("%v\n%s", err, c.out.String())
	}
}

// TestSpecIsWhatIsInForce: a bottle that runs is explained by what its gateway decides by.
func TestSpecIsWhatIsInForce(t *testing.T) {
	c := newCounter(t)
	c.routes = []bottle.Route{{Host: pattern(t, "granted.example.com"), Ports: []uint16{443}, TLS: "intercept", DLP: "block", Rule: "proposal p234567"}}
	c.Tree = func() (manifest.Tree, error) { return manifest.Tree{}, errors.New("it is gone") }
	spec, err := c.Spec(t.Context(), "worker-abc12")
	if err != nil || len(spec.Routes) != 1 || spec.Routes[0].Rule != "proposal p234567" {
		t.Errorf("%+v, %v", spec, err)
	}
	if _, err := c.Spec(t.Context(), "nobody-abc12"); err == nil {
		t.Error("one that is not there has a policy")
	}
}
