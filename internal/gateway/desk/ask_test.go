package desk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/policy"
)

func denied(method, host string, port uint16, path string, reason policy.Reason, found ...audit.Finding) audit.Record {
	return audit.Record{Time: time.Now(), Kind: "http", Verdict: audit.Deny, Method: method, Host: host, Port: port, Path: path, Reason: string(reason), Findings: found}
}

// TestValueIsAdmitted: only one that was held back, to the host that it went to, and until
// the lease ends; a gateway that is started anew knows no fingerprint of the old one.
func TestValueIsAdmitted(t *testing.T) {
	o := newOffice(t, listed("a.example.com"))
	print := strings.Repeat("0a", 16)
	o.Denied(denied("POST", "a.example.com", 443, "/v1", policy.SecretFound, audit.Finding{Rule: "known-secret", Secret: "GH_TOKEN", Place: "body\x1b[2J", Fingerprint: print}))
	elsewhere := bottle.Proposal{Kind: bottle.ProposalContent, Content: &bottle.ContentAsk{Host: "b.example.com", Path: "/v1", Print: print}}
	if _, err := o.Ask(t.Context(), elsewhere, 0); err == nil {
		t.Error("a value that was held back for one host was asked for another")
	}
	o.Denied(denied("POST", "a.example.com", 443, "/v1", policy.SecretFound, audit.Finding{Fingerprint: strings.Repeat("0b", 16), Outcome: "approved"}))
	passed := bottle.Proposal{Kind: bottle.ProposalContent, Content: &bottle.ContentAsk{Host: "a.example.com", Print: strings.Repeat("0b", 16)}}
	if _, err := o.Ask(t.Context(), passed, 0); err == nil {
		t.Error("a value that was let pass was asked for")
	}
	o.Denied(denied("POST", "gone.example.com", 443, "/", policy.SecretFound, audit.Finding{Fingerprint: print}))
	nowhere := bottle.Proposal{Kind: bottle.ProposalContent, Content: &bottle.ContentAsk{Host: "gone.example.com", Print: print}}
	lost := o.must(o.Ask(t.Context(), nowhere, 0))
	if _, err := o.Decide(Decision{ID: lost.ID, Verdict: Approve}); err == nil || !strings.Contains(err.Error(), "no route and no repository leads to gone.example.com") || len(o.passes) > 0 {
		t.Errorf("a value was let pass to nowhere: %v", err)
	}
	o.cfg.Pushes = func(h bottle.Host) bool { return h == "gone.example.com" }
	if _, err := o.Decide(Decision{ID: lost.ID, Verdict: Approve}); err != nil || len(o.passes) != 1 {
		t.Errorf("to where it is pushed: %v", err)
	}
	if _, err := o.Revoke(o.Grants()[0].ID, "ann"); err != nil || len(o.passes) > 0 {
		t.Error(err)
	}
	o.log = nil
	n := o.Denials()[:1]
	if n[0].Ask == nil || n[0].Ask.Content == nil || n[0].Ask.Content.Print != print {
		t.Fatalf("%+v", n)
	}
	p := o.must(o.Ask(t.Context(), *n[0].Ask, 0))
	if p, _ := o.Show(p.ID); !strings.Contains(p.Says, "GH_TOKEN") || strings.Contains(p.Says, "\x1b") {
		t.Errorf("%+v", p)
	}
	out, err := o.Decide(Decision{ID: p.ID, Verdict: Approve, For: time.Minute, By: "ann"})
	pass := o.passes[print+"a.example.com"]
	if err != nil || pass.Until.Sub(pass.Since) != time.Minute || pass.By != "ann" || out.Old != out.New || len(o.logged("grant_started")) != 1 {
		t.Errorf("%+v, %+v, %v", pass, out, err)
	}
	if _, err := o.Revoke(p.Grant, ""); err == nil {
		t.Error("no grant was named")
	}
	o.Dismissed(print, "", "bob")
	if g := o.Grants()[1:]; len(o.passes) != 0 || g[0].Holds(time.Now()) || g[0].EndedBy != "revoked by bob" {
		t.Errorf("%+v, %+v", o.passes, g)
	}
	p = o.must(o.Ask(t.Context(), *n[0].Ask, 0))
	if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve}); err != nil {
		t.Fatal(err)
	}
	if pass := o.passes[print+"a.example.com"]; pass.Until.Sub(pass.Since) != longestPass {
		t.Errorf("%+v", pass)
	}
	o.start()
	if len(o.passes) != 0 || o.Grants()[2].Holds(time.Now()) {
		t.Error("a fingerprint of another key holds")
	}
}

