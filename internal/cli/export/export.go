// Package export writes what a bottle may reach as the configuration of other
// tools, and says what those cannot express.
package export

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
)

// Deps is what the commands work with.
type Deps struct {
	Load func(word string) (bottle.Spec, error) // a bottle by its name
	// Compose writes the bottle of an agent, by its name, for docker compose; what is for a
	// person beside goes to notes.
	Compose func(ctx context.Context, agent string, args []string, tty bool, to, notes io.Writer) error
	Agents  cobra.CompletionFunc
	Names   cobra.CompletionFunc
	Group   string
	Out     io.Writer // the configuration and nothing else
	Err     io.Writer // what it could not express
}

// New is the command export, with one below it for each tool.
func New(d Deps) *cobra.Command {
	c := &cobra.Command{
		Use:     "export TOOL NAME",
		GroupID: d.Group,
		Short:   "Write a bottle, or what it may reach, for another tool",
		Long:    "Write a bottle for docker compose, or what it may reach as the configuration of pipelock. Other tools\nknow less than a bottle; what is lost is said beside.",
		Example: "  bottle export compose researcher > compose.yaml\n  bottle export pipelock dev > pipelock.yaml",
		Args:    command.Unknown,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCompose(d), newPipelock(d))
	return c
}

func newCompose(d Deps) *cobra.Command {
	var tty bool
	c := &cobra.Command{
		Use:   "compose AGENT [-- ARG…]",
		Short: "Write an agent's bottle of containers as a file for docker compose",
		Long: "Write the bottle that `bottle start AGENT --backend docker` would make as a file that docker compose brings\n" +
			"up on this machine's engine: gateway, agent and walls, limits, labels. No value of a secret is in it: each\n" +
			"is taken from a variable or a file at up. What such a bottle has not is listed at the head of the file.",
		Example: "  bottle export compose researcher > compose.yaml   # its head says what to type then\n" +
			"  bottle export compose researcher -- -p \"explain this repository\" > compose.yaml",
		Args:              command.Words(1, math.MaxInt),
		ValidArgsFunction: d.Agents,
	}
	c.Flags().BoolVar(&tty, "tty", false, "give the agent a terminal, for docker attach")
	c.RunE = func(c *cobra.Command, args []string) error {
		if dash := c.ArgsLenAtDash(); len(args) > 1 && dash != 1 {
			return ui.Usage(fmt.Errorf("compose does not take %q", args[1]), "bottle export compose "+bottle.Printable(args[0])+" -- "+bottle.Printable(args[1]))
		}
		var text strings.Builder // whole or nothing
		if err := d.Compose(c.Context(), args[0], args[1:], tty, &text, d.Err); err != nil {
			return err
		}
		_, err := io.WriteString(d.Out, text.String())
		return err
	}
	return c
}

func newPipelock(d Deps) *cobra.Command {
	var o Options
	c := &cobra.Command{
		Use:   "pipelock BOTTLE",
		Short: "Write a pipelock 2.3 configuration with the bottle's allow-list",
		Long: "Write a pipelock 2.3 configuration that lets through what the bottle's routes list and scans what is\n" +
			"sent there. To put that pipelock behind the bottle's gateway, name it in the bottle:\n\n" +
			"  egress:\n    upstream_proxy: {url: http://127.0.0.1:8888, ca_file: ~/.pipelock/ca.pem}",
		Example: "  bottle export pipelock dev > pipelock.yaml\n  pipelock tls init && pipelock run --config pipelock.yaml",
		Args:    command.Words(1, 1), ValidArgsFunction: d.Names,
	}
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8888", "address and port that pipelock listens on")
	c.Flags().StringVar(&o.CACert, "ca-cert", "", "PEM file of the CA that pipelock intercepts with (default: pipelock's own, ~/.pipelock/ca.pem)")
	c.Flags().StringVar(&o.CAKey, "ca-key", "", "PEM file of that CA's private key (default: pipelock's own, ~/.pipelock/ca-key.pem)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if (o.CACert == "") != (o.CAKey == "") {
			return ui.Usage(fmt.Errorf("a CA is a certificate and its key"), "give both --ca-cert and --ca-key, or neither")
		}
		if _, _, err := bottle.ParseHostPort(o.Listen, 0); err != nil {
			return ui.Usage(fmt.Errorf("read --listen: %w", err), "--listen 127.0.0.1:8888")
		}
		spec, err := d.Load(args[0])
		if err != nil {
			return err
		}
		text, lost, err := Pipelock(spec, o)
		if err != nil {
			return ui.Fail(err, "bottle edit bottles/"+bottle.Printable(args[0]))
		}
		for _, l := range lost {
			fmt.Fprintln(d.Err, "pipelock: "+bottle.Printable(l))
		}
		_, err = io.WriteString(d.Out, text)
		return err
	}
	return c
}
