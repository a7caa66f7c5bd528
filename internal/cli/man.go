package cli

import (
	"github.com/spf13/cobra"

	"bottle/internal/cli/command"
	"bottle/internal/cli/manual"
)

func newMan(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:     "man FOLDER",
		Hidden:  true, // for packagers: make man
		Short:   "Write the man pages into a folder",
		Example: "  bottle man man/man1",
		Args:    command.Words(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return manual.Write(c.Root(), args[0], d.Stdout)
		},
	}
}
