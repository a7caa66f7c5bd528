// Package explain holds the command that says what a gateway would answer: to a request,
// to git at the address of a repository, and to a push.
package explain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// Desk is what the command touches.
type Desk struct {
	Out   io.Writer
	Style plan.Style
	Width int // cells of the screen; 0: lines as long as they are
	Load  func(agent string) (bottle.Spec, error)
	Tree  func() (manifest.Tree, error)
	Home  string // the operator's home folder; empty: not known

	Running func(ctx context.Context, identity string) (bottle.Spec, error) // what is in force in a running bottle
}

// Command is `bottle explain`, in a group of the help. agents are for completion; desk is
// called when it runs.
func Command(group string, agents func() []string, desk func() Desk) *cobra.Command {
	var push string
	c := &cobra.Command{
		Use:     "explain AGENT|BOTTLE|IDENTITY [METHOD] URL|REPOSITORY",
		GroupID: group,
		Short:   "Say what the gateway would answer to a request or to git, and why",
		Long: "Decide on one request exactly as the gateway of this agent's bottle, or of this bottle, would, without starting\n" +
			"anything and without the network; of a running bottle, by its identity, as it does by now, with all that was\n" +
			"granted since its start. The exit code is 0 when it is allowed and 1 when it is denied.\n" +
			"Without a METHOD the URL is a git repository's, in any form that git takes, or its name in the manifest:\n" +
			"which repository of the manifest it is, what may be read and pushed, or what to write under git.",
		Example: "  bottle explain claude POST https://api.anthropic.com/v1/messages\n" +
			"  bottle explain claude GET https://example.com/ --format json\n" +
			"  bottle explain claude-m3hxd GET https://example.com/\n" +
			"  bottle explain claude git@github.com:owner/app.git\n" +
			"  bottle explain claude https://github.com/owner/app --push agent/fix      +agent/fix: by force; :agent/fix: delete it",
		Args: command.Words(2, 3),
	}
	c.Flags().StringVar(&push, "push", "", "a branch or ref to push to that repository: `REF`, +REF by force, :REF to delete it")
	_ = c.RegisterFlagCompletionFunc("push", cobra.NoFileCompletions) // fails only for a flag that is not there
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return agents(), cobra.ShellCompDirectiveNoFileComp
		}
		return desk().words(c.Context(), args)
	}
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		pushes := c.Flags().Changed("push")
		if len(args) == 3 && pushes {
			return ui.Usage(errors.New("--push is about a repository, and takes no METHOD"), "bottle explain "+args[0]+" "+args[2]+" --push "+push)
		}
		if len(args) == 3 {
			return desk().request(c.Context(), args[0], args[1], args[2], js)
		}
		return desk().git(c.Context(), args[0], args[1], push, pushes, js)
	}
	return c
}

// load reads an agent's bottle; where no agent has that name, the bottle that has it; and
// else what is in force in the running one with that identity.
func (d Desk) load(ctx context.Context, word string) (bottle.Spec, error) {
	spec, err := d.Load(word)
	name, bad := bottle.ParseName(word)
	if err == nil || bad != nil {
		return spec, err
	}
	tree, bad := d.Tree()
	if bad != nil {
		return spec, err
	}
	agents, _ := tree.Agents() // what is wrong with them, err says
	if slices.ContainsFunc(agents, func(e manifest.Entry) bool { return e.Name == name }) {
		return spec, err
	}
	if alone, problems := tree.Bottle(name); !problems.Fatal() {
		return alone, nil
	}
	if _, bad := bottle.ParseIdentity(word); bad == nil {
		return d.Running(ctx, word)
	}
	return spec, err
}

func (d Desk) request(ctx context.Context, agent, method, url string, js bool) error {
	spec, err := d.load(ctx, agent)
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
	byGate, asked := gate(spec, method, url)
	if asked {
		v = byGate
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
		}{Verdict: v, Credential: ui.Injected(v), Policy: p.WithGit(spec.Repos, spec.GitUser).Hash()}
		if v.Route != nil && v.Allowed() {
			out.TLS, out.DLP, out.Inbound, out.H2C = v.Route.TLS, v.Route.DLP, v.Route.Inbound, v.Route.H2C
		}
		return answered(ui.JSON(d.Out, out), v)
	}
	ui.Verdict(d.Out, d.Style, d.Width, v)
	if !v.Allowed() && listable(v.Reason) && !asked {
		d.hint("to allow it: bottle edit bottles/" + string(spec.Name))
		if v.Reason == policy.HostNotListed && spec.Unmatched == plan.UnmatchedAsk {
			d.hint("a running bottle proposes it to you by itself (egress.unmatched: ask): bottle proposals")
		}
	}
	if repo, ok := gitRequest(url); ok {
		d.hint("this is a request of git's own: bottle explain " + agent + " " + repo)
	}
	return answered(nil, v)
}

// gitRequest gives the repository of a request of git's smart HTTP protocol
// (gitprotocol-http(5)).
func gitRequest(url string) (repo string, ok bool) {
	path, _, _ := strings.Cut(url, "?")
	for _, end := range []string{"/info/refs", "/git-upload-pack", "/git-receive-pack"} {
		if repo, ok = strings.CutSuffix(path, end); ok {
			return repo, true
		}
	}
	return "", false
}

func (d Desk) hint(text string) {
	fmt.Fprintln(d.Out, "  "+d.Style(plan.Faint, "→")+" "+bottle.Printable(text))
}

// answered is the exit code for a verdict that was printed.
func answered(err error, v policy.Verdict) error {
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

// words completes a method or a repository, then the start of a URL.
func (d Desk) words(ctx context.Context, args []string) ([]string, cobra.ShellCompDirective) {
	spec, err := d.load(ctx, args[0])
	if err != nil || len(args) > 2 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	if len(args) == 1 {
		for _, r := range spec.Repos {
			out = append(out, r.Name, r.Upstream)
		}
		return append(out, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), cobra.ShellCompDirectiveNoFileComp
	}
	for _, r := range spec.Routes {
		if !r.Host.Sub {
			out = append(out, "https://"+string(r.Host.Host)+"/")
		}
	}
	return out, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
