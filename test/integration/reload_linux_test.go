package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// asker is an agent that fetches each URL that it is told, and says the status.
const asker = `echo ready; while read url && test "$url" != bye; do curl -sS -m 10 -o /dev/null -w "$url gives %{http_code}\n" "$url" 2>/dev/null || echo "$url fails"; done`

// edit changes the bottle's manifest as an operator with an editor does.
func (h *house) edit(old, new string) {
	h.t.Helper()
	path := filepath.Join(h.home(), "bottles", "box.md")
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), old) {
		h.t.Fatalf("%s has no %q: %v", path, old, err)
	}
	h.write("home/bottles/box.md", strings.ReplaceAll(string(text), old, new))
	h.own()
}

// TestReloadOfARunningBottle: a route is narrowed, and widened again, under a
// running agent; what is wrong is told and changes nothing; the log says it all.
func TestReloadOfARunningBottle(t *testing.T) {
	require.Tool(t, "curl")
	everybody(t, func(t *testing.T, uid int) {
		_, h := upstream(t, uid)
		b := h.begin(asker)
		b.says("ready")
		id := string(h.identity())
		b.types("https://api.example.com/v1/a")
		b.says("/v1/a gives 200")

		if out := h.tool("reload", h.agent, "--yes"); !strings.Contains(out, "no route changed") {
			t.Errorf("without a change: %s", out)
		}
		h.edit("egress:\n", "egress:\n  limits: {connections: 77}\n")
		if s := finish(t, h.command("reload", h.agent, "--yes")); s.code != 0 || !strings.Contains(s.out, "no route changed") ||
			!strings.Contains(s.err, "egress.limits changed, and not in the running bottle") || !strings.Contains(s.err, "bottle stop "+id+" && bottle start "+h.agent) {
			t.Errorf("a limit changed: %+v", s)
		}
		h.edit("  limits: {connections: 77}\n", "")
		h.edit(`["/v1/"]`, `["/v2/"]`)
		if s := finish(t, h.command("reload", id)); s.code != 2 || !strings.Contains(s.err, "--yes") {
			t.Errorf("nobody could say yes: %+v", s)
		}
		var look struct {
			Applied        bool
			Added, Removed []any
		}
		if err := json.Unmarshal([]byte(h.tool("reload", id, "--format", "json")), &look); err != nil || look.Applied || len(look.Added) != 1 || len(look.Removed) != 1 {
			t.Errorf("a look: %+v %v", look, err)
		}
		b.types("https://api.example.com/v1/b")
		b.says("/v1/b gives 200")

		s := finish(t, h.command("reload", h.agent, "--yes"))
		if s.code != 0 || !strings.Contains(s.out, "in force: policy ") ||
			!strings.Contains(s.err, "- api.example.com:443  any  /v1/  credential API_TOKEN (Bearer)") || !strings.Contains(s.err, "+ api.example.com:443  any  /v2/") {
			t.Errorf("the reload: %+v", s)
		}
		b.types("https://api.example.com/v1/c")
		b.says("/v1/c gives 403")
		b.types("https://api.example.com/v2/d")
		b.says("/v2/d gives 200")

		// What cannot be served is refused as a whole, and told at once.
		h.edit("    - host: api.example.com\n", "    - {host: new.example.com, auth: {scheme: Bearer, token_ref: OTHER_TOKEN}}\n    - host: api.example.com\n")
		s = finish(t, h.command("reload", id, "--yes"))
		if s.code != 125 || !strings.Contains(s.err, `no value for the credential "OTHER_TOKEN"`) || !strings.Contains(s.err, "nothing was changed") || !strings.Contains(s.err, "box.md:") {
			t.Errorf("a new credential: %+v", s)
		}
		h.edit("host: new.example.com", "hots: new.example.com")
		s = finish(t, h.command("reload", id, "--yes"))
		if s.code != 125 || !strings.Contains(s.err, "did you mean `host`?") || !strings.Contains(s.err, "nothing was changed") {
			t.Errorf("a slip: %+v", s)
		}
		b.types("https://api.example.com/v2/e")
		b.says("/v2/e gives 200")

		// A port of its own: the proxy takes it, the firewall does not yet.
		h.edit("    - {hots: new.example.com, auth: {scheme: Bearer, token_ref: OTHER_TOKEN}}\n", "    - {host: new.example.com, ports: [8443]}\n")
		if s = finish(t, h.command("reload", id, "--yes")); s.code != 0 || !strings.Contains(s.err, "port 8443 is new, and the bottle's firewall") {
			t.Errorf("a new port: %+v", s)
		}
		if st := h.tool("audit", id, "--verify"); !strings.Contains(st, "whole") {
			t.Error(st)
		}
		reloads := 0
		for _, r := range h.records() {
			if r["reason"] == "policy_reloaded" {
				reloads++
			}
		}
		if reloads != 2 {
			t.Errorf("%d reloads in the log", reloads)
		}
		b.types("bye")
		if code := b.ends(); code != 0 {
			t.Errorf("the agent ended with %d", code)
		}
		if s = finish(t, h.command("reload", id, "--yes")); s.code != 125 || !strings.Contains(s.err, "has ended") {
			t.Errorf("after the end: %+v", s)
		}
	})
}

