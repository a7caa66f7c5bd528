package cli

import (
	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/explain"
	"bottle/internal/cli/ui"
)

func newExplain(d *deps) *cobra.Command {
	return explain.Command(groupManifest, d.agentNames, func() explain.Desk {
		home, _ := d.userHome() // without one no known_hosts is looked at
		return explain.Desk{
			Out: d.Stdout, Style: d.style(d.Stdout), Width: ui.Width(d.Stdout, d.Terminal(d.Stdout)), Home: home, Tree: d.tree,
			Load: func(agent string) (bottle.Spec, error) {
				_, spec, _, err := d.load(agent)
				return spec, err
			},
			Running: d.desk().Spec,
		}
	})
}
