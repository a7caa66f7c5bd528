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
	"bottle/internal/policy"
	"bottle/internal/store"
)

// approval is what the operator wants to let pass, and to where.
type approval struct {
	prints []string // fingerprints, or the beginnings of some
	host   string
	last   time.Duration
	yes    bool
}

const approveFor = time.Hour // where a fingerprint is approved, and nobody says how long

// mostPrints is how many values are let pass at once: a person has to read what they are.
const mostPrints = 16

// Approve is the command `bottle approve`.
func (d Desk) Approve() *cobra.Command {
	a, p := approval{}, answer{}
	c := &cobra.Command{
		Use:     "approve PROPOSAL | IDENTITY PROPOSAL | IDENTITY FINGERPRINT...",
		GroupID: d.Group,
		Short:   "Give what an agent asks for, or let a secret that was held back pass to one host",
		Long: "Give what a proposal asks for: what it would newly let through is shown first, and is in force when\n" +
			"the command returns. It holds as long as the bottle, or as --for says; bottle revoke takes it back. With\n" +
			"--for always it is written into the bottle's manifest, too, after you have seen the lines. With\n" +
			"--method, --path and --port other requests to the host are given than were asked for. Packages are\n" +
			"fetched by your own apt-get and npm, shown as an exact list, and unpacked only: none is run.\n\n" +
			"Or let a value pass that a running bottle's gateway found in a request and held back. The fingerprint\n" +
			"stands in the denial and in bottle audit; it means this exact value and nothing else, and only to its\n" +
			"gateway. Its first 8 digits will do, where they mean one in the log. Name the host by --host, as the\n" +
			"denial does: without, it is the one that the value was sent to last, and the agent can send it elsewhere\n" +
			"meanwhile. It works for every route that is looked into, be it dlp: ask, block or redact, and for git\n" +
			"pushes to that host. The agent has to send the request, or push, again. What was approved is in the\n" +
			"decision log, and ends by itself, or with the bottle.",
		Example: "  bottle approve p4k7m2x\n" +
			"  bottle approve researcher p4k7m2x --for 15m --note \"read only, please\" --method GET\n" +
			"  bottle audit researcher --denied\n" +
			"  bottle approve researcher 4f1c0a9e6d2b8375c1e0f4a95b7d3e68 --host api.example.com\n" +
			"  bottle approve researcher-m3hxd 4f1c0a9e 77d0b1c2 --host api.example.com --for 15m --yes",
		Args: command.Words(1, 1+mostPrints), ValidArgsFunction: d.completeApproval,
	}
	d.flags(c, &a, &p)
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		if word, id, ok := proposalIn(args); ok {
			if a.host != "" {
				return ui.Usage(errors.New("--host goes with a fingerprint: a proposal names its host"), "bottle proposals "+id)
			}
			p.word, p.id, p.yes = word, id, a.yes
			return d.approveProposal(c.Context(), p, js)
		}
		if a.last, err = p.fingerprint(args); err != nil {
			return err
		}
		for _, print := range args[1:] {
			a.prints = append(a.prints, strings.ToLower(print))
		}
		if err := a.check(args[0]); err != nil {
			return err
		}
		return d.approve(c.Context(), args[0], a, js)
	}
	return c
}

func (d Desk) flags(c *cobra.Command, a *approval, p *answer) {
	c.Flags().StringVar(&a.host, "host", "", "where it may be sent; absent: where it was sent last")
	c.Flags().Var(&p.last, "for", "how long: 15m, session for as long as the bottle, or always, which is written into the manifest (absent: a proposal for the session, a fingerprint 1h, at most 24h)")
	c.Flags().StringVar(&p.note, "note", "", "of a proposal: what the agent is told")
	c.Flags().StringSliceVar(&p.methods, "method", nil, "of a proposal: give these methods instead")
	c.Flags().StringArrayVar(&p.paths, "path", nil, "of a proposal: give what is below this path instead; more than once for several")
	c.Flags().UintSliceVar(&p.ports, "port", nil, "of a proposal: give these ports instead")
	c.Flags().BoolVar(&p.part, "not-whole", false, "of a proposal for a push that is too long to be shown: approve it all the same")
	c.Flags().BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	_ = c.RegisterFlagCompletionFunc("host", d.completeHost)
	_ = c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"15m", "1h", "8h", "24h", "session", "always"}, cobra.ShellCompDirectiveNoFileComp))
}

