package canaries

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/provider"
	"bottle/test/fake/anthropic"
	"bottle/test/require"
)

func fakeAnthropic(t *testing.T, key, command string) *anthropic.Server {
	t.Helper()
	s, err := anthropic.Start(anthropic.Options{Key: key, Answer: answer, Command: command})
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

// bareClaude is Claude Code outside any bottle, talking to a fake that takes its placeholder.
func bareClaude(t *testing.T, role string, extra ...string) (bare, *anthropic.Server) {
	t.Helper()
	prefix := install(t)
	b := prepare(t, prefix, "claude", role, extra)
	s := fakeAnthropic(t, b.keys["KEY"], "env")
	ca := write(t, filepath.Join(b.home, "ca.pem"), s.CA(), 0o644)
	b.env = append(b.env, "ANTHROPIC_BASE_URL=https://"+s.Addr(), "NODE_EXTRA_CA_CERTS="+ca, "SSL_CERT_FILE="+ca)
	return b, s
}

// What the provider prepares is enough for one unattended run, with either credential.
func TestClaudeRunsUnattendedAsPrepared(t *testing.T) {
	require.Canary(t)
	for _, role := range []string{provider.RoleAnthropicKey, provider.RoleClaudeOAuth} {
		t.Run(role, func(t *testing.T) {
			b, s := bareClaude(t, role, "-p", "say hello")
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
				if !strings.HasPrefix(r.Path, "/v1/messages") {
					t.Errorf("it also called %s %s", r.Method, r.Path)
				}
			}
			if !prompted {
				t.Error("the agent's prompt did not reach the API")
			}
		})
	}
}

// Interactively, as the provider prepares it, it shows its prompt box at once.
func TestClaudeAsksNothingAsPrepared(t *testing.T) {
	require.Canary(t)
	for _, role := range []string{provider.RoleAnthropicKey, provider.RoleClaudeOAuth} {
		t.Run(role, func(t *testing.T) {
			b, _ := bareClaude(t, role)
			claudeSession(t, newTerminal(t, b.home, b.dir, b.env, b.args...))
		})
	}
}

func claudeTarget(s *anthropic.Server, role, scheme, secret string) target {
	return target{template: "claude", host: "api.anthropic.com", scheme: scheme, role: role, secret: secret, addr: s.Addr(), ca: s.CA()}
}

// In a bottle the agent holds a placeholder, and the API sees the real credential.
func TestInvariant2ClaudeInABottleNeverHoldsTheKey(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	for _, tc := range []struct{ role, scheme, name, prefix, real string }{
		{provider.RoleAnthropicKey, "header:x-api-key", "ANTHROPIC_API_KEY", "sk-ant-api03-", realAnthropic},
		{provider.RoleClaudeOAuth, "Bearer", "CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-", realOAuth},
	} {
		t.Run(tc.role, func(t *testing.T) {
			prefix := install(t)
			s := fakeAnthropic(t, tc.real, everyEnv)
			got := manifest(t, prefix, claudeTarget(s, tc.role, tc.scheme, tc.real)).start(t, "-p", "say hello")
			if !strings.Contains(got, answer) {
				t.Errorf("it printed %q, want %q in it", got, answer)
			}
			if strings.Contains(got, tc.real) {
				t.Error("the real credential was printed")
			}
			secret(t, s.Requests(), s.ToolResults(), tc.name, tc.prefix, tc.real)
		})
	}
}

// In a bottle, on a terminal, it shows its prompt box at once, works, and leaves.
func TestClaudeInABottleAsksNothing(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	prefix := install(t)
	s := fakeAnthropic(t, realAnthropic, everyEnv)
	b := manifest(t, prefix, claudeTarget(s, provider.RoleAnthropicKey, "header:x-api-key", realAnthropic))
	claudeSession(t, ownTerminal(t, b.dir, b.env, b.binary, "start", "canary", "--yes"))
	secret(t, s.Requests(), s.ToolResults(), "ANTHROPIC_API_KEY", "sk-ant-api03-", realAnthropic)
}

// claudeSession drives one interactive session to its end.
func claudeSession(t *testing.T, term *terminal) {
	t.Helper()
	term.await("its prompt box", func(screen string) bool {
		for _, question := range []string{
			"Let's get started", "text style", "trust this folder", "Do you want to use this API key",
			"Yes, I accept", "Select login method", "Not logged in", "Press Enter to continue", "Enter to confirm",
		} {
			if strings.Contains(screen, question) {
				t.Fatalf("it asks %q:\n%s", question, screen)
			}
		}
		return strings.Contains(screen, "❯") && strings.Contains(screen, "bypass permissions on")
	})
	term.keys("say hello", "Enter")
	term.await("the answer", func(screen string) bool { return strings.Contains(screen, answer) })
	term.keys("/exit", "Enter")
	term.await("its end", func(screen string) bool { return strings.Contains(screen, "exit code 0.") })
}

// A resumed bottle goes on with the conversation: the API is sent what was said before, and the
// operator's first prompt is not said again.
func TestClaudeInABottleIsResumed(t *testing.T) {
	require.Canary(t)
	require.Native(t)
	prefix := install(t)
	s := fakeAnthropic(t, realAnthropic, "")
	b := manifest(t, prefix, claudeTarget(s, provider.RoleAnthropicKey, "header:x-api-key", realAnthropic))
	resumed(t, b, func() (out []string) {
		for _, r := range s.Requests() {
			out = append(out, string(r.Body))
		}
		return out
	}, "-p")
}

// resumed starts an agent with one prompt and resumes it with another, and then with none.
func resumed(t *testing.T, b bottled, bodies func() []string, words ...string) {
	t.Helper()
	const first, second = "the word is xylophone", "and the colour is vermilion"
	if got := b.start(t, append(append([]string{}, words...), first)...); !strings.Contains(got, answer) {
		t.Fatalf("it printed %q", got)
	}
	before := len(bodies())
	if got := b.resume(t, append(append([]string{}, words...), second)...); !strings.Contains(got, answer) {
		t.Fatalf("it printed %q", got)
	}
	both := false
	for _, body := range bodies()[before:] {
		both = both || strings.Contains(body, first) && strings.Contains(body, second) && strings.Contains(body, answer)
	}
	if !both || before == 0 {
		t.Errorf("none of %d requests holds what was said before the resume", len(bodies())-before)
	}
}
