package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/bring"
	"bottle/internal/cli/command"
	"bottle/internal/cli/rewrite"
	"bottle/internal/cli/ui"
	"bottle/internal/cli/wish"
	"bottle/internal/plan"
	"bottle/internal/plan/sight"
	"bottle/internal/store"
)

// answer is what an operator says to a proposal.
type answer struct {
	word, id string // of the bottle, which may be empty, and of the proposal
	last     term
	note     string
	yes      bool
	part     bool // of a push: also where only the first of it is shown

	// What is given instead of what was asked for; nil: as it was asked.
	methods, paths []string
	ports          []uint
}

// maxAbove is how many lines of a difference may stand above the question; more scroll the rest away.
const maxAbove = 12

// decided is what a decision came to, for machines.
type decided struct {
	Identity bottle.Identity `json:"identity"`
	plan.Decided
}

// proposalIn gives the bottle and the proposal that the words after a command mean.
func proposalIn(args []string) (word, id string, ok bool) {
	switch {
	case len(args) == 1 && bottle.IsProposalID(args[0]):
		return "", args[0], true
	case len(args) == 2 && bottle.IsProposalID(args[1]):
		return args[0], args[1], true
	}
	return "", "", false
}

// approveProposal lets what was asked for, or less, be done.
func (d Desk) approveProposal(ctx context.Context, a answer, js bool) error {
	if a.last.set && !a.last.session && (a.last.last < time.Second || a.last.last > 30*24*time.Hour) {
		return ui.Usage(fmt.Errorf("--for %s is not from 1s to 720h", a.last.last), "leave it out, or write session: as long as the bottle")
	}
	g, p, err := d.locate(ctx, a.word, a.id)
	if err != nil {
		return err
	}
	req := plan.Control{Op: plan.OpDecide, Proposal: a.id, Verdict: "approve", Seconds: int(a.last.last / time.Second), Note: a.note, By: operator(), NotWhole: a.part}
	switch {
	case a.methods != nil || a.paths != nil || a.ports != nil:
		if p.Route == nil {
			return ui.Usage(errors.New("only requests can be given in part: this asks for something else"), "bottle proposals "+a.id)
		}
		req.Verdict, req.Route = "modify", a.instead(*p.Route)
		if p, req.Seen, err = weigh(ctx, g.socket, p, req); err != nil {
			return err
		}
	case !p.Whole() && !p.Settled() && !a.part:
		return ui.Usage(errors.New("what this push changes is longer than what can be shown of it: nobody here has seen the rest"),
			"bottle reject "+a.id+" --reason \"push it in smaller parts\"; or, to approve what you see only the first of: bottle approve "+a.id+" --not-whole")
	case !a.yes: // who says yes beforehand takes what there is
		req.Seen = sight.Of(p.Proposal, p.Says, p.Diff)
	}
	var lasting *rewrite.Change
	if a.last.always {
		if lasting, err = d.lasting(g.meta, p, req.Route); err != nil {
			return err
		}
	}
	if !js || !a.yes {
		d.showWish(g.meta.Identity, p, req.Route, lasting)
	}
	question, brought, err := d.question(ctx, g.meta.Identity, a, p, js && a.yes)
	if err != nil || question == "" {
		return d.unchanged(err)
	}
	if brought != nil {
		defer brought.Close()
		req.Bill, req.Stage = &brought.Bill, brought.Stage
	}
	if ok, err := d.Confirm(question, a.yes || p.Settled() && lasting == nil); err != nil || !ok { // one that is settled: the gateway says by whom
		return d.unchanged(err)
	}
	if !a.last.always || !p.Settled() {
		if err := d.decide(ctx, g, req, js); err != nil {
			return err
		}
	}
	if lasting == nil {
		return nil
	}
	if err := lasting.Write(); err != nil {
		return ui.Fail(fmt.Errorf("it holds as long as the bottle, and the manifest was not written: %w", err), "bottle approve "+a.id+" --for always")
	}
	fmt.Fprintf(d.Err, "written: %s\n", bottle.Printable(lasting.Path))
	return nil
}

// question is what the operator is asked at last; empty: he said no before. What packages
// bring is fetched for it, and shown unless quiet.
func (d Desk) question(ctx context.Context, id bottle.Identity, a answer, p plan.Proposal, quiet bool) (string, *bring.Brought, error) {
	if p.Capability == nil || p.Settled() {
		question, err := wish.Question(p, a.long(), a.last.last > 0)
		return question, nil, err
	}
	brought, err := d.Bring(ctx, id, p, a.yes, quiet)
	if err != nil || brought == nil {
		return "", nil, err
	}
	return "Put it into the bottle, " + a.long() + "?", brought, nil
}

// weigh asks a gateway what an approval of p would come to, which changes nothing. It gives p
// as it would be given, and what tells this sight of it from another.
func weigh(ctx context.Context, socket string, p plan.Proposal, req plan.Control) (plan.Proposal, string, error) {
	var out plan.Decided
	req.Check = true
	if err := ask(ctx, socket, req, &out); err != nil {
		return p, "", err
	}
	if out.ID != p.ID || out.Settled() {
		return p, "", errors.New("the gateway did not say what it would come to")
	}
	if p.Route != nil { // of all else the whole says more
		p.Says, p.Diff, p.Given = out.Says, out.Diff, out.Given
	}
	return p, sight.Of(p.Proposal, p.Says, p.Diff), nil
}

