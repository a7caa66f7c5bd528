package cli

import (
	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
)

func newInfo(d *deps) *cobra.Command {
	c := &cobra.Command{
		Use:     "info AGENT",
		GroupID: groupManifest,
		Short:   "Say what an agent may see and reach, from its manifests alone",
		Example: "  bottle info claude\n  bottle info claude --format json",
		Args:    command.Words(1, 1), ValidArgsFunction: firstOf(d.agentNames),
	}
	asJSON := command.Formats(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		agent, spec, warnings, err := d.load(args[0])
		if err != nil {
			return err
		}
		if js {
			return ui.JSON(d.Stdout, struct {
				Agent  bottle.Agent `json:"agent"`
				Bottle bottle.Spec  `json:"bottle"`
			}{agent, withoutValues(spec)})
		}
		cwd, err := d.Getwd()
		if err != nil {
			return err
		}
		p := plan.New(plan.Input{
			Spec: spec, Agent: agent, Backend: spec.Backend, Workspace: cwd, Command: runs(agent, spec), Warnings: warnings,
		})
		return p.Brief(d.Stdout, d.style(d.Stdout))
	}
	return c
}

// runs is the program, as far as the manifests know it.
func runs(a bottle.Agent, s bottle.Spec) []string {
	if len(a.Command) > 0 {
		return a.Command
	}
	return []string{s.Provider.Template}
}

// load reads an agent and its bottle. The problems that came back with them are
// warnings; an error stops.
func (d *deps) load(word string) (bottle.Agent, bottle.Spec, bottle.Problems, error) {
	tree, err := d.tree()
	if err != nil {
		return bottle.Agent{}, bottle.Spec{}, nil, err
	}
	name, err := bottle.ParseName(word)
	if err != nil {
		return bottle.Agent{}, bottle.Spec{}, nil, ui.Usage(err, "bottle list agents")
	}
	agent, spec, problems := tree.Load(name)
	if problems.Fatal() {
		return bottle.Agent{}, bottle.Spec{}, nil, &ui.Failure{Code: ui.CodeFailed, Err: problems}
	}
	return agent, spec, problems, nil
}

// withoutValues leaves the literals of env out: the manifest may show them, a
// pasted report should not.
func withoutValues(s bottle.Spec) bottle.Spec {
	env := append([]bottle.EnvVar{}, s.Env...)
	for i := range env {
		if env[i].Kind == bottle.EnvLiteral {
			env[i].Value = ""
		}
	}
	s.Env = env
	return s
}
