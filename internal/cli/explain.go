package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

func newExplain(d *deps) *cobra.Command {
	c := &cobra.Command{
		Use:     "explain AGENT METHOD URL",
		GroupID: groupManifest,
		Short:   "Say what the gateway would answer to a request, and why",
		Long: "Decide on one request exactly as the gateway of this agent's bottle would, without starting\n" +
			"anything and without the network. The exit code is 0 when it is allowed and 1 when it is denied.",
		Example: "  bottle explain claude POST https://api.anthropic.com/v1/messages\n" +
			"  bottle explain claude GET https://example.com/ --format json",
		Args: command.Words(3, 3), ValidArgsFunction: d.explainWords,
	}
	asJSON := command.Formats(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		return d.explain(args[0], args[1], args[2], js)
	}
	return c
}

func (d *deps) explain(agent, method, url string, js bool) error {
	_, spec, _, err := d.load(agent)
	if err != nil {
		return err
	}
	p, err := policy.Compile(spec.Routes)
	if err != nil {
		return err
	}
	v, err := policy.Explain(p, method, url)
	if err != nil {
		return ui.Usage(err, "bottle explain "+agent+" GET https://example.com/")
	}
	if js {
		out := struct {
			policy.Verdict
			Credential string `json:"credential"`
			TLS        string `json:"tls,omitempty"`     // of the route that allows it
			DLP        string `json:"dlp,omitempty"`     // the same
			Inbound    string `json:"inbound,omitempty"` // the same
			H2C        bool   `json:"h2c,omitempty"`     // the same
			Policy     string `json:"policy"`
		}{Verdict: v, Credential: ui.Injected(v), Policy: p.Hash()}
		if v.Route != nil && v.Allowed() {
			out.TLS, out.DLP, out.Inbound, out.H2C = v.Route.TLS, v.Route.DLP, v.Route.Inbound, v.Route.H2C
		}
		err = ui.JSON(d.Stdout, out)
	} else {
		ui.Verdict(d.Stdout, d.style(d.Stdout), ui.Width(d.Stdout, d.Terminal(d.Stdout)), v)
		if !v.Allowed() && listable(v.Reason) {
			fmt.Fprintf(d.Stdout, "  %s to allow it: bottle edit bottles/%s\n", d.style(d.Stdout)(plan.Faint, "→"), spec.Name)
		}
	}
	if err == nil && !v.Allowed() {
		err = ui.Exit(ui.CodeNo)
	}
	return err
}

// listable reports whether a route could turn the answer round.
func listable(r policy.Reason) bool {
	switch r {
	case policy.HostNotListed, policy.PortNotListed, policy.MethodNotListed, policy.PathNotListed:
		return true
	}
	return false
}

// explainWords completes an agent, then a method, then the start of a URL.
func (d *deps) explainWords(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return d.agentNames(), cobra.ShellCompDirectiveNoFileComp
	case 1:
		return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, cobra.ShellCompDirectiveNoFileComp
	case 2:
		urls, err := d.explainURLs(args[0])
		if err == nil {
			return urls, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (d *deps) explainURLs(agent string) ([]string, error) {
	_, spec, _, err := d.load(agent)
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, r := range spec.Routes {
		if !r.Host.Sub {
			urls = append(urls, "https://"+string(r.Host.Host)+"/")
		}
	}
	if urls == nil {
		return nil, errors.New("no route names a host")
	}
	return urls, nil
}
