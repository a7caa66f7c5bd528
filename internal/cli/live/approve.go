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

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// approval is what the operator wants to let pass, and to where.
type approval struct {
	print string
	host  string
	last  time.Duration
	yes   bool
}

// Approve is the command `bottle approve`.
func (d Desk) Approve() *cobra.Command {
	var a approval
	c := &cobra.Command{
		Use:     "approve IDENTITY FINGERPRINT",
		GroupID: d.Group,
		Short:   "Let one secret that was held back pass to one host, for a time",
		Long: "Let a value pass that a running bottle's gateway found in a request and held back. The fingerprint\n" +
			"stands in the denial and in bottle audit; it means this exact value and nothing else, and only to its\n" +
			"gateway. Without --host it is the host of the last request that it was found in. The agent has to send\n" +
			"the request again. What was approved is in the decision log, and ends by itself, or with the bottle.",
		Example: "  bottle audit researcher --denied\n" +
			"  bottle approve researcher 4f1c0a9e6d2b8375c1e0f4a95b7d3e68\n" +
			"  bottle approve researcher-m3hxd 4f1c0a9e6d2b8375c1e0f4a95b7d3e68 --host api.example.com --for 15m --yes",
		Args: command.Words(2, 2), ValidArgsFunction: d.completeApproval,
	}
	c.Flags().StringVar(&a.host, "host", "", "where it may be sent; absent: where it was sent last")
	c.Flags().DurationVar(&a.last, "for", time.Hour, "how long, up to 24h")
	c.Flags().BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	_ = c.RegisterFlagCompletionFunc("host", d.completeHost)
	_ = c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"15m", "1h", "8h", "24h"}, cobra.ShellCompDirectiveNoFileComp))
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		a.print = strings.ToLower(args[1])
		if err := a.check(args[0]); err != nil {
			return err
		}
		return d.approve(c.Context(), args[0], a, js)
	}
	return c
}

// check refuses what no gateway would take, before anybody is asked.
func (a *approval) check(word string) error {
	if len(a.print) != 32 || strings.Trim(a.print, "0123456789abcdef") != "" {
		return ui.Usage(fmt.Errorf("%q is no fingerprint: it has 32 hex digits", bottle.Printable(a.print)), "bottle audit "+word+" --denied shows it")
	}
	if a.last < time.Second || a.last > plan.MaxAdmit*time.Second {
		return ui.Usage(fmt.Errorf("--for %s is not from 1s to 24h", a.last), "leave it out for an hour")
	}
	if a.host == "" {
		return nil
	}
	host, err := bottle.ParseHost(a.host)
	if err != nil {
		return ui.Usage(fmt.Errorf("--host: %w", err), "write a name such as api.example.com, without scheme, port or path")
	}
	a.host = string(host)
	return nil
}

// finding is a secret in a request that was held back, or redacted.
type finding struct {
	audit.Finding
	Host string    `json:"host"`
	Time time.Time `json:"time"`
}

// findings are those of a bottle's log, the last of each value and host last.
func (d Desk) findings(ctx context.Context, id bottle.Identity) ([]finding, error) {
	s, err := d.Store()
	if err != nil {
		return nil, err
	}
	var out []finding
	for r, err := range audit.Read(ctx, s.Layout(id).Audit, audit.Filter{}, false) {
		if err != nil { // a line that is none: what it held is not shown
			continue
		}
		for _, f := range r.Findings {
			if f.Fingerprint == "" || r.Host == "" {
				continue
			}
			out = slices.DeleteFunc(out, func(o finding) bool { return o.Fingerprint == f.Fingerprint && o.Host == r.Host })
			if out = append(out, finding{f, r.Host, r.Time}); len(out) > 1000 { // the agent decides how many there are
				out = out[1:]
			}
		}
	}
	return out, ctx.Err()
}

// admission is what an approval comes to, for machines.
type admission struct {
	Identity bottle.Identity `json:"identity"`
	plan.Admitted
	Finding *audit.Finding `json:"finding"` // the last one of it that the log holds; null: none
}

