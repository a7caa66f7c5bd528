package desk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/policy"
	"bottle/internal/store"
)

// office is a desk with everything around it. Its state survives a restart, as the disk does.
type office struct {
	*Desk
	t      testing.TB
	dir    string
	routes []bottle.Route
	queue  *store.Queue
	lock   *sync.Mutex
	auto   bool

	mu      sync.Mutex
	log     []audit.Record
	force   *policy.Policy
	passes  map[string]Pass
	full    bool            // the log takes nothing
	crash   func(at string) // called before each step outside of the queue
	fatal   bottle.Problems // of every policy but the manifest's
	broken  bool            // what is amended does not compile
	skipped time.Duration   // on the clock
	shelf   Shelf           // where programs are put
	anew    bool            // the bottle is resumed
	recipe  bool            // its image is made by one
	lines   []string        // proposals whose lines are in it
	failed  error           // of the last start
}

func newOffice(t testing.TB, routes ...bottle.Route) *office {
	o := &office{t: t, dir: filepath.Join(t.TempDir(), "proposals"), routes: routes}
	o.start()
	return o
}

// start is a new gateway with what the disk holds.
func (o *office) start() {
	o.t.Helper()
	if o.begin(); o.failed != nil {
		o.t.Fatal(o.failed)
	}
}

// begin is start, of which failed says what came.
func (o *office) begin() {
	o.t.Helper()
	if o.queue != nil {
		_ = o.queue.Close()
	}
	q, aside, err := store.OpenQueue(o.dir)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = q.Close() })
	pol, err := policy.Compile(o.routes)
	if err != nil {
		o.t.Fatal(err)
	}
	o.queue, o.lock, o.force, o.passes = q, &sync.Mutex{}, pol, map[string]Pass{}
	o.Desk, o.failed = New(Config{Lock: o.lock, Queue: q, Routes: o.routes, Unmatched: o.auto, Shelf: o.shelf, Anew: o.anew, Recipe: o.recipe, Lines: o.lines,
		Examine: func(r []bottle.Route) (*policy.Policy, bottle.Problems) {
			p, err := policy.Compile(r)
			if err != nil {
				return nil, err.(bottle.Problems)
			}
			if p.Hash() != pol.Hash() && o.broken {
				return nil, bottle.Problems{{Message: "they do not compile"}}
			}
			if p.Hash() != pol.Hash() {
				return p, o.fatal
			}
			return p, nil
		},
		Force: func(p *policy.Policy, _ []bottle.Route) int {
			o.step("force")
			o.mu.Lock()
			defer o.mu.Unlock()
			o.force = p
			return 7
		},
		Admit: func(p Pass) {
			o.step("admit")
			o.mu.Lock()
			defer o.mu.Unlock()
			o.passes[p.Print+string(p.Host)] = p
		},
		Dismiss: func(print string, host bottle.Host) {
			o.mu.Lock()
			defer o.mu.Unlock()
			delete(o.passes, print+string(host))
		},
		Record: func(r audit.Record) error {
			o.step("record")
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.full {
				return errors.New("the disk is full")
			}
			o.log = append(o.log, r)
			return nil
		},
		Now: func() time.Time { return time.Now().Add(o.skipped) },
	}, aside)
}

func (o *office) step(at string) {
	if o.crash != nil {
		o.crash(at)
	}
}

// lets reports whether the policy in force lets a request through.
func (o *office) lets(method, host, path string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.force.Decide(policy.Request{Scheme: "https", Host: bottle.Host(host), Port: 443, Method: method, Path: path}).Allowed()
}

func (o *office) logged(reason string) (out []audit.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.log {
		if r.Reason == reason {
			out = append(out, r)
		}
	}
	return out
}

