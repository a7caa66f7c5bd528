package provider

import (
	"strings"

	"bottle/internal/plan"
)

const codexHome = plan.Home + "/.codex"

// codex prepares the Codex CLI.
func (p *preparation) codex() {
	t, ok := p.find(cli{
		Name:    "codex",
		Package: "@openai/codex",
		Install: "npm install -g @openai/codex",
	})
	if !ok {
		return
	}
	// Its own sandbox needs user namespaces, which a bottle refuses; the bottle is the wall.
	p.Args = append(t.Args, "--dangerously-bypass-approvals-and-sandbox")
	p.Args = append(p.Args, p.ExtraArgs...)
	p.setEnv("CODEX_HOME", codexHome)
	p.place(codexHome+"/config.toml", codexConfig())
	if prompt := p.prompt(); prompt != "" {
		p.place(codexHome+"/AGENTS.md", []byte(prompt+"\n"))
	}
	if route, ok := p.held[RoleOpenAIKey]; ok {
		p.place(codexHome+"/auth.json", encode(map[string]any{"auth_mode": "apikey", "OPENAI_API_KEY": p.Placeholders[route.Auth.TokenRef]}))
	}
	p.skills(codexHome + "/skills")
	p.Hosts = []string{"api.openai.com"}
}

// codexConfig is the config.toml that spares Codex its questions about trust,
// updates and telemetry.
func codexConfig() []byte {
	return []byte(strings.Join([]string{
		`approval_policy = "never"`,
		`sandbox_mode = "danger-full-access"`,
		`cli_auth_credentials_store = "file"`,
		`check_for_update_on_startup = false`,
		``,
		`[analytics]`,
		`enabled = false`,
		``,
		`[feedback]`,
		`enabled = false`,
		``,
		`[projects."` + plan.Workspace + `"]`,
		`trust_level = "trusted"`,
		``,
	}, "\n"))
}
