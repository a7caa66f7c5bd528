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
	p.Keeps = []Keep{{"codex-sessions", codexHome + "/sessions"}} // it makes its index of them anew
	p.Args = append(p.Args, p.codexWords()...)
	p.setEnv("CODEX_HOME", codexHome)
	_, keyed := p.held[RoleOpenAIKey]
	if !keyed {
		p.warn("no route has the role "+RoleOpenAIKey+": codex will ask for a login",
			"add role: "+RoleOpenAIKey+" and auth to the route to api.openai.com")
	}
	p.place(codexHome+"/config.toml", codexConfig(keyed, p.Spec.Supervise))
	if prompt := p.prompt(); prompt != "" {
		p.place(codexHome+"/AGENTS.md", []byte(prompt+"\n"))
	}
	p.skills(codexHome + "/skills")
	p.Hosts = []string{"api.openai.com"}
}

// codexWords are what the operator adds, behind the words that go on with the last
// conversation: `resume` is a command of its own, and `exec` has one.
func (p *preparation) codexWords() []string {
	words := p.ExtraArgs
	if !p.Continue || len(words) > 0 && words[0] == "resume" {
		return words
	}
	out := []string{"resume", "--last"}
	if len(words) > 0 && (words[0] == "exec" || words[0] == "e") {
		out, words = append([]string{words[0]}, out...), words[1:]
	}
	return append(out, words...)
}

// codexConfig is the config.toml that spares Codex its questions about trust,
// login and updates, and its calls for the vendor's sake. With a key it goes
// through a model provider of its own: the built-in one tries a WebSocket first
// and asks for a login, and neither compressed bodies nor WebSockets can be
// scanned for secrets as plain requests can.
func codexConfig(keyed, supervised bool) []byte {
	head := []string{
		`approval_policy = "never"`,
		`sandbox_mode = "danger-full-access"`,
		`cli_auth_credentials_store = "file"`,
		`check_for_update_on_startup = false`,
	}
	if keyed {
		head = append(head,
			`model_provider = "bottle"`,
			``,
			`[model_providers.bottle]`,
			`name = "OpenAI"`,
			`base_url = "https://api.openai.com/v1"`,
			`env_key = "OPENAI_API_KEY"`,
			`wire_api = "responses"`,
			`supports_websockets = false`,
		)
	}
	if supervised {
		head = append(head,
			``,
			`[mcp_servers.`+superviseName+`]`,
			`url = "`+superviseURL+`"`,
		)
	}
	return []byte(strings.Join(append(head,
		``,
		`[analytics]`,
		`enabled = false`,
		``,
		`[feedback]`,
		`enabled = false`,
		``,
		`[features]`,
		`apps = false`,
		`daemon_auto_start = false`,
		`enable_request_compression = false`,
		`plugins = false`,
		`remote_plugin = false`,
		`unbounded_connection_retries = false`, // else a broken route is a hang, not an error
		``,
		`[notice]`,
		`hide_full_access_warning = true`,
		`hide_rate_limit_model_nudge = true`,
		``,
		`[projects."`+plan.Workspace+`"]`,
		`trust_level = "trusted"`,
		``,
	), "\n"))
}
