package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
	"bottle/internal/secret"
	"bottle/internal/store"
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
		Args:              words(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVar(&fix, "fix", false, "mend what a file of our own can mend (needs root)")
	c.Flags().BoolVar(&undo, "undo", false, "remove the file that --fix wrote (needs root)")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask before --fix")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show each step of the trial and what each probe got back")
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
		return d.examine(c.Context(), b, js, verbose)
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

// report is what doctor says to machines. It is a contract: keys are added, never
// renamed, and every key is always there.
type report struct {
	backend.Facts
	Trial   lifecycle.Trial `json:"trial"`
	OK      bool            `json:"ok"`      // a start will work
	Verdict string          `json:"verdict"` // the same in words
}

// examine prints what the backend found out about this machine, and what a real
// bottle showed.
func (d *deps) examine(ctx context.Context, b backend.Backend, js, verbose bool) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	facts, err := b.Facts(ctx)
	if err != nil {
		return fmt.Errorf("look at this machine: %w", err)
	}
	facts.Notes = append([]string{}, facts.Notes...)
	trial, err := d.try(ctx, b, facts)
	if err != nil {
		return err
	}
	r := report{Facts: facts, Trial: trial, OK: true, Verdict: "a bottle can start on this machine: every wall of it stood and held"}
	if err := trial.Err(facts); err != nil {
		r.OK, r.Verdict = false, err.Error()
	}
	if js {
		err = ui.JSON(d.Stdout, r)
	} else {
		d.diagnosis(r, verbose)
	}
	if err == nil && !r.OK {
		err = ui.Exit(ui.CodeNo)
	}
	return err
}

// try puts a real bottle up. Its state lies where a start's would, so that the
// file system is the true one and `bottle cleanup` finds what a kill would leave;
// without a bottle home it lies in a folder for the moment.
func (d *deps) try(ctx context.Context, b backend.Backend, facts backend.Facts) (t lifecycle.Trial, err error) {
	moment, err := os.MkdirTemp("", "bottle-doctor-")
	if err != nil {
		return t, fmt.Errorf("make a folder for the trial: %w", err)
	}
	defer func() {
		if gone := os.RemoveAll(moment); err == nil && gone != nil {
			err = fmt.Errorf("remove the folder of the trial: %w", gone)
		}
	}()
	work := filepath.Join(moment, "workspace")
	if err := os.Mkdir(work, 0o700); err != nil {
		return t, fmt.Errorf("make a folder for the trial: %w", err)
	}
	home := moment
	if there, err := d.homePath(); err == nil && exists(there) {
		if home, err = d.home(); err != nil {
			return t, err
		}
	}
	st, err := store.Open(home)
	if err != nil {
		return t, err
	}
	st.Runtime = d.env("XDG_RUNTIME_DIR")
	house := &lifecycle.House{Backend: b, Store: st, Secrets: secret.Resolver{Lookup: d.Lookup}, Host: d.Lookup, Root: os.DirFS("/")}
	return house.Try(ctx, facts, work), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// screen is how wide standard output is, in cells; 0: it is no terminal.
func (d *deps) screen() int {
	f, ok := d.Stdout.(*os.File)
	if !ok || !d.Terminal(d.Stdout) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

func (d *deps) diagnosis(r report, verbose bool) {
	style, width := d.style(d.Stdout), d.screen()
	var rows [][]ui.Cell
	for _, c := range r.Checks {
		state := ui.As(plan.Plain, "can stand")
		switch {
		case !c.OK && c.Needed:
			state = ui.As(plan.Shout, "MISSING")
		case !c.OK:
			state = ui.As(plan.Warn, "without")
		}
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, c.Wall), state, ui.As(plan.Faint, c.Found)})
	}
	ui.Fold(d.Stdout, style, width, []string{"this machine", "", "how this was found out"}, rows)
	for _, n := range r.Notes {
		for i, line := range ui.Lines("note: "+bottle.Printable(n), width-len("note: ")) {
			fmt.Fprintln(d.Stdout, strings.Repeat(" ", min(i, 1)*len("note: "))+line)
		}
	}
	for _, c := range r.Checks {
		if !c.OK && !c.Needed && c.Fix != "" { // the verdict tells the others
			fmt.Fprintf(d.Stdout, "%s\n  %s %s\n", style(plan.Strong, "to have "+bottle.Printable(c.Wall)), style(plan.Faint, "→"), bottle.Printable(c.Fix))
		}
	}
	fmt.Fprintln(d.Stdout)
	d.tellTrial(r.Trial, style, width, verbose)
	fmt.Fprintln(d.Stdout)
	lines := strings.Split(r.Verdict, "\n")
	role := plan.Strong
	if !r.OK {
		role = plan.Shout
	}
	fmt.Fprintln(d.Stdout, style(role, bottle.Printable(lines[0])))
	for _, l := range lines[1:] {
		fmt.Fprintln(d.Stdout, bottle.Printable(l))
	}
}

// tellTrial prints each wall with the probes that tried it, and how long it all took.
func (d *deps) tellTrial(t lifecycle.Trial, style plan.Style, width int, verbose bool) {
	var rows [][]ui.Cell
	for _, p := range t.Walls {
		state, by := ui.As(plan.Plain, p.State), "no probe ran"
		var names, through []string
		for _, r := range p.Probes {
			names = append(names, r.Name)
			if !r.OK {
				through = append(through, r.Name+" ("+r.Detail+")")
			}
		}
		if len(names) > 0 {
			by = strings.Join(names, ", ")
		}
		switch p.State {
		case lifecycle.Breached:
			state, by = ui.As(plan.Shout, "BROKEN"), strings.Join(through, ", ")
		case lifecycle.NotTried:
			state = ui.As(plan.Warn, p.State)
		}
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, p.Wall), state, ui.As(plan.Faint, by)})
	}
	ui.Fold(d.Stdout, style, width, []string{"a real bottle", "", "proved from inside by"}, rows)
	if !t.Tried {
		return
	}
	fmt.Fprintln(d.Stdout, style(plan.Faint, fmt.Sprintf("up and checked in %.0f ms, gone again after %.0f ms", t.UpMS, t.TookMS)))
	if !verbose {
		return
	}
	rows = nil
	for _, s := range t.Steps {
		state := ui.As(plan.Plain, "done")
		if !s.OK {
			state = ui.As(plan.Shout, "FAILED")
		}
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, s.Name), state, ui.As(plan.Faint, fmt.Sprintf("%.1f ms", s.TookMS))})
	}
	for _, p := range t.Walls {
		for _, r := range p.Probes {
			rows = append(rows, []ui.Cell{ui.As(plan.Strong, r.Name), ui.As(plan.Plain, held(r.OK)), ui.As(plan.Faint, r.Detail)})
		}
	}
	fmt.Fprintln(d.Stdout)
	ui.Fold(d.Stdout, style, width, []string{"step or probe", "", "what came back"}, rows)
}

func held(ok bool) string {
	if ok {
		return lifecycle.Held
	}
	return lifecycle.Breached
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
