package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"bottle/internal/backend"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle"
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
	var fix, undo, yes, verbose bool
	var kind string
	c := &cobra.Command{
		Use:     "doctor",
		GroupID: groupMachine,
		Short:   "Say which walls this machine can put up, and how to mend what it cannot",
		Long: "For each wall: whether this machine can enforce it, how that was found out, and the one command\n" +
			"that would mend it. Then a real bottle is put up, tried from inside and taken down, so that every\n" +
			"wall is proved and not assumed. The exit code is 1 when a start would not work.",
		Example: "  bottle doctor\n" +
			"  sudo bottle doctor --fix      write the one file that lets bottle-jail work, after showing it\n" +
			"  sudo bottle doctor --undo     take it back",
		Args:              command.Words(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVar(&fix, "fix", false, "mend what a file of our own can mend (needs root)")
	c.Flags().BoolVar(&undo, "undo", false, "remove the file that --fix wrote (needs root)")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask before --fix")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show each step of the trial and what each probe got back")
	c.Flags().StringVar(&kind, "backend", "", "the backend to look at; the platform's default when left out")
	c.MarkFlagsMutuallyExclusive("fix", "undo")
	_ = c.RegisterFlagCompletionFunc("backend", cobra.FixedCompletions(d.kinds(), cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	asJSON := command.Formats(c)
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
		return d.examine(c.Context(), b, js, verbose)
	}
	return c
}

// kinds are the backends of this build.
func (d *deps) kinds() []string { return slices.Sorted(maps.Keys(d.Backends)) }

// examine prints what this machine says of itself and what a real bottle showed.
// The bottle's state lies where a start's would, so that the file system is the
// true one and `bottle cleanup` finds what a kill would leave.
func (d *deps) examine(ctx context.Context, b backend.Backend, js, verbose bool) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	house := &lifecycle.House{Backend: b, Host: d.Lookup, Root: os.DirFS("/")}
	if path, err := d.homePath(); err == nil && there(path) { // else `bottle init` was not yet
		if house, err = d.house(b.Kind()); err != nil {
			return err
		}
	}
	found, err := house.Examine(ctx)
	if err != nil {
		return err
	}
	if js {
		err = ui.JSON(d.Stdout, found)
	} else {
		ui.Diagnose(d.Stdout, d.style(d.Stdout), ui.Width(d.Stdout, d.Terminal(d.Stdout)), found, verbose)
	}
	if err == nil && !found.OK {
		err = ui.Exit(ui.CodeNo)
	}
	return err
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
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
	if d.Euid() != 0 {
		return ui.Fail(errors.New("only root may write it"), "sudo bottle doctor --fix")
	}
	ok, err = d.ask().Confirm("Write and load it?", yes)
	if err != nil || !ok {
		return err
	}
	if err := m.ApplyMend(ctx); err != nil {
		return ui.Fail(err, "")
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
		return ui.Fail(err, "")
	}
	if path == "" {
		fmt.Fprintln(d.Stdout, "There is nothing to take back.")
		return nil
	}
	fmt.Fprintf(d.Stdout, "removed  %s\n", path)
	return nil
}
