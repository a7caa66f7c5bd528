package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bottle/internal/bottle"
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
	reached := reaches(root)
	err := root.ExecuteContext(ctx)
	if f := (*ui.Failure)(nil); err != nil && !*reached && !errors.As(err, &f) {
		err = ui.Usage(err, "bottle --help") // the library's own refusal of the command line
	}
	return ui.Report(d.Stderr, d.style(d.Stderr), err)
}

// reaches tells, after an execution, whether some command began its work.
func reaches(c *cobra.Command) *bool {
	reached := new(bool)
	for _, c := range append([]*cobra.Command{c}, c.Commands()...) {
		if work := c.RunE; work != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				*reached = true
				return work(c, args)
			}
		}
	}
	return reached
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
		Args:                       unknownCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Bottles at work:"},
		&cobra.Group{ID: groupManifest, Title: "What bottles may do:"},
		&cobra.Group{ID: groupMachine, Title: "This machine:"},
	)
	root.SetHelpCommand(newHelp())
	for _, make := range commands() {
		root.AddCommand(make(d))
	}
	return root
}

// commands are all of them, each in a file of its own.
func commands() []func(*deps) *cobra.Command {
	return []func(*deps) *cobra.Command{
		newDemo, newDemoClient, newStart, newStop, newChanges, newCleanup, newProxy, newInit, newInfo, newEdit, newList, newValidate, newSchema, newExplain,
		newAudit, newDoctor, newCompletion, newMan, newVersion,
	}
}

// newHelp is "bottle help list" for who types that rather than "bottle list --help".
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		GroupID: groupMachine,
		Short:   "Show the help of a command",
		Example: "  bottle help start",
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return commandNames(c.Root()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(c.Root(), args)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

func commandNames(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// unknownCommand refuses a first word that is no command.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := c.CommandPath() + " --help lists them all"
	if n := ui.Near(args[0], commandNames(c)); n != "" {
		hint = "did you mean: " + strings.Join(append([]string{c.CommandPath(), n}, args[1:]...), " ")
	}
	return ui.Usage(fmt.Errorf("there is no command %q", args[0]), hint)
}

// flagError refuses a flag that is not known or has a bad value.
func flagError(c *cobra.Command, err error) error {
	hint := c.CommandPath() + " --help"
	if c.Name() == "start" {
		hint = "what is for the agent goes behind --, such as: bottle start AGENT -- -c true"
	}
	_, typed, _ := strings.Cut(err.Error(), "unknown flag: --")
	if typed != "" {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if n := ui.Near(typed, names); n != "" {
			hint = "did you mean --" + n + "?"
		}
	}
	return ui.Usage(err, hint)
}

// words demands between least and most words after a command, and says how the
// command is used when there are others.
func words(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return ui.Usage(fmt.Errorf("%s needs %s", c.Name(), c.Use[strings.IndexByte(c.Use, ' ')+1:]), c.CommandPath()+" --help")
		case len(args) > most:
			return ui.Usage(fmt.Errorf("%s does not take %q", c.Name(), args[most]), "usage: "+c.UseLine())
		}
		return nil
	}
}

// formats adds --format; the answer tells whether it is json.
func formats(c *cobra.Command) func() (bool, error) {
	format := c.Flags().String("format", "text", "text for people, json for machines")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	return func() (bool, error) {
		switch *format {
		case "json":
			return true, nil
		case "text":
			return false, nil
		}
		return false, ui.Usage(fmt.Errorf("there is no format %q", *format), "use --format text or --format json")
	}
}