// showWish shows all that an approval means: what was asked for, or what is given instead, and
// the lines for the manifest.
func (d Desk) showWish(id bottle.Identity, p plan.Proposal, instead *bottle.Route, lasting *rewrite.Change) {
	style := d.Style(d.Out)
	wish.Show(d.Out, style, ui.Width(d.Out, d.Terminal(d.Out)), id, p)
	if instead != nil {
		fmt.Fprintf(d.Out, "given instead: %s\n", style(plan.Strong, bottle.Said(fmt.Sprintf("methods %v, paths %v, ports %v", instead.Methods, instead.Paths, instead.Ports))))
	}
	if lasting != nil {
		d.showLasting(lasting)
	}
	if n := strings.Count(p.Diff, "\n"); n > maxAbove || p.Push != nil && strings.Count(p.Push.Diff, "\n")+n > maxAbove {
		fmt.Fprintf(d.Out, "%s of %s, once more: %s\n", p.ID, id, style(plan.Strong, bottle.Said(cmp.Or(p.Says, p.About()))))
	}
}

// lasting is what is to be written into the manifest. Of a proposal that is approved
// already only that is left to do: whoever was killed before it may say it again.
func (d Desk) lasting(meta store.Metadata, p plan.Proposal, instead *bottle.Route) (*rewrite.Change, error) {
	r := p.Route
	switch {
	case r == nil:
		return nil, ui.Usage(errors.New("--for always goes with requests to a host: this asks for something else"), "bottle approve "+p.ID)
	case p.Settled() && !p.Lease.Holds(time.Now()):
		return nil, ui.Fail(fmt.Errorf("%s is %s, and nothing of it is in force", p.ID, p.Status), "bottle edit bottles/"+string(meta.Bottle))
	case p.Given != nil:
		r = p.Given
	case instead != nil:
		r = instead
	}
	return d.foresee(meta, *r)
}

// long is how long it is given for, in words.
func (a answer) long() string {
	if a.last.last > 0 {
		return "for " + ui.Lasting(a.last.last)
	}
	if a.last.always {
		return "for this bottle and all that are started after it"
	}
	return "for as long as the bottle runs"
}

// instead is what was asked for, with what the operator said in its place.
func (a answer) instead(r bottle.Route) *bottle.Route {
	if a.methods != nil {
		r.Methods = nil
		for _, m := range a.methods {
			r.Methods = append(r.Methods, strings.ToUpper(m))
		}
	}
	if a.paths != nil {
		r.Paths = a.paths
	}
	if a.ports != nil {
		r.Ports = nil
		for _, p := range a.ports {
			r.Ports = append(r.Ports, uint16(min(p, 1<<16-1)))
		}
	}
	return &r
}

func (d Desk) decide(ctx context.Context, g gate, req plan.Control, js bool) error {
	var out plan.Decided
	if err := ask(ctx, g.socket, req, &out); err != nil {
		return err
	}
	if out.ID != req.Proposal || !out.Settled() {
		return ui.Fail(errors.New("the gateway did not take it"), "bottle proposals "+req.Proposal)
	}
	if js {
		return ui.JSON(d.Out, decided{g.meta.Identity, out})
	}
	if out.Lease == nil {
		fmt.Fprintf(d.Out, "%s %s\n", out.Status, out.ID)
		return nil
	}
	said := fmt.Sprintf("%s %s, %s: %s", out.Status, out.ID, wish.Lasts(g.meta.Identity, out.Asked), bottle.Said(out.Says))
	fmt.Fprintln(d.Out, ui.Block(said, ui.Width(d.Out, d.Terminal(d.Out)), "  "))
	fmt.Fprintf(d.Err, "%s\n", d.Style(d.Err)(plan.Faint, "to take it back: bottle revoke "+string(g.meta.Identity)+" "+out.Lease.ID))
	if out.Cut > 0 {
		fmt.Fprintf(d.Err, "cut: %s that it no longer allows\n", ui.Plural(out.Cut, "open stream"))
	}
	return nil
}

// Reject is the command `bottle reject`.
func (d Desk) Reject() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "reject [IDENTITY] PROPOSAL",
		GroupID: d.Group,
		Short:   "Turn down what an agent asks for",
		Long: "Turn down a proposal. The agent reads the reason, so write what it should do instead. For ten minutes\n" +
			"the same ask is answered so without you. It is in the decision log.",
		Example: "  bottle proposals\n" +
			"  bottle reject p4k7m2x --reason \"use the mirror at npm.example.com\"\n" +
			"  bottle reject researcher-m3hxd p4k7m2x",
		Args: command.Words(1, 2), ValidArgsFunction: d.completeProposal,
	}
	c.Flags().StringVar(&reason, "reason", "", "what the agent is told")
	_ = c.RegisterFlagCompletionFunc("reason", cobra.NoFileCompletions)
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		word, id, ok := proposalIn(args)
		if !ok {
			return ui.Usage(fmt.Errorf("%q is no proposal: it looks like p4k7m2x", bottle.Printable(args[len(args)-1])), "bottle proposals lists them")
		}
		g, _, err := d.locate(c.Context(), word, id)
		if err != nil {
			return err
		}
		return d.decide(c.Context(), g, plan.Control{Op: plan.OpDecide, Proposal: id, Verdict: "reject", Note: reason, By: operator()}, js)
	}
	return c
}
