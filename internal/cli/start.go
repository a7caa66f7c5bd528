package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/folders"
	"bottle/internal/cli/session"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle"
	"bottle/internal/store"
)

// startFlags are what `bottle start` was asked for.
type startFlags struct {
	dry, yes, verbose, noTTY bool
	repoBottle               string // --repo-agent
	detach                   bool
	line                     int // session.LineFlag; 0: none
	backend                  string
	again                    *store.Metadata // bottle resume: of what; nil: a new start
	fresh                    bool            // and without its conversation
	without                  []string        // and without the lines of these proposals in its image
}

// flags are what start and resume both take.
func (f *startFlags) flags(d *deps, c *cobra.Command) {
	c.Flags().BoolVar(&f.dry, "dry-run", false, "print what a start would create and allow; create nothing")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "show each step and what the wall check found")
	c.Flags().StringVar(&f.repoBottle, "repo-agent", "", "with --yes: take the agent from this repository, if it is for this `BOTTLE`")
	_ = c.RegisterFlagCompletionFunc("repo-agent", firstOf(d.bottleNames)) // fails only for a flag that is not there
	c.Flags().StringVar(&f.backend, "backend", "", "the kind of walls, whatever the bottle says: "+strings.Join(d.kinds(), ", "))
	_ = c.RegisterFlagCompletionFunc("backend", cobra.FixedCompletions(d.kinds(), cobra.ShellCompDirectiveNoFileComp)) // as above
	c.Flags().BoolVar(&f.noTTY, "no-tty", false, "give the agent pipes even on a terminal")
	c.Flags().BoolVarP(&f.detach, "detach", "d", false, "leave it running in the background once the agent runs, for bottle attach")
	c.Flags().IntVar(&f.line, session.LineFlag, 0, "for bottle itself")
	_ = c.Flags().MarkHidden(session.LineFlag) // fails only for a flag that is not there
}

// fit refuses flags that contradict each other; do are the words of the command.
func (f *startFlags) fit(js bool, do string) error {
	if js && !f.dry && !f.detach {
		return ui.Usage(errors.New("--format json prints a plan; the agent's own output has no format"), "bottle "+do+" --dry-run --format json")
	}
	if f.detach && f.noTTY {
		return ui.Usage(errors.New("--detach gives the agent a terminal, and --no-tty takes it away"), "bottle "+do+" --detach")
	}
	return nil
}

func newStart(d *deps) *cobra.Command {
	var f startFlags
	c := &cobra.Command{
		Use:     "start AGENT [-- ARG…]",
		GroupID: groupRun,
		Short:   "Run an agent in its bottle",
		Long: "Show what the agent will see and reach, ask, put the walls up, check them from inside, and run\n" +
			"the agent on this terminal. What comes after -- is given to the agent's own command line.\n" +
			"The exit code is the agent's; 125 is a failure of bottle itself. With --detach the agent runs on\n" +
			"a terminal of its own that bottle attach joins, and the exit code tells whether it was started.",
		Example: "  bottle start claude\n" +
			"  bottle start claude --yes -- -p \"explain this repository\"\n" +
			"  bottle start claude --detach\n" +
			"  bottle start claude --dry-run --format json | jq .egress.hosts",
		Args: startWords, ValidArgsFunction: firstOf(d.agentNames),
	}
	f.flags(d, c)
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		if err := f.fit(js, "start "+args[0]); err != nil {
			return err
		}
		if f.detach && !f.dry && f.line == 0 {
			return d.session().Detach(c.Context(), session.Words("start", args[0], args[1:], f.yes, f.verbose, bottle.Name(f.repoBottle), f.backend), js)
		}
		return d.start(c.Context(), args[0], args[1:], f, js)
	}
	return c
}

// startWords wants one agent; the rest must stand behind --.
func startWords(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return command.Words(1, 1)(c, args)
	}
	if dash := c.ArgsLenAtDash(); len(args) > 1 && dash != 1 {
		return ui.Usage(fmt.Errorf("start does not take %q", args[1]), "what is for the agent goes behind --: bottle start "+args[0]+" -- "+args[1])
	}
	return nil
}

func (d *deps) start(ctx context.Context, word string, extra []string, f startFlags, js bool) error {
	held, err := d.session().Held(f.line)
	if err != nil {
		return err
	}
	agent, spec, warnings, err := d.load(word)
	if err != nil {
		return err
	}
	if err := d.unseen(agent, f); err != nil {
		return err
	}
	if f.again != nil {
		if err := d.same(agent, spec, f); err != nil {
			return err
		}
		f.backend = f.again.Backend
	}
	house, err := d.house(cmp.Or(f.backend, spec.Backend))
	if err != nil {
		return err
	}
	tty := f.detach || !f.noTTY && d.Terminal(d.Stdin) && d.Terminal(d.Stdout)
	req, err := d.request(agent, spec, warnings, extra, tty)
	if err != nil {
		return err
	}
	req.Resume, req.Fresh, req.Without, req.Chosen = f.again, f.fresh, f.without, f.backend != "" || d.env("BOTTLE_BACKEND") != ""
	if f.again != nil {
		req.Chosen = f.again.Chosen
	}
	prep, err := house.Prepare(ctx, req)
	if err != nil {
		return d.unprepared(err, house.Backend.Kind())
	}
	if js {
		return ui.JSON(d.Stdout, prep.Plan)
	}
	if f.dry {
		return prep.Plan.Text(d.Stdout, d.style(d.Stdout))
	}
	if err := prep.Plan.Text(d.Stderr, d.style(d.Stderr)); err != nil {
		return err
	}
	question := "Start it?"
	if f.again != nil {
		question = "Resume it?"
	}
	ok, err := d.ask().Confirm(question, f.yes)
	if err != nil {
		return err
	}
	if !ok {
		fmt.Fprintln(d.Stderr, "Not started; nothing was created.")
		return ui.Exit(ui.CodeNo)
	}
	return d.session().Run(ctx, house, prep, session.How{TTY: tty, Verbose: f.verbose, Detach: f.detach, Held: held})
}

