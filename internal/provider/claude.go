package provider

import (
	"encoding/json"
	"slices"
	"strings"

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
	p.claudePrompt()
	p.Keeps = []Keep{
		{"claude-projects", plan.Home + "/.claude/projects"},         // the transcripts, by working folder
		{"claude-file-history", plan.Home + "/.claude/file-history"}, // what /rewind goes back to
		{"claude-tasks", plan.Home + "/.claude/tasks"},
		{"claude-plans", plan.Home + "/.claude/plans"},
	}
	if p.Continue && !slices.ContainsFunc(p.ExtraArgs, picks) {
		p.Args = append(p.Args, "--continue") // without a conversation it begins one
	}
	p.Args = append(p.Args, p.ExtraArgs...)
	p.claudeAuth()
	p.claudeEnv()
	p.claudeFiles()
	p.skills(plan.Home + "/.claude/skills")
	p.Hosts = []string{"api.anthropic.com"}
}

// picks reports whether a word of the operator's says which conversation to go on with.
func picks(word string) bool {
	name, _, _ := strings.Cut(word, "=")
	return slices.Contains([]string{"--continue", "-c", "--resume", "-r", "--session-id"}, name)
}

// maxPromptArg is the longest prompt that goes on the command line: the kernel
// takes at most 128 KiB in one argument (MAX_ARG_STRLEN).
const maxPromptArg = 64 << 10

// claudePrompt hands over the agent's prompt, in one word with the flag, so that
// a prompt that begins with a dash (a Markdown list) is no flag.
func (p *preparation) claudePrompt() {
	prompt := p.prompt()
	switch {
	case prompt == "":
	case len(prompt) <= maxPromptArg:
		p.Args = append(p.Args, "--append-system-prompt="+prompt)
	default:
		name := plan.Home + "/.claude/agent-prompt.md"
		p.place(name, []byte(prompt+"\n"))
		p.Args = append(p.Args, "--append-system-prompt-file="+name)
	}
}

// claudeAuth warns where Claude Code would not start with the credentials it has.
func (p *preparation) claudeAuth() {
	_, key := p.held[RoleAnthropicKey]
	_, token := p.held[RoleClaudeOAuth]
	if key && token {
		p.warn("the bottle has both roles "+RoleAnthropicKey+" and "+RoleClaudeOAuth+": Claude Code uses the key", "keep one of the two")
	}
	if !key && !token {
		p.warn("no route has the role "+RoleClaudeOAuth+" or "+RoleAnthropicKey+": Claude Code will ask for a login",
			"add role: "+RoleClaudeOAuth+" and auth to the route to api.anthropic.com")
	}
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
	if p.Spec.Supervise { // of the user's scope: those of a project it asks about
		// Its few tools are always in the prompt: an agent that is refused should not have to search for them.
		state["mcpServers"] = map[string]any{superviseName: map[string]any{"type": "http", "url": superviseURL, "alwaysLoad": true}}
	}
	if route, ok := p.held[RoleAnthropicKey]; ok {
		// Claude Code asks about every key it meets, and knows an answered one by its last 20 characters.
		key := p.Placeholders[route.Auth.TokenRef]
		state["customApiKeyResponses"] = map[string]any{"approved": []string{key[len(key)-answered:]}, "rejected": []string{}}
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