// fingerprint refuses what goes with a proposal only, and gives how long a value may pass.
func (p answer) fingerprint(args []string) (time.Duration, error) {
	switch {
	case len(args) < 2:
		return 0, ui.Usage(fmt.Errorf("%q is no proposal: it looks like p4k7m2x", bottle.Printable(args[0])), "bottle proposals lists them; or name a bottle and a fingerprint: bottle approve --help")
	case p.last.session:
		return 0, ui.Usage(errors.New("--for session goes with a proposal: a fingerprint is approved for 24h at most"), "leave it out for an hour")
	case p.note != "" || p.methods != nil || p.paths != nil || p.ports != nil:
		return 0, ui.Usage(errors.New("--note, --method, --path and --port go with a proposal"), "bottle approve --help")
	case !p.last.set:
		return approveFor, nil
	}
	return p.last.last, nil
}

// check refuses what no gateway would take, before anybody is asked.
func (a *approval) check(word string) error {
	for _, p := range a.prints {
		if !isPrint(p) {
			return ui.Usage(fmt.Errorf("%q is no fingerprint: it has %d to 32 hex digits", bottle.Printable(p), shortestPrint), "bottle audit "+word+" --denied shows it")
		}
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
	wanted, err := a.choose(meta.Identity, list)
	if err != nil {
		return err
	}
	says, err := leads(ctx, socket, meta, a.host)
	if err != nil {
		return err
	}
	if !js || !a.yes {
		d.showApproval(meta.Identity, a, wanted, says)
	}
	question := "Let it pass?"
	if len(wanted) > 1 {
		question = "Let them pass?"
	}
	if ok, err := d.Confirm(question, a.yes); err != nil || !ok {
		return d.unchanged(err)
	}
	var out []admission
	for _, f := range wanted {
		one := admission{Identity: meta.Identity}
		if f.Rule != "" {
			one.Finding = &f.Finding
		}
		err = ask(ctx, socket, plan.Control{Op: plan.OpAdmit, Fingerprint: f.Fingerprint, Host: a.host, Seconds: int(a.last / time.Second), By: operator()}, &one.Admitted)
		if err == nil && one.Admitted.Fingerprint != f.Fingerprint {
			err = ui.Fail(errors.New("the gateway did not take it"), "bottle audit "+string(meta.Identity))
		}
		if err != nil {
			break // what was let pass before is told
		}
		if out = append(out, one); !js {
			fmt.Fprintf(d.Out, "passes to %s until %s: %s\n", one.Host, one.Until.Local().Format("15:04:05"), f.Fingerprint)
		}
	}
	switch {
	case js && len(wanted) > 1:
		return errors.Join(ui.JSON(d.Out, out), err)
	case js && err == nil:
		return ui.JSON(d.Out, out[0])
	}
	return err
}

// choose finds what the fingerprints mean among those of the log, and the one host that
// they may be sent to. One that the log does not hold has nothing but its fingerprint.
func (a *approval) choose(id bottle.Identity, list []finding) (wanted []finding, err error) {
	for _, p := range a.prints {
		full := p
		if len(p) < 32 {
			var all []string
			for _, f := range list {
				if strings.HasPrefix(f.Fingerprint, p) && !slices.Contains(all, f.Fingerprint) {
					all = append(all, f.Fingerprint)
				}
			}
			if len(all) > 1 {
				return nil, ui.Usage(fmt.Errorf("%s is the beginning of %d fingerprints", p, len(all)), "write more of it: "+strings.Join(all[:min(len(all), 4)], ", "))
			}
			if len(all) == 0 {
				return nil, ui.Usage(fmt.Errorf("the log of %s holds no fingerprint that begins with %s", id, p), "bottle audit "+string(id)+" --denied")
			}
			full = all[0]
		}
		one := finding{Finding: audit.Finding{Fingerprint: full}}
		for _, f := range list { // one that was sent to that host says most
			if f.Fingerprint == full && (a.host == "" || a.host == f.Host || one.Host != a.host) {
				one = f
			}
		}
		if !slices.ContainsFunc(wanted, func(w finding) bool { return w.Fingerprint == full }) {
			wanted = append(wanted, one)
		}
	}
	host := cmp.Or(a.host, wanted[0].Host)
	for _, w := range wanted {
		if a.host == "" && w.Host == "" {
			return nil, ui.Usage(fmt.Errorf("the log of %s holds no such fingerprint, so it does not say for which host", id),
				"bottle audit "+string(id)+" --denied; or say it: --host api.example.com")
		}
		if a.host == "" && w.Host != host {
			return nil, ui.Usage(fmt.Errorf("they were not sent to one host: %s, %s", bottle.Printable(host), bottle.Printable(w.Host)), "say which: --host "+bottle.Printable(host))
		}
	}
	a.host = host
	return wanted, nil
}

// isPrint says whether s can be a fingerprint, or enough of the beginning of one.
func isPrint(s string) bool {
	return len(s) >= shortestPrint && len(s) <= 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// leads refuses a host that nothing of the running bottle leads to, or where nobody looks
// for secrets, before anybody is asked: an approval would open nothing. says is what else
// a person should know of the ways there.
func leads(ctx context.Context, socket string, meta store.Metadata, host string) (says []string, err error) {
	var now plan.InForce
	if err := ask(ctx, socket, plan.Control{Op: plan.OpPolicy}, &now); err != nil {
		return nil, err
	}
	var modes []string
	for _, r := range now.Routes {
		if r.Host.Matches(bottle.Host(host)) {
			modes = append(modes, cmp.Or(r.DLP, "block"))
		}
	}
	pushes := policy.ReposAt(now.Git.Repos, bottle.Host(host))
	if len(modes)+len(pushes) == 0 {
		return nil, ui.Fail(fmt.Errorf("no route or git repository of %s leads to %s: whatever is sent there is refused", meta.Identity, bottle.Printable(host)),
			fmt.Sprintf("name another --host; or add the route: bottle edit bottles/%s && bottle reload %s", meta.Bottle, meta.Identity))
	}
	looks := slices.DeleteFunc(modes, func(m string) bool { return m == "off" })
	switch {
	case len(looks)+len(pushes) == 0:
		return nil, ui.Fail(fmt.Errorf("the route of %s to %s says dlp: off: nobody looks there, so there is nothing to approve", meta.Identity, bottle.Printable(host)), "name another --host, or send it")
	case len(looks) > 0 && !slices.Contains(looks, "ask"):
		says = append(says, "this route says dlp: "+looks[0])
	}
	if len(pushes) > 0 {
		says = append(says, "by git push, too: "+strings.Join(pushes, ", "))
	}
	if len(looks) == 0 {
		says[0] = strings.Replace(says[0], ", too", "", 1)
	}
	return says, nil
}

// showApproval says what would be let pass, and to where.
func (d Desk) showApproval(id bottle.Identity, a approval, wanted []finding, says []string) {
	style, what := d.Style(d.Err), "this value"
	if len(wanted) > 1 {
		what = fmt.Sprintf("these %d values", len(wanted))
	}
	fmt.Fprintf(d.Err, "%s may send %s to %s for %s:\n", style(plan.Strong, string(id)), what, style(plan.Strong, bottle.Printable(a.host)), a.last)
	for _, s := range says {
		fmt.Fprintln(d.Err, "  "+style(plan.Warn, bottle.Printable(s)))
	}
	for _, f := range wanted {
		if f.Rule == "" {
			fmt.Fprintln(d.Err, "  "+style(plan.Warn, "the log knows of no request with it: nobody can say what it is"))
			continue
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
}

// completeHost completes the hosts that the log has seen the value sent to, or any.
func (d Desk) completeHost(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if s, err := d.Store(); err == nil && len(args) > 0 {
		if id, err := s.Match(args[0]); err == nil {
			list, _ := d.findings(c.Context(), id) // unreadable completes to nothing
			for _, f := range slices.Backward(list) {
				if (len(args) == 1 || slices.ContainsFunc(args[1:], func(p string) bool { return strings.HasPrefix(f.Fingerprint, strings.ToLower(p)) })) && !slices.Contains(out, bottle.Printable(f.Host)) {
					out = append(out, bottle.Printable(f.Host))
				}
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeApproval completes the bottles, and then the fingerprints in the bottle's log.
func (d Desk) completeApproval(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if len(args) < 2 {
		out, _ = d.completeProposal(c, args, typed)
	}
	if s, err := d.Store(); err == nil && len(args) > 0 && len(args) <= mostPrints {
		if id, err := s.Match(args[0]); err == nil {
			list, _ := d.findings(c.Context(), id) // unreadable completes to nothing
			for _, f := range slices.Backward(list) {
				out = append(out, cobra.CompletionWithDesc(f.Fingerprint, bottle.Printable(cmp.Or(f.Secret, f.Rule)+" to "+f.Host)))
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