func (o *office) must(p bottle.Proposal, err error) bottle.Proposal {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

func listed(host string, methods ...string) bottle.Route {
	return bottle.Route{Host: bottle.Pattern{Host: bottle.Host(host)}, Ports: []uint16{443}, Methods: methods, TLS: "intercept", DLP: "block", Rule: "dev.md:1"}
}

func wants(host string, methods ...string) bottle.Proposal {
	return bottle.Proposal{Kind: bottle.ProposalEgress, Why: "to build", Route: &bottle.Route{Host: bottle.Pattern{Host: bottle.Host(host)}, Methods: methods}}
}

// TestApprovalIsInForceBeforeTheAnswer: the agent waits, the operator approves, and when
// the agent hears of it the next request passes. Everything is on record, in order, with
// what the policy was and is.
func TestApprovalIsInForceBeforeTheAnswer(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "GET"))
	before := o.force.Hash()
	heard := make(chan bottle.Proposal)
	go func() {
		p, err := o.Ask(t.Context(), wants("a.example.com", "POST"), time.Minute)
		if err != nil || !o.lets("POST", "a.example.com", "/x") {
			t.Errorf("answered %+v, %v before it is in force", p, err)
		}
		heard <- p
	}()
	id := o.wait(1)[0].ID
	if p, ok := o.Show(id); !ok || p.Says != "adds POST to a.example.com/* without a credential" || !strings.Contains(p.Diff, "-  methods: [GET]\n+  methods: [GET, POST]\n") {
		t.Errorf("%+v", p)
	}
	if o.lets("POST", "a.example.com", "/x") {
		t.Error("asking is enough")
	}
	out, err := o.Decide(Decision{ID: id, Verdict: Approve, Note: "fine\x1b[2J", By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	p := <-heard
	if p.Status != bottle.ProposalApproved || p.Note != `fine\u{1b}[2J` || p.By != "ann" || p.Grant != out.Asked.Lease.ID || out.Old != before || out.New != o.force.Hash() || out.Cut != 7 {
		t.Errorf("%+v, %+v", p, out)
	}
	asked, approved, started := o.logged("proposal_asked"), o.logged("proposal_approved"), o.logged("grant_started")
	if len(asked) != 1 || asked[0].Policy != before || asked[0].Rule != "proposal "+id || asked[0].Host != "a.example.com" {
		t.Errorf("asked: %+v", asked)
	}
	if len(approved) != 1 || !strings.Contains(approved[0].Note, "by ann") || approved[0].Policy != before {
		t.Errorf("approved: %+v", approved)
	}
	if len(started) != 1 || started[0].Before != before || started[0].Policy != out.New || !strings.Contains(started[0].Diff, "+  methods: [GET, POST]") || !strings.Contains(started[0].Note, p.Grant) {
		t.Errorf("started: %+v", started)
	}
	if again := o.must(o.Ask(t.Context(), wants("a.example.com", "POST"), time.Minute)); again.ID != id {
		t.Errorf("asked once more: %+v", again)
	}
}

// wait gives the proposals once there are n.
func (o *office) wait(n int) []bottle.Asked {
	o.t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if list := o.List(); len(list) >= n {
			return list
		}
	}
	o.t.Fatal("nothing was asked")
	return nil
}

// TestRejection: the agent reads why, the policy stays, and asking again is answered
// without the operator, for a while.
func TestRejection(t *testing.T) {
	o := newOffice(t)
	p := o.must(o.Ask(t.Context(), wants("a.example.com"), 0))
	if p.Status != bottle.ProposalPending {
		t.Fatalf("%+v", p)
	}
	if _, err := o.Decide(Decision{ID: p.ID, Verdict: Reject, Note: "use the mirror", By: "bob"}); err != nil {
		t.Fatal(err)
	}
	again := o.must(o.Ask(t.Context(), wants("a.example.com"), time.Minute))
	if again.ID != p.ID || again.Status != bottle.ProposalRejected || again.Note != "use the mirror" || o.lets("GET", "a.example.com", "/") {
		t.Errorf("%+v", again)
	}
	if l := o.logged("proposal_rejected"); len(l) != 1 || !strings.Contains(l[0].Note, "by bob: use the mirror") {
		t.Errorf("%+v", l)
	}
	o.skipped = sulk
	if later := o.must(o.Ask(t.Context(), wants("a.example.com"), 0)); later.ID == p.ID || later.Settled() {
		t.Errorf("%+v", later)
	}
}

// TestModified: the operator gives something else, within what can be asked for.
func TestModified(t *testing.T) {
	o := newOffice(t)
	p := o.must(o.Ask(t.Context(), wants("*.example.com"[2:]), 0))
	less := wants("example.com", "GET").Route
	for _, bad := range []*bottle.Route{nil, {Host: less.Host, TLS: "passthrough"}, {Host: less.Host, Upstream: &bottle.Upstream{Address: "10.0.0.1:1"}}, {Host: bottle.Pattern{Host: "10.0.0.1"}}, {Host: less.Host, Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "X"}}} {
		if out, err := o.Decide(Decision{ID: p.ID, Verdict: Modify, Route: bad}); err == nil {
			t.Errorf("%+v was given: %+v", bad, out)
		}
	}
	if _, err := o.Decide(Decision{ID: p.ID, Verdict: "yes"}); err == nil {
		t.Error("a verdict that is none was taken")
	}
	if _, err := o.Decide(Decision{ID: p.ID, Verdict: Modify, Route: less}); err != nil {
		t.Fatal(err)
	}
	now, _ := o.Proposal(p.ID)
	if now.Status != bottle.ProposalModified || !o.lets("GET", "example.com", "/") || o.lets("POST", "example.com", "/") || len(o.logged("proposal_modified")) != 1 {
		t.Errorf("%+v", now)
	}
	o.start()
	if !o.lets("GET", "example.com", "/") || o.lets("POST", "example.com", "/") {
		t.Error("after a restart something else is in force")
	}
}

