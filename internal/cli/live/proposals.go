package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/cli/wish"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Commands are all that speak with a running bottle.
func (d Desk) Commands() []*cobra.Command {
	return []*cobra.Command{d.Approve(), d.Approvals(), d.Reject(), d.Proposals(), d.Grants(), d.Revoke(), d.Metrics(), d.Reload(), d.Dashboard()}
}

// proposed is a proposal, and whose.
type proposed struct {
	Identity bottle.Identity `json:"identity"`
	plan.Proposal
}

// gate is a running bottle's gateway.
type gate struct {
	meta   store.Metadata
	socket string
}

// Proposals is the command `bottle proposals`.
func (d Desk) Proposals() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "proposals [IDENTITY|PROPOSAL]",
		GroupID: d.Group,
		Short:   "List what agents ask for, and what it would open",
		Long: "List the proposals that wait for you: what an agent of a running bottle asks for, why it says it needs\n" +
			"that, and what would newly be let through. With one proposal, show all of it, with the difference that\n" +
			"it makes to the routes in force. With --all those that are decided are listed, too. The proposals of a\n" +
			"bottle that has ended can be read and no longer be decided.",
		Example: "  bottle proposals\n" +
			"  bottle proposals researcher --all\n" +
			"  bottle proposals p4k7m2x\n" +
			"  bottle proposals --format json",
		Args: command.Words(0, 1), ValidArgsFunction: d.completeProposal,
	}
	c.Flags().BoolVar(&all, "all", false, "those that are decided, too")
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		word := strings.Join(args, "")
		if bottle.IsProposalID(word) {
			g, p, err := d.locate(c.Context(), "", word)
			if err != nil {
				return err
			}
			if js {
				return ui.JSON(d.Out, proposed{g.meta.Identity, p})
			}
			wish.Show(d.Out, d.Style(d.Out), ui.Width(d.Out, d.Terminal(d.Out)), g.meta.Identity, p)
			return nil
		}
		list, err := d.proposals(c.Context(), word, all)
		if err != nil {
			return err
		}
		return d.listProposals(list, js)
	}
	return c
}

// gates are the running bottle that word means, or all of them.
func (d Desk) gates(word string) ([]gate, error) {
	if word != "" {
		meta, socket, err := d.find(word)
		return []gate{{meta, socket}}, err
	}
	s, err := d.Store()
	if err != nil {
		return nil, err
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var out []gate
	for _, e := range list {
		if meta, socket, err := d.find(string(e.Metadata.Identity)); e.Live && err == nil { // one that ends at this moment asks for nothing
			out = append(out, gate{meta, socket})
		}
	}
	return out, nil
}

// proposals are those of one bottle or of all that run.
func (d Desk) proposals(ctx context.Context, word string, all bool) ([]proposed, error) {
	out := []proposed{}
	if id, ok := d.ended(word); ok {
		s, err := d.Store()
		if err != nil {
			return nil, err
		}
		list, err := store.ReadQueue(s.Layout(id).Asked)
		for _, a := range list {
			if !a.Settled() { // nobody can decide it any more
				a.Status = bottle.ProposalExpired
			}
			out = append(out, proposed{id, plan.Proposal{Asked: a}})
		}
		return out, err
	}
	gates, err := d.gates(word)
	if err != nil {
		return nil, err
	}
	for _, g := range gates {
		var got plan.Proposals
		if err := ask(ctx, g.socket, plan.Control{Op: plan.OpProposals}, &got); err != nil {
			if word != "" {
				return nil, err
			}
			fmt.Fprintln(d.Err, d.Style(d.Err)(plan.Warn, fmt.Sprintf("%s does not tell: %s", g.meta.Identity, bottle.Said(err.Error()))))
			continue
		}
		for _, p := range got.List {
			if all || !p.Settled() {
				out = append(out, proposed{g.meta.Identity, p})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b proposed) int { return a.Created.Compare(b.Created) })
	return out, nil
}

// ended is the identity of a bottle that word means and that no longer runs.
func (d Desk) ended(word string) (bottle.Identity, bool) {
	s, err := d.Store()
	if err != nil || word == "" {
		return "", false
	}
	id, err := s.Match(word)
	return id, err == nil && !s.Live(id)
}

func (d Desk) listProposals(list []proposed, js bool) error {
	switch {
	case js:
		return ui.JSON(d.Out, struct {
			Proposals []proposed `json:"proposals"`
		}{list})
	case len(list) == 0:
		fmt.Fprintln(d.Out, "no proposal waits")
		return nil
	}
	width, names := ui.Width(d.Out, d.Terminal(d.Out)), 0
	for _, p := range list {
		names = max(names, len(p.Identity))
	}
	var rows [][]ui.Cell
	for _, p := range list {
		state := "waits"
		if p.Settled() {
			state = string(p.Status)
		}
		what := ui.Broken(wish.Summary(p.Proposal), width-names-len("proposal  modified    "))
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, p.ID), ui.As(plan.Plain, state), ui.As(plan.Plain, string(p.Identity)), ui.As(plan.Plain, what)})
	}
	ui.Fold(d.Out, d.Style(d.Out), width, []string{"proposal", "state", "bottle", "what"}, rows)
	return nil
}

// locate finds a proposal by its id: in the bottle that word means, or in any that runs.
func (d Desk) locate(ctx context.Context, word, id string) (gate, plan.Proposal, error) {
	gates, err := d.gates(word)
	if err != nil {
		return gate{}, plan.Proposal{}, err
	}
	var at gate
	var found []plan.Proposal
	for _, g := range gates {
		var got plan.Proposals
		if failed := ask(ctx, g.socket, plan.Control{Op: plan.OpProposals, Proposal: id}, &got); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		for _, p := range got.List {
			if p.ID == id {
				at, found = g, append(found, p)
			}
		}
	}
	switch {
	case len(found) == 1:
		return at, found[0], nil
	case len(found) > 1:
		return gate{}, plan.Proposal{}, ui.Usage(fmt.Errorf("%d bottles have a proposal %s", len(found), id), "say which bottle, in front of it")
	case word != "" && err != nil:
		return gate{}, plan.Proposal{}, err
	}
	return gate{}, plan.Proposal{}, ui.Fail(fmt.Errorf("no running bottle has the proposal %s", id), "bottle proposals --all lists them; of a bottle that has ended: bottle proposals IDENTITY --all")
}

// term is how long a proposal, or a value, is let pass.
type term struct {
	set     bool
	session bool
	always  bool // and written into the manifest
	last    time.Duration
}

// Set implements pflag.Value.
func (t *term) Set(s string) (err error) {
	t.set, t.session, t.always, t.last = true, s == "session" || s == "always", s == "always", 0
	if !t.session {
		t.last, err = time.ParseDuration(s)
	}
	return err
}

// String implements pflag.Value.
func (t *term) String() string {
	switch {
	case t.always:
		return "always"
	case t.session:
		return "session"
	case t.last > 0:
		return t.last.String()
	}
	return ""
}

// Type implements pflag.Value.
func (t *term) Type() string { return "duration" }

// completeProposal completes the running bottles, and the proposals that wait.
func (d Desk) completeProposal(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	var out []string
	word := ""
	if len(args) == 0 {
		out, _ = d.running(c, args, typed)
	} else if word = args[0]; bottle.IsProposalID(word) || len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _ := d.proposals(c.Context(), word, false) // unreadable completes to nothing
	for _, p := range list {
		out = append(out, cobra.CompletionWithDesc(p.ID, bottle.Said(cmp.Or(p.Says, p.Proposal.About()))))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
