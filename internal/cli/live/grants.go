package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/cli/wish"
	"bottle/internal/plan"
)

// granted is what a proposal became.
type granted struct {
	bottle.Grant
	Holds bool   `json:"holds"`
	What  string `json:"what"`
}

// Grants is the command `bottle grants`.
func (d Desk) Grants() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "grants IDENTITY",
		GroupID: d.Group,
		Short:   "List what a running bottle was given by approved proposals",
		Long: "List what was approved in a running bottle and holds: until when, what it lets through, who gave it and\n" +
			"why. With --all what has ended is listed, too. What ended: its time, its one use, or somebody's word.",
		Example: "  bottle grants researcher\n" +
			"  bottle grants researcher-m3hxd --all\n" +
			"  bottle grants researcher --format json",
		Args: command.Words(1, 1), ValidArgsFunction: d.running,
	}
	c.Flags().BoolVar(&all, "all", false, "what has ended, too")
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		meta, socket, err := d.find(args[0])
		if err != nil {
			return err
		}
		list, err := d.granted(c.Context(), socket, all)
		if err != nil {
			return err
		}
		return d.listGrants(meta.Identity, list, js)
	}
	return c
}

// granted are the grants of a running bottle, and what each is about.
func (d Desk) granted(ctx context.Context, socket string, all bool) ([]granted, error) {
	var got plan.Grants
	if err := ask(ctx, socket, plan.Control{Op: plan.OpGrants}, &got); err != nil {
		return nil, err
	}
	var proposals plan.Proposals
	if err := ask(ctx, socket, plan.Control{Op: plan.OpProposals}, &proposals); err != nil {
		return nil, err
	}
	what := map[string]string{}
	for _, p := range proposals.List {
		what[p.ID] = bottle.Said(wish.Given(p))
	}
	out := []granted{}
	for _, g := range got.List {
		if one := (granted{g, g.Holds(time.Now()), what[g.Proposal]}); all || one.Holds {
			out = append(out, one)
		}
	}
	return out, nil
}

func (d Desk) listGrants(id bottle.Identity, list []granted, js bool) error {
	switch {
	case js:
		return ui.JSON(d.Out, struct {
			Identity bottle.Identity `json:"identity"`
			Grants   []granted       `json:"grants"`
		}{id, list})
	case len(list) == 0:
		fmt.Fprintf(d.Out, "nothing is granted: %s has what its manifest says\n", id)
		return nil
	}
	var rows [][]ui.Cell
	for _, g := range list {
		until := "with the bottle"
		switch {
		case !g.Holds && !g.Ended.IsZero():
			until = "ended " + ui.Clock(g.Ended)
		case !g.Holds:
			until = "ended " + ui.Clock(g.Until)
		case !g.Until.IsZero():
			until = ui.Clock(g.Until)
		}
		what := cmp.Or(g.What, "not known") + ", " + g.Proposal + ", given at " + ui.Clock(g.Since)
		if g.By != "" {
			what += " by " + bottle.Said(g.By)
		}
		if g.Reason != "" {
			what += ": " + bottle.Said(g.Reason)
		}
		if g.EndedBy != "" {
			what += "; " + bottle.Said(g.EndedBy)
		}
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, g.ID), ui.As(plan.Plain, until), ui.As(plan.Plain, what)})
	}
	ui.Fold(d.Out, d.Style(d.Out), ui.Width(d.Out, d.Terminal(d.Out)), []string{"grant", "until", "what"}, rows)
	return nil
}

// Revoke is the command `bottle revoke`.
func (d Desk) Revoke() *cobra.Command {
	c := &cobra.Command{
		Use:     "revoke [IDENTITY] GRANT",
		GroupID: d.Group,
		Short:   "Take back what an approved proposal gave",
		Long: "Take a grant back. What it let through is refused from then on, and a tunnel or WebSocket that was\n" +
			"opened under it is cut. It is in the decision log. What bottle approve let pass by a fingerprint is\n" +
			"taken back by bottle approvals --revoke.",
		Example: "  bottle grants researcher\n" +
			"  bottle revoke researcher g4k7m2x\n" +
			"  bottle revoke g4k7m2x --format json",
		Args: command.Words(1, 2), ValidArgsFunction: d.completeGrant,
	}
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		id, word := args[len(args)-1], ""
		if len(args) == 2 {
			word = args[0]
		}
		if !bottle.IsGrantID(id) {
			return ui.Usage(fmt.Errorf("%q is no grant: it looks like g4k7m2x", bottle.Printable(id)), "bottle grants IDENTITY lists them")
		}
		return d.revokeGrant(c.Context(), word, id, js)
	}
	return c
}

func (d Desk) revokeGrant(ctx context.Context, word, id string, js bool) error {
	gates, err := d.gates(word)
	if err != nil {
		return err
	}
	for _, g := range gates {
		if word == "" { // whose it is
			var got plan.Grants
			if ask(ctx, g.socket, plan.Control{Op: plan.OpGrants}, &got) != nil || !has(got.List, id) {
				continue
			}
		}
		var out plan.Revoked
		if err := ask(ctx, g.socket, plan.Control{Op: plan.OpRevoke, Grant: id, By: operator()}, &out); err != nil {
			return err
		}
		if out.Grant.ID != id {
			return ui.Fail(errors.New("the gateway did not take it"), "bottle grants "+string(g.meta.Identity))
		}
		if js {
			return ui.JSON(d.Out, struct {
				Identity bottle.Identity `json:"identity"`
				plan.Revoked
			}{g.meta.Identity, out})
		}
		fmt.Fprintf(d.Out, "revoked %s\n", id)
		if out.Cut > 0 {
			fmt.Fprintf(d.Err, "cut: %s that it no longer allows\n", ui.Plural(out.Cut, "open stream"))
		}
		if !out.Recorded {
			fmt.Fprintln(d.Err, d.Style(d.Err)(plan.Warn, "it no longer holds; the disk or the decision log takes nothing, so they do not say so"))
		}
		return nil
	}
	return ui.Fail(fmt.Errorf("no running bottle has the grant %s", id), "bottle grants IDENTITY lists them; to leave out the lines of the image of one that has ended: bottle resume IDENTITY --without-image-changes")
}

func has(list []bottle.Grant, id string) bool {
	for _, g := range list {
		if g.ID == id {
			return true
		}
	}
	return false
}

// completeGrant completes the running bottles, and then the grants that hold.
func (d Desk) completeGrant(c *cobra.Command, args []string, typed string) (out []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		return d.running(c, args, typed)
	}
	if _, socket, err := d.find(args[0]); err == nil && len(args) == 1 {
		list, _ := d.granted(c.Context(), socket, false) // unreadable completes to nothing
		for _, g := range list {
			out = append(out, cobra.CompletionWithDesc(g.ID, g.What))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
