package canaries

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/provider"
	"bottle/test/fake/openai"
	"bottle/test/require"
)

func fakeOpenAI(t *testing.T, key, command string) *openai.Server {
	t.Helper()
	s, err := openai.Start(openai.Options{Key: key, Answer: answer, Command: command})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// bareCodex is Codex outside any bottle, talking to a fake that takes its placeholder.
func bareCodex(t *testing.T, extra ...string) (bare, *openai.Server) {
	t.Helper()
	prefix := install(t)
	s := fakeOpenAI(t, provider.Placeholder(provider.RoleOpenAIKey, "KEY", []byte("0123456789abcdef")), "env")
	b := prepare(t, prefix, "codex", provider.RoleOpenAIKey, extra, "https://api.openai.com", "https://"+s.Addr())
	b.env = append(b.env, "CODEX_CA_CERTIFICATE="+write(t, filepath.Join(b.home, "ca.pem"), s.CA(), 0o644))
	return b, s
}

// What the provider prepares is enough for one unattended run.
func TestCodexRunsUnattendedAsPrepared(t *testing.T) {
	require.Canary(t)
	b, s := bareCodex(t, "exec", "--strict-config", "--skip-git-repo-check", "say hello")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if got := output(t, command(ctx, b.dir, b.env, b.args...)); strings.TrimSpace(got) != answer {
		t.Errorf("it printed %q, want %q", got, answer)
	}
	if got := held(t, s.ToolResults(), "HOME"); got != b.home {
		t.Errorf("its shell ran with HOME=%q", got)
	}
	prompted := false
	for _, r := range s.Requests() {
		prompted = prompted || strings.Contains(string(r.Body), "- You are a canary.")
		if r.Path != "/v1/responses" || r.Method != "POST" {
			t.Errorf("it also called %s %s", r.Method, r.Path)
		}
	}
	if !prompted {
		t.Error("the agent's prompt did not reach the API")
	}
}

// Interactively, as the provider prepares it, it shows its prompt box at once.
func TestCodexAsksNothingAsPrepared(t *testing.T) {
	require.Canary(t)
	b, _ := bareCodex(t)
	codexSession(t, newTerminal(t, b.home, b.dir, b.env, b.args...))
}

func codexTarget(s *openai.Server) target {
	return target{template: "codex", host: "api.openai.com", scheme: "Bearer", role: provider.RoleOpenAIKey, secret: realOpenAI, addr: s.Addr(), ca: s.CA()}
}

// In a bottle the agent holds a placeholder, and the API sees the real key.
func TestInvariant2CodexInABottleNeverHoldsTheKey(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	prefix := install(t)
	s := fakeOpenAI(t, realOpenAI, everyEnv)
	got := manifest(t, prefix, codexTarget(s)).start(t, "exec", "--skip-git-repo-check", "say hello")
	if !strings.Contains(got, answer) {
		t.Errorf("it printed %q, want %q in it", got, answer)
	}
	secret(t, s.Requests(), s.ToolResults(), "OPENAI_API_KEY", "sk-proj-", realOpenAI)
}

// In a bottle, on a terminal, it shows its prompt box at once, works, and leaves.
func TestCodexInABottleAsksNothing(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	prefix := install(t)
	s := fakeOpenAI(t, realOpenAI, everyEnv)
	b := manifest(t, prefix, codexTarget(s))
	codexSession(t, ownTerminal(t, b.dir, b.env, b.binary, "start", "canary", "--yes"))
	secret(t, s.Requests(), s.ToolResults(), "OPENAI_API_KEY", "sk-proj-", realOpenAI)
}

// codexSession drives one interactive session to its end.
func codexSession(t *testing.T, term *terminal) {
	t.Helper()
	term.await("its prompt box", func(screen string) bool {
		for _, question := range []string{"Sign in", "Do you trust", "Update available", "Press enter to continue"} {
			if strings.Contains(screen, question) {
				t.Fatalf("it asks %q:\n%s", question, screen)
			}
		}
		return strings.Contains(screen, "Ask Codex to do anything")
	})
	term.keys("say hello", "Enter")
	term.await("the answer", func(screen string) bool { return strings.Contains(screen, answer) })
	term.keys("/quit", "Enter")
	term.await("its end", func(screen string) bool { return strings.Contains(screen, "exit code 0.") })
}

// A resumed bottle goes on with the conversation, see resumed.
func TestCodexInABottleIsResumed(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	prefix := install(t)
	s := fakeOpenAI(t, realOpenAI, "")
	b := manifest(t, prefix, codexTarget(s))
	resumed(t, b, func() (out []string) {
		for _, r := range s.Requests() {
			out = append(out, string(r.Body))
		}
		return out
	}, "exec", "--skip-git-repo-check")
}
