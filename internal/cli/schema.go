package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
)

func newSchema(d *deps) *cobra.Command {
	return &cobra.Command{
		Use: "schema bottle|agent", GroupID: groupManifest,
		Short:   "Print the JSON Schema of a manifest's frontmatter",
		Long:    "Print the JSON Schema of the frontmatter, so that an editor can complete and check it.",
		Example: "  bottle schema bottle > bottle.schema.json",
		Args:    command.Words(1, 1), ValidArgsFunction: first(manifest.KindBottle, manifest.KindAgent),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] != manifest.KindBottle && args[0] != manifest.KindAgent {
				return ui.Usage(fmt.Errorf("there is no schema %q", args[0]), "bottle schema bottle, or bottle schema agent")
			}
			text, err := manifest.Schema(args[0])
			if err != nil {
				return fmt.Errorf("make schema: %w", err)
			}
			fmt.Fprintf(d.Stdout, "%s\n", text)
			return nil
		},
	}
}
