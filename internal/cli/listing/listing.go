// Package listing is the list of agents, bottles, the bottles at work, and those that can be
// resumed.
package listing

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Desk is what the command touches.
type Desk struct {
	Group    string
	Out, Err io.Writer
	Style    func(io.Writer) plan.Style
	Tree     func() (manifest.Tree, error)
	Tilde    func(path string) string
}

// Command is list.
func (d Desk) Command() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list [agents|bottles|active]",
		Aliases: []string{"ls"},
		GroupID: d.Group,
		Short:   "List agents, bottles and the bottles at work",
		Long: "List agents, bottles, and the bottles at work or left behind by a crash. --all also lists those\n" +
			"that have ended, whose decision logs are still there. What has ended, bottle resume goes on with.",
		Example: "  bottle list\n  bottle list active --format json\n  bottle list active --all",
		Args:    command.Words(0, 1), ValidArgsFunction: kinds,
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "with the bottles that have ended")
	asJSON := command.Formats(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		return d.list(strings.Join(args, ""), all, js)
	}
	return c
}

// kinds completes the one word of list.
func kinds(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"agents", "bottles", "active"}, cobra.ShellCompDirectiveNoFileComp
}

// listing is what a list shows.
type listing struct {
	Agents  []manifest.Entry `json:"agents"`
	Bottles []manifest.Entry `json:"bottles"`
	Active  []active         `json:"active"`
}

// active is one bottle at work, or what one left.
type active struct {
	store.Entry
	Resumable bool   `json:"resumable"`           // by bottle resume
	Preserved string `json:"preserved,omitempty"` // why cleanup leaves what it holds
}

func (d Desk) list(kind string, all, js bool) error {
	var l listing
	tree, err := d.Tree()
	if err != nil {
		return err
	}
	var problems bottle.Problems
	switch kind {
	case "agents":
		l.Agents, problems = tree.Agents()
	case "bottles":
		l.Bottles, problems = tree.Bottles()
	case "active":
		l.Active, err = d.active(tree.HomeDir, all)
	case "":
		var more bottle.Problems
		l.Agents, problems = tree.Agents()
		l.Bottles, more = tree.Bottles()
		problems = append(problems, more...)
		l.Active, err = d.active(tree.HomeDir, all)
	default:
		return ui.Usage(fmt.Errorf("there is no list of %q", kind), "bottle list agents, bottles or active")
	}
	if err != nil {
		return err
	}
	ui.Tell(d.Err, d.Style(d.Err), problems)
	if js {
		return d.listJSON(kind, l)
	}
	d.listText(kind, l)
	return nil
}

// active are the identities that are at work or were left behind; all: also
// those that ended as they should.
func (d Desk) active(home string, all bool) (out []active, err error) {
	s, err := store.Open(home)
	if err != nil {
		return nil, err
	}
	entries, err := s.List()
	for _, e := range entries {
		a := active{Entry: e, Resumable: e.Resumable(), Preserved: s.Preserved(e)}
		if all || e.Live || leftBehind(e) || a.Preserved != "" {
			out = append(out, a)
		}
	}
	return out, err
}

// leftBehind reports whether nobody took down what a start put up.
func leftBehind(e store.Entry) bool {
	ended := e.Metadata.Status == store.Stopped || e.Metadata.Status == store.Failed
	return !e.Live && (e.Problem != "" || !ended)
}

func (d Desk) listJSON(kind string, l listing) error {
	l.Agents = append([]manifest.Entry{}, l.Agents...) // [] in JSON, never null
	l.Bottles = append([]manifest.Entry{}, l.Bottles...)
	l.Active = append([]active{}, l.Active...)
	switch kind {
	case "agents":
		return ui.JSON(d.Out, l.Agents)
	case "bottles":
		return ui.JSON(d.Out, l.Bottles)
	case "active":
		return ui.JSON(d.Out, l.Active)
	}
	return ui.JSON(d.Out, l)
}

