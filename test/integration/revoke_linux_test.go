package integration

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

// TestRevokedStreamEndsInsideTheBottle. The weakness: a stream of events under a grant, in
// which nothing moves, is looked at by nobody. The attack, from inside a native bottle: open
// one, and one more that is never answered, and let them rest. This proves that `bottle revoke`
// ends both there and at the server, over HTTP/1.1 and HTTP/2, and that no other follows.
func TestRevokedStreamEndsInsideTheBottle(t *testing.T) {
	require.Tool(t, "curl")
	left, came := make(chan string, 9), make(chan string, 9)
	srv, err := loopback.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came <- r.URL.Path
		if r.URL.Path == "/live/events" {
			_, _ = io.WriteString(w, "an event\n")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		left <- r.URL.Path
	}), "api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	for _, version := range []string{"--http1.1", "--http2"} {
		t.Run(version, func(t *testing.T) {
			h := supervised(t, -1, "")
			h.write("ca.pem", string(srv.CA()))
			h.write("home/bottles/box.md", fmt.Sprintf("---\nagent_provider: {template: command}\negress:\n  routes:\n    - host: api.example.com\n      path_allowlist: [\"/v1/\"]\n      upstream: {address: %q, ca_file: %q}\n---\nA box.\n",
				srv.Addr(), filepath.Join(h.base, "ca.pem")))
			h.own()
			b := h.begin(asksInside + `echo ready
ask egress-block '{"host":"api.example.com","methods":["GET"],"path_allowlist":["/live"],"justification":"to listen","wait_seconds":1}'
read -r _; for path in events never; do (curl -sN ` + version + ` https://api.example.com/live/$path; echo "$path ends $?") & done; wait
curl -s -o /dev/null -w 'again: %{http_code}\n' https://api.example.com/live/events; read -r _`)
			h.tool("approve", h.waiting(1)[0].ID, "--yes")
			b.types("go")
			b.says("an event")
			for range 2 {
				<-came
			}
			grant := ""
			for _, w := range strings.Fields(h.tool("grants", h.agent)) {
				if strings.HasPrefix(w, "g") && len(w) == 7 {
					grant = w
				}
			}
			if out := h.tool("revoke", h.agent, grant, "--format", "json"); !strings.Contains(out, `"cut": 2`) {
				t.Errorf("it says %s", out)
			}
			for range 2 {
				<-left
			}
			b.says("events ends ")
			b.says("never ends ")
			b.says("again: 403")
			revoked := 0
			for _, r := range h.records() {
				if r["reason"] == "revoked" && r["verdict"] == "deny" {
					revoked++
				}
			}
			if revoked != 2 {
				t.Errorf("%d records", revoked)
			}
			b.types("bye")
			b.ends()
		})
	}
}