// unseen refuses a repository's agent that nobody looks at: whoever wrote the
// repository chose its name, its command and which of the operator's bottles it
// gets. With --yes the operator must have named that bottle.
func (d *deps) unseen(a bottle.Agent, f startFlags) error {
	named := bottle.Name(f.repoBottle)
	switch {
	case named != "" && !a.InRepo:
		return ui.Fail(fmt.Errorf("this repository has no agent %s: --repo-agent wants one of its own", a.Name), "bottle list agents")
	case a.InRepo && named != "" && a.Bottle != named:
		return ui.Fail(fmt.Errorf("%s puts the agent %s into the bottle %s, not %s", d.tilde(a.File), a.Name, a.Bottle, named),
			"read that file; then name the bottle that it may have")
	case a.InRepo && named == "" && f.yes && !f.dry:
		return ui.Fail(fmt.Errorf("the agent %s is this repository's own (%s): it chose its command and your bottle %s, and with --yes nobody looks",
			a.Name, d.tilde(a.File), a.Bottle), fmt.Sprintf("bottle start %s, without --yes; or add: --repo-agent %s", a.Name, a.Bottle))
	}
	return nil
}

// unprepared gives a machine that cannot hold walls of that kind its hint.
func (d *deps) unprepared(err error, kind string) error {
	var broken *lifecycle.Broken
	if errors.As(err, &broken) {
		return ui.Fail(err, "bottle doctor --backend "+kind)
	}
	return err
}

// session is what runs an agent, and attaches to one.
func (d *deps) session() session.Desk {
	return session.Desk{
		Group: groupRun, In: d.Stdin, Out: d.Stdout, Err: d.Stderr, Style: d.style, Terminal: d.Terminal, Dumb: d.env("TERM") == "dumb",
		Store: d.state, Self: d.Self, Environ: d.Environ, Names: firstOf(d.identities),
	}
}

func newAttach(d *deps) *cobra.Command { return d.session().Command() }

// state is the folder of what was started.
func (d *deps) state() (*store.Store, error) {
	home, err := d.home()
	if err != nil {
		return nil, err
	}
	// Inside a bottle's mounts an absolute link would lead into the bottle.
	if home, err = filepath.EvalSymlinks(home); err != nil {
		return nil, fmt.Errorf("look at bottle home: %w", err)
	}
	st, err := store.Open(home)
	if err == nil {
		st.Runtime = d.env("XDG_RUNTIME_DIR")
	}
	return st, err
}

// house is everything that a start or a cleanup works with.
func (d *deps) house(kind string) (*lifecycle.House, error) {
	b, err := d.backend(kind)
	if err != nil {
		return nil, err
	}
	st, err := d.state()
	if err != nil {
		return nil, err
	}
	h := &lifecycle.House{
		Backend: b, Store: st, Secrets: lifecycle.Sources(d.Lookup, d.Environ), Host: d.Lookup, Root: folders.Host(), RefuseCopy: d.refuseCopy,
	}
	for _, other := range d.kinds() {
		if other == b.Kind() {
			continue
		}
		o, err := d.backend(other)
		if err != nil {
			return nil, err
		}
		h.Others = append(h.Others, o)
	}
	if d.Terminal(d.Stdin) {
		h.Ask = d.ask().Secret
	}
	return h, nil
}

// refuseCopy says why a recipe may not copy out of a folder: every agent that runs from the
// image reads what was copied. It is asked by the rule of workspaces.
func (d *deps) refuseCopy(folder string) (why, hint string) {
	tree, err := d.tree()
	if err != nil {
		return "it cannot be told from the folders of the manifests: " + err.Error(), "set HOME"
	}
	if why, _ = tree.RefuseWorkspace(folder); why == "" {
		return "", ""
	}
	return why, "put the Dockerfile and what it copies into a folder of their own"
}

// request gathers what the operator's side of a start is.
func (d *deps) request(a bottle.Agent, s bottle.Spec, warnings bottle.Problems, extra []string, tty bool) (lifecycle.Request, error) {
	cwd, err := d.Getwd()
	if err != nil {
		return lifecycle.Request{}, fmt.Errorf("find current folder: %w", err)
	}
	home, err := d.userHome()
	if err != nil {
		return lifecycle.Request{}, err
	}
	tree, err := d.tree()
	if err != nil {
		return lifecycle.Request{}, err
	}
	req := lifecycle.Request{
		Agent: a, Spec: s, Warnings: warnings, ExtraArgs: extra, UserHome: home, TTY: tty, Skills: map[string]fs.FS{},
	}
	if req.Workspace, req.Is, err = folders.Workspace(tree, cwd, s.Workspace, d.tilde); err != nil {
		return lifecycle.Request{}, err
	}
	if req.Mounts, err = folders.Mounts(tree, s.Mounts, d.tilde); err != nil {
		return lifecycle.Request{}, err
	}
	for _, p := range filepath.SplitList(d.env("PATH")) {
		if filepath.IsAbs(p) {
			req.Path = append(req.Path, p)
		}
	}
	for _, name := range a.Skills {
		req.Skills[name] = os.DirFS(filepath.Join(home, ".claude", "skills", name))
	}
	return req, nil
}
