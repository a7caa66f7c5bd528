package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/demo"
	"bottle/internal/lifecycle"
)

func newDemo(d *deps) *cobra.Command {
	var c demo.Config
	cmd := &cobra.Command{
		Use:     "demo",
		GroupID: groupRun,
		Short:   "See a bottle hold: a scripted agent tries to get out of one",
		Long: "Write an example bottle and agent to a temporary folder, start an API and a pastebin on this\n" +
			"machine's loopback, and run a scripted agent in the bottle, which tries what it should not. Each\n" +
			"attempt is judged from outside. Exit code 0 only when every one ended as it should, 1 otherwise.\n" +
			"Your own manifests, keys and network are not touched. The folder stays, to be read; --rm removes it.",
		Example: "  bottle demo\n" +
			"  bottle demo --format json | jq .ok\n" +
			"  bottle demo --rm              leave nothing, not even the decision log",
		Args:              command.Words(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&c.Remove, "rm", false, "remove the example and its decision log at the end")
	asJSON := command.Formats(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		c := c
		return d.demo(cmd, c, js)
	}
	return cmd
}

func (d *deps) demo(cmd *cobra.Command, c demo.Config, js bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	walls, err := d.backend("")
	if err != nil {
		return err
	}
	if c.Program, err = d.program(); err != nil {
		return err
	}
	c.UserHome, _ = d.userHome() // only to look for; without one the agent looks below /
	c.House = &lifecycle.House{Backend: walls, Host: d.Lookup, Root: os.DirFS("/")}
	screen := &demo.Screen{Out: d.Stdout, Style: d.style(d.Stdout), Live: d.Terminal(d.Stdout), Typed: "bottle"}
	if strings.Contains(os.Args[0], "/") {
		screen.Typed = os.Args[0]
	}
	if f, ok := d.Stdout.(*os.File); ok && screen.Live {
		if screen.Width, _, err = term.GetSize(int(f.Fd())); err != nil {
			screen.Width = 80
		}
	}
	if !js {
		c.Tell = screen.Tell
	}
	report, err := demo.Run(ctx, c)
	switch {
	case err != nil:
		if screen.Live {
			fmt.Fprint(d.Stdout, "\r\x1b[K") // the line of what was under way
		}
		if ctx.Err() != nil && report.Removed {
			err = errors.New("interrupted; the demo and all that it made are gone")
		}
		return d.unprepared(err, walls.Kind())
	case js:
		err = ui.JSON(d.Stdout, report)
	default:
		screen.End(report)
	}
	if err == nil && !report.OK {
		err = ui.Exit(ui.CodeNo)
	}
	return err
}

// program is the running program's own file.
func (d *deps) program() (string, error) {
	self, err := d.Self()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	return self, nil
}

// newDemoClient is the hidden command that the demo's agent uses where there is
// no curl, inside its bottle.
func newDemoClient(d *deps) *cobra.Command {
	return &cobra.Command{
		Use: "demo-client", Hidden: true, GroupID: groupMachine, DisableFlagParsing: true, ValidArgsFunction: cobra.NoFileCompletions,
		Short:   "One request, as the demo's agent makes it where there is no curl",
		Example: "  bottle demo-client -w %{http_code} https://api.example.com/",
		RunE:    func(_ *cobra.Command, args []string) error { return ui.Exit(demo.Client(args, d.Stdout)) },
	}
}
