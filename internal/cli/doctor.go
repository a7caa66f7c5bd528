package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
)

// mender is a backend that can mend this machine with one file of its own, and
// take it back.
type mender interface {
	// Mend says which file would mend the machine and what would be in it. An
	// empty path: there is nothing that such a file would mend.
	Mend(ctx context.Context) (path string, content []byte, err error)
	// ApplyMend writes and loads that file; it needs root.
	ApplyMend(ctx context.Context) error
	// UndoMend unloads and removes it; it needs root. An empty path: there was none.
	UndoMend(ctx context.Context) (path string, err error)
}

func newDoctor(d *deps) *cobra.Command {
	var fix, undo, yes bool
	var kind string
	c := &cobra.Command{
		Use:     "doctor",
		GroupID: groupMachine,
		Short:   "Say which walls this machine can put up, and how to mend what it cannot",
		Long: "For each wall: whether this machine can enforce it, how that was found out, and the one command\n" +
			"that would mend it. The exit code is 1 when a wall that a start needs cannot stand.",
		Example: "  bottle doctor\n" +
			"  sudo bottle doctor --fix      write the one file that lets bottle-jail work, after showing it\n" +
			"  sudo bottle doctor --undo     take it back",
		Args:              words(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVar(&fix, "fix", false, "mend what a file of our own can mend (needs root)")
	c.Flags().BoolVar(&undo, "undo", false, "remove the file that --fix wrote (needs root)")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask before --fix")
	c.Flags().StringVar(&kind, "backend", "", "the backend to look at; the platform's default when left out")
	c.MarkFlagsMutuallyExclusive("fix", "undo")
	_ = c.RegisterFlagCompletionFunc("backend", cobra.FixedCompletions(d.kinds(), cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	asJSON := formats(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		if js && (fix || undo) {
			return ui.Usage(errors.New("--format json reports; it goes with neither --fix nor --undo"), "leave it out")
		}
		b, err := d.backend(kind)
		if err != nil {
			return err
		}
		switch {
		case fix:
			return d.mend(c.Context(), b, yes)
		case undo:
			return d.unmend(c.Context(), b)
		}
		return d.examine(c.Context(), b, js)
	}
	return c
}

// kinds are the backends of this build.
func (d *deps) kinds() []string {
	var kinds []string
	for k := range d.Backends {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}

// examine prints what the backend found out about this machine.
func (d *deps) examine(ctx context.Context, b backend.Backend, js bool) error {
	facts, err := b.Facts(ctx)
	if err != nil {
		return fmt.Errorf("look at this machine: %w", err)
	}
	bad := 0
	for _, c := range facts.Checks {
		if c.Needed && !c.OK {
			bad++
		}
	}
	if js {
		err = ui.JSON(d.Stdout, struct {
			backend.Facts
			OK bool `json:"ok"`
		}{facts, bad == 0})
	} else {
		d.diagnosis(facts, bad)
	}
	if err == nil && bad > 0 {
		err = ui.Exit(ui.CodeNo)
	}
	return err
}

func (d *deps) diagnosis(facts backend.Facts, bad int) {
	style := d.style(d.Stdout)
	var rows [][]ui.Cell
	for _, c := range facts.Checks {
		state := ui.As(plan.Plain, "holds")
		switch {
		case !c.OK && c.Needed:
			state = ui.As(plan.Shout, "MISSING")
		case !c.OK:
			state = ui.As(plan.Warn, "without")
		}
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, c.Wall), state, ui.As(plan.Faint, c.Found)})
	}
	ui.Table(d.Stdout, style, []string{"wall", "state", "how this was found out"}, rows)
	for _, n := range facts.Notes {
		fmt.Fprintln(d.Stdout, "note: "+bottle.Printable(n))
	}
	for _, c := range facts.Checks {
		if !c.OK && c.Fix != "" {
			fmt.Fprintf(d.Stdout, "%s\n  %s %s\n", style(plan.Strong, "to mend "+bottle.Printable(c.Wall)), style(plan.Faint, "→"), bottle.Printable(c.Fix))
		}
	}
	if bad > 0 {
		fmt.Fprintf(d.Stdout, "%s: %s that a start needs cannot stand on this machine\n", style(plan.Shout, facts.Kind), ui.Plural(bad, "wall"))
		return
	}
	fmt.Fprintf(d.Stdout, "%s: every wall that a start needs can stand on this machine\n", style(plan.Strong, facts.Kind))
}

// mend shows the file that would mend the machine, asks, and writes it.
func (d *deps) mend(ctx context.Context, b backend.Backend, yes bool) error {
	m, ok := b.(mender)
	if !ok {
		return ui.Fail(fmt.Errorf("the %s backend has nothing that a file of our own could mend", b.Kind()), "bottle doctor")
	}
	path, content, err := m.Mend(ctx)
	if err != nil {
		return err
	}
	if path == "" {
		fmt.Fprintln(d.Stdout, "There is nothing to mend here that a file of our own could.")
		return nil
	}
	fmt.Fprintf(d.Stdout, "%s would be written:\n\n%s\n", d.style(d.Stdout)(plan.Strong, path), content)
	ok, err = d.ask().Confirm("Write and load it?", yes)
	if err != nil || !ok {
		return err
	}
	if err := m.ApplyMend(ctx); err != nil {
		return ui.Fail(err, "run it as root: sudo bottle doctor --fix")
	}
	fmt.Fprintf(d.Stdout, "written  %s    (take it back with: sudo bottle doctor --undo)\n", path)
	return nil
}

// unmend removes what mend wrote.
func (d *deps) unmend(ctx context.Context, b backend.Backend) error {
	m, ok := b.(mender)
	if !ok {
		return ui.Fail(fmt.Errorf("the %s backend never writes a file of its own", b.Kind()), "bottle doctor")
	}
	path, err := m.UndoMend(ctx)
	if err != nil {
		return ui.Fail(err, "run it as root: sudo bottle doctor --undo")
	}
	if path == "" {
		fmt.Fprintln(d.Stdout, "There is nothing to take back.")
		return nil
	}
	fmt.Fprintf(d.Stdout, "removed  %s\n", path)
	return nil
}
