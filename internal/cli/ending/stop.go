// Package ending is the commands that end bottles and remove what they left.
package ending

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/layer"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Desk is what the commands touch.
type Desk struct {
	Group    string
	Out, Err io.Writer
	Style    func(io.Writer) plan.Style
	Confirm  func(question string, yes bool) (bool, error)
	House    func(kind string) (*lifecycle.House, error) // empty: the default kind
	Names    cobra.CompletionFunc                        // of bottles that have state
	Tilde    func(path string) string
}

// Commands are stop and cleanup.
func (d Desk) Commands() []*cobra.Command { return []*cobra.Command{d.newStop(), d.newCleanup()} }

func (d Desk) newStop() *cobra.Command {
	return &cobra.Command{
		Use:     "stop IDENTITY…",
		GroupID: d.Group,
		Short:   "End running bottles and take their walls down",
		Long:    "Tell the agent to end, wait for it, and take everything down. Its decision log stays.",
		Example: "  bottle list active\n  bottle stop researcher-m3hxd",
		Args:    command.Words(1, 64), ValidArgsFunction: d.Names,
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

func (d Desk) stop(ctx context.Context, word string) error {
	house, err := d.House("")
	if err != nil {
		return err
	}
	id, err := house.Store.Match(word)
	if err != nil {
		return ui.Fail(err, "bottle list active")
	}
	if m, err := house.Store.Load(id); err == nil && m.Backend != house.Backend.Kind() {
		if house, err = d.House(m.Backend); err != nil { // where what a kill leaves is looked for
			return err
		}
	}
	slow := time.AfterFunc(2*time.Second, func() {
		fmt.Fprintf(d.Err, "waiting up to %v for %s to end; then it is killed\n", lifecycle.Farewell, id)
	})
	defer slow.Stop()
	if err := house.Stop(ctx, id); err != nil {
		return ui.Fail(err, "bottle list active")
	}
	fmt.Fprintf(d.Out, "stopped %s\n", id)
	return nil
}

func (d Desk) newCleanup() *cobra.Command {
	var yes, keep, discard bool
	c := &cobra.Command{
		Use:     "cleanup",
		GroupID: d.Group,
		Short:   "Remove what ended or killed bottles left",
		Long: "Look for processes, control groups, containers, networks, volumes and state folders of bottles that\n" +
			"no longer run, of every backend, show them, ask, and remove them. Running bottles are not touched. A state folder holds the decision log and\n" +
			"what the agent changed in its private view. One with changes that nobody took (bottle changes) stays\n" +
			"unless --discard is given, and so does one with a conversation that a crash ended, or for\n" +
			"whose image lines were approved (bottle resume);\n" +
			"--keep-state leaves all of them alone.",
		Example: "  bottle cleanup\n  bottle cleanup --discard\n  bottle cleanup --keep-state --yes",
		Args:    command.Words(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&discard, "discard", false, "remove changes that nobody took, and what waits for a resume, too")
	c.Flags().BoolVar(&keep, "keep-state", false, "leave the state folders alone")
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

func (d Desk) cleanup(ctx context.Context, yes, keep, discard, js bool) error {
	house, err := d.House("")
	if err != nil {
		return err
	}
	house.Unasked = func(kind string, why error) {
		fmt.Fprintf(d.Err, "note: what bottles of the backend %s left is not known: %v; the state of those bottles stays\n", kind, why)
	}
	house.Used = func(l backend.Leftover) {
		fmt.Fprintf(d.Err, "kept: the %s %s, which %s uses (%s, and bottle cleanup removes it)\n", l.Resource.Kind, bottle.Printable(l.Resource.Name), l.UsedBy, l.LetGo)
	}
	worth := worth{store: house.Store}
	rest, err := house.Leftovers(ctx, func(e store.Entry) bool { return keep || !discard && worth.keeping(e) })
	if err != nil {
		return err
	}
	worth.tell(d.Err)
	if js {
		if rest == nil {
			rest = []lifecycle.Rest{}
		}
		if err := ui.JSON(d.Out, rest); err != nil || !yes {
			return err // without --yes it is a look
		}
		return house.Clean(ctx, rest)
	}
	if len(rest) == 0 {
		fmt.Fprintln(d.Out, "There is nothing to clean up.")
		return nil
	}
	var rows [][]ui.Cell
	for _, r := range rest {
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, string(r.Identity)), ui.As(plan.Plain, r.Kind), ui.As(plan.Faint, bottle.Printable(d.Tilde(r.Name)))})
	}
	ui.Table(d.Out, d.Style(d.Out), []string{"bottle", "what", "name"}, rows)
	ok, err := d.Confirm("Remove "+ui.Plural(len(rest), "thing")+"?", yes)
	if err != nil {
		return err
	}
	if !ok {
		return ui.Exit(ui.CodeNo)
	}
	if err := house.Clean(ctx, rest); err != nil {
		return ui.Fail(err, "bottle cleanup")
	}
	fmt.Fprintf(d.Out, "removed %s\n", ui.Plural(len(rest), "thing"))
	return nil
}

// worth counts what a cleanup leaves unless it is told to discard it.
type worth struct {
	store              *store.Store
	untaken, preserved int
}

// keeping reports whether an ended bottle holds what somebody may want.
func (w *worth) keeping(e store.Entry) bool {
	id := e.Metadata.Identity
	switch {
	case !w.store.Taken(id) && layer.Count(w.store.Layout(id).Upper, 1) > 0:
		w.untaken++
	case w.store.Preserved(e) != "" && (w.store.Keeps(id) || w.store.Waits(id, time.Now())):
		w.preserved++
	default:
		return false
	}
	return true
}

func (w *worth) tell(out io.Writer) {
	if w.untaken > 0 {
		fmt.Fprintf(out, "kept: %s with changes that nobody took (bottle changes IDENTITY shows them, --discard removes them)\n", ui.Plural(w.untaken, "ended bottle"))
	}
	if w.preserved > 0 {
		fmt.Fprintf(out, "kept: %s for a resume (bottle resume lists them and says why, --discard removes)\n", ui.Plural(w.preserved, "bottle"))
	}
}
