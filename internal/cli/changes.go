package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"bottle/internal/cli/changes"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/layer"
	"bottle/internal/store"
)

func newChanges(d *deps) *cobra.Command {
	var diff, apply, yes, force bool
	c := &cobra.Command{
		Use:     "changes IDENTITY",
		GroupID: groupRun,
		Short:   "Show what an agent changed in its private view, and take it",
		Long: "Show what the agent of a bottle that has ended changed in its private view of the folder. --apply\n" +
			"writes it into the folder: plain files, folders, and links that stay inside. What changed in the\n" +
			"folder since the bottle started stays as it is, unless you --force.",
		Example: "  bottle changes researcher-m3hxd --diff | less -R\n  bottle changes researcher-m3hxd --apply",
		Args:    command.Words(1, 1), ValidArgsFunction: firstOf(d.identities),
	}
	c.Flags().BoolVar(&diff, "diff", false, "show the lines that changed in text files")
	c.Flags().BoolVar(&apply, "apply", false, "write the changes into the folder")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "with --apply: do not ask")
	c.Flags().BoolVar(&force, "force", false, "with --apply: also where the folder changed meanwhile")
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		switch {
		case err != nil:
			return err
		case (yes || force) && !apply:
			return ui.Usage(errors.New("--yes and --force go with --apply"), "bottle changes "+args[0]+" --apply")
		case js && apply && !yes:
			return ui.Usage(errors.New("--apply with --format json cannot ask"), "add --yes")
		}
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		m, upper, err := d.ended(ctx, args[0], apply)
		if err != nil {
			return err
		}
		release, err := d.hold(m, apply)
		if err != nil {
			return err
		}
		defer release()
		s := changes.Session{Metadata: m, Folder: d.tilde(m.Workspace), Out: d.Stdout, Style: d.style(d.Stdout), JSON: js, Diff: diff}
		s.View, err = layer.Open(upper, m.Workspace, layer.Options{Trusted: d.Euid() == 0, Started: m.Started})
		if err != nil {
			return ui.Fail(err, "the changes are in "+d.tilde(upper))
		}
		defer s.View.Close()
		if !apply {
			return s.Show(ctx)
		}
		if err := s.Apply(ctx, force, func(question string) (bool, error) { return d.ask().Confirm(question, yes) }); err != nil {
			return err
		}
		st, err := d.state()
		if err != nil {
			return err
		}
		return st.MarkTaken(m.Identity)
	}
	return c
}

// hold keeps a bottle from being resumed while something of it is taken: its agent would
// write what is being read.
func (d *deps) hold(m store.Metadata, taken bool) (release func(), err error) {
	if !taken {
		return func() {}, nil
	}
	st, err := d.state()
	if err != nil {
		return nil, err
	}
	if release, err = st.HoldSame(m); err != nil {
		return nil, ui.Fail(err, "bottle stop "+string(m.Identity))
	}
	return release, nil
}

// ended finds the one bottle that word means and its upper layer. It refuses one
// that lives: what its agent can still change is not settled. To be sure before
// something is taken, it looks for processes that a killed start left, too.
func (d *deps) ended(ctx context.Context, word string, sure bool) (m store.Metadata, upper string, err error) {
	s, err := d.state()
	if err != nil {
		return m, "", err
	}
	id, err := s.Match(word)
	if err != nil {
		return m, "", err
	}
	if s.Live(id) {
		return m, "", ui.Fail(fmt.Errorf("the bottle %s is running: its agent can still change what you would see", id), "bottle stop "+string(id))
	}
	if m, err = s.Load(id); err != nil || !sure {
		return m, s.Layout(id).Upper, err
	}
	house, err := d.house(m.Backend)
	if err != nil {
		return m, "", err
	}
	left, err := house.Remains(ctx, id)
	if left {
		err = ui.Fail(fmt.Errorf("processes of %s may still be there: its start was killed", id), "bottle cleanup --keep-state")
	}
	return m, s.Layout(id).Upper, err
}
