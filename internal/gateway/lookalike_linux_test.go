package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"bottle/internal/plan"
)

// TestAProposalIsWhatItLooksLike. The weakness: an operator reads a line, and a gateway
// compares bytes. The attack: an agent asks for what reads as something else: letters of
// other scripts, names with a dot at the end, wildcards over everybody's names, paths that
// other servers read otherwise, a method or path that goes on as the operator's line does,
// and things that mean what a proposal that waits, or was given, means already. This proves
// that each is refused, or shown in the one form by which it is decided.
func TestAProposalIsWhatItLooksLike(t *testing.T) {
	r := inProcess(t)
	what := r.what(newUpstream(t, t.TempDir()))
	what.Asked, what.Supervise = r.dir+"/proposals", true
	what.Routes[0].Methods, what.Routes[0].Paths = []string{"GET"}, []string{"/v1"}
	_, _, _, client := r.startAs(t, what)
	s := asker(t, client)
	type call = map[string]any
	known := map[string]bool{}
	for _, c := range []struct {
		ask  call
		says string // what the operator reads of the one that is new; empty: it is refused, or the same as another
		told string // what the agent reads
	}{
		{call{"host": "\u0430pi.github.com"}, "adds every method to xn--pi-6kc.github.com/* without a credential", "pending"},
		{call{"host": "xn--pi-6kc.github.com"}, "", "pending"}, // the same
		{call{"host": "api.github.com."}, "adds every method to api.github.com/* without a credential", "pending"},
		{call{"host": "API.GitHub.com"}, "", "pending"},                      // the same
		{call{"host": "api\u3002github\uff0ecom"}, "", "asked 3 times"},      // the same
		{call{"host": "api.github.com", "ports": []int{443}}, "", "pending"}, // the same
		{call{"host": "api.github.com\u202e"}, "", ""},
		{call{"host": "api.github.com/*, evil.example.net"}, "", ""},
		{call{"host": "api.github.com without a credential"}, "", ""},
		{call{"host": "api.github.com:8443"}, "", ""},
		{call{"host": "https://api.github.com"}, "", ""},
		{call{"host": "user@api.github.com"}, "", ""},
		{call{"host": "*"}, "", ""},
		{call{"host": "*.com"}, "", ""},
		{call{"host": "*.co.uk"}, "", ""},
		{call{"host": "*.github.io"}, "", ""},
		{call{"host": "com"}, "adds every method to com/* without a credential", "pending"}, // that one name alone
		{call{"host": "127.0.0.1"}, "", ""},
		{call{"host": "2130706433"}, "", ""},
		{call{"host": "0x7f.1"}, "", ""},
		{call{"host": "[::ffff:169.254.169.254]"}, "", ""},
		{call{"host": "git.bottle"}, "", "gateway's own"},
		{call{"host": "example.com", "methods": []string{"get"}, "path_allowlist": []string{"/v1/"}}, "", "lets this through already"},
		{call{"host": "example.com", "methods": []string{"post"}, "path_allowlist": []string{"/v2//"}}, "", ""},
		{call{"host": "example.com", "methods": []string{"POST"}, "path_allowlist": []string{"/%76%32"}}, "adds POST to example.com/v2/* with credential API_TOKEN", "pending"},
		{call{"host": "example.com", "methods": []string{"post"}, "path_allowlist": []string{"/v2"}}, "", "pending"}, // the same
		{call{"host": "example.com", "path_allowlist": []string{"/v2/../admin"}}, "", ""},
		{call{"host": "example.com", "path_allowlist": []string{"/v2%2f..%2fadmin"}}, "", ""},
		{call{"host": "example.com", "path_allowlist": []string{"/v2\\..\\admin"}}, "", ""},
		{call{"host": "example.com", "path_allowlist": []string{"/v2;/../admin"}}, "", ""},
		{call{"host": "example.com", "path_allowlist": []string{"/v2?all"}}, "", ""},
		{call{"host": "example.com", "path_allowlist": []string{"//evil.example.net/"}}, "", ""},
		{call{"host": "example.com", "methods": []string{"GET, POST to evil.example.net/* and"}}, "", ""},
		{call{"host": "example.com", "methods": []string{"GET\nPOST"}}, "", ""},
		{call{"host": "example.com", "methods": []string{"G\u0415T"}}, "", ""},
		{call{"host": "www.example.com", "auth": call{"scheme": "Bearer", "token_ref": "API_TOKEN"}}, "", "manifest"},
		{call{"host": "www.example.com", "auth": call{"scheme": "header:X", "token_ref": "API_TOKEN"}}, "", "manifest"},
	} {
		c.ask["justification"], c.ask["wait_seconds"] = "a test", 0
		got := callTool(t, s, "egress-block", c.ask)
		var all plan.Proposals
		ctl(t, what.Control, plan.Control{Op: plan.OpProposals}, &all)
		says := ""
		for _, p := range all.List {
			if !known[p.ID] {
				known[p.ID], says = true, strings.Split(p.Says, ", dialling")[0]
			}
		}
		b, _ := json.Marshal(c.ask)
		if says != c.says || !strings.Contains(got, c.told) || c.says == "" && c.told == "" && strings.Contains(got, `"status"`) {
			t.Errorf("%s\nthe operator reads %q\nwant               %q\nthe agent reads %s", b, says, c.says, got)
		}
	}
}