// TestTwoOperators: of many who decide at once one wins, and the others are told who.
func TestTwoOperators(t *testing.T) {
	o := newOffice(t)
	p := o.must(o.Ask(t.Context(), wants("a.example.com"), 0))
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := ""
	var told []string
	for i := range 16 {
		wg.Go(func() {
			verdict, who := Approve, fmt.Sprintf("op%d", i)
			if i%2 == 1 {
				verdict = Reject
			}
			_, err := o.Decide(Decision{ID: p.ID, Verdict: verdict, By: who})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won += who
			} else {
				told = append(told, err.Error())
			}
		})
	}
	wg.Wait()
	now, _ := o.Proposal(p.ID)
	if now.By != won || len(told) != 15 || o.lets("GET", "a.example.com", "/") != now.Approved() || len(o.logged("proposal_approved"))+len(o.logged("proposal_rejected")) != 1 {
		t.Errorf("%q won, %+v", won, now)
	}
	for _, s := range told {
		if !strings.Contains(s, "decided already: "+string(now.Status)+", "+won+" at ") {
			t.Errorf("%q", s)
		}
	}
}

// TestFlood: an agent that asks for the same a thousand times is one line with a count, and
// a few lines of the log; one that asks for another thing each time is slowed down.
func TestFlood(t *testing.T) {
	o := newOffice(t)
	first := o.must(o.Ask(t.Context(), wants("a.example.com"), 0))
	for range 999 {
		o.must(o.Ask(t.Context(), wants("a.example.com"), 0))
	}
	list := o.List()
	if len(list) != 1 || list[0].ID != first.ID || list[0].Count < 512 || len(o.logged("proposal_asked")) > 11 {
		t.Errorf("%d proposals, the count is %d, %d records", len(list), list[0].Count, len(o.logged("proposal_asked")))
	}
	if _, err := o.Decide(Decision{ID: first.ID, Verdict: Reject}); err != nil {
		t.Fatal(err)
	}
	if now, _ := o.Proposal(first.ID); now.Count != 1000 || len(o.more) > 0 {
		t.Errorf("asked %d times, %v", now.Count, o.more)
	}
	said := ""
	for range 1000 {
		_, err := o.Ask(t.Context(), wants("10.0.0.1"), 0)
		if err == nil {
			t.Fatal("a private address was asked for")
		}
		said = err.Error()
	}
	if !strings.Contains(said, "ask too often") {
		t.Errorf("what is not possible can be tried without end: %s", said)
	}
	o.skipped, said = time.Minute, ""
	for i := range 1000 {
		if _, err := o.Ask(t.Context(), wants(fmt.Sprintf("h%d.example.com", i)), 0); err != nil {
			said = err.Error()
		}
	}
	if n := len(o.List()); n > burst+1 || !strings.Contains(said, "ask too often") {
		t.Errorf("%d proposals; %s", n, said)
	}
	o.skipped += 10 * interval
	o.must(o.Ask(t.Context(), wants("later.example.com"), 0))
}

// TestQueueIsFull: an agent with patience can fill the queue, and no more.
func TestQueueIsFull(t *testing.T) {
	o := newOffice(t)
	var err error
	for i := 0; err == nil; i++ {
		o.skipped += interval
		_, err = o.Ask(t.Context(), wants(fmt.Sprintf("h%d.example.com", i)), 0)
	}
	if n := len(o.List()); n != store.MaxPending || !errors.Is(err, store.ErrQueueFull) {
		t.Errorf("%d wait, %v", n, err)
	}
}

