// Package bring has the operator's own apt and npm fetch what an agent asks for, unpacks
// it beside the bottle, and shows what it is before anything of it gets in.
package bring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/packages"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Desk is what this room touches.
type Desk struct {
	Out, Err io.Writer
	Style    func(io.Writer) plan.Style
	Confirm  func(question string, yes bool) (bool, error)
	Lookup   func(name string) (string, bool) // of the operator's environment
	Store    func() (*store.Store, error)
}

// Brought is what was unpacked and shown. Close removes what the gateway did not take.
type Brought struct {
	Bill  bottle.Bill
	Stage string
	Close func()
}

// longest bounds all of it: a registry that sends one byte a minute would never end.
const longest = 20 * time.Minute

// Bring fetches and unpacks what p of the bottle id asks for, and shows it. Before anything is looked up it
// asks: a package's name goes to a registry, and the agent chose it. nil without an error:
// the operator said no. quiet shows nothing, for machines.
func (d Desk) Bring(ctx context.Context, id bottle.Identity, p plan.Proposal, yes, quiet bool) (*Brought, error) {
	s, err := d.Store()
	if err != nil {
		return nil, err
	}
	return d.bring(ctx, s.Layout(id), p, yes, quiet)
}

func (d Desk) bring(ctx context.Context, lay store.Layout, p plan.Proposal, yes, quiet bool) (_ *Brought, err error) {
	if p.Capability == nil {
		return nil, errors.New("bring packages: the proposal asks for something else")
	}
	if ok, err := d.Confirm("Look them up and fetch them? Nothing of theirs is run.", yes); err != nil || !ok {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	stage, err := packages.OpenStage(lay.Adding, p.ID)
	if err != nil {
		return nil, ui.Fail(err, "start the bottle anew: one of an older version has no place for packages")
	}
	defer func() {
		if err != nil {
			stage.Close()
		}
	}()
	src := packages.Source{Env: d.environment(known()), NPM: d.environment(knownToNPM()), Say: func(line string) {
		if !quiet {
			fmt.Fprintln(d.Err, d.Style(d.Err)(plan.Faint, line+" …"))
		}
	}}
	load, err := src.Resolve(ctx, stage, *p.Capability)
	if err == nil {
		err = load.Fetch(ctx)
	}
	if err == nil {
		err = load.Unpack(ctx)
	}
	if err == nil {
		err = load.Bill.Check(*p.Capability)
	}
	if err != nil {
		return nil, d.explain(ctx, err, p.ID)
	}
	if !quiet {
		d.show(load)
	}
	return &Brought{Bill: load.Bill, Stage: stage.Name, Close: stage.Close}, nil
}

// explain adds the next step where an error has none.
func (d Desk) explain(ctx context.Context, err error, id string) error {
	var p bottle.Problems
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ui.Fail(fmt.Errorf("it took longer than %s; nothing was brought in", longest), "bottle approve "+id+" tries again")
	case errors.As(err, &p):
		return err
	}
	return ui.Fail(fmt.Errorf("%w; nothing was brought in", err), "bottle approve "+id+" looks them up anew; bottle reject "+id+" turns them down")
}

// show is the exact list: what an approval puts in, and nothing else.
func (d Desk) show(l *packages.Load) {
	b := l.Bill
	style := d.Style(d.Out)
	fmt.Fprintf(d.Out, "  %s, %s fetched, %s unpacked:\n", ui.Plural(len(b.Items), "package"), plan.Size(b.Size()), plan.Size(b.Unpacked))
	for _, i := range b.Items {
		fmt.Fprintf(d.Out, "    %s %s  %s\n", style(plan.Strong, i.Ecosystem+":"+i.Name), i.Version, style(plan.Faint, plan.Size(i.Size)))
		fmt.Fprintf(d.Out, "      %s\n      %s\n", style(plan.Faint, bottle.Said(i.From)), style(plan.Faint, i.Hash))
	}
	if len(b.Programs) > 0 {
		fmt.Fprintf(d.Out, "  programs: %s\n", strings.Join(b.Programs, ", "))
	}
	for _, n := range l.Notes {
		fmt.Fprintf(d.Out, "  %s\n", style(plan.Warn, bottle.Said(n)))
	}
	fmt.Fprintf(d.Out, "  unpacked only, to %s, read-only: no script of a package runs, here or in the bottle's system\n", plan.Added)
}

// known is what apt, dpkg and npm may know: where their configuration is, and how the
// network is reached. Nothing that loads code.
func known() []string {
	return []string{"PATH", "HOME", "USER", "XDG_CONFIG_HOME", "APT_CONFIG", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}
}

func knownToNPM() []string {
	return []string{"NPM_TOKEN", "NODE_AUTH_TOKEN", "NPM_CONFIG_USERCONFIG", "npm_config_userconfig", "NPM_CONFIG_REGISTRY", "npm_config_registry", "NODE_EXTRA_CA_CERTS"}
}

// environment is what of the operator's has these names.
func (d Desk) environment(names []string) []string {
	env := []string{"LC_ALL=C.UTF-8"}
	for _, name := range names {
		if v, ok := d.Lookup(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
