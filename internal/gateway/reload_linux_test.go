package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/egress"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// control asks a gateway one thing, as the commands do.
func ctl(t testing.TB, path string, req, into any) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line, ok := req.(string)
	if !ok {
		b, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		line = string(b)
	}
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(answer), into); err != nil {
			t.Fatalf("%v: %s", err, answer)
		}
	}
	return answer
}

// logged gives the records of a log that have this reason.
func logged(t testing.TB, path, reason string) (out []audit.Record) {
	t.Helper()
	for r, err := range audit.Read(context.Background(), path, audit.Filter{}, false) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Reason == reason {
			out = append(out, r)
		}
	}
	return out
}

// TestReload is one gateway that gets new routes while it runs.
func TestReload(t *testing.T) {
	r := inProcess(t)
	u := newUpstream(t, r.dir)
	_, _, ready, client := r.start(t, u)
	what := r.what(u)
	fetch := func() int {
		t.Helper()
		status, _, err := get(t, client, "https://example.com/v1/models")
		if err != nil && !strings.Contains(err.Error(), "blocked by bottle") {
			t.Fatal(err)
		}
		return status
	}
	if fetch() != 200 {
		t.Fatal("the route does not work before the reload")
	}
	var now plan.InForce
	if ctl(t, what.Control, plan.Control{Op: plan.OpPolicy}, &now); now.Hash != ready.PolicyHash || len(now.Routes) != 1 || now.Routes[0].Rule != "dev.md:3" || len(now.Watch) != 1 {
		t.Errorf("in force: %+v", now)
	}

	narrow := what.Routes[0]
	narrow.Paths, narrow.Rule = []string{"/v2"}, "dev.md:4"
	more := bottle.Route{Host: bottle.Pattern{Host: "more.example.org"}, Ports: []uint16{443, 8443}, Rule: "dev.md:9", Role: "git"}
	want, err := policy.Compile([]bottle.Route{narrow, more})
	if err != nil {
		t.Fatal(err)
	}
	req := plan.Control{Op: plan.OpReload, Routes: []bottle.Route{narrow, more}, Check: true}
	var got plan.Reloaded
	ctl(t, what.Control, req, &got)
	if got.Old != ready.PolicyHash || got.New != want.Hash() || got.Applied || got.Problems.Fatal() {
		t.Errorf("a check: %+v", got)
	}
	said := got.Problems.Error()
	for _, w := range []string{"dev.md:9: warning: route more.example.org: port 8443 is new", "the role git is new"} {
		if !strings.Contains(said, w) {
			t.Errorf("%q is not in %s", w, said)
		}
	}
	if st := ask(t, what.Control); st.PolicyHash != ready.PolicyHash || fetch() != 200 {
		t.Error("a check changed the policy")
	}

	req.Check = false
	ctl(t, what.Control, req, &got)
	if got.Old != ready.PolicyHash || got.New != want.Hash() || !got.Applied || !got.Recorded {
		t.Errorf("a reload: %+v", got)
	}
	if st := ask(t, what.Control); st.PolicyHash != want.Hash() {
		t.Errorf("status has the policy %s", st.PolicyHash)
	}
	if fetch() != 403 {
		t.Error("the old policy still decides")
	}
	rs := logged(t, what.Audit, reasonReloaded)
	if len(rs) != 1 || rs[0].Policy != want.Hash() || rs[0].Kind != audit.KindLog || rs[0].Verdict != audit.Allow || !strings.Contains(rs[0].Note, ready.PolicyHash) {
		t.Errorf("records %+v", rs)
	}
	after := logged(t, what.Audit, string(policy.PathNotListed))
	if len(after) != 1 || after[0].Policy != want.Hash() || after[0].Seq < rs[0].Seq {
		t.Errorf("the request behind it: %+v", after)
	}
	if st := ask(t, what.Control); st.Allowed != 2 {
		t.Errorf("%d allowed: a reload counts as a request", st.Allowed)
	}
	if got := r.said.String(); strings.Contains(got, realKey) {
		t.Error("it printed the credential")
	}
}

