package supervise_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"bottle/internal/bottle"
	"bottle/internal/policy"
	"bottle/internal/supervise"
)

var versions = []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}

// The SDK's client, in every version of the protocol, lists the tools, calls one and
// reads a resource.
func TestEveryVersionOfTheProtocolIsServed(t *testing.T) {
	s := serve(t, &desk{}, time.Second)
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			c := s.session(t, v)
			if said := c.InitializeResult().Instructions; len(said) < 250 || !strings.Contains(said[:250], "egress-block") || !strings.Contains(said[:250], "proposal-status") {
				t.Errorf("some clients show a model the first 250 characters alone: %q", said)
			}
			list, err := c.ListTools(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, one := range list.Tools {
				names = append(names, one.Name)
				if one.Description == "" || one.InputSchema == nil {
					t.Errorf("%s: a model can't know what it does", one.Name)
				}
			}
			want := []string{"capability-block", "check-egress", "egress-block", "git-push-review", "list-egress-routes", "pipelock-block", "proposal-status"}
			if slices.Sort(names); !slices.Equal(names, want) {
				t.Errorf("%q", names)
			}
			if got, failed := call(t, c, "egress-block", map[string]any{"host": "yes.example.com", "justification": "a test"}); failed || !strings.Contains(got, `"status":"approved"`) {
				t.Errorf("%s", got)
			}
			res, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "bottle://policy"})
			if err != nil || len(res.Contents) != 1 || res.Contents[0].Text != "the words of the policy" {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
}

// Every state of a proposal is told with what to do next, and an approval of less than
// was asked shows what was given, without a path of the operator's machine.
func TestEachOutcomeSaysWhatToDoNext(t *testing.T) {
	s := serve(t, &desk{}, 20*time.Millisecond)
	c := s.session(t)
	for host, want := range map[string]struct{ status, says string }{
		"yes":   {"approved", "Make your request now"},
		"other": {"modified", "Look at \\\"given\\\""},
		"no":    {"rejected", "use the mirror"},
		"late":  {"expired", "ask once more"},
		"slow":  {"pending", "proposal-status"},
	} {
		got, failed := call(t, c, "egress-block", map[string]any{"host": host + ".example.com", "justification": "a test"})
		var out struct{ Status, ID, Next string }
		if err := json.Unmarshal([]byte(got), &out); err != nil || failed {
			t.Fatalf("%s: %v: %s", host, err, got)
		}
		if out.Status != want.status || out.Next == "" || out.ID != "p234567" || !strings.Contains(got, want.says) {
			t.Errorf("%s: %s", host, got)
		}
		if strings.Contains(got, "/home/ann") {
			t.Errorf("%s tells of the operator's machine: %s", host, got)
		}
	}
	if got, failed := call(t, c, "egress-block", map[string]any{"host": "flood.example.com", "justification": "a test"}); !failed || !strings.Contains(got, "wait 30 s") {
		t.Errorf("what the desk refuses: %v, %s", failed, got)
	}
	if got, failed := call(t, c, "proposal-status", map[string]any{"id": "p234567"}); failed || !strings.Contains(got, `"status":"pending"`) {
		t.Errorf("%s", got)
	}
	if got, failed := call(t, c, "proposal-status", map[string]any{"id": "../../etc/passwd"}); !failed || !strings.Contains(got, "no proposal") {
		t.Errorf("%s", got)
	}
}

// What is asked reaches the desk as it was said, and as nothing else.
func TestAnAskIsWhatWasSaid(t *testing.T) {
	d := &desk{}
	c := serve(t, d, time.Second).session(t)
	call(t, c, "egress-block", map[string]any{
		"host": "*.yes.example.com", "ports": []int{8443, 443}, "methods": []string{"get", "POST"}, "path_allowlist": []string{"/v1"},
		"auth": map[string]any{"scheme": "header:X-Api-Key", "token_ref": "KEY"}, "justification": "two\nlines \x1b[31m",
	})
	want := bottle.Proposal{Kind: bottle.ProposalEgress, Why: bottle.Said("two\nlines \x1b[31m"), Route: &bottle.Route{
		Host: bottle.Pattern{Host: "yes.example.com", Sub: true}, Ports: []uint16{443, 8443}, Methods: []string{"GET", "POST"}, Paths: []string{"/v1"},
		Auth: &bottle.Auth{Scheme: "header", Header: "X-Api-Key", TokenRef: "KEY"},
	}, ID: "p234567", Status: bottle.ProposalPending, Count: 1}
	if diff := cmp.Diff(want, d.last(t)); diff != "" {
		t.Error(diff)
	}
}

