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
