package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/store"
)

func newCompletion(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:     "completion bash|zsh|fish|powershell",
		GroupID: groupMachine,
		Short:   "Print a script that completes commands, agents, bottles and identities",
		Long: "Print the script to standard output. In bash it needs the package bash-completion (on Debian:\n" +
			"apt install bash-completion), loaded before it; without it, the script says so and does nothing.",
		Example: "  source <(bottle completion bash)      for this shell only\n" +
			"  bottle completion bash > ~/.local/share/bash-completion/completions/bottle\n" +
			"  bottle completion zsh > \"${fpath[1]}/_bottle\"\n" +
			"  bottle completion fish > ~/.config/fish/completions/bottle.fish",
		Args: command.Words(1, 1), ValidArgsFunction: first("bash", "zsh", "fish", "powershell"),
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			switch args[0] {
			case "bash":
				fmt.Fprint(d.Stdout, command.BashGuard)
				return root.GenBashCompletionV2(d.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(d.Stdout)
			case "fish":
				return root.GenFishCompletion(d.Stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(d.Stdout)
			}
			return ui.Usage(fmt.Errorf("there is no completion for %q", args[0]), "one of: bash, zsh, fish, powershell")
		},
	}
}

// first completes the first word of a command from a fixed list.
func first(options ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return options, cobra.ShellCompDirectiveNoFileComp
	}
}

// firstOf completes the first word of a command from lists that are read when
// somebody presses the key. What cannot be read completes to nothing.
func firstOf(lists ...func() []string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		var options []string
		for _, list := range lists {
			options = append(options, list()...)
		}
		return first(options...)(c, args, typed)
	}
}

// agentNames are the agents, each with its description, for completion.
func (d *deps) agentNames() []string {
	tree, err := d.tree()
	if err != nil {
		return nil
	}
	entries, _ := tree.Agents() // problems are no completions
	return described(entries, "")
}

// bottleNames are the bottles, for completion.
func (d *deps) bottleNames() []string {
	tree, err := d.tree()
	if err != nil {
		return nil
	}
	entries, _ := tree.Bottles() // problems are no completions
	return described(entries, "")
}

func described(entries []manifest.Entry, prefix string) []string {
	var names []string
	for _, e := range entries {
		about := e.Description
		if about == "" && e.Bottle != "" {
			about = "in " + string(e.Bottle)
		}
		names = append(names, cobra.CompletionWithDesc(prefix+string(e.Name), bottle.Printable(about)))
	}
	return names
}

// identities are the bottles that have a state folder, for completion.
func (d *deps) identities() []string {
	return d.identitiesOf(func(e store.Entry) (about string, ok bool) {
		if e.Live {
			return "running", true
		}
		return "stopped", true
	})
}

// endedIdentities are those that can be resumed.
func (d *deps) endedIdentities() []string {
	return d.identitiesOf(func(e store.Entry) (about string, ok bool) {
		return "in " + d.tilde(e.Metadata.Workspace), e.Resumable()
	})
}

// identitiesOf are those that about takes, with what it says of each.
func (d *deps) identitiesOf(about func(store.Entry) (string, bool)) []string {
	s, err := d.state()
	if err != nil {
		return nil
	}
	entries, err := s.List()
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if text, ok := about(e); ok {
			names = append(names, cobra.CompletionWithDesc(string(e.Metadata.Identity), bottle.Printable(text)))
		}
	}
	return names
}
