package gateway

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// asking is a gateway with a place for proposals, whose one route lets GET /v1 through.
func asking(t *testing.T, r *running) (plan.Gateway, *http.Client) {
	t.Helper()
	u := newUpstream(t, t.TempDir())
	what := r.what(u)
	what.Asked, what.Unmatched = filepath.Join(r.dir, "proposals"), plan.UnmatchedAsk
	what.Routes[0].Methods, what.Routes[0].Paths = []string{"GET"}, []string{"/v1"}
	_, _, _, client := r.startAs(t, what)
	return what, client
}

func status(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	code, _, err := get(t, client, url)
	if err != nil && !strings.Contains(err.Error(), "blocked by bottle") {
		t.Fatal(err)
	}
	return code
}

// pending waits for a proposal about a host.
func pending(t *testing.T, what plan.Gateway, host bottle.Host) plan.Proposal {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var all plan.Proposals
		ctl(t, what.Control, plan.Control{Op: plan.OpProposals}, &all)
		for _, p := range all.List {
			if p.Route != nil && p.Route.Host.Host == host {
				return p
			}
		}
	}
	t.Fatal("nothing was asked about " + host)
	return plan.Proposal{}
}

// TestDecisionsOverTheControlSocket: an unlisted host is denied and asked for; the operator
// sees what it would open, decides, and takes it back; a reload keeps it.
func TestDecisionsOverTheControlSocket(t *testing.T) {
	r := inProcess(t)
	what, client := asking(t, r)
	if got := status(t, client, "https://other.example.com/"); got == 200 {
		t.Fatal("an unlisted host is let through")
	}
	p := pending(t, what, "other.example.com")
	if p.Says != "adds every method to other.example.com/* without a credential" || !strings.Contains(p.Diff, "+- host: other.example.com\n") || !p.Auto {
		t.Errorf("%+v", p)
	}
	if st := ask(t, what.Control); st.Pending != 1 {
		t.Errorf("%d wait", st.Pending)
	}
	var no refusal
	for want, c := range map[string]plan.Control{
		"there is no proposal":         {Op: plan.OpDecide, Proposal: "p234567", Verdict: "approve"},
		"none of approve":              {Op: plan.OpDecide, Proposal: p.ID, Verdict: "yes"},
		"there is no such proposal":    {Op: plan.OpProposals, Proposal: "../audit"},
		"there is no grant":            {Op: plan.OpRevoke, Grant: "g234567"},
		"only a route can be modified": {Op: plan.OpDecide, Proposal: p.ID, Verdict: "modify"},
		"longer than":                  {Op: plan.OpDecide, Proposal: p.ID, Verdict: "approve", Seconds: -1},
	} {
		if no = (refusal{}); !strings.Contains(ctl(t, what.Control, c, &no), want) {
			t.Errorf("%+v: %q, want %q", c, no.Error, want)
		}
	}
	var out plan.Decided
	if ctl(t, what.Control, plan.Control{Op: plan.OpDecide, Proposal: p.ID, Verdict: "approve", Seconds: 900, By: "ann"}, &out); out.Status != bottle.ProposalApproved || out.Old == out.New || out.Lease == nil {
		t.Fatalf("%+v", out)
	}
	if ctl(t, what.Control, plan.Control{Op: plan.OpDecide, Proposal: p.ID, Verdict: "reject"}, &no); !strings.Contains(no.Error, "approved, ann at") {
		t.Errorf("the second operator: %q", no.Error)
	}
	var now plan.InForce
	if ctl(t, what.Control, plan.Control{Op: plan.OpPolicy}, &now); len(now.Routes) != 2 || len(now.Base) != 1 || now.Hash != out.New || now.Routes[1].Rule != "proposal "+p.ID {
		t.Errorf("%+v", now)
	}
	var again plan.Reloaded
	if ctl(t, what.Control, plan.Control{Op: plan.OpReload, Routes: what.Routes}, &again); again.Old != again.New || again.New != out.New {
		t.Errorf("a reload: %+v", again)
	}
	var list plan.Grants
	if ctl(t, what.Control, plan.Control{Op: plan.OpGrants}, &list); len(list.List) != 1 || list.List[0].ID != out.Grant || list.List[0].Until.Sub(list.List[0].Since) != 15*time.Minute {
		t.Errorf("%+v", list)
	}
	var gone plan.Revoked
	if ctl(t, what.Control, plan.Control{Op: plan.OpRevoke, Grant: out.Grant, By: "bob"}, &gone); !gone.Recorded || gone.New != out.Old {
		t.Errorf("%+v", gone)
	}
	if l := logged(t, what.Audit, "grant_revoked"); len(l) != 1 || l[0].Before != out.New || l[0].Policy != out.Old || !strings.Contains(l[0].Diff, "-- host: other.example.com") {
		t.Errorf("%+v", l)
	}
}

// tell is ctl where the gateway may die meanwhile; false: it did.
func tell(path string, req, into any) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if json.NewEncoder(c).Encode(req) != nil {
		return false
	}
	return json.NewDecoder(c).Decode(into) == nil
}

