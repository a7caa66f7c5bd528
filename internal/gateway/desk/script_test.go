package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/manifest"
	"bottle/internal/policy"
)

// TestScriptAttacks runs the attacks testdata/script/ask-*.txtar on a desk. Each tells a
// weakness, an attack, and what it proves. What the scripts can say besides testscript's
// own words:
//
//	gateway NAME               starts the gateway of the bottle bottles/NAME.md
//	restart                    kills it (what it had in memory is lost) and starts it anew
//	later TIME                 that time passes
//	asks STATUS FILE [N]       the agent asks for what FILE says, as JSON, N times, and gets
//	                           that status; prints the answer
//	refuses FILE               the agent asks, and nothing is queued; prints what it is told
//	denied REASON METHOD URL [PRINT]   the gateway denied that, with that finding
//	proposals                  prints them as an operator sees them, #1 the first, or none
//	decides VERDICT N [BY] [FOR] [FILE]   the operator does, and it is done; prints what
//	loses VERDICT N [BY]      the operator does, and is told why not
//	dies STEP VERDICT N       the gateway is killed before its STEPth step of that, and
//	                           started anew
//	revokes N                 the operator takes what it gave back
//	passes METHOD URL          the policy in force lets that through
//	stops METHOD URL           it does not
//	credential METHOD URL      prints what goes along, or none
//	push YES|NO FILE           the git gate asks about that push
//	admitted HOST              prints the values that may go to a host, or none
//	records                    prints how many records there are of each reason
//	full, room                 the decision log takes nothing; takes records again
//	drop NAME FILE             somebody puts a file among the proposals
func TestScriptAttacks(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/script/ask-*.txtar")
	if err != nil || len(files) < 8 {
		t.Fatalf("found the scripts %q: %v", files, err)
	}
	testscript.Run(t, testscript.Params{
		Files: files, RequireExplicitExec: true, RequireUniqueNames: true, ContinueOnError: true,
		Setup: func(e *testscript.Env) error {
			e.Values[roomKey{}] = &room{office: &office{t: e.T().(testing.TB), dir: filepath.Join(e.WorkDir, "proposals")}, dir: e.WorkDir}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"gateway": told((*room).gateway), "restart": told((*room).restart), "later": told((*room).later), "asks": told((*room).asks), "refuses": told((*room).refuses),
			"denied": told((*room).denied), "proposals": told((*room).proposals), "decides": told((*room).decides), "loses": told((*room).loses), "dies": told((*room).dies),
			"revokes": told((*room).revokes), "passes": told((*room).passes), "stops": told((*room).stops), "credential": told((*room).credential), "push": told((*room).push),
			"admitted": told((*room).admitted), "records": told((*room).records), "full": told((*room).fill), "room": told((*room).empty), "drop": told((*room).drop),
		},
	})
}

type roomKey struct{}

// room is the world of one script.
type room struct {
	*office
	dir string
}

func told(do func(*room, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("! has no meaning here")
		}
		do(ts.Value(roomKey{}).(*room), ts, args)
	}
}

func (r *room) gateway(ts *testscript.TestScript, args []string) {
	spec, problems := manifest.Tree{Home: os.DirFS(r.dir), HomeDir: r.dir}.Bottle(bottle.Name(args[0]))
	if problems.Fatal() {
		ts.Fatalf("%v", problems)
	}
	r.routes, r.auto = spec.Routes, spec.Unmatched == "ask"
	r.start()
}

func (r *room) restart(*testscript.TestScript, []string) { r.start() }

func (r *room) later(ts *testscript.TestScript, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	r.skipped += d
	r.sweep()
}

func (r *room) proposal(ts *testscript.TestScript, file string) (p bottle.Proposal) {
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &p))
	return p
}

func (r *room) asks(ts *testscript.TestScript, args []string) {
	n := 1
	if len(args) > 2 {
		n, _ = strconv.Atoi(args[2])
	}
	var last bottle.Proposal
	for range n {
		p, err := r.Ask(context.Background(), r.proposal(ts, args[1]), 0)
		if err != nil {
			ts.Fatalf("%v", err)
		}
		last = p
	}
	if string(last.Status) != args[0] {
		ts.Fatalf("it is %s: %+v", last.Status, last)
	}
	b, err := json.Marshal(last)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), string(b))
}

func (r *room) refuses(ts *testscript.TestScript, args []string) {
	before := len(r.List())
	p, err := r.Ask(context.Background(), r.proposal(ts, args[0]), 0)
	if err == nil || len(r.List()) != before {
		ts.Fatalf("it is queued: %+v", p)
	}
	fmt.Fprintln(ts.Stdout(), err)
}

func (r *room) denied(ts *testscript.TestScript, args []string) {
	u, err := url.Parse(args[2])
	ts.Check(err)
	rec := audit.Record{Time: time.Now().Add(r.skipped), Kind: "http", Verdict: audit.Deny, Reason: args[0], Method: args[1], Host: u.Hostname(), Port: 443, Path: u.Path}
	if len(args) > 3 {
		rec.Findings = []audit.Finding{{Rule: "known-secret", Secret: "GH_TOKEN", Place: "body", Fingerprint: args[3]}}
	}
	r.Denied(rec)
	for len(r.denials.ask) > 0 {
		r.askAlone(<-r.denials.ask)
	}
}