// TestForged: what an agent says to get more than it may ask for, or to make the operator
// believe something else. Nothing of it is queued.
func TestForged(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "GET"))
	push := &bottle.PushAsk{Repo: "app", Refs: []bottle.PushRef{{Name: "refs/heads/main", Old: strings.Repeat("0", 40), New: strings.Repeat("a", 40)}}, Diff: "+harmless"}
	token := wants("a.example.com", "POST")
	token.Route.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: "GH_TOKEN"}
	through := wants("b.example.com")
	through.Route.TLS = "passthrough"
	for name, c := range map[string]struct {
		p    bottle.Proposal
		want string
	}{
		"a push":               {bottle.Proposal{Kind: bottle.ProposalPush, Push: push}, "run git push"},
		"programs":             {bottle.Proposal{Kind: bottle.ProposalCapability, Capability: &bottle.CapabilityAsk{Packages: []string{"deb:jq"}}}, "cannot be added to this bottle"},
		"a credential":         {token, "only the operator's manifest"},
		"unopened TLS":         {through, "the operator's to say"},
		"the metadata service": {wants("169.254.169.254"), "metadata"},
		"the gateway":          {wants("supervise.bottle"), "gateway's own"},
		"what is there":        {wants("a.example.com", "GET"), "lets this through already"},
		"a print of nothing":   {bottle.Proposal{Kind: bottle.ProposalContent, Content: &bottle.ContentAsk{Host: "a.example.com", Print: strings.Repeat("0a", 16)}}, "nothing with this fingerprint"},
		"an own status":        {bottle.Proposal{Kind: bottle.ProposalEgress, Status: bottle.ProposalApproved, Grant: "g234567"}, "exactly one thing"},
	} {
		if p, err := o.Ask(t.Context(), c.p, time.Minute); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if len(o.List()) > 0 || len(o.logged("proposal_asked")) > 0 {
		t.Errorf("%+v", o.List())
	}
	forged := wants("c.example.com")
	forged.ID, forged.Seq, forged.Status, forged.By, forged.Grant, forged.Count, forged.Auto = "p234567", 99, bottle.ProposalApproved, "root", "g234567", 1e9, true
	forged.Why = "\x1b]0;approved\x07\u202eok"
	p := o.must(o.Ask(t.Context(), forged, 0))
	if p.ID == forged.ID || p.Status != bottle.ProposalPending || p.Seq != 1 || p.Count != 1 || p.Auto || p.Grant != "" || strings.ContainsAny(p.Why, "\x1b\x07\u202e") {
		t.Errorf("%+v", p)
	}
}

// TestLeaseEnds: by time, by the operator's word; what it opened is shut, and the log tells.
func TestLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, listed("a.example.com", "GET"))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go o.Run(ctx)
		manifest := o.force.Hash()
		short := o.must(o.Ask(ctx, wants("a.example.com", "POST"), 0))
		long := o.must(o.Ask(ctx, wants("b.example.com"), 0))
		if _, err := o.Decide(Decision{ID: short.ID, Verdict: Approve, For: 15 * time.Minute}); err != nil {
			t.Fatal(err)
		}
		out, err := o.Decide(Decision{ID: long.ID, Verdict: Approve})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(15*time.Minute - time.Second)
		if !o.lets("POST", "a.example.com", "/") {
			t.Error("it ended too early")
		}
		time.Sleep(2 * time.Second)
		if o.lets("POST", "a.example.com", "/") || !o.lets("GET", "b.example.com", "/") {
			t.Error("it did not end, or took another with it")
		}
		if l := o.logged("grant_ended"); len(l) != 1 || l[0].Before == l[0].Policy || !strings.Contains(l[0].Diff, "-  methods: [GET, POST]") {
			t.Errorf("%+v", l)
		}
		gone, err := o.Revoke(out.Asked.Lease.ID, "ann\x1b[2J")
		if err != nil || !gone.Recorded || gone.Cut != 7 || gone.New != manifest || o.force.Hash() != manifest || gone.Grant.EndedBy != `revoked by ann\u{1b}[2J` {
			t.Errorf("%+v, %v", gone, err)
		}
		if _, err := o.Revoke(out.Asked.Lease.ID, "bob"); err == nil || !strings.Contains(err.Error(), "ended already: revoked by ann") {
			t.Errorf("%v", err)
		}
		if _, err := o.Revoke("g999999", "bob"); err == nil {
			t.Error("what was never given was taken back")
		}
		if l := o.logged("grant_revoked"); len(l) != 1 || l[0].Policy != manifest {
			t.Errorf("%+v", l)
		}
		if again := o.must(o.Ask(ctx, wants("b.example.com"), 0)); again.Settled() || again.ID == long.ID {
			t.Errorf("%+v", again)
		}
		if g := o.Grants(); len(g) != 2 || g[0].Holds(time.Now()) || g[1].Holds(time.Now()) {
			t.Errorf("%+v", g)
		}
	})
}

