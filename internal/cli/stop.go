package cli

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/layer"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
	"bottle/internal/store"
)

func newStop(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:     "stop IDENTITY…",
		GroupID: groupRun,
		Short:   "End running bottles and take their walls down",
		Long:    "Tell the agent to end, wait for it, and take everything down. Its decision log stays.",
		Example: "  bottle list active\n  bottle stop researcher-m3hxd",
		Args:    command.Words(1, 64), ValidArgsFunction: firstOf(d.identities),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			for _, word := range args {
				if err := d.stop(ctx, word); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (d *deps) stop(ctx context.Context, word string) error {
	house, err := d.house("")
	if err != nil {
		return err
	}
	id, err := house.Store.Match(word)
	if err != nil {
		return ui.Fail(err, "bottle list active")
	}
	slow := time.AfterFunc(2*time.Second, func() {
		fmt.Fprintf(d.Stderr, "waiting up to %v for %s to end; then it is killed\n", lifecycle.Farewell, id)
	})
	defer slow.Stop()
	if err := house.Stop(ctx, id); err != nil {
		return ui.Fail(err, "bottle list active")
	}
	fmt.Fprintf(d.Stdout, "stopped %s\n", id)
	return nil
}

func newCleanup(d *deps) *cobra.Command {
	var yes, keep, discard bool
	c := &cobra.Command{
		Use:     "cleanup",
		GroupID: groupRun,
		Short:   "Remove what ended or killed bottles left",
		Long: "Look for processes, control groups and state folders of bottles that no longer run, show them,\n" +
			"ask, and remove them. Running bottles are not touched. A state folder holds the decision log and\n" +
			"what the agent changed in its private view. One with changes that nobody took (bottle changes)\n" +
			"stays unless --discard is given; --keep-state leaves all of them alone.",
		Example: "  bottle cleanup\n  bottle cleanup --discard\n  bottle cleanup --keep-state --yes",
		Args:    command.Words(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&discard, "discard", false, "remove changes that nobody took, too")
	c.Flags().BoolVar(&keep, "keep-state", false, "remove processes and control groups only")
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		return d.cleanup(c.Context(), yes, keep, discard, js)
	}
	return c
}

func (d *deps) cleanup(ctx context.Context, yes, keep, discard, js bool) error {
	house, err := d.house("")
	if err != nil {
		return err
	}
	untaken := 0
	rest, err := house.Leftovers(ctx, func(e store.Entry) bool {
		id := e.Metadata.Identity
		if keep || discard || house.Store.Taken(id) || layer.Count(house.Store.Layout(id).Upper, 1) == 0 {
			return keep
		}
		untaken++
		return true
	})
	if err != nil {
		return err
	}
	if untaken > 0 {
		fmt.Fprintf(d.Stderr, "kept: %s with changes that nobody took (bottle changes IDENTITY shows them, --discard removes them)\n", ui.Plural(untaken, "ended bottle"))
	}
	if js {
		if rest == nil {
			rest = []lifecycle.Rest{}
		}
		if err := ui.JSON(d.Stdout, rest); err != nil || !yes {
			return err // without --yes it is a look
		}
		return house.Clean(ctx, rest)
	}
	if len(rest) == 0 {
		fmt.Fprintln(d.Stdout, "There is nothing to clean up.")
		return nil
	}
	var rows [][]ui.Cell
	for _, r := range rest {
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, string(r.Identity)), ui.As(plan.Plain, r.Kind), ui.As(plan.Faint, bottle.Printable(d.tilde(r.Name)))})
	}
	ui.Table(d.Stdout, d.style(d.Stdout), []string{"bottle", "what", "name"}, rows)
	ok, err := d.ask().Confirm("Remove "+ui.Plural(len(rest), "thing")+"?", yes)
	if err != nil {
		return err
	}
	if !ok {
		return ui.Exit(ui.CodeNo)
	}
	if err := house.Clean(ctx, rest); err != nil {
		return ui.Fail(err, "bottle cleanup")
	}
	fmt.Fprintf(d.Stdout, "removed %s\n", ui.Plural(len(rest), "thing"))
	return nil
}
