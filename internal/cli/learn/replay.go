package learn

import (
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/policy/learn"
)

// Replay is the command `bottle replay`.
func (d Desk) Replay() *cobra.Command {
	var other string
	c := &cobra.Command{
		Use:     "replay IDENTITY",
		GroupID: d.Group,
		Short:   "Decide a recorded session again, under another manifest",
		Long: "Decide each request, connection and name in a session's decision log again, under the bottle's manifest as\n" +
			"it is now, or under another one, and list what would change. Only the routes are decided again: what a\n" +
			"scan, a limit or the network would say is not known. Nothing is sent. Exit code 1 when something that\n" +
			"was let through would be denied, 0 when nothing would, 125 when this cannot be told.",
		Example: "  bottle replay researcher                      what did my last edit change?\n" +
			"  bottle replay researcher --bottle new.md      before it is put in place\n" +
			"  bottle replay researcher --bottle strict --format json | jq .newly_denied",
		Args: command.Words(1, 1), ValidArgsFunction: d.Names,
	}
	c.Flags().StringVar(&other, "bottle", "", "a manifest's `FILE`, or the name of another bottle (default: the session's own, as it is now)")
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		s, err := d.session(args[0])
		if err != nil {
			return err
		}
		spec, pol, err := d.spec(s, other)
		if err != nil {
			return err
		}
		again := learn.NewReplay(pol)
		broken, err := d.read(ctx, s, again.Add)
		if err != nil {
			return err
		}
		out := replayed{Identity: s.id, Bottle: spec.Name, Manifest: spec.Files[len(spec.Files)-1], Policy: pol.Hash(), Broken: broken, Outcome: again.Outcome()}
		if js {
			err = ui.JSON(d.Out, out)
		} else {
			d.showReplay(out)
		}
		switch {
		case err != nil:
		case out.Denied > 0:
			err = ui.Exit(ui.CodeNo)
		case broken > 0: // what cannot be read may be what would be denied
			err = ui.Fail(errors.New("not all of the log could be read"), "bottle audit "+string(s.id)+" --verify")
		}
		return err
	}
	return c
}

// replayed is what another policy would change, for machines.
type replayed struct {
	Identity bottle.Identity `json:"identity"`
	Bottle   bottle.Name     `json:"bottle"`
	Manifest string          `json:"manifest"`
	Policy   string          `json:"policy"` // hash of the policy that decided now
	Broken   int             `json:"unreadable_lines"`
	learn.Outcome
}

// mostChanges of one kind are shown; json has them all.
const mostChanges = 40

func (d Desk) showReplay(out replayed) {
	style, width := d.Style(d.Out), ui.Width(d.Out, d.Terminal(d.Out))
	fmt.Fprintln(d.Out, ui.Hang(fmt.Sprintf("%s under %s: %s, %d newly denied, %d newly allowed, %d with another credential", out.Identity, bottle.Said(out.Manifest),
		ui.Plural(int(out.Records), "record"), out.Denied, out.Allowed, out.Treated), width, 4))
	list := func(title string, role plan.Role, changes []learn.Changed) {
		if len(changes) > 0 {
			fmt.Fprintln(d.Out, style(plan.Label, title))
		}
		for i, c := range changes {
			if i == mostChanges {
				fmt.Fprintf(d.Out, "  and %d more; --format json has them\n", len(changes)-i)
				break
			}
			what := strings.Join(strings.Fields(fmt.Sprintf("%6d× %s %s %s%s", c.Count, c.Kind, c.Method, at(c.Host, c.Port), short(c.Path))), " ")
			why := fmt.Sprintf("%s before, now %s %s", c.Was, c.Now, c.Rule)
			if c.From != c.To {
				why = fmt.Sprintf("with %s before, now with %s %s", none(c.From), none(c.To), c.Rule)
			}
			fmt.Fprintln(d.Out, style(role, ui.Hang("  "+bottle.Said(what+"  ("+strings.TrimSpace(why)+")"), width, 6)))
		}
	}
	list("newly denied", plan.Shout, out.NotAllow)
	list("newly allowed", plan.Warn, out.Allow)
	list("with another credential", plan.Warn, out.Treat)
	if out.LeftOut > 0 {
		fmt.Fprintf(d.Out, "and %d of too many different ones\n", out.LeftOut)
	}
	if out.Unknown > 0 {
		fmt.Fprintln(d.Out, style(plan.Faint, fmt.Sprintf("%d could not be decided again: no route decides on them, or the record holds only a part", out.Unknown)))
	}
}

func none(credential string) string {
	if credential == "" {
		return "none"
	}
	return credential
}