// TestExpiry: what nobody decides ends, and whoever still waits is told.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go o.Run(ctx)
		p := o.must(o.Ask(ctx, wants("a.example.com"), 0))
		time.Sleep(expiry - time.Minute)
		if late := o.must(o.Ask(ctx, wants("a.example.com"), time.Hour)); late.ID != p.ID || late.Status != bottle.ProposalExpired {
			t.Errorf("%+v", late)
		}
		if len(o.logged("proposal_expired")) != 1 {
			t.Error("not recorded")
		}
		if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve}); err == nil || !strings.Contains(err.Error(), "expired, nobody at") {
			t.Errorf("%v", err)
		}
	})
}

// TestWaitIsBounded: by what was said, by ten minutes, by the caller.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		for wait, want := range map[time.Duration]time.Duration{30 * time.Second: 30 * time.Second, 24 * time.Hour: 10 * time.Minute, -1: 0} {
			began := time.Now()
			if p := o.must(o.Ask(t.Context(), wants("a.example.com"), wait)); p.Settled() || time.Since(began) != want {
				t.Errorf("%v: %v, %+v", wait, time.Since(began), p)
			}
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		began := time.Now()
		o.must(o.Ask(ctx, wants("a.example.com"), time.Minute))
		if time.Since(began) != time.Second {
			t.Errorf("%v", time.Since(began))
		}
	})
}

// TestWithoutRecordNothingHappens: a log that takes nothing, at each step.
func TestWithoutRecordNothingHappens(t *testing.T) {
	for _, fails := range []int{1, 2} {
		o := newOffice(t, listed("a.example.com", "GET"))
		manifest := o.force.Hash()
		p := o.must(o.Ask(t.Context(), wants("a.example.com", "POST"), 0))
		n := 0
		o.crash = func(at string) {
			if at == "record" {
				n++
				o.full = n >= fails
			}
		}
		if out, err := o.Decide(Decision{ID: p.ID, Verdict: Approve}); err == nil {
			t.Errorf("approved without a record: %+v", out)
		}
		now, _ := o.Proposal(p.ID)
		if now.Settled() || o.force.Hash() != manifest || o.lets("POST", "a.example.com", "/") {
			t.Errorf("%+v", now)
		}
		o.full, o.crash = false, nil
		if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve}); err != nil || !o.lets("POST", "a.example.com", "/") {
			t.Errorf("later: %v", err)
		}
		o.full = true
		if gone, err := o.Revoke(o.Grants()[0].ID, ""); err != nil || gone.Recorded || o.lets("POST", "a.example.com", "/") {
			t.Errorf("a revocation needs no record to be safe: %+v, %v", gone, err)
		}
	}
}

// killed is what a step panics with in place of kill -9: what the desk had in memory is lost.
type killed struct{}

// TestKilledAtEachStep: the gateway dies before each step of an approval, of a lease's end
// and of a revocation, and is started anew. A decision that was written is in force and on
// record, one that was not still waits; nothing is lost and nothing is applied twice.
func TestKilledAtEachStep(t *testing.T) {
	die := func(o *office, at int, f func()) (died bool) {
		n := 0
		o.crash = func(string) {
			if n++; n == at {
				panic(killed{})
			}
		}
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(killed); !ok {
					panic(r)
				}
				died = true
			}
			o.crash = nil
		}()
		f()
		return false
	}
	steps := 0
	for at := 1; ; at++ {
		o := newOffice(t, listed("a.example.com", "GET"))
		p := o.must(o.Ask(t.Context(), wants("a.example.com", "POST"), 0))
		died := die(o, at, func() { _, _ = o.Decide(Decision{ID: p.ID, Verdict: Approve, By: "ann"}) })
		o.start()
		now, ok := o.Proposal(p.ID)
		if !ok || len(o.List()) != 1 || now.Approved() != o.lets("POST", "a.example.com", "/") {
			t.Fatalf("step %d: %+v", at, now)
		}
		if now.Approved() && len(o.logged("grant_started"))+len(o.logged("grant_resumed")) == 0 {
			t.Errorf("step %d: in force without a record", at)
		}
		hash := o.force.Hash()
		if o.start(); o.force.Hash() != hash {
			t.Errorf("step %d: a second start applies it again", at)
		}
		if !now.Approved() {
			if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve}); err != nil {
				t.Errorf("step %d: it can't be decided any more: %v", at, err)
			}
		}
		if !o.lets("POST", "a.example.com", "/") || !o.lets("GET", "a.example.com", "/") {
			t.Errorf("step %d: not in force", at)
		}

		grant := o.Grants()[0].ID
		diedToo := die(o, at, func() { _, _ = o.Revoke(grant, "ann") })
		o.start()
		if g := o.Grants()[0]; g.Holds(time.Now()) || o.lets("POST", "a.example.com", "/") {
			t.Errorf("step %d of a revocation: %+v", at, g)
		}
		if !died && !diedToo {
			break
		}
		steps++
	}
	if steps < 3 {
		t.Errorf("died at %d steps only", steps)
	}
}

