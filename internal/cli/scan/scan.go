// Package scan is the command that looks for secrets in files as the gateway looks for
// them in what leaves a bottle, and says where they stand.
package scan

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/dlp/inbound"
	"bottle/internal/plan"
)

// Deps is what the command touches.
type Deps struct {
	Group    string // of the command, in the help
	In       io.Reader
	Out, Err io.Writer
	Style    func(io.Writer) plan.Style
	Terminal func(stream any) bool
}

// options are the flags.
type options struct {
	format string
	rules  []string
	list   bool
	base   string
	accept bool
	inward bool
}

// New is the command `bottle scan`.
func New(d Deps) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:     "scan [FILE|FOLDER|-]...",
		GroupID: d.Group,
		Short:   "Look for secrets in files, as the gateway does in what leaves a bottle",
		Long: "Look for secrets in files, in folders with all below them, or in standard input (-), with the rules,\n" +
			"decoders and limits by which the gateway looks at what leaves a bottle. Values that only a gateway\n" +
			"knows, such as the credentials that it adds, are not looked for. Links are not followed, unless you\n" +
			"name one; .git/objects is left out. Without a name, standard input is looked at, unless it is a terminal.\n" +
			"A pipe that nobody writes into within 10 seconds counts as not read.\n\n" +
			"A line for each finding: file:line:column, the rule, what it was encoded in (the outermost first), its\n" +
			"length, and a fingerprint; never the secret itself. Equal secrets have equal fingerprints within one run;\n" +
			"the key of those is random and gone with it.\n\n" +
			"A baseline lists findings that you accept, by file, rule and 16 bits of a slow hash: it can be committed,\n" +
			"and does not hold the secrets. It is no reason to keep them: what is committed is known.\n\n" +
			"With --inbound it is not secrets that are looked for, but what a gateway looks for in answers where a route\n" +
			"says inbound: text that nobody sees, control sequences of terminals, phrases that give an agent orders.\n\n" +
			"Exit code: 0 nothing found (that the baseline does not accept), 1 something found, 2 a mistake on the command line,\n" +
			"125 nothing found but not everything could be read.",
		Example: "  bottle scan .                                   this folder\n" +
			"  bottle scan . --baseline .bottle-scan.json --write-baseline   accept what is there now,\n" +
			"  bottle scan . --baseline .bottle-scan.json                    and tell only what is new\n" +
			"  git diff --cached | bottle scan -               what is about to be committed\n" +
			"  bottle scan --rule private-key,github-pat ~/project\n" +
			"  bottle scan . --format sarif > scan.sarif       for code scanning\n" +
			"  bottle scan --inbound README.md                 hidden text, terminal escapes, orders to an agent\n" +
			"  curl -s https://example.com | bottle scan --inbound -\n" +
			"  bottle scan --list-rules",
	}
	c.Flags().BoolVar(&o.list, "list-rules", false, "list what is looked for, and where each rule comes from")
	c.Flags().StringSliceVar(&o.rules, "rule", nil, "tell findings of these rules only (ids, joined by commas; may be repeated)")
	c.Flags().BoolVar(&o.inward, "inbound", false, "look for what works on an agent or a terminal, as the gateway does in answers where a route says inbound")
	c.Flags().StringVar(&o.base, "baseline", "", "a file of findings that are accepted")
	c.Flags().BoolVar(&o.accept, "write-baseline", false, "write all that is found into that file, in the place of what it lists of the files looked at")
	formats := []string{"text", "json", "sarif"}
	c.Flags().StringVar(&o.format, "format", "text", "text for people, json for machines, sarif (2.1.0) for code scanning")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	_ = c.RegisterFlagCompletionFunc("rule", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		rules, err := o.kinds()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return rules.ids(), cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := o.check(args, formats); err != nil {
			return err
		}
		if !o.list && len(args) == 0 && d.Terminal(d.In) {
			return ui.Usage(errors.New("scan needs something to look at"), "bottle scan .")
		}
		return d.run(o, args)
	}
	return c
}

