package learn

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/rewrite"
	"bottle/internal/cli/ui"
	"bottle/internal/policy/learn"
	"bottle/internal/store"
)

// wish is what a person wants of `bottle learn`.
type wish struct {
	word              string
	hosts, except     []string
	write, yes, prune bool
	js                bool
}

// Learn is the command `bottle learn`.
func (d Desk) Learn() *cobra.Command {
	var w wish
	c := &cobra.Command{
		Use:     "learn IDENTITY",
		GroupID: d.Group,
		Short:   "Propose what a session was denied for its bottle's manifest, as little as will do",
		Long: "Read the decision log and the proposals of a session, which may run or have ended, and propose what its\n" +
			"manifest would need for it, as little as will do: exact hosts, the methods that were seen, and the paths,\n" +
			"of which three or more that differ in an id become a shorter prefix. Each route comes with its evidence\n" +
			"and with what you should look at, the most doubtful first: the agent decides what is denied. Nothing is\n" +
			"written without --write and your yes; comments and order of the file stay. Never proposed: credentials,\n" +
			"wildcards, addresses, git, what held a secret, and what you turned down.",
		Example: "  bottle learn researcher\n" +
			"  bottle learn researcher --host pypi.org --host files.pythonhosted.org --write\n" +
			"  bottle learn researcher --except sentry.io --write\n" +
			"  bottle learn researcher --prune               also take out what the session did not use\n" +
			"  bottle learn researcher-m3hxd --format json | jq '.proposed[].route'",
		Args: command.Words(1, 1), ValidArgsFunction: d.Names,
	}
	c.Flags().StringArrayVar(&w.hosts, "host", nil, "only this `HOST`; may be given several times")
	c.Flags().StringArrayVar(&w.except, "except", nil, "all but this `HOST`; may be given several times")
	c.Flags().BoolVar(&w.write, "write", false, "write it into the manifest, after a yes")
	c.Flags().BoolVarP(&w.yes, "yes", "y", false, "with --write: do not ask; what looks like a trick is left out then, unless you name its --host")
	c.Flags().BoolVar(&w.prune, "prune", false, "also take out the routes, methods and paths that the session did not use; one session is little evidence")
	for _, f := range []string{"host", "except"} {
		_ = c.RegisterFlagCompletionFunc(f, cobra.NoFileCompletions) // fails only for a flag that is not there
	}
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if w.js, err = asJSON(); err != nil {
			return err
		}
		w.word = args[0]
		switch {
		case w.yes && !w.write:
			return ui.Usage(errors.New("--yes goes with --write"), "bottle learn "+args[0]+" --write")
		case w.js && w.write && !w.yes:
			return ui.Usage(errors.New("--write with --format json cannot ask"), "add --yes")
		}
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return d.learn(ctx, w)
	}
	return c
}

// lesson is what a session comes to, for machines.
type lesson struct {
	Identity bottle.Identity `json:"identity"`
	Bottle   bottle.Name     `json:"bottle"`
	Manifest string          `json:"manifest"`
	Broken   int             `json:"unreadable_lines"`
	learn.Proposal
	Diff    string   `json:"diff,omitempty"`    // of the manifest
	ByHand  []string `json:"by_hand,omitempty"` // lines to add, where the manifest has another form than can be changed
	Pruned  bool     `json:"pruned"`            // the diff takes out what is unused
	Written bool     `json:"written"`

	flags string // that a person gave, for the next command
}

// names reads what --host and --except were given.
func names(words []string) (out []bottle.Host, err error) {
	for _, w := range words {
		h, err := bottle.ParseHost(w)
		if err != nil {
			return nil, ui.Usage(err, "--host and --except take one name each, such as pypi.org; nothing is learnt of wildcards")
		}
		out = append(out, h)
	}
	return out, nil
}