// TestApprovalSurvivesKill: the gateway's process is killed (SIGKILL) right after an
// operator approved, while others decide; a new one for the same bottle has exactly what
// was decided in force, and the log's chain holds.
func TestApprovalSurvivesKill(t *testing.T) {
	dir := ""
	var ids []string
	approved := map[string]bool{}
	for round := range 4 {
		r := inOwnProcess(t, nil)
		if dir == "" {
			dir = r.dir
		}
		r.dir = dir
		what, client := asking(t, r)
		var all plan.Proposals
		ctl(t, what.Control, plan.Control{Op: plan.OpProposals}, &all)
		for _, p := range all.List {
			if approved[p.ID] && !p.Approved() || len(all.List) != len(ids) {
				t.Errorf("round %d: %d of %d are there, and %s is %s", round, len(all.List), len(ids), p.ID, p.Status)
			}
			var now plan.InForce
			ctl(t, what.Control, plan.Control{Op: plan.OpPolicy}, &now)
			in := 0
			for _, route := range now.Routes {
				if route.Host == p.Route.Host {
					in++
				}
			}
			if (in == 1) != p.Approved() || in > 1 {
				t.Errorf("round %d: %s is %s and in force %d times", round, p.ID, p.Status, in)
			}
		}
		host := bottle.Host("h" + string(rune('a'+round)) + ".example.com")
		status(t, client, "https://"+string(host)+"/")
		p := pending(t, what, host)
		ids = append(ids, p.ID)
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(time.Duration(round) * 300 * time.Microsecond)
			if round < 3 {
				_ = syscall.Kill(r.pid, syscall.SIGKILL)
			}
		}()
		var out plan.Decided
		if tell(what.Control, plan.Control{Op: plan.OpDecide, Proposal: p.ID, Verdict: "approve"}, &out) {
			approved[p.ID] = true
		}
		<-done
		_ = r.stop()
		_ = os.Remove(what.Control) // of a gateway that was killed
	}
	rep, err := audit.Verify(filepath.Join(dir, "audit.jsonl"))
	if err != nil || !rep.OK {
		t.Errorf("the log: %+v, %v", rep, err)
	}
}

// decisions is how many are in the metrics.
func decisions(t *testing.T, control string) (n float64) {
	t.Helper()
	var m plan.Metrics
	ctl(t, control, plan.Control{Op: plan.OpMetrics}, &m)
	for _, f := range m.Families {
		for _, s := range f.Samples {
			if f.Name == "bottle_decisions_total" {
				n += s.Value
			}
		}
	}
	return n
}

// TestTheAgentBegins: from the start's word on what is counted is the agent's; the log keeps
// all, and a second word, or one that comes late, changes nothing.
func TestTheAgentBegins(t *testing.T) {
	r := inProcess(t)
	what, client := asking(t, r)
	_ = status(t, client, "https://probe.example.com/")
	if st := ask(t, what.Control); st.Denied == 0 {
		t.Fatal("nothing is counted")
	}
	var no refusal
	for _, at := range []time.Time{{}, time.Now().Add(-plan.BeginWait), time.Now().Add(time.Hour)} { // the agent runs by now
		if ctl(t, what.Control, plan.Control{Op: plan.OpBegin, At: at}, &no); !strings.Contains(no.Error, "too late") || ask(t, what.Control).Denied == 0 {
			t.Errorf("%v: %+v", at, no)
		}
	}
	var st Status
	if ctl(t, what.Control, plan.Control{Op: plan.OpBegin, At: time.Now()}, &st); st.Denied != 0 || st.Allowed != 0 || st.PID == 0 {
		t.Errorf("%+v", st)
	}
	if n := decisions(t, what.Control); n != 0 {
		t.Errorf("%v decisions are in the metrics", n)
	}
	_ = status(t, client, "https://agent.example.com/")
	if decisions(t, what.Control) == 0 {
		t.Error("the agent's are not in the metrics")
	}
	denied := ask(t, what.Control).Denied
	no = refusal{}
	if ctl(t, what.Control, plan.Control{Op: plan.OpBegin, At: time.Now()}, &no); no.Error == "" || denied == 0 || ask(t, what.Control).Denied != denied {
		t.Errorf("%+v, %d denied", no, denied)
	}
	if l := logged(t, what.Audit, audit.ReasonBegun); len(l) != 1 || len(logged(t, what.Audit, "host_not_listed")) < 2 {
		t.Errorf("%+v", l)
	}
}

// TestALogGoesOn: the gateway of a resumed bottle says so in the same chain, before all else;
// where it cannot, it serves nothing.
func TestALogGoesOn(t *testing.T) {
	dir := ""
	for i := range 2 {
		r := inProcess(t)
		if dir == "" {
			dir = r.dir
		}
		what := r.what(newUpstream(t, t.TempDir()))
		what.Audit, what.Resumed = filepath.Join(dir, "audit.jsonl"), i == 1
		_, _, _, client := r.startAs(t, what)
		_ = status(t, client, "https://other.example.com/")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "audit.jsonl")
	if l := logged(t, path, audit.ReasonAgain); len(l) != 1 || l[0].Seq < 2 || l[0].Policy == "" {
		t.Errorf("%+v", l)
	}
	if rep, err := audit.Verify(path); err != nil || !rep.OK || rep.Records < 3 {
		t.Errorf("%+v, %v", rep, err)
	}
}
