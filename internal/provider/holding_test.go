package provider

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"
)

// roled prepares a bottle with one route of the role.
func roled(t *testing.T, role string) Result {
	t.Helper()
	host, err := bottle.ParsePattern("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	p := &preparation{Request: Request{Seed: []byte("0123456789abcdef"), Spec: bottle.Spec{Routes: []bottle.Route{
		{Host: host, Role: role, Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "T"}, Rule: "b.md:3"}}}}}
	p.roles()
	p.claudeFiles()
	if len(p.Problems) > 0 {
		t.Fatal(p.Problems)
	}
	return p.Result
}

// What really is a GitHub app's token, or an account's JSON Web Token, looks so
// inside; what is of another kind than the role's keeps the role's own shape.
func TestHoldingTakesTheRolesKindsOnly(t *testing.T) {
	body := strings.Repeat("aB3d", 12)
	for _, c := range []struct {
		role, like string
		want       bool
	}{
		{RoleGitHub, "github_pat_" + body, true}, {RoleGitHub, "ghs_" + body, true}, {RoleGitHub, "glpat-" + body, false},
		{RoleClaudeOAuth, "sk-ant-oat01-" + body + "AA", true}, {RoleClaudeOAuth, "sk-ant-api03-" + body + "AA", false}, {RoleClaudeOAuth, "eyJ" + body, false},
		{RoleAnthropicKey, "sk-ant-api03-" + body, true}, {RoleOpenAIKey, "sk-svcacct-" + body, true}, {RoleOpenAIKey, "eyJ" + body + "." + body + "." + body, true},
		{RoleOpenAIKey, "sk-ant-api03-" + body, false}, {RoleOpenAIKey, "sk-" + body + "\"", false}, {RoleGitHub, "ghp_short", false}, {RoleGitHub, "", false},
	} {
		before := roled(t, c.role)
		was := before.Placeholders["T"]
		got := before.Holding(map[string]string{"T": c.like, "OTHER": "ghp_" + body})
		want := was
		if c.want {
			want = c.like
		}
		if !maps.Equal(got.Placeholders, map[string]string{"T": want}) || before.Placeholders["T"] != was {
			t.Errorf("%s as %s: %v, before %v", c.role, c.like, got.Placeholders, before.Placeholders)
		}
		for _, e := range got.Env {
			if name, value, _ := strings.Cut(e, "="); slices.Contains(roleEnv(c.role), name) && value != want {
				t.Errorf("%s as %s: %s", c.role, c.like, e)
			}
		}
		for _, f := range got.Files {
			if c.want && strings.Contains(string(f.Content), was[len(was)-answered:]) {
				t.Errorf("%s holds the old placeholder's end", f.Path)
			}
			if c.role == RoleAnthropicKey && strings.HasSuffix(f.Path, ".claude.json") && !strings.Contains(string(f.Content), `"`+want[len(want)-answered:]+`"`) {
				t.Errorf("%s does not know the key: %s", f.Path, f.Content)
			}
		}
	}
	if len(roleEnv(RoleGitHub)) == 0 {
		t.Error("no variables")
	}
}
