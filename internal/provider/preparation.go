package provider

import (
	"slices"
	"strconv"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// The templates of agent_provider.
const (
	Claude  = "claude"
	Codex   = "codex"
	Command = "command"
)

const minSeed = 16

// The bottle's MCP server, as the agent's CLI is told of it: its tools become
// mcp__supervise__egress-block and so on.
const (
	superviseName = "supervise"
	superviseURL  = "http://" + plan.SuperviseHost + plan.SupervisePath
)

// preparation is one Prepare under way.
type preparation struct {
	Request
	Result
	held map[string]bottle.Route // role -> the route that has it
}

// problem notes a finding about the agent's file.
func (p *preparation) problem(message, hint string) {
	p.Problems = append(p.Problems, bottle.Problem{File: p.Agent.File, Message: message, Hint: hint})
}

func (p *preparation) warn(message, hint string) {
	p.Problems = append(p.Problems, bottle.Problem{File: p.Agent.File, Message: message, Hint: hint, Severity: bottle.Warning})
}

// setEnv adds a variable unless the manifest sets it: the operator's word wins.
func (p *preparation) setEnv(name, value string) {
	for _, v := range p.Spec.Env {
		if v.Name == name {
			return
		}
	}
	p.Env = append(p.Env, name+"="+value)
}

// place adds a file that the agent owns: its CLI rewrites its own settings.
func (p *preparation) place(path string, content []byte) {
	p.Files = append(p.Files, plan.File{Path: path, Mode: 0o600, Content: content, Agent: true})
}

// mount shows a host path at the same path inside, read-only, unless a folder
// that is already shown holds it.
func (p *preparation) mount(path string) {
	if inSystem(path) {
		return
	}
	for _, m := range p.Mounts {
		if within(path, m.Source) {
			return
		}
	}
	p.Mounts = slices.DeleteFunc(p.Mounts, func(m plan.Mount) bool { return within(m.Source, path) })
	p.Mounts = append(p.Mounts, plan.Mount{Source: path, Target: path})
}

// pathDir prepends a folder to the agent's PATH, once.
func (p *preparation) pathDir(dir string) {
	switch dir {
	case "/usr/local/bin", "/usr/bin", "/bin":
		return // on every agent's PATH
	}
	if !slices.Contains(p.PathDirs, dir) {
		p.PathDirs = append(p.PathDirs, dir)
	}
}

// prompt is the agent's prompt without the blank lines around it.
func (p *preparation) prompt() string { return strings.TrimSpace(p.Agent.Prompt) }

func quote(s string) string { return strconv.Quote(s) }