// The weakness: a manifest with a slip is loaded into a running bottle. This
// proves that it changes nothing, and that everything wrong is told at once.
func TestReloadRefusesWhole(t *testing.T) {
	r := inProcess(t)
	u := newUpstream(t, r.dir)
	_, _, ready, client := r.start(t, u)
	what := r.what(u)
	good := what.Routes[0]
	other := func(change func(*bottle.Route)) bottle.Route {
		o := good
		o.Host, o.Auth, o.Upstream, o.Rule = bottle.Pattern{Host: "other.example.org"}, nil, nil, "dev.md:7"
		change(&o)
		return o
	}
	rubbish := filepath.Join(r.dir, "audit.jsonl")
	refused := 0
	for name, c := range map[string]struct {
		routes []bottle.Route
		want   []string
	}{
		"no ports":          {[]bottle.Route{good, other(func(r *bottle.Route) { r.Ports = nil })}, []string{"dev.md:7: route other.example.org: the ports are missing"}},
		"unknown secret":    {[]bottle.Route{good, other(func(r *bottle.Route) { r.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: "NEW_TOKEN"} })}, []string{`no value for the credential "NEW_TOKEN"`, "bottle stop " + identity}},
		"no CA file":        {[]bottle.Route{other(func(r *bottle.Route) { r.Upstream = &bottle.Upstream{CAFile: "/nowhere/ca.pem"} })}, []string{"read ca_file: open /nowhere/ca.pem"}},
		"no CA in the file": {[]bottle.Route{other(func(r *bottle.Route) { r.Upstream = &bottle.Upstream{CAFile: rubbish} })}, []string{"no certificate in it"}},
		"all at once": {[]bottle.Route{
			other(func(r *bottle.Route) { r.Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: "NEW_TOKEN"} }),
			other(func(r *bottle.Route) {
				r.Host.Host, r.Upstream = "third.example.org", &bottle.Upstream{CAFile: "/nowhere/ca.pem"}
			}),
		}, []string{"NEW_TOKEN", "/nowhere/ca.pem"}},
	} {
		var got plan.Reloaded
		ctl(t, what.Control, plan.Control{Op: plan.OpReload, Routes: c.routes}, &got)
		refused++
		if got.Applied || !got.Problems.Fatal() || got.Old != ready.PolicyHash || !got.Recorded {
			t.Errorf("%s: %+v", name, got)
		}
		for _, w := range c.want {
			if !strings.Contains(got.Problems.Error(), w) {
				t.Errorf("%s: %q is not in %s", name, w, got.Problems)
			}
		}
	}
	for in, want := range map[string]string{
		`{"op":"reload","routes":[{"hots":"x"}]}`: `unknown field`,
		`{"op":"reload","routes":5}`:              `can't be read`,
		`{"op":"reload"} {}`:                      `not a JSON object`,
	} {
		if got := ctl(t, what.Control, in, nil); !strings.Contains(got, want) {
			t.Errorf("%s: %s", in, got)
		}
	}
	if rs := logged(t, what.Audit, reasonRefused); len(rs) != refused || rs[0].Verdict != audit.Deny || rs[0].Policy != ready.PolicyHash || rs[0].Note == "" {
		t.Errorf("records %+v", rs)
	}
	if st := ask(t, what.Control); st.PolicyHash != ready.PolicyHash {
		t.Errorf("status has the policy %s", st.PolicyHash)
	}
	if status, _, err := get(t, client, "https://example.com/v1/models"); err != nil || status != 200 {
		t.Errorf("the old policy: %d %v", status, err)
	}
	ctl(t, what.Control, plan.Control{Op: plan.OpReload}, nil) // no routes: nothing is let through
	if _, _, err := get(t, client, "https://new.example.com/"); err == nil {
		t.Error("without routes something was let through")
	}
}

