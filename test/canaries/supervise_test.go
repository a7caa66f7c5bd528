package canaries

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/provider"
	"bottle/test/fake/anthropic"
	"bottle/test/fake/loopback"
	"bottle/test/fake/openai"
	"bottle/test/require"
)

// asks are the tools that an agent asks with, as both programs name them.
func asks() []string {
	return []string{"egress-block", "pipelock-block", "capability-block", "list-egress-routes", "check-egress", "proposal-status"}
}

// instructed wants the model to be told, before it calls anything, that it may ask and how.
func instructed(t *testing.T, requests []loopback.Request) {
	t.Helper()
	for _, r := range requests {
		if strings.Contains(string(r.Body), "ask here: egress-block for a host, pipelock-block for refused content; check-egress tells why, proposal-status") {
			return
		}
	}
	t.Error("the server's instructions did not reach the model")
}

// Claude Code finds the bottle's MCP server by what the provider placed, lists its tools
// and calls one.
func TestClaudeInABottleCallsTheServerToAsk(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	prefix := install(t)
	s, err := anthropic.Start(anthropic.Options{Key: realAnthropic, Answer: answer, Tool: "mcp__supervise__list-egress-routes", Input: map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	got := manifest(t, prefix, claudeTarget(s, provider.RoleAnthropicKey, "header:x-api-key", realAnthropic)).start(t, "-p", "say hello")
	if !strings.Contains(got, answer) {
		t.Errorf("it printed %q", got)
	}
	offered := s.Offered()
	for _, name := range asks() {
		if !slices.Contains(offered, "mcp__supervise__"+name) {
			t.Errorf("it does not offer %s: %q", name, offered)
		}
	}
	instructed(t, s.Requests())
	if all := strings.Join(s.ToolResults(), "\n"); !strings.Contains(all, "api.anthropic.com") || strings.Contains(all, realAnthropic) {
		t.Errorf("the tool's answer: %q", all)
	}
}

// Claude Code asks, the operator approves on the command line while the call waits, and the
// call comes back with that.
func TestClaudeInABottleIsGivenWhatItAsksFor(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	prefix := install(t)
	s, err := anthropic.Start(anthropic.Options{Key: realAnthropic, Answer: answer, Tool: "mcp__supervise__egress-block",
		Input: map[string]any{"host": "api.anthropic.com", "methods": []string{"GET"}, "path_allowlist": []string{"/v2"}, "justification": "a canary"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := manifest(t, prefix, claudeTarget(s, provider.RoleAnthropicKey, "header:x-api-key", realAnthropic))
	operator := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), b.binary, args...)
		cmd.Dir, cmd.Env = b.dir, b.env
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		id := regexp.MustCompile(`"id": ?"(p[a-z0-9]{6})"`)
		for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if m := id.FindStringSubmatch(operator("proposals", "--format", "json")); m != nil {
				t.Logf("%s", operator("approve", m[1], "--yes", "--note", "for the canary"))
				return
			}
		}
		t.Error("no proposal was seen")
	})
	if got := b.start(t, "-p", "say hello"); !strings.Contains(got, answer) {
		t.Errorf("it printed %q", got)
	}
	wg.Wait()
	if all := strings.Join(s.ToolResults(), "\n"); !strings.Contains(all, "approved") || !strings.Contains(all, "for the canary") {
		t.Errorf("the tool's answer: %q", all)
	}
}

// Codex finds it, too. It has its tools called from JavaScript, by names that are
// identifiers.
func TestCodexInABottleCallsTheServerToAsk(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	prefix := install(t)
	s, err := openai.Start(openai.Options{Key: realOpenAI, Answer: answer,
		Script: "text(Object.keys(tools).join(' ')); text(JSON.stringify(await tools.mcp__supervise__list_egress_routes({})));"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	got := manifest(t, prefix, codexTarget(s)).start(t, "exec", "--skip-git-repo-check", "say hello")
	if !strings.Contains(got, answer) {
		t.Errorf("it printed %q", got)
	}
	instructed(t, s.Requests())
	all := strings.Join(s.ToolResults(), "\n")
	for _, name := range asks() {
		if !strings.Contains(all, "mcp__supervise__"+strings.ReplaceAll(name, "-", "_")) {
			t.Errorf("it does not offer %s: %q", name, all)
		}
	}
	if !strings.Contains(all, `api.openai.com`) || strings.Contains(all, realOpenAI) {
		t.Errorf("the tool's answer: %q", all)
	}
}