// TestURLIsAsked: a URL that no route lists becomes a route for the methods that were denied.
func TestURLIsAsked(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "HEAD"))
	ask := bottle.Proposal{Kind: bottle.ProposalContent, Why: "x", Content: &bottle.ContentAsk{Host: "a.example.com", Path: "/v1"}}
	p := o.must(o.Ask(t.Context(), ask, 0))
	if r := p.Route; p.Kind != bottle.ProposalEgress || fmt.Sprint(r.Methods, r.Paths, r.Ports) != "[GET HEAD] [/v1] [443]" {
		t.Errorf("%+v", p.Route)
	}
	o.Denied(denied("PUT", "a.example.com", 8443, "/v1", policy.PathNotListed))
	o.Denied(denied("POST", "a.example.com", 8443, "/v1", policy.PathNotListed))
	o.Denied(denied("DELETE", "a.example.com", 8443, "/v2", policy.PathNotListed))
	if r := o.must(o.Ask(t.Context(), ask, 0)).Route; fmt.Sprint(r.Methods, r.Paths, r.Ports) != "[POST PUT] [/v1] [8443]" {
		t.Errorf("%+v", r)
	}
}

func pushing(id string) bottle.Proposal {
	return bottle.Proposal{Push: &bottle.PushAsk{Repo: "app", Diff: "+x\x1b[2J", Failures: []string{"protected_path"},
		Refs: []bottle.PushRef{{Name: "refs/heads/main", Old: strings.Repeat("0", 40), New: strings.Repeat(id, 40)}}}}
}

// TestPushOnce: an approval lets exactly those ids through, once, also when the gateway
// dies or the log is full in between; then never again.
func TestPushOnce(t *testing.T) {
	o := newOffice(t)
	ok, id, says, err := o.AskPush(t.Context(), pushing("a"))
	if ok || err != nil || !strings.Contains(says, "push again, the same commits") || !bottle.IsProposalID(id) {
		t.Fatal(ok, id, says, err)
	}
	if again, same, _, err := o.AskPush(t.Context(), pushing("a")); again || same != id || err != nil {
		t.Error(again, same, err)
	}
	if p, _ := o.Show(id); p.Says != "lets these commits into app, once" || p.Diff != "" {
		t.Errorf("%+v", p)
	}
	if p, _ := o.Proposal(id); p.Push.Diff != `+x\u{1b}[2J` || p.Count != 2 {
		t.Errorf("%+v", p.Push)
	}
	if _, err := o.Decide(Decision{ID: id, Verdict: Approve}); err != nil {
		t.Fatal(err)
	}
	if ok, other, _, err := o.AskPush(t.Context(), pushing("b")); ok || other == id || err != nil {
		t.Error("another push got through", err)
	}
	o.start() // the approval is still there
	more := pushing("a")
	more.Push.Failures = append(more.Push.Failures, "another protected_path")
	if ok, other, _, err := o.AskPush(t.Context(), more); ok || other == id || err != nil {
		t.Error("it got through with more than the operator saw", err)
	}
	o.start()
	if ok, used, _, err := o.AskPush(t.Context(), pushing("a")); !ok || used != id || err != nil {
		t.Error("the approved push", used, err)
	}
	if ok, next, _, err := o.AskPush(t.Context(), pushing("a")); ok || next == id || err != nil {
		t.Error("it got through twice", err)
	}
	o.start()
	if ok, _, _, _ := o.AskPush(t.Context(), pushing("a")); ok || len(o.logged("grant_used")) != 1 {
		t.Error("it got through again after a restart")
	}

	_, id, _, _ = o.AskPush(t.Context(), pushing("c"))
	if _, err := o.Decide(Decision{ID: id, Verdict: Approve}); err != nil {
		t.Fatal(err)
	}
	o.full = true
	if ok, _, _, _ := o.AskPush(t.Context(), pushing("c")); ok {
		t.Error("a push that can't be recorded got through")
	}
	o.full = false
	_, id, _, _ = o.AskPush(t.Context(), pushing("d"))
	if _, err := o.Decide(Decision{ID: id, Verdict: Reject, Note: "no"}); err != nil {
		t.Fatal(err)
	}
	if ok, _, says, _ := o.AskPush(t.Context(), pushing("d")); ok || says != "the operator rejected this push ("+id+"): no" {
		t.Error(says)
	}
	if _, _, _, err := o.AskPush(t.Context(), bottle.Proposal{Push: &bottle.PushAsk{}}); err == nil {
		t.Error("a push of nothing")
	}
}

// TestPushesAreFew: each holds a diff, so fewer may wait.
func TestPushesAreFew(t *testing.T) {
	o := newOffice(t)
	var err error
	for i := 0; err == nil && i <= maxPush; i++ {
		o.skipped += interval
		p := pushing("a")
		p.Push.Repo = fmt.Sprintf("app%d", i)
		_, _, _, err = o.AskPush(t.Context(), p)
	}
	if n := len(o.List()); n != maxPush || err == nil || !strings.Contains(err.Error(), "pushes wait") {
		t.Errorf("%d wait, %v", n, err)
	}
}

