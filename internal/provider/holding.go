package provider

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"bottle/internal/plan"
)

// answered is how many of a key's last characters Claude Code knows it by.
const answered = 20

// Holding is r with other placeholders: lookalikes, by token_ref, of what the
// agent's credentials really are. Prepare knows of a credential what its role says
// and no more; who has seen the value can do better, for a kind of token that the
// role has besides its usual one. A lookalike that is none of the role's kinds, or
// that a variable or a JSON string could not hold as it is, is passed over: the
// agent then holds what Prepare drew. Nothing in r is changed.
func (r Result) Holding(lookalikes map[string]string) Result {
	r.Placeholders = maps.Clone(r.Placeholders)
	r.Env = slices.Clone(r.Env)
	r.Files = slices.Clone(r.Files)
	for ref, now := range lookalikes {
		was, held := r.Placeholders[ref]
		if !held || len(now) < 2*answered || !takes(r.roles[ref], now) {
			continue
		}
		r.Placeholders[ref] = now
		for i, e := range r.Env {
			if name, value, _ := strings.Cut(e, "="); value == was {
				r.Env[i] = name + "=" + now
			}
		}
		for i, f := range r.Files {
			r.Files[i] = holding(f, was, now)
		}
	}
	return r
}

// holding puts one placeholder in another's place, and its end in the other's end.
func holding(f plan.File, was, now string) plan.File {
	for _, cut := range []int{0, answered} {
		a, b := was, now
		if cut > 0 {
			a, b = was[len(was)-cut:], now[len(now)-cut:]
		}
		f.Content = bytes.ReplaceAll(f.Content, []byte(a), []byte(b))
	}
	return f
}

// takes reports whether a credential of the role may look so.
func takes(role, like string) bool {
	if strings.Trim(like, base64url+".") != "" {
		return false
	}
	kinds := map[string][]string{
		RoleClaudeOAuth:  {"sk-ant-oat01-"},
		RoleAnthropicKey: {"sk-ant-api03-", "sk-ant-admin01-"},
		RoleOpenAIKey:    {"sk-", "eyJ"}, // a key of any kind, or the token of an account, but not Anthropic's
		RoleGitHub:       {"ghp_", "gho_", "ghu_", "ghs_", "github_pat_"},
	}
	if role == RoleOpenAIKey && strings.HasPrefix(like, "sk-ant-") {
		return false
	}
	return slices.ContainsFunc(kinds[role], func(k string) bool { return strings.HasPrefix(like, k) })
}
