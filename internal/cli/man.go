package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/cli/manual"
)

func newMan(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:     "man FOLDER",
		Hidden:  true, // for packagers: make man
		Short:   "Write the man pages into a folder",
		Example: "  bottle man man/man1",
		Args:    words(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("make folder: %w", err)
			}
			pages := append([]*cobra.Command{c.Root()}, c.Root().Commands()...)
			for _, p := range pages {
				if !p.IsAvailableCommand() && p != c.Root() {
					continue
				}
				path := filepath.Join(args[0], strings.ReplaceAll(p.CommandPath(), " ", "-")+".1")
				if err := os.WriteFile(path, []byte(manual.Page(p)), 0o644); err != nil {
					return fmt.Errorf("write man page: %w", err)
				}
				fmt.Fprintln(d.Stdout, path)
			}
			return nil
		},
	}
}