// TestPushRaces: one approval, many pushes at once: one gets through.
func TestPushRaces(t *testing.T) {
	o := newOffice(t)
	_, id, _, _ := o.AskPush(t.Context(), pushing("a"))
	if _, err := o.Decide(Decision{ID: id, Verdict: Approve}); err != nil {
		t.Fatal(err)
	}
	through := make(chan bool, 16)
	for range cap(through) {
		go func() {
			ok, _, _, _ := o.AskPush(t.Context(), pushing("a"))
			through <- ok
		}()
	}
	n := 0
	for range cap(through) {
		if <-through {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d got through", n)
	}
}

// TestUnmatchedAsks: for an agent that knows nothing of asking, once for a host, without
// crowding out what the agent asks for itself.
func TestUnmatchedAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.auto = true
		o.start()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go o.Run(ctx)
		name := denied("", "a.example.com", 0, "", policy.NameNotListed)
		name.Kind = "dns"
		tunnel := denied("CONNECT", "a.example.com", 443, "", policy.HostNotListed)
		tunnel.Kind = "connect"
		for range 50 {
			o.Denied(name)
			o.Denied(tunnel)
		}
		o.Denied(denied("GET", "b.example.com", 80, "/x", policy.HostNotListed))
		for _, name := range []string{"bottle-probe.invalid", "wpad", "db.local", "x.localhost", "1.0.0.10.in-addr.arpa"} {
			o.Denied(denied("GET", name, 443, "", policy.NameNotListed))
		}
		o.Denied(denied("GET", "10.0.0.1", 80, "/x", policy.HostNotListed))
		o.Denied(denied("GET", "evil\x1b[2J", 80, "/x", policy.HostNotListed))
		o.Denied(denied("GET", "c.example.com", 80, "/x", policy.PathNotListed))
		synctest.Wait()
		list := o.List()
		if len(list) != 2 || !list[0].Auto || fmt.Sprint(list[0].Route.Host, list[0].Route.Ports, list[0].Route.Methods) != "a.example.com [443] []" ||
			fmt.Sprint(list[1].Route.Host, list[1].Route.Ports, list[1].Route.Methods) != "b.example.com [80] [GET]" {
			t.Errorf("%+v", list)
		}
		if _, err := o.Decide(Decision{ID: list[1].ID, Verdict: Reject}); err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			o.Denied(denied("GET", fmt.Sprintf("h%d.example.com", i), 443, "/", policy.HostNotListed))
			o.Denied(denied("GET", "b.example.com", 80, "/x", policy.HostNotListed))
			if i%50 == 0 {
				time.Sleep(time.Minute)
			}
		}
		synctest.Wait()
		if n := len(o.List()); n > maxKin+2 {
			t.Errorf("a storm of one domain's names made %d proposals", n)
		}
		for i := range 2000 {
			o.Denied(denied("GET", fmt.Sprintf("h.d%d.example.co.uk", i), 443, "/", policy.HostNotListed))
			o.Denied(denied("GET", fmt.Sprintf("d%d.example", i), 443, "/", policy.HostNotListed))
			if i%20 == 0 {
				time.Sleep(time.Minute)
			}
		}
		synctest.Wait()
		if n := len(o.List()); n > maxAuto+2 {
			t.Errorf("a storm made %d proposals", n)
		}
		o.must(o.Ask(ctx, wants("mine.example.com"), 0))

		mine := o.must(o.Ask(ctx, wants("a.example.com"), 0))
		if mine.ID != list[0].ID || mine.Auto || mine.Why != "to build" {
			t.Errorf("the agent asks, too: %+v", mine)
		}

		o.auto = false
		o.start()
		before := len(o.List())
		o.Denied(denied("GET", "quiet.example.com", 443, "/", policy.HostNotListed))
		synctest.Wait()
		if len(o.List()) != before || len(o.Denials()) != 1 {
			t.Error("it asked though nobody said so")
		}
	})
}

