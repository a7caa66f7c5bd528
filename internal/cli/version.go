package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
)

func newVersion(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		GroupID:           groupMachine,
		Short:             "Print the version",
		Example:           "  bottle version",
		Args:              words(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(d.Stdout, "bottle", bottle.Version)
			return nil
		},
	}
}