// TestGrantsHoldInTheirOrder: what a grant means depends on those before it, and a new start
// puts the same in force.
func TestGrantsHoldInTheirOrder(t *testing.T) {
	o := newOffice(t)
	all := wants("example.com", "GET")
	all.Route.Host.Sub = true
	first, second := o.must(o.Ask(t.Context(), all, 0)), o.must(o.Ask(t.Context(), wants("a.example.com", "PUT"), 0))
	for _, id := range []string{second.ID, first.ID} {
		if _, err := o.Decide(Decision{ID: id, Verdict: Approve}); err != nil {
			t.Fatal(err)
		}
		o.skipped += time.Second
	}
	hash := o.force.Hash()
	if o.start(); o.force.Hash() != hash || o.lets("GET", "a.example.com", "/") || !o.lets("GET", "b.example.com", "/") {
		t.Error("after a new start something else is in force")
	}
}

// TestNoGrantOutlivesItsBottle: what was granted to a bottle that has ended does not hold when
// that is resumed, for good; what waits for an operator still does.
func TestNoGrantOutlivesItsBottle(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "GET"))
	for i, host := range []string{"b.example.com", "c.example.com"} {
		p := o.must(o.Ask(t.Context(), wants(host), 0))
		if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve, For: time.Duration(i) * time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	o.must(o.Ask(t.Context(), wants("d.example.com"), 0))
	for _, o.anew = range []bool{true, false} {
		o.start()
		if o.lets("GET", "b.example.com", "/") || o.lets("GET", "c.example.com", "/") || !o.lets("GET", "a.example.com", "/") {
			t.Error("a grant of before holds")
		}
	}
	if l := o.logged("grant_ended"); len(l) != 2 || !strings.Contains(l[0].Note, "its bottle has ended") || len(o.logged("grant_resumed")) != 0 {
		t.Errorf("%+v", l)
	}
	waiting := 0
	for _, a := range o.List() {
		if !a.Settled() {
			waiting++
		}
	}
	if waiting != 1 {
		t.Errorf("%d wait", waiting)
	}
}

// TestResumeRefuses: what can't be put in force again does not hold.
func TestResumeRefuses(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "GET"))
	for i, host := range []string{"b.example.com", "c.example.com"} {
		p := o.must(o.Ask(t.Context(), wants(host), 0))
		if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve, For: time.Duration(i) * time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	o.skipped = time.Minute
	o.start()
	if !o.lets("GET", "b.example.com", "/") || o.lets("GET", "c.example.com", "/") || len(o.logged("grant_ended")) != 1 || len(o.logged("grant_resumed")) != 1 {
		t.Error("one has ended, and one has not")
	}
	o.fatal = bottle.Problems{{Message: "a push would go past the git gate"}}
	o.start()
	if o.lets("GET", "b.example.com", "/") || !o.lets("GET", "a.example.com", "/") || o.Grants()[0].Holds(time.Now()) {
		t.Error("what the gateway can't serve was put in force")
	}
}

// TestProblemsRefuse: what this gateway can't serve is told to the agent, and no operator
// is asked.
func TestProblemsRefuse(t *testing.T) {
	o := newOffice(t)
	o.fatal = bottle.Problems{{Severity: bottle.Warning, Message: "look"}, {Message: "a push would go past the git gate"}}
	if _, err := o.Ask(t.Context(), wants("a.example.com"), 0); err == nil || err.Error() != "a push would go past the git gate" {
		t.Errorf("%v", err)
	}
	o.fatal = bottle.Problems{{File: "dev.md:1", Message: "read ca_file: open /home/op/ca.pem"}} // the operator's, and not the agent's to know
	if _, err := o.Ask(t.Context(), wants("a.example.com"), 0); err == nil || strings.Contains(err.Error(), "/home/op") || !strings.Contains(err.Error(), "tell the operator") {
		t.Errorf("%v", err)
	}
	o.fatal = bottle.Problems{{Severity: bottle.Warning, Message: "another's"}}
	p := o.must(o.Ask(t.Context(), wants("a.example.com"), 0))
	o.fatal = append(o.fatal, bottle.Problem{Severity: bottle.Warning, File: rule(p.ID), Message: "port 443 is new"})
	if p, _ := o.Show(p.ID); p.Says != "adds every method to a.example.com/* without a credential; port 443 is new" {
		t.Errorf("%+v", p)
	}
	o.fatal = bottle.Problems{{Message: "not any more"}}
	if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve}); err == nil || o.lets("GET", "a.example.com", "/") {
		t.Errorf("%v", err)
	}
	if p, _ := o.Show(p.ID); p.Says != "can't be approved as it is: not any more" {
		t.Errorf("%+v", p)
	}
}