// While nothing can be recorded everything stays denied, whatever is loaded; when
// records can be written again, the new policy decides.
func TestReloadWhileTheGateIsShut(t *testing.T) {
	dir := t.TempDir()
	ca, err := egress.NewCA(identity)
	if err != nil {
		t.Fatal(err)
	}
	route := func(host bottle.Host) []bottle.Route {
		return []bottle.Route{{Host: bottle.Pattern{Host: host}, Ports: []uint16{443}, Rule: "dev.md:3"}}
	}
	g := &gateway{Start: Start{Version: version, Identity: identity}, ca: ca, sockets: &sockets{}, told: told{
		Gateway: plan.Gateway{Identity: identity, Audit: filepath.Join(dir, "audit.jsonl"), Listen: "127.0.0.1:0", Routes: route("first.example.com")},
		secrets: map[string]secret.Value{},
	}}
	ctx, cancel := context.WithCancel(t.Context())
	if err := g.open(ctx); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.proxy.ServeProxy(ctx, g.sockets.egress) }()
	defer func() {
		cancel()
		if err := errors.Join(<-served, g.close()); err != nil {
			t.Error(err)
		}
	}()
	opens := func(host string) bool {
		t.Helper()
		c, err := net.Dial("tcp", g.sockets.egress.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", host, host)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(line, " 200 ")
	}
	if !opens("first.example.com") || opens("second.example.com") {
		t.Fatal("the first policy does not decide")
	}
	g.rec.log.Close() // first: the record of a tunnel that ends just now must not open the gate again
	g.rec.set(errors.New("the disk is full"))
	if opens("first.example.com") {
		t.Fatal("the gate is open")
	}
	out := g.reload(plan.Control{Routes: route("second.example.com")})
	if !out.Applied || out.Recorded || g.hash() != out.New {
		t.Errorf("%+v", out)
	}
	if opens("first.example.com") || opens("second.example.com") {
		t.Error("a reload opened the gate")
	}
	if log, err := audit.Open(g.told.Audit); err != nil {
		t.Fatal(err)
	} else {
		g.rec.log, g.log = log, log
	}
	g.rec.set(nil)
	if opens("first.example.com") || !opens("second.example.com") {
		t.Error("when the gate opened, the new policy did not decide")
	}
}

// TestMetricsOperation: the numbers come as data, and as text that Prometheus reads.
func TestMetricsOperation(t *testing.T) {
	r := inProcess(t)
	u := newUpstream(t, r.dir)
	_, _, ready, client := r.start(t, u)
	what := r.what(u)
	if status, _, err := get(t, client, "https://example.com/v1/models"); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	var data, text plan.Metrics
	ctl(t, what.Control, plan.Control{Op: plan.OpMetrics}, &data)
	ctl(t, what.Control, plan.Control{Op: plan.OpMetrics, Format: plan.FormatPrometheus}, &text)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text.Text))
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != len(data.Families) || len(families) < 20 {
		t.Errorf("%d families as text, %d as data", len(families), len(data.Families))
	}
	info := families["bottle_info"].GetMetric()[0].String()
	for _, want := range []string{ready.PolicyHash, identity, version} {
		if !strings.Contains(info, want) {
			t.Errorf("%s is not in %s", want, info)
		}
	}
	if n := families["bottle_decisions_total"].GetMetric()[0].GetCounter().GetValue(); n != 1 {
		t.Errorf("%v decisions", n)
	}
	if strings.Contains(text.Text, realKey) || strings.Contains(text.Text, fakeKey) {
		t.Error("a credential is in the metrics")
	}
	if got := ctl(t, what.Control, plan.Control{Op: plan.OpMetrics, Format: "xml"}, nil); !strings.Contains(got, "there is: prometheus") {
		t.Errorf("%s", got)
	}
	if info, err := os.Stat(what.Control); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v %v", info, err)
	}
}