func (d Desk) listText(kind string, l listing) {
	style := d.Style(d.Out)
	shown := 0
	section := func(title string, head []string, rows [][]ui.Cell, none string) {
		if kind != "" && kind != title {
			return
		}
		if shown++; shown > 1 {
			fmt.Fprintln(d.Out)
		}
		if kind == "" {
			fmt.Fprintln(d.Out, style(plan.Label, strings.ToUpper(title)))
		}
		if len(rows) == 0 {
			fmt.Fprintln(d.Out, none)
			return
		}
		ui.Table(d.Out, style, head, rows)
	}
	section("agents", []string{"agent", "bottle", "from", "about"}, entryRows(l.Agents, true), "No agents yet: bottle init writes a first one.")
	section("bottles", []string{"bottle", "from", "about"}, entryRows(l.Bottles, false), "No bottles yet: bottle init writes a first one.")
	section("active", []string{"identity", "bottle", "backend", "status", "since", "workspace"}, d.activeRows(l.Active), "No bottle is at work.")
}

func entryRows(entries []manifest.Entry, agents bool) [][]ui.Cell {
	var rows [][]ui.Cell
	for _, e := range entries {
		about := ui.As(plan.Faint, e.Description)
		if e.Problems.Fatal() {
			about = ui.As(plan.Shout, ui.Plural(len(e.Problems), "problem")+": bottle validate")
		}
		row := []ui.Cell{ui.As(plan.Strong, string(e.Name))}
		if agents {
			row = append(row, ui.As(plan.Plain, string(e.Bottle)))
		}
		rows = append(rows, append(row, ui.As(plan.Plain, e.Where), about))
	}
	return rows
}

func (d Desk) activeRows(entries []active) [][]ui.Cell {
	var rows [][]ui.Cell
	for _, e := range entries {
		m := e.Metadata
		status := ui.As(plan.Plain, m.Status)
		switch {
		case e.Problem != "" && e.Live:
			status = ui.As(plan.Plain, store.Starting) // reserved, and not described yet
		case e.Problem != "":
			status = ui.As(plan.Shout, "unreadable: bottle cleanup")
		case e.Preserved != "":
			status = ui.As(plan.Warn, "left behind: bottle resume "+string(m.Identity))
		case leftBehind(e.Entry): // a gateway without walls, of which there is nothing to go on with
			status = ui.As(plan.Warn, "left behind: bottle cleanup")
		case e.Resumable:
			status = ui.As(plan.Plain, m.Status+": bottle resume "+string(m.Identity))
		}
		since := ""
		if !m.Started.IsZero() {
			since = m.Latest().Local().Format(time.DateTime)
		}
		rows = append(rows, []ui.Cell{
			ui.As(plan.Strong, string(m.Identity)), ui.As(plan.Plain, string(m.Bottle)), ui.As(plan.Plain, m.Backend),
			status, ui.As(plan.Faint, since), ui.As(plan.Faint, d.Tilde(m.Workspace)),
		})
	}
	return rows
}

// Resumable is the answer to a resume of nothing: what there is, newest first.
func (d Desk) Resumable(st *store.Store) error {
	list, err := st.List()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(e store.Entry) bool { return !e.Resumable() })
	slices.SortStableFunc(list, func(a, b store.Entry) int { return b.Metadata.Latest().Compare(a.Metadata.Latest()) })
	if len(list) == 0 {
		return ui.Usage(errors.New("no bottle has ended that could be resumed"), "bottle start AGENT")
	}
	var rows [][]ui.Cell
	for _, e := range list {
		m := e.Metadata
		rows = append(rows, []ui.Cell{
			ui.As(plan.Strong, "bottle resume "+string(m.Identity)), ui.As(plan.Plain, cmp.Or(st.Preserved(e), m.Status)),
			ui.As(plan.Faint, m.Latest().Local().Format(time.DateTime)), ui.As(plan.Faint, d.Tilde(m.Workspace)),
		})
	}
	ui.Table(d.Err, d.Style(d.Err), []string{"to go on", "how it ended", "last started", "workspace"}, rows)
	return ui.Usage(errors.New("resume wants the identity of a bottle that has ended"), "bottle resume "+string(list[0].Metadata.Identity))
}