func (r *room) proposals(ts *testscript.TestScript, _ []string) {
	if len(r.List()) == 0 {
		fmt.Fprintln(ts.Stdout(), "none")
	}
	for i, a := range r.List() {
		whole, _ := r.Show(a.ID)
		fmt.Fprintf(ts.Stdout(), "#%d %s, asked %d times: %s\n  %s\n%s", i+1, whole.Status, whole.Count, whole.Says, whole.Why, whole.Diff)
		if whole.Push != nil {
			fmt.Fprintln(ts.Stdout(), whole.Push.Diff)
		}
	}
}

func (r *room) decision(ts *testscript.TestScript, args []string) Decision {
	list := r.List()
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 1 || n > len(list) {
		ts.Fatalf("there is no proposal %s", args[1])
	}
	d := Decision{Verdict: args[0], ID: list[n-1].ID}
	for _, word := range args[2:] {
		if last, err := time.ParseDuration(word); err == nil {
			d.For = last
		} else if args[0] == Modify && strings.Contains(word, ".json") {
			d.Route = r.proposal(ts, word).Route
		} else {
			d.By = word
		}
	}
	return d
}

func (r *room) decides(ts *testscript.TestScript, args []string) {
	out, err := r.Decide(r.decision(ts, args))
	if err != nil {
		ts.Fatalf("%v", err)
	}
	fmt.Fprintf(ts.Stdout(), "%s by %q: %s\n", out.Asked.Status, out.Asked.By, out.Says)
}

func (r *room) loses(ts *testscript.TestScript, args []string) {
	before := r.force.Hash()
	out, err := r.Decide(r.decision(ts, args))
	if err == nil || r.force.Hash() != before {
		ts.Fatalf("it was done: %+v", out)
	}
	fmt.Fprintln(ts.Stdout(), err)
}

func (r *room) dies(ts *testscript.TestScript, args []string) {
	at, err := strconv.Atoi(args[0])
	ts.Check(err)
	d := r.decision(ts, args[1:])
	n := 0
	r.crash = func(string) {
		if n++; n == at {
			panic(killed{})
		}
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = r.Decide(d)
	}()
	if r.crash = nil; n < at {
		ts.Fatalf("it has %d steps", n)
	}
	r.start()
}

func (r *room) revokes(ts *testscript.TestScript, args []string) {
	a, _ := r.Proposal(r.decision(ts, []string{"", args[0]}).ID)
	if _, err := r.Revoke(a.Grant, "ann"); err != nil {
		ts.Fatalf("%v", err)
	}
}

func (r *room) verdict(ts *testscript.TestScript, args []string) policy.Verdict {
	v, err := policy.Explain(r.force, args[0], args[1])
	ts.Check(err)
	return v
}

func (r *room) passes(ts *testscript.TestScript, args []string) {
	if v := r.verdict(ts, args); !v.Allowed() {
		ts.Fatalf("refused: %+v", v)
	}
}

func (r *room) stops(ts *testscript.TestScript, args []string) {
	if v := r.verdict(ts, args); v.Allowed() {
		ts.Fatalf("let through: %+v", v.Route)
	}
}

func (r *room) credential(ts *testscript.TestScript, args []string) {
	v := r.verdict(ts, args)
	if !v.Allowed() || v.Route.Auth == nil {
		fmt.Fprintln(ts.Stdout(), "none")
		return
	}
	fmt.Fprintln(ts.Stdout(), v.Route.Auth.TokenRef)
}

func (r *room) push(ts *testscript.TestScript, args []string) {
	ok, _, says, err := r.AskPush(context.Background(), r.proposal(ts, args[1]))
	if ok != (args[0] == "YES") {
		ts.Fatalf("%v: %s, %v", ok, says, err)
	}
	fmt.Fprintln(ts.Stdout(), says, err)
}

func (r *room) admitted(ts *testscript.TestScript, args []string) {
	list := r.passesTo(args[0])
	if len(list) == 0 {
		list = []string{"none"}
	}
	for _, p := range list {
		fmt.Fprintln(ts.Stdout(), p)
	}
}

func (o *office) passesTo(host string) (out []string) {
	for _, p := range o.passes {
		if string(p.Host) == host {
			out = append(out, p.Print)
		}
	}
	return out
}

func (r *room) records(ts *testscript.TestScript, _ []string) {
	counts := map[string]int{}
	var order []string
	for _, rec := range r.log {
		if counts[rec.Reason]++; counts[rec.Reason] == 1 {
			order = append(order, rec.Reason)
		}
	}
	for _, reason := range order {
		fmt.Fprintf(ts.Stdout(), "%s %d\n", reason, counts[reason])
	}
}

func (r *room) fill(*testscript.TestScript, []string)  { r.full = true }
func (r *room) empty(*testscript.TestScript, []string) { r.full = false }

func (r *room) drop(ts *testscript.TestScript, args []string) {
	ts.Check(os.WriteFile(filepath.Join(r.office.dir, args[0]), []byte(ts.ReadFile(args[1])), 0o600))
}
