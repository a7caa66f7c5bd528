package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
)

func newVersion(d *deps) *cobra.Command {
	return &cobra.Command{
		Use: "version", GroupID: groupMachine, Short: "Print the version", Example: "  bottle version",
		Args: command.Words(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(d.Stdout, "bottle", bottle.Version)
			return nil
		},
	}
}
