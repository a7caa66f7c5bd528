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
	Terminal func(stream any) bool
	Confirm  func(question string, yes bool) (bool, error)
	Lookup   func(name string) (string, bool) // of the operator's environment
	Store    func() (*store.Store, error)
}

// Brought is what was unpacked. Close removes what the gateway did not take.
type Brought struct {
	Bill  bottle.Bill
	Stage string
	Lines []Line // the exact list: what an approval puts in, and nothing else
	Close func()
}

// Line is one of the list. What a registry says in it is spelled out.
type Line struct {
	Role plan.Role
	Text string
}

// Ask is the question before anything is looked up: a package's name goes to a registry, and
// the agent chose it.
const Ask = "Look them up and fetch them? Nothing of theirs is run."

// longest bounds all of it: a registry that sends one byte a minute would never end.
const longest = 20 * time.Minute

// Bring asks, then fetches and unpacks what p of the bottle id asks for, and shows it. nil
// without an error: the operator said no. quiet shows nothing, for machines.
func (d Desk) Bring(ctx context.Context, id bottle.Identity, p plan.Proposal, yes, quiet bool) (*Brought, error) {
	if ok, err := d.Confirm(Ask, yes); err != nil || !ok {
		return nil, err
	}
	b, err := d.Fetch(ctx, id, p, func(line string) {
		if !quiet {
			fmt.Fprintln(d.Err, d.Style(d.Err)(plan.Faint, line+" …"))
		}
	})
	if err == nil && !quiet {
		d.show(b.Lines)
	}
	return b, err
}

// Fetch looks up, fetches and unpacks what p of the bottle id asks for, which the operator
// has said yes to (Ask). It ends with ctx, and after 20 minutes. say hears how far it is.
func (d Desk) Fetch(ctx context.Context, id bottle.Identity, p plan.Proposal, say func(string)) (*Brought, error) {
	s, err := d.Store()
	if err != nil {
		return nil, err
	}
	return d.fetch(ctx, s.Layout(id), p, say)
}

func (d Desk) fetch(ctx context.Context, lay store.Layout, p plan.Proposal, say func(string)) (_ *Brought, err error) {
	if p.Capability == nil {
		return nil, errors.New("bring packages: the proposal asks for something else")
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
	src := packages.Source{Env: d.environment(known()), NPM: d.environment(knownToNPM()), Say: say}
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
	return &Brought{Bill: load.Bill, Stage: stage.Name, Lines: list(load), Close: stage.Close}, nil
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

// list is what an approval puts in, and nothing else.
func list(l *packages.Load) (out []Line) {
	line := func(role plan.Role, format string, a ...any) {
		out = append(out, Line{role, bottle.Said(fmt.Sprintf(format, a...))})
	}
	b := l.Bill
	line(plan.Plain, "%s, %s fetched, %s unpacked:", ui.Plural(len(b.Items), "package"), plan.Size(b.Size()), plan.Size(b.Unpacked))
	for _, i := range b.Items {
		line(plan.Strong, "  %s:%s %s  %s", i.Ecosystem, i.Name, i.Version, plan.Size(i.Size))
		line(plan.Faint, "    %s", i.From)
		line(plan.Faint, "    %s", i.Hash)
	}
	if len(b.Programs) > 0 {
		line(plan.Plain, "programs: %s", strings.Join(b.Programs, ", "))
	}
	for _, n := range l.Notes {
		line(plan.Warn, "%s", n)
	}
	line(plan.Plain, "unpacked only, to %s, read-only: no script of a package runs, here or in the bottle's system", plan.Added)
	return out
}

func (d Desk) show(list []Line) {
	show(d.Out, d.Style(d.Out), ui.Width(d.Out, d.Terminal(d.Out)), list)
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

// show leaves no line to the terminal to break: what goes on would stand where this program's
// own lines begin.
func show(out io.Writer, style plan.Style, width int, list []Line) {
	for _, l := range list {
		text := strings.TrimLeft(l.Text, " ")
		in := strings.Repeat(" ", 2+len(l.Text)-len(text))
		for part := range strings.SplitSeq(in+ui.Block(text, width, in+"    "), "\n") {
			fmt.Fprintln(out, style(l.Role, part))
		}
	}
}
