package cli

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/session"
	"bottle/internal/cli/ui"
	"bottle/internal/store"
)

// withoutLines is the flag of a resume whose image is made without approved lines.
const withoutLines = "without-image-changes"

func newResume(d *deps) *cobra.Command {
	var f startFlags
	c := &cobra.Command{
		Use:     "resume [IDENTITY] [-- ARG…]",
		GroupID: groupRun,
		Short:   "Go on with a bottle that has ended",
		Long: "Start a bottle again that has ended, was stopped or was killed: the same identity, folder, private\n" +
			"view, decision log and, of Claude Code and Codex, the last conversation. What the manifest says now\n" +
			"is in force, and is shown and asked about as by bottle start. What comes after -- is given to the\n" +
			"agent's own command line. Claude Code and Codex are not told again what stood there before; another\n" +
			"program is, unless you say something else. Lines that you approved for its image are in it from now\n" +
			"on; they are shown first. Without IDENTITY it lists what can be resumed.",
		Example: "  bottle resume                                        what can be resumed\n" +
			"  bottle resume researcher-m3hxd\n" +
			"  bottle resume researcher-m3hxd --yes -- -p \"now the tests\"\n" +
			"  bottle resume researcher-m3hxd --fresh               without its conversation\n" +
			"  bottle resume researcher-m3hxd --dry-run --format json",
		Args: resumeWords, ValidArgsFunction: firstOf(d.endedIdentities),
	}
	f.flags(d, c)
	c.Flags().BoolVar(&f.fresh, "fresh", false, "begin a new conversation")
	c.Flags().StringSliceVar(&f.without, withoutLines, nil, "make its image without the lines that you approved for it, or without those of a `PROPOSAL`; their grants end")
	c.Flags().Lookup(withoutLines).NoOptDefVal = "all"
	_ = c.RegisterFlagCompletionFunc(withoutLines, cobra.NoFileCompletions) // fails only for a flag that is not there
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		word, extra := "", args
		if c.ArgsLenAtDash() != 0 && len(args) > 0 {
			word, extra = args[0], args[1:]
		}
		m, there, err := d.resumed(word, len(extra) > 0)
		if err != nil {
			return err
		}
		if err := f.fit(js, "resume "+word); err != nil {
			return err
		}
		if f.detach && !f.dry && f.line == 0 {
			words := session.Words("resume", string(m.Identity), extra, f.yes, f.verbose, bottle.Name(f.repoBottle), f.backend)
			if f.fresh {
				words = slices.Insert(words, 1, "--fresh")
			}
			if len(f.without) > 0 {
				words = slices.Insert(words, 1, "--"+withoutLines+"="+strings.Join(f.without, ","))
			}
			return there.session().Detach(c.Context(), words, js)
		}
		f.again = &m
		return there.start(c.Context(), string(m.Agent), extra, f, js)
	}
	return c
}

// resumeWords wants one identity at most; the rest must stand behind --.
func resumeWords(c *cobra.Command, args []string) error {
	if dash := c.ArgsLenAtDash(); len(args) > 1 && dash != 1 && dash != 0 {
		return ui.Usage(fmt.Errorf("resume does not take %q", args[1]), "what is for the agent goes behind --: bottle resume "+args[0]+" -- "+args[1])
	}
	return nil
}

// resumed finds the bottle that word means, and gives this program as if it stood in that
// one's folder: the repository there ships agents, and no other.
func (d *deps) resumed(word string, more bool) (m store.Metadata, there *deps, err error) {
	st, err := d.state()
	if err != nil {
		return m, nil, err
	}
	if word == "" {
		return m, nil, d.listing().Resumable(st)
	}
	id, err := st.Match(word)
	if err != nil {
		return m, nil, ui.Fail(err, "bottle resume")
	}
	if st.Live(id) {
		return m, nil, ui.Fail(fmt.Errorf("the bottle %s is running", id), "bottle attach "+string(id)+", or first: bottle stop "+string(id))
	}
	if m, err = st.Load(id); err != nil {
		return m, nil, ui.Fail(fmt.Errorf("what it was is not known any more: %w", err), "bottle start "+string(id.Agent()))
	}
	if fi, err := os.Stat(m.Workspace); err != nil || !fi.IsDir() {
		return m, nil, ui.Fail(fmt.Errorf("the folder of %s is not there any more: %s", id, d.tilde(m.Workspace)), "bottle changes "+string(id)+" shows what the agent changed")
	}
	in := *d
	in.Getwd = func() (string, error) { return m.Workspace, nil }
	return m, &in, nil
}

// same refuses a resume that would be of something else than was started: an agent of the
// same name that comes from elsewhere, or a backend that the bottle no longer has.
func (d *deps) same(a bottle.Agent, s bottle.Spec, f startFlags) error {
	m := f.again
	start := "bottle start " + string(a.Name)
	switch {
	case a.InRepo && !m.InRepo:
		return ui.Fail(fmt.Errorf("the agent %s is the repository's own now (%s), and was your own when %s was started", a.Name, d.tilde(a.File), m.Identity), start+", in "+d.tilde(m.Workspace))
	case !a.InRepo && m.InRepo:
		return ui.Fail(fmt.Errorf("the agent %s was the repository's own when %s was started, and is yours now (%s)", a.Name, m.Identity, d.tilde(a.File)), start+", in "+d.tilde(m.Workspace))
	}
	want := cmp.Or(f.backend, s.Backend)
	if f.backend == "" && m.Chosen {
		want = m.Backend
	}
	if want == "" {
		b, err := d.backend("")
		if err != nil {
			return err
		}
		want = b.Kind()
	}
	if want != m.Backend {
		return ui.Fail(fmt.Errorf("what %s left is of the backend %s, and it would start with %s now", m.Identity, m.Backend, want),
			"bottle resume "+string(m.Identity)+" --backend "+m.Backend+", or "+start)
	}
	return nil
}
