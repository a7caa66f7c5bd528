package lifecycle

import (
	"context"

	"bottle/internal/bottle"
	"bottle/internal/lifecycle/gitconfig"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Carry is a start for whoever brings the bottle up without one. It reads no secret
// and makes nothing. What needs a start that is alive is left out, and named. Missing is what has
// to be made first.
func (h *House) Carry(ctx context.Context, req Request) (c plan.Carried, missing []string, err error) {
	req.Spec.Supervise, req.Spec.Unmatched, req.Spec.Wait = false, "", 0 // who would answer
	p, err := h.Prepare(ctx, req)
	if err != nil {
		return plan.Carried{}, nil, err
	}
	return h.carry(p), p.missing(), nil
}

func (h *House) carry(p *Prepared) plan.Carried {
	lay := h.Store.Layout(p.identity)
	s := &starting{house: h, prep: p, res: &store.Reservation{Identity: p.identity, Layout: lay}}
	c := plan.Carried{Agent: p.req.Agent.Name, Bottle: s.bottle(), Gateway: s.gateway(), Env: map[string]string{}, Changes: lay.Dir + "-compose"}
	c.Gateway.Asked, c.Gateway.Adding = "", "" // the state of a start, which there is none of
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
		Env: environment(h.Host, s.searched(), p.provider.Env, literal, ""),
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

func (p *Prepared) missing() []string {
	if p.container.Image == "" || p.container.Built {
		return nil
	}
	return []string{"the agent's image " + p.container.Image + " is not there yet: the first `bottle start " + string(p.req.Agent.Name) + " --backend docker` makes it"}
}