// TestManifestChangesUnderAGrant: a reload keeps what was granted, on top of the new routes;
// a grant that does not go with them ends.
func TestManifestChangesUnderAGrant(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "GET"))
	p := o.must(o.Ask(t.Context(), wants("b.example.com"), 0))
	q := o.must(o.Ask(t.Context(), wants("a.example.com", "POST"), 0))
	for _, id := range []string{p.ID, q.ID} {
		if _, err := o.Decide(Decision{ID: id, Verdict: Approve}); err != nil {
			t.Fatal(err)
		}
	}
	x, y := listed("a.example.com", "GET"), listed("a.example.com", "PUT")
	x.Auth, x.Paths, y.Paths = &bottle.Auth{Scheme: "Bearer", TokenRef: "T"}, []string{"/x"}, []string{"/y"}
	base := []bottle.Route{x, y, listed("c.example.com")}
	o.lock.Lock()
	routes := o.With(base)
	pol, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	o.cfg.Force(pol, routes)
	o.Rebase(base, routes, pol)
	o.lock.Unlock()
	if !o.lets("GET", "b.example.com", "/") || !o.lets("GET", "c.example.com", "/") || o.lets("POST", "a.example.com", "/") || len(o.Base()) != 3 || len(o.Routes()) != 4 {
		t.Errorf("%+v", o.Routes())
	}
	if g := o.Grants(); !g[0].Holds(time.Now()) || g[1].Holds(time.Now()) || !strings.Contains(g[1].EndedBy, "new routes") {
		t.Errorf("%+v", g)
	}
	if gone, err := o.Revoke(o.Grants()[0].ID, "ann"); err != nil || o.lets("GET", "b.example.com", "/") || !o.lets("GET", "c.example.com", "/") {
		t.Errorf("%+v, %v", gone, err)
	}
}

// TestLeaseEndsWhileTheMachineSleeps: a timer does not run while the machine is suspended,
// and the clock does. So a grant for a time is looked at again and again.
func TestLeaseEndsWhileTheMachineSleeps(t *testing.T) {
	o := newOffice(t)
	p := o.must(o.Ask(t.Context(), wants("a.example.com"), 0))
	if next := o.sweep(); next < time.Minute {
		t.Errorf("nothing ends, and the next look is in %v", next)
	}
	if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve, For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if next := o.sweep(); next > 10*time.Second {
		t.Errorf("the next look is in %v", next)
	}
	o.skipped += 8 * time.Hour
	if o.sweep(); o.lets("GET", "a.example.com", "/") {
		t.Error("it holds")
	}
}

// TestRevokedThoughTheRestIsBroken: where what is left does not compile together, what is
// taken back must not live on for that.
func TestRevokedThoughTheRestIsBroken(t *testing.T) {
	o := newOffice(t, listed("c.example.com"))
	for _, host := range []string{"a.example.com", "b.example.com"} {
		p := o.must(o.Ask(t.Context(), wants(host), 0))
		if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve}); err != nil {
			t.Fatal(err)
		}
	}
	o.broken = true
	if gone, err := o.Revoke(o.Grants()[0].ID, "ann"); err != nil || o.lets("GET", "a.example.com", "/") || !o.lets("GET", "c.example.com", "/") {
		t.Errorf("%+v, %v", gone, err)
	}
}

