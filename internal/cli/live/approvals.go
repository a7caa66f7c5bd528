package live

import (
	"cmp"
	"context"
	"fmt"
	"os/user"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
)

// shortestPrint is how much of a fingerprint must be typed, in digits.
const shortestPrint = 8

// Approvals is the command `bottle approvals`.
func (d Desk) Approvals() *cobra.Command {
	var revoke, host string
	c := &cobra.Command{
		Use:     "approvals IDENTITY",
		GroupID: d.Group,
		Short:   "List or revoke what was let pass by bottle approve",
		Long: "List the secrets that a running bottle may send because an operator said so: until when, to which\n" +
			"host, what each is as far as the log knows, and who said so. With --revoke one of them may no longer\n" +
			"be sent; the first 8 digits of its fingerprint will do, where they mean one. A request that is on\n" +
			"its way may still go out. It is in the decision log.",
		Example: "  bottle approvals researcher\n" +
			"  bottle approvals researcher-m3hxd --revoke 4f1c0a9e\n" +
			"  bottle approvals researcher-m3hxd --revoke 4f1c0a9e --host api.example.com\n" +
			"  bottle approvals researcher --format json",
		Args: command.Words(1, 1), ValidArgsFunction: d.running,
	}
	c.Flags().StringVar(&revoke, "revoke", "", "the fingerprint of what may no longer be sent")
	c.Flags().StringVar(&host, "host", "", "with --revoke: only to this host")
	_ = c.RegisterFlagCompletionFunc("revoke", d.completeRevoke)
	_ = c.RegisterFlagCompletionFunc("host", d.completeHost)
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		if !c.Flags().Changed("revoke") {
			if host != "" {
				return ui.Usage(fmt.Errorf("--host says what to revoke, and nothing is to be"), "bottle approvals "+args[0]+" --revoke FINGERPRINT --host "+bottle.Printable(host))
			}
			return d.approvals(c.Context(), args[0], js)
		}
		revoke = strings.ToLower(revoke)
		if !isPrint(revoke) {
			return ui.Usage(fmt.Errorf("%q is no fingerprint: it has %d to 32 hex digits", bottle.Printable(revoke), shortestPrint), "bottle approvals "+args[0])
		}
		return d.revoke(c.Context(), args[0], revoke, host, js)
	}
	return c
}

// standing is an approval with what the log knows of its value.
type standing struct {
	plan.Admitted
	Rule   string `json:"rule,omitempty"`
	Secret string `json:"secret,omitempty"`
}

// inForce are the approvals of a running bottle, and its control socket.
func (d Desk) inForce(ctx context.Context, word string) (id bottle.Identity, socket string, out []standing, err error) {
	meta, socket, err := d.find(word)
	if err != nil {
		return "", "", nil, err
	}
	var now plan.Approvals
	if err := ask(ctx, socket, plan.Control{Op: plan.OpAdmits}, &now); err != nil {
		return "", "", nil, err
	}
	found, err := d.findings(ctx, meta.Identity)
	if err != nil {
		return "", "", nil, err
	}
	out = []standing{}
	for _, a := range now.List {
		one := standing{Admitted: a}
		for _, f := range found { // the last one, as bottle approve takes it
			if f.Fingerprint == a.Fingerprint {
				one.Rule, one.Secret = f.Rule, f.Secret
			}
		}
		out = append(out, one)
	}
	return meta.Identity, socket, out, nil
}

func (d Desk) approvals(ctx context.Context, word string, js bool) error {
	id, _, list, err := d.inForce(ctx, word)
	switch {
	case err != nil:
		return err
	case js:
		return ui.JSON(d.Out, struct {
			Identity  bottle.Identity `json:"identity"`
			Approvals []standing      `json:"approvals"`
		}{id, list})
	case len(list) == 0:
		fmt.Fprintf(d.Out, "nothing is approved: %s sends no secret that its gateway knows or finds\n", id)
		return nil
	}
	var rows [][]ui.Cell
	for _, a := range list {
		what := string(a.Host) + ": " + cmp.Or(a.Secret, a.Rule, "not in the log") + ", approved at " + ui.Clock(a.Since)
		if a.By != "" {
			what += " by " + a.By
		}
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, a.Fingerprint), ui.As(plan.Plain, ui.Clock(a.Until)), ui.As(plan.Plain, what)})
	}
	ui.Fold(d.Out, d.Style(d.Out), ui.Width(d.Out, d.Terminal(d.Out)), []string{"fingerprint", "until", "may be sent to"}, rows)
	return nil
}

func (d Desk) revoke(ctx context.Context, word, print, host string, js bool) error {
	id, socket, list, err := d.inForce(ctx, word)
	if err != nil {
		return err
	}
	var full []string
	for _, a := range list {
		if strings.HasPrefix(a.Fingerprint, print) && !slices.Contains(full, a.Fingerprint) {
			full = append(full, a.Fingerprint)
		}
	}
	switch {
	case len(full) == 0:
		return ui.Fail(fmt.Errorf("%s has no approval of %s", id, print), "bottle approvals "+string(id)+" shows what is in force")
	case len(full) > 1:
		return ui.Usage(fmt.Errorf("%s is the beginning of %d fingerprints", print, len(full)), "write more of it: "+strings.Join(full, ", "))
	}
	var gone plan.Approvals
	if err := ask(ctx, socket, plan.Control{Op: plan.OpRevoke, Fingerprint: full[0], Host: host, By: operator()}, &gone); err != nil {
		return err
	}
	if js {
		return ui.JSON(d.Out, struct {
			Identity bottle.Identity `json:"identity"`
			Revoked  []plan.Admitted `json:"revoked"`
			Recorded bool            `json:"recorded"`
		}{id, gone.List, gone.Recorded})
	}
	for _, a := range gone.List {
		fmt.Fprintf(d.Out, "no longer passes to %s: %s\n", bottle.Printable(string(a.Host)), bottle.Printable(a.Fingerprint))
	}
	if !gone.Recorded {
		fmt.Fprintln(d.Err, d.Style(d.Err)(plan.Warn, "the decision log takes no records, so it does not say so"))
	}
	return nil
}

// operator is how who types this is called; empty: nobody knows.
func operator() string {
	u, err := user.Current()
	if err != nil || len(u.Username) > 64 {
		return ""
	}
	return u.Username
}

// completeRevoke completes the fingerprints that are approved.
func (d Desk) completeRevoke(c *cobra.Command, args []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	if len(args) == 1 {
		_, _, list, _ := d.inForce(c.Context(), args[0]) // unreadable completes to nothing
		for _, a := range list {
			out = append(out, cobra.CompletionWithDesc(a.Fingerprint, bottle.Printable(cmp.Or(a.Secret, a.Rule)+" to "+string(a.Host))))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
