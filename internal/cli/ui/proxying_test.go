package ui_test

import (
	"bytes"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
)

// TestProxyingCanBePasted: what is printed is what a shell takes, and it names a URL
// that the bottle lets through.
func TestProxyingCanBePasted(t *testing.T) {
	wild, err := bottle.ParsePattern("*.example.org")
	if err != nil {
		t.Fatal(err)
	}
	host, err := bottle.ParsePattern("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	p := lifecycle.Proxying{
		Identity: "dev-abcde", CAFile: "/home/o'me/my state/ca.pem", Password: "PASS",
		Ready:  plan.Ready{Services: map[string]string{plan.SocketEgress: "127.0.0.1:9099"}},
		Routes: []bottle.Route{{Host: wild, Ports: []uint16{443}}, {Host: host, Ports: []uint16{8443}, Paths: []string{"/v1"}}},
	}
	var out bytes.Buffer
	ui.Proxying(&out, ui.Plain, p)
	for _, line := range []string{
		"watch     bottle audit dev-abcde --follow", "  export HTTPS_PROXY=http://bottle:PASS@127.0.0.1:9099",
		`  curl --cacert '/home/o'\''me/my state/ca.pem' https://api.example.com:8443/v1`,
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no line %q in:\n%s", line, out.String())
		}
	}
	if strings.Contains(out.String(), "Every user") {
		t.Error("one with a password is called open")
	}
	p.Password, p.Routes = "", nil
	out.Reset()
	ui.Proxying(&out, ui.Plain, p)
	for _, word := range []string{"Every user of this machine", "HTTPS_PROXY=http://127.0.0.1:9099", "https://HOST/"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("no %q in:\n%s", word, out.String())
		}
	}
}
