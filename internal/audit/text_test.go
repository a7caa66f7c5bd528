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
