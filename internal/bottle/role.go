package bottle

// The roles that a route may have. A role says which credential of the agent
// CLI the route's token_ref is.
const (
	RoleClaudeOAuth  = "claude-code-oauth" // a token of `claude setup-token`
	RoleAnthropicKey = "anthropic-api-key"
	RoleOpenAIKey    = "openai-api-key"
	RoleGitHub       = "github-token"
)

// Roles lists the known roles in the order in which they are shown.
func Roles() []string {
	return []string{RoleAnthropicKey, RoleClaudeOAuth, RoleGitHub, RoleOpenAIKey}
}