func (d Desk) approve(ctx context.Context, word string, a approval, js bool) error {
	meta, socket, err := d.find(word)
	if err != nil {
		return err
	}
	list, err := d.findings(ctx, meta.Identity)
	if err != nil {
		return err
	}
	out := admission{Identity: meta.Identity}
	var last finding
	for _, f := range list { // one that was sent to that host says most
		if f.Fingerprint == a.print && (a.host == "" || a.host == f.Host || last.Host != a.host) {
			last, out.Finding = f, &f.Finding
		}
	}
	if a.host = cmp.Or(a.host, last.Host); a.host == "" {
		return ui.Usage(fmt.Errorf("the log of %s holds no such fingerprint, so it does not say for which host", meta.Identity),
			"bottle audit "+string(meta.Identity)+" --denied; or say it: --host api.example.com")
	}
	if err := leads(ctx, socket, meta, a.host); err != nil {
		return err
	}
	if !js || !a.yes {
		d.showApproval(meta.Identity, a, last, out.Finding != nil)
	}
	if ok, err := d.Confirm("Let it pass?", a.yes); err != nil || !ok {
		return d.unchanged(err)
	}
	err = ask(ctx, socket, plan.Control{Op: plan.OpAdmit, Fingerprint: a.print, Host: a.host, Seconds: int(a.last / time.Second), By: operator()}, &out.Admitted)
	switch {
	case err != nil:
		return err
	case out.Admitted.Fingerprint != a.print:
		return ui.Fail(errors.New("the gateway did not take it"), "bottle audit "+string(meta.Identity))
	case js:
		return ui.JSON(d.Out, out)
	}
	fmt.Fprintf(d.Out, "passes to %s until %s: %s\n", out.Host, out.Until.Local().Format("15:04:05"), a.print)
	return nil
}

// leads refuses a host that no route of the running bottle leads to, before anybody is
// asked: an approval would open nothing.
func leads(ctx context.Context, socket string, meta store.Metadata, host string) error {
	var now plan.InForce
	if err := ask(ctx, socket, plan.Control{Op: plan.OpPolicy}, &now); err != nil {
		return err
	}
	if slices.ContainsFunc(now.Routes, func(r bottle.Route) bool { return r.Host.Matches(bottle.Host(host)) }) {
		return nil
	}
	return ui.Fail(fmt.Errorf("no route of %s leads to %s: whatever is sent there is refused", meta.Identity, bottle.Printable(host)),
		fmt.Sprintf("name another --host; or add the route: bottle edit %s && bottle reload %s", meta.Bottle, meta.Identity))
}

// showApproval says what would be let pass, and to where.
func (d Desk) showApproval(id bottle.Identity, a approval, f finding, seen bool) {
	style := d.Style(d.Err)
	fmt.Fprintf(d.Err, "%s may send this value to %s for %s:\n", style(plan.Strong, string(id)), style(plan.Strong, bottle.Printable(a.host)), a.last)
	if !seen {
		fmt.Fprintln(d.Err, "  "+style(plan.Warn, "the log knows of no request with it: nobody can say what it is"))
		return
	}
	if f.Host != a.host {
		fmt.Fprintln(d.Err, "  "+style(plan.Warn, "it was not sent there yet, but to "+bottle.Printable(f.Host)+":"))
	}
	role := plan.Warn
	if f.Secret != "" {
		role = plan.Shout // one that the operator himself said must not leave
	}
	fmt.Fprintf(d.Err, "  %s, last at %s\n", style(role, ui.Hang("  "+f.String(), ui.Width(d.Err, d.Terminal(d.Err))-len(", last at 15:04:05"), 4)[2:]), f.Time.Local().Format("15:04:05"))
}

// completeHost completes the hosts that the log has seen the value sent to, or any.
func (d Desk) completeHost(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if s, err := d.Store(); err == nil && len(args) > 0 {
		if id, err := s.Match(args[0]); err == nil {
			list, _ := d.findings(c.Context(), id) // unreadable completes to nothing
			for _, f := range slices.Backward(list) {
				if (len(args) == 1 || strings.EqualFold(args[1], f.Fingerprint)) && !slices.Contains(out, bottle.Printable(f.Host)) {
					out = append(out, bottle.Printable(f.Host))
				}
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeApproval completes the bottles, and then the fingerprints in the bottle's log.
func (d Desk) completeApproval(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return d.running(c, args, typed)
	}
	var out []string
	if s, err := d.Store(); err == nil && len(args) == 1 {
		if id, err := s.Match(args[0]); err == nil {
			list, _ := d.findings(c.Context(), id) // unreadable completes to nothing
			for _, f := range slices.Backward(list) {
				out = append(out, cobra.CompletionWithDesc(f.Fingerprint, bottle.Printable(cmp.Or(f.Secret, f.Rule)+" to "+f.Host)))
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
