package provider

import "bottle/internal/plan"

// command prepares an agent that is any program. Its own words come first; what
// the operator adds follows.
func (p *preparation) command() {
	if len(p.Agent.Command) == 0 || p.Agent.Command[0] == "" {
		p.problem("the agent has no command, and its bottle's template is command", `add command: ["bash", "-l"]`)
		return
	}
	p.Args = append(append([]string{}, p.Agent.Command...), p.ExtraArgs...)
	if prompt := p.prompt(); prompt != "" {
		p.place(plan.Home+"/PROMPT.md", []byte(prompt+"\n"))
	}
	p.skills(plan.Home + "/.claude/skills")
}
