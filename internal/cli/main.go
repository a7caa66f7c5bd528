package cli

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/export"
	"bottle/internal/cli/scan"
	"bottle/internal/cli/ui"
)

// Main runs one command line (without the program's name) and returns its exit
// code.
func Main(args []string, stdin, stdout, stderr *os.File) int {
	return run(context.Background(), system(stdin, stdout, stderr), args)
}

func run(ctx context.Context, d *deps, args []string) int {
	root := newRoot(d)
	root.SetArgs(args)
	root.SetIn(d.Stdin)
	root.SetOut(d.Stdout)
	root.SetErr(d.Stderr)
	reached := command.Reaches(root)
	err := root.ExecuteContext(ctx)
	if f := (*ui.Failure)(nil); err != nil && !*reached && !errors.As(err, &f) {
		err = ui.Usage(err, "bottle --help") // the library's own refusal of the command line
	}
	return ui.Report(d.Stderr, d.style(d.Stderr), err)
}

// The groups of commands, as the help lists them.
const (
	groupRun      = "run"
	groupManifest = "manifest"
	groupMachine  = "machine"
)

// newRoot builds the tree of commands. It opens nothing.
func newRoot(d *deps) *cobra.Command {
	root := &cobra.Command{
		Use:   "bottle",
		Short: "Run a coding agent in a sealed box with one guarded way out",
		Long: "bottle runs a coding agent (Claude Code, Codex, any command) with full permissions inside\n" +
			"a bottle: a sealed box whose only way out is its own gateway. The gateway decides every\n" +
			"request and adds the credentials that the agent never sees.\n\n" +
			"What a bottle may do is written in one Markdown file below ~/.bot-bottle (or BOTTLE_HOME).",
		Example: "  bottle init claude                                write a first bottle and agent\n" +
			"  bottle start claude                               run it here, in the current folder\n" +
			"  bottle explain claude GET https://example.com/    what would the gateway say?",
		SilenceErrors:              true,
		SilenceUsage:               true,
		Version:                    bottle.Version,
		SuggestionsMinimumDistance: 2,
		Args:                       command.Unknown,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.FitHelp(root, func() int { return ui.Width(d.Stdout, d.Terminal(d.Stdout)) })
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(command.FlagError)
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Bottles at work:"},
		&cobra.Group{ID: groupManifest, Title: "What bottles may do:"},
		&cobra.Group{ID: groupMachine, Title: "This machine:"},
	)
	root.SetHelpCommand(newHelp())
	for _, make := range commands() {
		root.AddCommand(make(d))
	}
	root.AddCommand(d.desk().Commands()...)
	root.AddCommand(d.looking().Commands()...)
	root.AddCommand(d.ending().Commands()...)
	return root
}

// commands are all of them, each in a file, or a room, of its own.
func commands() []func(*deps) *cobra.Command {
	return []func(*deps) *cobra.Command{
		newDemo, newDemoClient, newStart, newResume, newAttach, newChanges, newProxy, newInit, newInfo, newEdit, func(d *deps) *cobra.Command { return d.listing().Command() }, newValidate, newSchema, newExplain, newExport, newScan, newImage,
		newAudit, newDoctor, newCompletion, newMan, newVersion,
	}
}

func newExport(d *deps) *cobra.Command {
	return export.New(export.Deps{Load: d.bottle, Names: firstOf(d.bottleNames), Compose: d.compose, Agents: firstOf(d.agentNames), Group: groupManifest, Out: d.Stdout, Err: d.Stderr})
}

func newScan(d *deps) *cobra.Command {
	return scan.New(scan.Deps{Group: groupManifest, In: d.Stdin, Out: d.Stdout, Err: d.Stderr, Style: d.style, Terminal: d.Terminal})
}

// newHelp is "bottle help list" for who types that rather than "bottle list --help".
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		GroupID: groupMachine,
		Short:   "Show the help of a command",
		Example: "  bottle help start",
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return command.Names(c.Root()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return command.Unknown(c.Root(), args)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
