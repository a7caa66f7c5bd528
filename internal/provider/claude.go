package provider

import (
	"encoding/json"

	"bottle/internal/plan"
)

// claude prepares Claude Code.
func (p *preparation) claude() {
	t, ok := p.find(cli{
		Name:    "claude",
		Package: "@anthropic-ai/claude-code",
		Install: "npm install -g @anthropic-ai/claude-code",
	})
	if !ok {
		return
	}
	p.Args = append(t.Args, "--dangerously-skip-permissions")
	if prompt := p.prompt(); prompt != "" {
		p.Args = append(p.Args, "--append-system-prompt", prompt)
	}
	p.Args = append(p.Args, p.ExtraArgs...)
	p.claudeEnv()
	p.claudeFiles()
	p.skills(plan.Home + "/.claude/skills")
	p.Hosts = []string{"api.anthropic.com"}
}

// claudeEnv turns off everything that would call a host for the vendor's sake.
func (p *preparation) claudeEnv() {
	for _, name := range []string{
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
		"DISABLE_AUTOUPDATER",
		"DISABLE_BUG_COMMAND",
		"DISABLE_ERROR_REPORTING",
		"DISABLE_INSTALLATION_CHECKS",
		"DISABLE_TELEMETRY",
	} {
		p.setEnv(name, "1")
	}
}

// claudeFiles places the answers to Claude Code's first-run questions.
func (p *preparation) claudeFiles() {
	state := map[string]any{
		"hasCompletedOnboarding":        true,
		"bypassPermissionsModeAccepted": true,
		"projects": map[string]any{
			plan.Workspace: map[string]any{"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true},
			plan.Home:      map[string]any{"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true},
		},
	}
	if route, ok := p.held[RoleAnthropicKey]; ok {
		// Claude Code asks about every key it meets, and knows an answered one by its last 20 characters.
		key := p.Placeholders[route.Auth.TokenRef]
		state["customApiKeyResponses"] = map[string]any{"approved": []string{key[len(key)-20:]}, "rejected": []string{}}
	}
	p.place(plan.Home+"/.claude.json", encode(state))
	p.place(plan.Home+"/.claude/settings.json", encode(map[string]any{
		"theme":                             "dark",
		"skipDangerousModePermissionPrompt": true,
	}))
}

// encode writes a settings file: indented, keys in order, one line feed at the end.
func encode(v map[string]any) []byte {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []byte("{}\n") // can't happen: the values are ours, all of plain types
	}
	return append(text, '\n')
}
