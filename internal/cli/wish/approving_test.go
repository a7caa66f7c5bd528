package wish

import (
	"strings"
	"testing"

	"bottle/internal/audit"
)

// TestApproving: the command stands below what it would let pass, with each value once,
// and below nothing else: no allowed record, no other reason, no value that has passed.
func TestApproving(t *testing.T) {
	a, b := strings.Repeat("0a", 16), strings.Repeat("0b", 16)
	two := []audit.Finding{{Fingerprint: a}, {Fingerprint: b}, {Fingerprint: a}, {Rule: "undecodable"}}
	for name, c := range map[string]struct {
		r    audit.Record
		want string
	}{
		"a request":      {audit.Record{Kind: "http", Verdict: "deny", Reason: "secret_found", Host: "api.example.com", Findings: two}, "bottle approve dev-1 " + a + " " + b + " --host api.example.com"},
		"a push":         {audit.Record{Kind: "git", Verdict: "deny", Reason: "protected_path", Host: "git.example.com", Findings: two[:1]}, "bottle approve dev-1 " + a + " --host git.example.com"},
		"allowed":        {audit.Record{Kind: "http", Verdict: "allow", Reason: "secret_found", Host: "api.example.com", Findings: two}, ""},
		"another reason": {audit.Record{Kind: "http", Verdict: "deny", Reason: "inbound_blocked", Host: "api.example.com", Findings: two}, ""},
		"has passed":     {audit.Record{Kind: "git", Verdict: "deny", Reason: "secret_found", Host: "api.example.com", Findings: []audit.Finding{{Fingerprint: a, Outcome: "approved"}}}, ""},
		"in the host":    {audit.Record{Kind: "http", Verdict: "deny", Reason: "secret_found", Host: "api.example.com", Findings: []audit.Finding{{Fingerprint: a, Place: "host"}}}, ""},
		"no host":        {audit.Record{Kind: "http", Verdict: "deny", Reason: "secret_found", Host: "a b; rm", Findings: two}, ""},
		"nothing":        {audit.Record{Kind: "http", Verdict: "deny", Reason: "secret_found", Host: "api.example.com"}, ""},
	} {
		if got := Approving("dev-1", c.r); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
