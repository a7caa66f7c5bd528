package lifecycle

import (
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/lifecycle/gitconfig"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Carry is a prepared start for whoever brings the bottle up without one. It reads no secret
// and makes nothing. What needs a start that is alive is left out, and named.
func (h *House) Carry(p *Prepared) plan.Carried {
	lay := h.Store.Layout(p.identity)
	s := &starting{house: h, prep: p, res: &store.Reservation{Identity: p.identity, Layout: lay}}
	c := plan.Carried{Agent: p.req.Agent.Name, Bottle: s.bottle(), Gateway: s.gateway(), Env: map[string]string{}, Changes: lay.Dir + "-compose"}
	c.Bottle.Added = ""
	g := &c.Gateway
	g.Asked, g.Supervise, g.Unmatched, g.Wait, g.Added, g.Adding = "", false, "", 0, "", ""
	literal := map[string]string{}
	for _, e := range p.req.Spec.Env {
		switch e.Kind {
		case bottle.EnvLiteral:
			literal[e.Name] = e.Value
		case bottle.EnvHost:
			c.Env[e.Name] = e.Value
		default: // the operator is asked by a start; here he sets it
			c.Env[e.Name] = e.Name
		}
	}
	c.Command = plan.Command{
		Args: p.provider.Args, Dir: plan.Workspace, TTY: p.req.TTY, Rows: 24, Cols: 80,
		Env: environment(h.Host, slices.DeleteFunc(s.searched(), func(dir string) bool { return strings.HasPrefix(dir, plan.Added) }), p.provider.Env, literal, ""),
	}
	if p.req.Spec.Workspace == "none" {
		c.Command.Dir = plan.Home
	}
	for _, f := range p.provider.Files {
		if f.Agent {
			c.Files = append(c.Files, f)
		} else {
			c.Lost = append(c.Lost, "The file "+f.Path+" is not placed.")
		}
	}
	if text := gitconfig.Text(p.req.Spec.GitUser, p.req.Spec.Repos); len(text) > 0 {
		c.Files = append(c.Files, plan.File{Path: plan.Home + "/.gitconfig", Mode: 0o644, Agent: true, Content: text})
	}
	credentials(p.req.Spec, func(ref string, _ place) { c.Refs = append(c.Refs, ref) })
	if len(p.req.Spec.Watch) > 0 || len(p.Plan.Egress.Watched) > 0 {
		c.Lost = append(c.Lost, "What the operator has besides, and egress.watch, is not watched: only the credentials of the routes and the rules keep secrets in.")
	}
	return c
}

// Missing is what whoever brings a carried bottle up needs to have made first.
func (p *Prepared) Missing() []string {
	if p.container.Image == "" || p.container.Built {
		return nil
	}
	return []string{"the agent's image " + p.container.Image + " is not there yet: the first `bottle start " + string(p.req.Agent.Name) + " --backend docker` makes it"}
}
