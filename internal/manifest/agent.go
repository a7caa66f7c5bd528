package manifest

import (
	"io/fs"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
)

// agentSpec is what an agent's file says, checked, with the places that later
// checks point at.
type agentSpec struct {
	bottle.Agent
	bottleAt, commandAt at
	described           string
}

// agentAndBottle finds an agent, the repository's before the home folder's, and
// resolves the bottle that it names.
func (l *loader) agentAndBottle(name bottle.Name) (bottle.Agent, bottle.Spec) {
	t, file := l.t, fileOf(KindAgent, name)
	p := t.repo()
	inHome := t.home().exists(file)
	if !p.exists(file) {
		p = t.home()
		if !inHome {
			l.missingAgent(name)
			return bottle.Agent{}, bottle.Spec{}
		}
	}
	s := &source{file: t.show(p, file), probs: &l.probs}
	if p.where == WhereRepo && inHome {
		s.warnf(at{}, "rename one of them if that is not what you want",
			"the repository's agent %s is used instead of %s", name, t.show(t.home(), file))
	}
	data, ok := t.read(s, p, file)
	if !ok {
		return bottle.Agent{}, bottle.Spec{}
	}
	a := l.agentText(s, name, data)
	a.InRepo = p.where == WhereRepo
	spec := l.bottleOf(s, a)
	return a.Agent, spec
}

func (l *loader) missingAgent(name bottle.Name) {
	t := l.t
	var ignored bottle.Problems
	there := append(t.names(t.repo(), KindAgent, &ignored), t.names(t.home(), KindAgent, &ignored)...)
	hint := hintNames(string(name), there, "agents")
	if hint == "" {
		hint = "`bottle init` writes the first one"
	}
	s := &source{file: t.show(t.home(), fileOf(KindAgent, name)), probs: &l.probs}
	s.errorf(at{}, hint, "there is no agent %s", name)
}

// agentText parses the text of an agent's file.
func (l *loader) agentText(s *source, name bottle.Name, data []byte) agentSpec {
	a := agentSpec{Agent: bottle.Agent{Name: name, File: s.file}}
	front, body, ok := s.split(data)
	if !ok {
		return a
	}
	root := s.load(front)
	if root == nil {
		return a
	}
	var raw agentFile
	s.decode(root, &raw, l.t.agentAlien())
	a.Prompt = strings.TrimSpace(string(body))
	a.described = raw.Description.val
	a.GitUser = s.gitUser(raw.GitUser)
	a.Skills = l.skills(s, raw.Skills)
	a.Command, a.commandAt = s.command(raw.Command)
	if raw.Bottle.set() {
		n, err := bottle.ParseName(raw.Bottle.val)
		s.errorIf(err != nil, raw.Bottle.at, "", "`bottle`: %v", err)
		if err == nil {
			a.Bottle, a.bottleAt = n, raw.Bottle.at
		}
	}
	return a
}

func (s *source) command(raw []text) ([]string, at) {
	if len(raw) == 0 {
		return nil, at{}
	}
	var out []string
	for i, w := range raw {
		s.errorIf(w.set() && strings.ContainsRune(w.val, 0), w.at, "remove it", "`command` holds a NUL byte")
		s.errorIf(w.set() && i == 0 && strings.TrimSpace(w.val) == "", w.at, "name a program first", "`command` begins with an empty word")
		out = append(out, w.val)
	}
	return out, raw[0].at
}

// skills checks names and presence of the skills.
func (l *loader) skills(s *source, raw []text) []string {
	var out []string
	seen := make(map[string]bool)
	for _, sk := range raw {
		switch {
		case !sk.set():
		case !rules.Kebab(sk.val):
			s.errorf(sk.at, "write a word such as init-prd", "a skill's name is in kebab-case, found %s", quote(sk.val))
		case seen[sk.val]:
			s.errorf(sk.at, "keep one of them", "the skill %s is listed twice", sk.val)
		case l.t.Skills == nil || !isDir(l.t.Skills, sk.val):
			s.errorf(sk.at, l.skillHint(sk.val), "there is no skill %s in ~/.claude/skills", sk.val)
		default:
			out = append(out, sk.val)
		}
		seen[sk.val] = true
	}
	return out
}

func (l *loader) skillHint(word string) string {
	var there []bottle.Name
	if l.t.Skills != nil {
		entries, _ := fs.ReadDir(l.t.Skills, ".") // unreadable is as good as empty: the message stands
		for _, e := range entries {
			if isDir(l.t.Skills, e.Name()) && rules.Kebab(e.Name()) {
				there = append(there, bottle.Name(e.Name()))
			}
		}
	}
	if hint := hintNames(word, there, "skills"); hint != "" {
		return hint
	}
	return "there are none; mkdir -p ~/.claude/skills/" + word
}

// bottleOf resolves the bottle of an agent and checks the two against each
// other. The agent's git user overlays the bottle's.
func (l *loader) bottleOf(s *source, a agentSpec) bottle.Spec {
	if a.Bottle == "" {
		return bottle.Spec{}
	}
	spec := l.spec(a.Bottle, s, a.bottleAt)
	if spec.Name == "" {
		return spec
	}
	wants := spec.Provider.Template == "command"
	s.errorIf(wants && a.Command == nil, a.bottleAt, `add it, such as command: ["bash", "-l"]`,
		"the bottle %s runs a command, and the agent has no `command`", a.Bottle)
	s.errorIf(!wants && a.Command != nil, a.commandAt, "remove it, or write `agent_provider: {template: command}` in the bottle",
		"`command` needs a bottle with the template command; %s has %s", a.Bottle, spec.Provider.Template)
	spec.GitUser = rules.OverlayUser(spec.GitUser, a.GitUser)
	return spec
}

// agentAlien knows keys that an agent's file cannot have: the boundary is the
// bottle's.
func (t Tree) agentAlien() func(string) string {
	return func(key string) string {
		switch key {
		case "extends", "backend", "env", "egress", "git", "supervise", "supervise_wait", "mounts", "workspace", "limits",
			"runtime", "agent_provider":
			return "only a bottle can say this: put it in " + t.show(t.home(), "bottles/<name>.md")
		case "ssh", "tokens", "cred_proxy":
			return "an old spelling, and only a bottle can say this: see " + t.show(t.home(), "bottles/")
		case "tools":
			return "remove it: the bottle decides what the agent can reach, inside it may use every tool"
		}
		return ""
	}
}
