package canaries

import (
	"strings"
	"testing"

	"bottle/test/fake/loopback"
)

// everyEnv is what an agent would run to find a credential: its shell's own
// environment, and that of every process that it can see. (Claude Code keeps its
// OAuth token from the shells that it starts.)
const everyEnv = `env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n'`

// held reads a variable out of the output of env.
func held(t *testing.T, results []string, name string) string {
	t.Helper()
	for _, result := range results {
		for _, line := range strings.Split(result, "\n") {
			if value, ok := strings.CutPrefix(line, name+"="); ok {
				return strings.TrimSpace(value)
			}
		}
	}
	t.Fatalf("the agent's env shows no %s; the fake got %d tool results: %.2000q", name, len(results), results)
	return ""
}

// secret proves invariant 2 for one run: the agent held a placeholder of the
// right shape, the API got the real credential, and neither strayed.
func secret(t *testing.T, requests []loopback.Request, results []string, name, prefix, real string) {
	t.Helper()
	placeholder := held(t, results, name)
	if placeholder == real || !strings.HasPrefix(placeholder, prefix) || len(placeholder) < len(prefix)+30 {
		t.Errorf("inside the bottle %s=%q: not a placeholder that begins with %s", name, placeholder, prefix)
	}
	for _, result := range results {
		if strings.Contains(result, real) {
			t.Error("the real credential is in the agent's environment")
		}
	}
	arrived := false
	for _, r := range requests {
		for header, values := range r.Header {
			for _, value := range values {
				if strings.Contains(value, placeholder) {
					t.Errorf("%s %s: the placeholder reached the API in %s", r.Method, r.Path, header)
				}
				arrived = arrived || strings.Contains(value, real)
			}
		}
		if strings.Contains(string(r.Body), real) {
			t.Errorf("%s %s: the real credential is in the body, which the agent wrote", r.Method, r.Path)
		}
	}
	if !arrived {
		t.Errorf("none of %d requests carried the real credential", len(requests))
	}
}
