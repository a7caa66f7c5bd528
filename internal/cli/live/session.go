package live

import (
	"context"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/tui"
)

// Sessions are the terminals of agents, as the dashboard needs them. Attach and Start have
// the operator's terminal meanwhile.
type Sessions struct {
	Attach func(ctx context.Context, id bottle.Identity) (said string, err error)
	Start  func(ctx context.Context, agent bottle.Name) (bottle.Identity, error)
}

// Attach implements tui.House.
func (h *house) Attach(ctx context.Context, id bottle.Identity) (string, error) {
	said, err := h.Sessions.Attach(ctx, id)
	return said, ui.OneLine(err)
}

// Start implements tui.House.
func (h *house) Start(ctx context.Context, agent bottle.Name) (bottle.Identity, error) {
	id, err := h.Sessions.Start(ctx, agent)
	return id, ui.OneLine(err)
}

// Agents implements tui.House.
func (h *house) Agents() (out []tui.Agent, err error) {
	tree, err := h.Tree()
	if err != nil {
		return nil, ui.OneLine(err)
	}
	entries, _ := tree.Agents() // what is wrong with one is told when it is started
	for _, e := range entries {
		out = append(out, tui.Agent{Name: e.Name, Bottle: e.Bottle, About: e.Description})
	}
	return out, nil
}