// TestDenials: folded, bounded, newest last, each with the ask that mends it or none.
func TestDenials(t *testing.T) {
	o := newOffice(t)
	for range 3 {
		o.Denied(denied("POST", "a.example.com", 443, "/v1", policy.MethodNotListed))
		o.Denied(denied("GET", "b.example.com", 443, "/", policy.HostNotListed))
	}
	o.Denied(denied("GET", "c.example.com", 443, "/../x", policy.BadPath))
	o.Denied(audit.Record{Kind: audit.KindLog, Verdict: audit.Deny})
	o.Denied(audit.Record{Kind: "http", Verdict: audit.Allow})
	n := o.Denials()
	if len(n) != 3 || n[0].Count != 3 || n[0].Host != "a.example.com" || n[2].Ask != nil || n[0].Text == "" {
		t.Fatalf("%+v", n)
	}
	if r := n[0].Ask.Route; fmt.Sprint(r.Host, r.Ports, r.Methods, r.Paths) != "a.example.com [443] [POST] [/v1]" {
		t.Errorf("%+v", r)
	}
	o.cfg.Unmatched = true // and nobody takes what it wishes for: a storm waits for nobody
	for i := range 1000 {
		o.Denied(denied("GET", "a.example.com", 443, "/", policy.SecretFound, audit.Finding{Fingerprint: fmt.Sprintf("%032x", i)}))
	}
	if len(o.denials.held) != maxFound {
		t.Errorf("%d values are kept", len(o.denials.held))
	}
	for i := range 1000 {
		o.Denied(denied("GET", fmt.Sprintf("h%d.example.com", i), 443, "/"+strings.Repeat("x", 2000), policy.HostNotListed))
	}
	if n := o.Denials(); len(n) != maxDenials || n[len(n)-1].Host != "h999.example.com" || len(n[0].Path) > maxSeen {
		t.Errorf("%d are kept", len(n))
	}
	if o.Begun(); len(o.Denials()) != 0 {
		t.Error("the agent is told what the trial of its walls was denied")
	}
}

// TestZeroDeskIsRefused: a desk without what it stands between is none.
func TestZeroDeskIsRefused(t *testing.T) {
	if d, err := New(Config{}, nil); err == nil || d != nil {
		t.Error("made of nothing")
	}
}

// TestFileOfNobody: what somebody put among the proposals is not obeyed, and the log says so.
func TestFileOfNobody(t *testing.T) {
	o := newOffice(t)
	if err := os.WriteFile(filepath.Join(o.dir, "p234567.json"), []byte(`{"id":"p234567","status":"approved"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	o.start()
	if l := o.logged("proposal_set_aside"); len(l) != 1 || len(o.List()) != 0 {
		t.Errorf("%+v", l)
	}
}

func TestWords(t *testing.T) {
	o := newOffice(t)
	if _, ok := o.GitPolicy("app"); ok {
		t.Error("there is no repository")
	}
	o.cfg.GitPolicy = func(repo string) (string, bool) { return repo + " is yours", true }
	if words, ok := o.GitPolicy("app"); !ok || words != "app is yours" {
		t.Error(words)
	}
	if !strings.Contains(o.Policy(), "reaches no host") {
		t.Error(o.Policy())
	}
	r := listed("a.example.com", "GET")
	r.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: "T"}
	r.Upstream = &bottle.Upstream{Address: "10.0.0.7:443"} // not the agent's to know
	o = newOffice(t, r)
	if !strings.HasSuffix(o.Policy(), "\n- GET to a.example.com/* with credential T\n") {
		t.Error(o.Policy())
	}
	if v, err := o.Check("GET", "https://a.example.com/"); err != nil || !v.Allowed() {
		t.Error(v, err)
	}
	if v, err := o.Check("PUT", "https://a.example.com/"); err != nil || v.Allowed() {
		t.Error(v, err)
	}
}

// TestPushIsWhatWasShown. The weakness: a push is known by its ids, and what of it is new
// depends on what upstream has. The attack: one is approved, upstream then loses a branch,
// and the same ids bring more that nobody was shown. This proves that it is asked for anew,
// that an operator who reads while it changes is told, and that the old approval is good
// for nothing else.
func TestPushIsWhatWasShown(t *testing.T) {
	o := newOffice(t)
	more := pushing("a")
	more.Push.Diff += "\n+and more"
	_, first, _, err := o.AskPush(t.Context(), pushing("a"))
	if err != nil {
		t.Fatal(err)
	}
	read, _ := o.Show(first)
	if ok, id, _, err := o.AskPush(t.Context(), more); ok || id != first || err != nil {
		t.Fatal(ok, id, err)
	}
	if now, _ := o.Show(first); !strings.HasSuffix(now.Push.Diff, "+and more") {
		t.Errorf("%+v", now.Push)
	}
	if _, err := o.Decide(Decision{ID: first, Verdict: Approve, Seen: read.Seen}); err == nil || !strings.Contains(err.Error(), "look at it again") {
		t.Errorf("who read the other decides: %v", err)
	}
	read, _ = o.Show(first)
	if _, err := o.Decide(Decision{ID: first, Verdict: Approve, Seen: read.Seen}); err != nil {
		t.Fatal(err)
	}
	ok, second, _, err := o.AskPush(t.Context(), pushing("a"))
	if ok || second == first || err != nil {
		t.Fatal(ok, second, err)
	}
	if ok, id, _, err := o.AskPush(t.Context(), more); ok || id != second || err != nil {
		t.Error(ok, id, err)
	}
}