// A blocked URL becomes an ask for the value that was found there, by the fingerprint
// that the agent gives or by the newest denial of that URL, or for the URL itself; and
// for nothing where nothing was blocked.
func TestABlockedURLBecomesTheNarrowestAsk(t *testing.T) {
	const older, newer = "11111111111111111111111111111111", "22222222222222222222222222222222"
	d := &desk{denials: []bottle.Denial{
		{Host: "yes.example.com", Port: 443, Path: "/a", Print: older},
		{Host: "yes.example.com", Port: 443, Path: "/a", Print: newer},
		{Host: "yes.example.com", Port: 8443, Path: "/a", Print: older},
		{Host: "yes.example.com", Port: 443, Path: "/b", Reason: "path_not_listed"},
	}}
	c := serve(t, d, time.Second).session(t)
	for _, x := range []struct{ url, print, wantPath, want string }{
		{"https://yes.example.com/a?q=1", "", "/a", newer},
		{"https://yes.example.com/a", strings.ToUpper(older), "/a", older},
		{"https://yes.example.com:8443/a", "", "/a", older},
		{"https://yes.example.com/b", "", "/b", ""},
		{"https://yes.example.com", "", "/", ""},
	} {
		args := map[string]any{"failed_url": x.url, "justification": "a test"}
		if x.print != "" {
			args["fingerprint"] = x.print
		}
		if got, failed := call(t, c, "pipelock-block", args); failed || !strings.Contains(got, "Send the very same request again") {
			t.Errorf("%s: %s", x.url, got)
			continue
		}
		if got := *d.last(t).Content; got != (bottle.ContentAsk{Host: "yes.example.com", Path: x.wantPath, Print: x.want}) {
			t.Errorf("%s: %+v", x.url, got)
		}
	}
	before := len(d.asked)
	d.verdict = policy.Verdict{Action: policy.Allow, Reason: policy.Listed}
	if got, failed := call(t, c, "pipelock-block", map[string]any{"failed_url": "https://yes.example.com/never", "justification": "a test"}); failed || !strings.Contains(got, "not_needed") || len(d.asked) != before {
		t.Errorf("what is allowed was asked for: %s", got)
	}
	for _, bad := range []string{"yes.example.com/a", "ftp://yes.example.com/a", "https:///a", "https://user@yes.example.com:x/"} {
		if got, failed := call(t, c, "pipelock-block", map[string]any{"failed_url": bad, "justification": "a test"}); !failed || !strings.Contains(got, "failed_url") {
			t.Errorf("%s: %s", bad, got)
		}
	}
}