// TestMetricsOfARunningBottle: into a pipe they are for Prometheus, else for people
// and machines, and they tell of what the agent did.
func TestMetricsOfARunningBottle(t *testing.T) {
	require.Tool(t, "curl")
	everybody(t, func(t *testing.T, uid int) {
		_, h := upstream(t, uid)
		b := h.begin(asker)
		b.says("ready")
		id := string(h.identity())
		for _, u := range []string{"https://api.example.com/v1/a", "https://api.example.com/v9", "https://evil.example.net/"} {
			b.types(u)
			b.says(u + " ")
		}
		prom := h.tool("metrics", h.agent)
		for _, want := range []string{
			"# TYPE bottle_decisions_total counter\n",
			`bottle_decisions_total{kind="http",reason="listed",verdict="allow"} 1` + "\n",
			`bottle_decisions_total{kind="http",reason="path_not_listed",verdict="deny"} 1` + "\n",
			`bottle_host_requests_total{host="api.example.com"} 1` + "\n",
			"bottle_credentials_injected_total 1\n",
			`bottle_step_duration_seconds_bucket{step="decide",le="+Inf"} 2` + "\n",
			fmt.Sprintf("identity=%q", id),
		} {
			if !strings.Contains(prom, want) {
				t.Errorf("%q is not in\n%s", want, prom)
			}
		}
		if strings.Contains(prom, "evil.example.net") {
			t.Error("an agent can make up labels")
		}
		table := h.tool("metrics", id, "--format", "text")
		for _, want := range []string{"decisions", "http listed allow", "median", "first byte", id} {
			if !strings.Contains(strings.ReplaceAll(table, "first_byte", "first byte"), want) {
				t.Errorf("%q is not in\n%s", want, table)
			}
		}
		var families []struct {
			Name string
			Kind string `json:"type"`
		}
		if err := json.Unmarshal([]byte(h.tool("metrics", id, "--format", "json")), &families); err != nil || len(families) < 20 || families[0].Name != "bottle_info" || families[0].Kind != "gauge" {
			t.Errorf("json: %+v %v", families, err)
		}
		for _, out := range []string{prom, table} {
			if strings.Contains(out, theSecret) {
				t.Error("the credential is in the metrics")
			}
		}
		b.types("bye")
		b.ends()
		if s := finish(t, h.command("metrics", id)); s.code != 125 || !strings.Contains(s.err, "has ended") || !strings.Contains(s.err, "bottle audit "+id) {
			t.Errorf("after the end: %+v", s)
		}
	})
}
