// Package command holds what all commands share on the command line: how many
// words they take, their --format, and how a mistyped one is refused.
package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bottle/internal/cli/ui"
)

// Reaches tells, after an execution, whether some command began its work.
func Reaches(c *cobra.Command) *bool {
	reached := new(bool)
	for _, c := range All(c) {
		if work := c.RunE; work != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				*reached = true
				return work(c, args)
			}
		}
	}
	return reached
}

// All is a command and everything below it, parents first.
func All(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, All(sub)...)
	}
	return all
}

func Names(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// Unknown refuses a first word that is no command.
func Unknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := c.CommandPath() + " --help lists them all"
	switch n := ui.Near(args[0], Names(c)); {
	case args[0] == "log" || args[0] == "logs": // what other tools call it
		hint = "what the gateway decided: " + strings.Join(append([]string{c.CommandPath(), "audit"}, args[1:]...), " ")
	case args[0] == "preflight":
		hint = "what a start would do: " + strings.Join(append([]string{c.CommandPath(), "start", "--dry-run"}, args[1:]...), " ")
	case n != "":
		hint = "did you mean: " + strings.Join(append([]string{c.CommandPath(), n}, args[1:]...), " ")
	}
	return ui.Usage(fmt.Errorf("there is no command %q", args[0]), hint)
}

// FlagError refuses a flag that is not known or has a bad value.
func FlagError(c *cobra.Command, err error) error {
	hint := c.CommandPath() + " --help"
	if c.Name() == "start" {
		hint = "what is for the agent goes behind --, such as: bottle start AGENT -- -c true"
	}
	if _, number, ok := strings.Cut(err.Error(), "missing unit in duration "); ok {
		hint = "write its unit, such as " + strings.Trim(number, `"`) + "m for minutes"
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

// Words demands between least and most words after a command, and says how the
// command is used when there are others.
func Words(least, most int) cobra.PositionalArgs {
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

// Formats adds --format; the answer tells whether it is json.
func Formats(c *cobra.Command) func() (bool, error) {
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