// check refuses flags that contradict each other.
func (o options) check(args, formats []string) error {
	switch {
	case !slices.Contains(formats, o.format):
		return ui.Usage(fmt.Errorf("there is no format %q", o.format), "use --format text, json or sarif")
	case o.accept && o.base == "":
		return ui.Usage(errors.New("--write-baseline needs a file"), "bottle scan . --baseline .bottle-scan.json --write-baseline")
	case o.accept && len(o.rules) > 0:
		return ui.Usage(errors.New("a baseline is of all rules: --rule would drop what the others find"), "leave --rule out")
	case o.inward && o.base != "":
		return ui.Usage(errors.New("a baseline is of secrets, and --inbound looks for none"), "leave --baseline out")
	case o.list && (o.base != "" || len(args) > 0 || len(o.rules) > 0 || o.format == "sarif"):
		return ui.Usage(errors.New("--list-rules looks at no file"), "bottle scan --list-rules, with --format json for machines")
	}
	return nil
}

func (d Deps) run(o options, names []string) error {
	rules, err := o.kinds()
	if err != nil {
		return err
	}
	if o.list {
		if o.format == "json" {
			return ui.JSON(d.Out, rules)
		}
		rules.print(d.Out, d.Style(d.Out), ui.Width(d.Out, d.Terminal(d.Out)))
		return nil
	}
	only := map[string]bool{}
	for _, id := range o.rules {
		id = strings.ToLower(strings.TrimSpace(id))
		if _, ok := rules.find(id); !ok {
			hint := "bottle scan --list-rules"
			if n := ui.Near(id, rules.ids()); n != "" {
				hint = "did you mean " + n + "? All: " + hint
			}
			if _, ok := inboundKinds().find(id); ok { // so it was not asked for
				hint = "that is one of what comes in: bottle scan --inbound --rule " + id
			}
			return ui.Usage(fmt.Errorf("there is no rule %q", id), hint)
		}
		only[id] = true
	}
	w := Walk{Stdin: d.In, Workers: runtime.GOMAXPROCS(0)}
	base, err := o.look(&w)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{Stdin}
	}
	t := &teller{
		out: d.Out, err: d.Err, style: d.Style(d.Out), warn: ui.Warn(d.Err, d.Style(d.Err)), keep: o.format != "text",
		width: ui.Width(d.Out, d.Terminal(d.Out)), screen: d.Terminal(d.Err), rules: rules, only: only, base: base, accept: o.accept, now: time.Now, began: time.Now(),
	}
	t.report.Findings = []finding{}
	w.Tell, w.Tick = t.tell, t.progress
	w.Run(names)
	return t.end(o.format)
}

// kinds is the catalogue of what is looked for.
func (o options) kinds() (catalogue, error) {
	if o.inward {
		return inboundKinds(), nil
	}
	return kinds()
}

// look makes what looks into files, and reads or begins the baseline that is named.
func (o options) look(w *Walk) (base *baseline, err error) {
	switch {
	case o.inward:
		w.Inbound, err = inbound.New()
	case o.base == "":
		w.Engine, err = Engine()
	case o.accept:
		base, err = newBaseline(o.base)
	default:
		base, err = readBaseline(o.base)
	}
	if err == nil && base != nil {
		w.Engine, err = engineOf(base.key())
	}
	return base, err
}

// end prints what is printed last, and gives the exit code.
func (t *teller) end(format string) error {
	var err error
	switch {
	case t.accept:
		err = t.base.write()
	case t.base != nil && len(t.only) == 0:
		t.report.Gone = t.base.gone()
	}
	if err != nil {
		return err
	}
	switch format {
	case "json":
		err = ui.JSON(t.out, t.report)
	case "sarif":
		err = ui.JSON(t.out, sarif(t.report))
	}
	t.sum()
	switch {
	case err != nil:
		return err
	case t.report.found > 0:
		return ui.Exit(ui.CodeNo)
	case len(t.report.Unread) > 0 && len(t.report.Unread) == t.report.Files && format == "text" && t.denied != "":
		return ui.Fail(errors.New("nothing could be read"), "ls -ld "+bottle.Printable(t.denied)+" shows who may read it")
	case len(t.report.Unread) > 0 && len(t.report.Unread) == t.report.Files && format == "text":
		return ui.Fail(errors.New("nothing could be read"), "name a file or a folder that is there: bottle scan .")
	case len(t.report.Unread) > 0:
		return ui.Exit(ui.CodeFailed)
	}
	return nil
}
