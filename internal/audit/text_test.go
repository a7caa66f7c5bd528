package audit

import (
	"strings"
	"testing"
)

// An operator whose key is wrong sees it in the log: the request was let through
// and turned down by the upstream.
func TestTextTellsWhatTheUpstreamTurnedDown(t *testing.T) {
	r := Record{Verdict: "allow", Kind: "http", Host: "api.example.com", Status: 401}
	if got := Text(r, nil); !strings.Contains(got, "answered 401") {
		t.Error(got)
	}
	for _, quiet := range []Record{{Verdict: "allow", Status: 200}, {Verdict: "deny", Status: 403}} {
		if got := Text(quiet, nil); strings.Contains(got, "answered") {
			t.Error(got)
		}
	}
}

// What --verify prints is what --head reads, and nothing else is.
func TestHeadAsAPersonKeepsIt(t *testing.T) {
	h := Head{Seq: 12, Hash: strings.Repeat("a1", 32)}
	if got, err := ParseHead(h.String()); err != nil || got != h {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "12", ":" + h.Hash, "0:" + h.Hash, "-1:" + h.Hash, "12:" + h.Hash[2:], "12:" + strings.Repeat("zz", 32), h.String() + "00"} {
		if got, err := ParseHead(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

// TestTextOfGit: a push is told by its refs, whatever an agent calls them.
func TestTextOfGit(t *testing.T) {
	line := func(verdict, method, reason, note string) string {
		return Text(Record{Kind: KindGit, Verdict: verdict, Method: method, Host: "git.example.com", Port: 22, Path: "/team/app", Rule: "git:app", Reason: reason, Note: note, Credential: "git:app key_file", BytesOut: 267}, nil)
	}
	for _, c := range []struct{ got, want string }{
		{line(Allow, "push", "listed", "000000000000..8a569ec65f5b refs/heads/agent/one; 223e619d5c42..8a569ec65f5b refs/heads/x"),
			"allow  git     push    git.example.com:22/team/app                   new refs/heads/agent/one at 8a569ec65f5b  refs/heads/x 223e619d5c42..8a569ec65f5b  with git:app key_file  267 B out"},
		{line(Deny, "push", "ref_not_listed", "223e619d5c42..000000000000 refs/heads/trunk; refs/heads/trunk: only these branches: agent/* [ref_not_listed]"),
			"deny   git     push    git.example.com:22/team/app                   ref_not_listed  delete refs/heads/trunk, which was 223e619d5c42  refs/heads/trunk: only these branches: agent/* [ref_not_listed]  with "},
		{line(Allow, "fetch", "listed", ""), "allow  git     fetch   git.example.com:22/team/app                   with git:app key_file"},
		{line(Deny, "fetch", "upstream_unreachable", "x..y z; ..; 0.. a\x1b[2J"), `upstream_unreachable  x..y z  ..  0.. a\x1b[2J  with`},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%s\nwant %s", c.got, c.want)
		}
	}
}