// What the bottle may do is told, with the names of credentials and without anything of
// the operator's machine; what it lacks is said plainly.
func TestWhatTheBottleMayDoIsTold(t *testing.T) {
	host, err := bottle.ParsePattern("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{routes: []bottle.Route{{Host: host, Ports: []uint16{443}, Methods: []string{"GET"}, TLS: "intercept", DLP: "block", Rule: "/home/ann/.bot-bottle/bottles/dev.md:7",
		Auth: &bottle.Auth{Scheme: "header", Header: "X-Api-Key", TokenRef: "KEY"}, Upstream: &bottle.Upstream{Address: "10.0.0.7:443", CAFile: "/home/ann/ca.pem"}}},
		denials: []bottle.Denial{{Last: time.Unix(0, 0), Count: 3, Method: "GET", Host: "pypi.org", Port: 443, Path: "/simple", Reason: "host_not_listed", Text: "no route lists this host",
			Rule: "/home/ann/x.md:3", Ask: &bottle.Proposal{Route: &bottle.Route{Host: bottle.Pattern{Host: "pypi.org"}, Ports: []uint16{443}, Methods: []string{"GET"}}}}},
		verdict: policy.Verdict{Reason: policy.HostNotListed, Message: "no route lists this host"},
	}
	c := serve(t, d, time.Second).session(t)
	routes, _ := call(t, c, "list-egress-routes", nil)
	denials, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "bottle://denials"})
	if err != nil {
		t.Fatal(err)
	}
	check, failed := call(t, c, "check-egress", map[string]any{"method": "get", "url": "https://pypi.org/simple"})
	push, failedPush := call(t, c, "git-push-review", map[string]any{"repo": "app"})
	none, failedNone := call(t, c, "capability-block", map[string]any{"dockerfile": "RUN apt-get install jq", "justification": "a test"})
	for what, x := range map[string]struct{ got, want string }{
		"routes":     {routes, `"auth":{"scheme":"header:X-Api-Key","token_ref":"KEY"}`},
		"any path":   {routes, `"path_allowlist":["any"]`},
		"denials":    {denials.Contents[0].Text, `"reason": "host_not_listed"`},
		"hint":       {denials.Contents[0].Text, `egress-block {\"host\":\"pypi.org\"`},
		"check":      {check, `"verdict":"deny","reason":"host_not_listed"`},
		"push":       {push, "the words about app"},
		"capability": {none, "Nothing was queued"},
	} {
		if !strings.Contains(x.got, x.want) {
			t.Errorf("%s: %s", what, x.got)
		}
	}
	if failed || failedPush || failedNone || len(d.asked) != 0 {
		t.Errorf("failed: %v, %v, %v; asked: %v", failed, failedPush, failedNone, d.asked)
	}
	if all := routes + denials.Contents[0].Text + check; strings.Contains(all, "/home/ann") || strings.Contains(all, "10.0.0.7") {
		t.Errorf("it tells of the operator's machine: %s", all)
	}
	if got, failed := call(t, c, "check-egress", map[string]any{"method": "GET", "url": "pypi.org"}); !failed || !strings.Contains(got, "https://host/path") {
		t.Errorf("%s", got)
	}
	git, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "bottle://git/app"})
	if err != nil || git.Contents[0].Text != "the words about app" {
		t.Errorf("%v, %v", git, err)
	}
	if _, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "file:///etc/passwd"}); err == nil {
		t.Error("a file was read")
	}
}

// A call comes back as soon as the operator has decided, not when its time is over.
func TestADecisionEndsTheWait(t *testing.T) {
	d := &desk{decide: make(chan bottle.ProposalStatus, 1)}
	c := serve(t, d, time.Hour).session(t)
	d.decide <- bottle.ProposalApproved
	if got, _ := call(t, c, "egress-block", map[string]any{"host": "slow.example.com", "justification": "a test"}); !strings.Contains(got, "approved") {
		t.Errorf("%s", got)
	}
	// The model is told how long that is.
	list, err := c.ListTools(t.Context(), nil)
	if b, _ := json.Marshal(list); err != nil || strings.Count(string(b), "Absent: 3600.") != 3 {
		t.Errorf("%v: %s", err, b)
	}
	// One that says how long it waits does not wait longer, and one that says 0 not at all.
	call(t, c, "egress-block", map[string]any{"host": "yes.example.com", "justification": "a test", "wait_seconds": 55})
	call(t, c, "pipelock-block", map[string]any{"failed_url": "https://yes.example.com/a", "justification": "a test", "wait_seconds": 0})
	if want := []time.Duration{time.Hour, 55 * time.Second, 0}; !slices.Equal(d.waits, want) {
		t.Errorf("waited for %v, want %v", d.waits, want)
	}
}

// Lines of a dockerfile are asked for where a recipe makes the image; where none does, or with
// packages beside them, nobody is asked.
func TestLinesAreAskedForWhereARecipeIs(t *testing.T) {
	lines := map[string]any{"dockerfile": "RUN apt-get install -y jq\n\nENV A=b\n", "justification": "a test"}
	d := &desk{}
	without := serve(t, d, time.Second).session(t)
	if got, failed := call(t, without, "capability-block", lines); failed || !strings.Contains(got, `"status":"unsupported"`) {
		t.Errorf("%s", got)
	}
	c := serving(t, supervise.Config{Desk: d, Wait: time.Second, Version: "test", Recipe: true}).session(t)
	both := map[string]any{"dockerfile": "RUN true", "packages": []string{"deb:jq"}, "justification": "a test"}
	if got, failed := call(t, c, "capability-block", both); !failed || !strings.Contains(got, "two asks") {
		t.Errorf("%s", got)
	}
	if len(d.asked) > 0 {
		t.Fatalf("%+v", d.asked)
	}
	got, failed := call(t, c, "capability-block", lines)
	if p := d.last(t); failed || p.Kind != bottle.ProposalImage || p.Capability != nil || !slices.Equal(p.Image.Lines, []string{"RUN apt-get install -y jq", "ENV A=b"}) {
		t.Errorf("%s: %+v", got, p)
	}
}