// BenchmarkApproval is from the operator's word to the policy that lets the next request
// pass, written, recorded and in force, with 200 routes in the manifest.
func BenchmarkApproval(b *testing.B) {
	var routes []bottle.Route
	for i := range 200 {
		r := listed(fmt.Sprintf("r%d.example.com", i), "GET", "POST")
		r.Paths = []string{"/v1", "/v2"}
		routes = append(routes, r)
	}
	o := newOffice(b, routes...)
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		o.skipped += interval
		host := fmt.Sprintf("h%d.example.com", n)
		p := o.must(o.Ask(b.Context(), wants(host), 0))
		b.StartTimer()
		out, err := o.Decide(Decision{ID: p.ID, Verdict: Approve, By: "ann"})
		if err != nil || !o.lets("GET", host, "/") {
			b.Fatal(err)
		}
		b.StopTimer()
		if _, err := o.Revoke(out.Asked.Lease.ID, "ann"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkAgain is one of a storm of the same ask.
func BenchmarkAgain(b *testing.B) {
	o := newOffice(b)
	o.must(o.Ask(b.Context(), wants("a.example.com"), 0))
	b.ReportAllocs()
	for b.Loop() {
		o.must(o.Ask(b.Context(), wants("a.example.com"), 0))
	}
}

// BenchmarkDenied is what a denial costs besides, in a storm of different ones.
func BenchmarkDenied(b *testing.B) {
	o := newOffice(b)
	var storm []audit.Record
	for i := range 1000 {
		storm = append(storm, audit.Record{Time: time.Now(), Kind: "http", Verdict: audit.Deny, Method: "GET", Host: fmt.Sprintf("h%d.example.com", i), Port: 443, Path: "/", Reason: string(policy.HostNotListed)})
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		o.Denied(storm[n%len(storm)])
		n++
	}
}

// TestWhatWasShownIsWhatIsGiven. The weakness: what a proposal comes to depends on the
// other routes, and an operator reads for a while. The attack: the agent asks for what is
// harmless without a credential, and waits for a reload that sends one to that host. This
// proves that an approval of what is no longer so is refused, and that a grant ends that
// would be given a credential, or be looked into less, than its operator was told.
func TestWhatWasShownIsWhatIsGiven(t *testing.T) {
	o := newOffice(t, listed("a.example.com", "GET"))
	reload := func(base ...bottle.Route) {
		t.Helper()
		o.lock.Lock()
		defer o.lock.Unlock()
		routes := o.With(base)
		pol, err := policy.Compile(routes)
		if err != nil {
			t.Fatal(err)
		}
		o.cfg.Force(pol, routes)
		o.Rebase(base, routes, pol)
	}
	plain, rich, open := listed("a.example.com", "GET"), listed("a.example.com", "GET"), listed("a.example.com", "GET")
	rich.Auth, open.DLP = &bottle.Auth{Scheme: "Bearer", TokenRef: "T"}, "off"
	p := o.must(o.Ask(t.Context(), wants("a.example.com", "POST"), 0))
	read, _ := o.Show(p.ID)
	reload(rich)
	for _, verdict := range []string{Approve, Modify} {
		_, err := o.Decide(Decision{ID: p.ID, Verdict: verdict, Route: wants("a.example.com", "POST").Route, Seen: read.Seen})
		if err == nil || !strings.Contains(err.Error(), "look at it again") || o.lets("POST", "a.example.com", "/") {
			t.Fatalf("%s: %v", verdict, err)
		}
	}
	reload(plain, listed("b.example.com")) // another host's route changes nothing of it
	now, _ := o.Show(p.ID)
	if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve, Seen: now.Seen}); err != nil || !o.lets("POST", "a.example.com", "/") {
		t.Fatal(err)
	}
	o.start()
	if reload(plain); !o.lets("POST", "a.example.com", "/") {
		t.Fatal("it ends though nothing changed")
	}
	for name, base := range map[string]bottle.Route{"with a credential": rich, "looked into less": open} {
		o.skipped += 2 * interval
		if reload(base); o.lets("POST", "a.example.com", "/") {
			t.Errorf("%s: the grant goes on", name)
		}
		if g := o.Grants()[len(o.Grants())-1]; g.Holds(time.Now()) || !strings.Contains(g.EndedBy, "new routes") {
			t.Errorf("%s: %+v", name, g)
		}
		reload(plain)
		if o.lets("POST", "a.example.com", "/") {
			t.Errorf("%s: the grant comes back", name)
		}
		p := o.must(o.Ask(t.Context(), wants("a.example.com", "POST"), 0))
		if _, err := o.Decide(Decision{ID: p.ID, Verdict: Approve}); err != nil || !o.lets("POST", "a.example.com", "/") {
			t.Fatal(err)
		}
	}
	// What adds nothing when it is approved opens nothing when the manifest closes it.
	q := o.must(o.Ask(t.Context(), wants("c.example.com"), 0))
	reload(plain, listed("c.example.com"))
	if out, err := o.Decide(Decision{ID: q.ID, Verdict: Approve}); err != nil || !strings.HasPrefix(out.Says, "adds nothing") {
		t.Fatal(out.Says, err)
	}
	if reload(plain); o.lets("GET", "c.example.com", "/") {
		t.Error("what added nothing is open")
	}
}

// BenchmarkStorm is one of a storm of different asks, past what is taken of them.
func BenchmarkStorm(b *testing.B) {
	o := newOffice(b)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		_, _ = o.Ask(b.Context(), wants(fmt.Sprintf("h%d.example.com", n)), 0)
	}
	if list := o.List(); len(list) > 2*burst {
		b.Fatalf("%d are queued", len(list))
	}
}