func (d Desk) learn(ctx context.Context, w wish) error {
	hosts, err := names(w.hosts)
	if err != nil {
		return err
	}
	except, err := names(w.except)
	if err != nil {
		return err
	}
	s, err := d.session(w.word)
	if err != nil {
		return err
	}
	spec, pol, err := d.spec(s, "")
	if err != nil {
		return err
	}
	asked, err := store.ReadQueue(s.asked)
	if err != nil {
		return fmt.Errorf("read proposals: %w", err) // without them nobody knows what was turned down
	}
	seen := learn.New(spec.Routes, pol, hosts, asked)
	out := lesson{Identity: s.id, Bottle: spec.Name, Manifest: spec.Files[len(spec.Files)-1], Pruned: w.prune}
	if out.Broken, err = d.read(ctx, s, seen.Add); err != nil {
		return err
	}
	out.Proposal = seen.Propose(learn.Options{Prune: w.prune, Unseen: w.write && w.yes, Own: spec.Files[len(spec.Files)-1], Except: except})
	if w.prune {
		out.flags = " --prune"
	}
	for _, h := range hosts {
		out.flags += " --host " + string(h)
	}
	for _, h := range except {
		out.flags += " --except " + string(h)
	}
	change, err := d.change(spec, &out)
	if err != nil {
		return err
	}
	if !w.js {
		d.show(s, &out)
	}
	if w.write && w.yes && out.Broken > 0 {
		return ui.Fail(errors.New("nothing is written unseen from a log that cannot be relied on"), "bottle audit "+string(s.id)+" --verify")
	}
	if w.write {
		err = d.write(s, w, &out, change)
	}
	if w.js && err == nil {
		err = ui.JSON(d.Out, out)
	}
	return err
}

// change finds out what would be written; nil: nothing, or not by this.
func (d Desk) change(spec bottle.Spec, out *lesson) (*rewrite.Change, error) {
	added := out.Added()
	want, gone := spec.Routes, []rewrite.Gone(nil)
	if out.Pruned {
		want = learn.Narrow(want, out.Unused)
		for _, l := range out.Unused {
			gone = append(gone, rewrite.Gone{Rule: l.Route.Rule, Whole: l.Whole, Methods: l.Methods, Paths: l.Paths})
		}
	}
	if len(added)+len(gone) == 0 {
		return nil, nil
	}
	tree, err := d.Tree()
	if err != nil {
		return nil, err
	}
	c, err := rewrite.Propose(tree, spec.Name, gone, added, slices.Concat(want, added))
	switch {
	case errors.Is(err, rewrite.ErrForm):
		out.ByHand = rewrite.Lines(added)
		return nil, nil
	case err != nil:
		return nil, ui.Fail(err, "bottle edit bottles/"+string(spec.Name))
	}
	out.Diff = c.Diff
	return c, nil
}

// write writes the change after a yes.
func (d Desk) write(s session, w wish, out *lesson, change *rewrite.Change) error {
	if change == nil && out.ByHand == nil {
		if !w.js {
			fmt.Fprintln(d.Err, "nothing to write")
		}
		return nil
	}
	if change == nil {
		return ui.Fail(rewrite.ErrForm, "bottle edit bottles/"+string(out.Bottle)+", and put below egress.routes:\n"+bottle.SaidLines(strings.Join(out.ByHand, "")))
	}
	question := fmt.Sprintf("Write %s into %s?", ui.Plural(len(out.Lessons), "route"), out.Manifest)
	if out.Pruned {
		question = fmt.Sprintf("Write this into %s?", out.Manifest)
	}
	if ok, err := d.Confirm(question, w.yes); err != nil || !ok {
		if err == nil {
			fmt.Fprintln(d.Err, "Nothing was changed.")
			err = ui.Exit(ui.CodeNo)
		}
		return err
	}
	if err := change.Write(); err != nil {
		return ui.Fail(fmt.Errorf("nothing was written: %w", err), "bottle learn "+string(s.id)+" --write")
	}
	out.Written = true
	fmt.Fprintf(d.Err, "written: %s\n", bottle.Printable(d.Tilde(change.Path)))
	if s.live {
		fmt.Fprintln(d.Err, "to put it in force now: bottle reload "+string(s.id))
	}
	return nil
}
