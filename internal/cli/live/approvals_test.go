package live

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/cli/ui"
	"bottle/internal/plan"
)

// TestApprovalsTellWhatIsInForce: with what the log knows of each, and who said so, and
// nothing that a terminal could obey.
func TestApprovalsTellWhatIsInForce(t *testing.T) {
	c := newCounter(t)
	if err := c.does(c.Approvals(), "worker"); err != nil || !strings.Contains(c.out.String(), "nothing is approved: worker-abc12") {
		t.Errorf("%v: %s", err, c.out.String())
	}
	c.now = []plan.Admitted{
		{Fingerprint: printA, Host: "api.example.com", Since: time.Unix(1<<31-3600, 0), Until: time.Unix(1<<31, 0), By: "ann\x1b[2J"},
		{Fingerprint: printB, Host: "b.example.com", Until: time.Unix(1<<31, 0)},
	}
	if err := c.does(c.Approvals(), "worker"); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{printA + "  " + ui.Clock(c.now[0].Until) + "  api.example.com: .env:API, approved at " + ui.Clock(c.now[0].Since) + ` by ann\x1b[2J`, printB, "b.example.com: not in the log, approved at "} {
		if !strings.Contains(c.out.String(), part) {
			t.Errorf("%q is not in\n%s", part, c.out.String())
		}
	}
	var got struct {
		Identity  string
		Approvals []standing
	}
	if err := c.does(c.Approvals(), "worker", "--format", "json"); err != nil || json.Unmarshal(c.out.Bytes(), &got) != nil ||
		got.Identity != "worker-abc12" || len(got.Approvals) != 2 || got.Approvals[0].Secret != ".env:API" || got.Approvals[0].Rule != "known-secret" {
		t.Errorf("%v: %s", err, c.out.String())
	}
	if len(c.heard()) > 0 {
		t.Errorf("asked %+v", c.heard())
	}
}

// TestRevokeTakesTheBeginningOfOne: and of no two; what is none is told before anybody
// is asked.
func TestRevokeTakesTheBeginningOfOne(t *testing.T) {
	c := newCounter(t)
	c.now = []plan.Admitted{{Fingerprint: printA, Host: "api.example.com"}, {Fingerprint: printA, Host: "b.example.com"}, {Fingerprint: printB[:16] + printA[:16], Host: "b.example.com"}, {Fingerprint: printB, Host: "b.example.com"}}
	for args, want := range map[string]string{
		"worker --revoke 0a0a": "8 to 32 hex digits", "worker --revoke nonsense": "8 to 32 hex digits", "worker --revoke " + printA + "0": "hex digits",
		"worker --revoke 0c0c0c0c": "no approval of 0c0c0c0c", "worker --revoke 0b0b0b0b": "the beginning of 2 fingerprints", "worker --host a.example.com": "nothing is to be",
	} {
		if err := c.does(c.Approvals(), strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if len(c.heard()) > 0 {
		t.Fatalf("asked %+v", c.heard())
	}
	if err := c.does(c.Approvals(), "worker", "--revoke", strings.ToUpper(printA[:8]), "--host", "api.example.com"); err != nil {
		t.Fatal(err)
	}
	if asked := c.heard(); len(asked) != 1 || asked[0].Op != plan.OpRevoke || asked[0].Fingerprint != printA || asked[0].Host != "api.example.com" {
		t.Errorf("asked %+v", asked)
	}
	if c.out.String() != "no longer passes to api.example.com: "+printA+"\n" || !strings.Contains(c.err.String(), "takes no records") {
		t.Errorf("%q, %q", c.out.String(), c.err.String())
	}
	cmd := c.Approvals()
	cmd.SetContext(t.Context())
	if list, _ := c.completeRevoke(cmd, []string{"worker"}, ""); !slices.Contains(list, printA+"\t.env:API to api.example.com") {
		t.Errorf("%q", list)
	}
}
