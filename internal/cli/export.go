package cli

import (
	"github.com/spf13/cobra"

	"bottle/internal/cli/export"
)

func newExport(d *deps) *cobra.Command {
	return export.New(export.Deps{Load: d.bottle, Names: firstOf(d.bottleNames), Group: groupManifest, Out: d.Stdout, Err: d.Stderr})
}
