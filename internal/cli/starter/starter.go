// Package starter holds the first bottles and agents that a new user gets: as
// data and text, without a file or a terminal.
package starter

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed templates/*.md
var templates embed.FS

// Kind is one kind of first bottle.
type Kind struct {
	Template    string // the manifest's word: claude, codex or command
	Agent       string // the name of the agent that is written
	Bottle      string // the name of its bottle
	Install     string // how its program is installed; empty: it is always there
	Credentials []Credential
}

// Credential is one way to pay for the model.
type Credential struct {
	Ref    string // token_ref
	Scheme string
	Role   string
	About  string // for a person who chooses
	Obtain string // where to get it
}

// Kinds are all of them, the most likely first.
func Kinds() []Kind {
	return []Kind{{
		Template: "claude", Agent: "claude", Bottle: "anthropic", Install: "npm install -g @anthropic-ai/claude-code",
		Credentials: []Credential{
			{"CLAUDE_CODE_OAUTH_TOKEN", "Bearer", "claude-code-oauth", "a Claude subscription (a token from: claude setup-token)", "claude setup-token"},
			{"ANTHROPIC_API_KEY", "header:x-api-key", "anthropic-api-key", "an Anthropic API key", "https://console.anthropic.com"},
		},
	}, {
		Template: "codex", Agent: "codex", Bottle: "openai", Install: "npm install -g @openai/codex",
		Credentials: []Credential{{"OPENAI_API_KEY", "Bearer", "openai-api-key", "an OpenAI API key", "https://platform.openai.com/api-keys"}},
	}, {
		Template: "command", Agent: "shell", Bottle: "offline",
	}}
}

// Text is the manifest of that name with the credential filled in, and behind "# " what it
// could say of git: the lines of the folder at hand, or, without any, an example.
func Text(name string, c Credential, git []string) ([]byte, error) {
	text, err := templates.ReadFile("templates/" + name + ".md")
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	fill := strings.NewReplacer("@SCHEME@", c.Scheme, "@ROLE@", c.Role, "@CREDENTIAL@", scalar(c.Ref), "@GIT@", aside(git))
	return []byte(fill.Replace(string(text))), nil
}

// aside is what could be said of git, as comments.
func aside(lines []string) string {
	out := "# Repositories that the agent may clone and push to, each push checked first:\n"
	if len(lines) > 0 {
		out = "# The repository of the folder that this was written in, as git knows it: with it the\n" +
			"# agent may clone and push, each push checked first. To have it, take the \"# \" away.\n"
	} else {
		lines = []string{"git:", "  - name: app", "    upstream: https://git.example.com/team/app.git", "    auth: {token_ref: GIT_TOKEN}", `    push: {branches: ["agent/*"]}`}
	}
	return out + "# " + strings.Join(lines, "\n# ")
}

// scalar spells s as a YAML string: plain where it looks like A_VARIABLE, which
// YAML reads as nothing else, and in quotes otherwise.
func scalar(s string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if strings.Trim(s, letters+"_0123456789") == "" && strings.IndexAny(s, letters) == 0 && strings.Contains(s, "_") {
		return s
	}
	return strconv.Quote(s)
}
