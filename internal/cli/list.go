package cli

import (
	"fmt"
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

func newList(d *deps) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list [agents|bottles|active]",
		Aliases: []string{"ls"},
		GroupID: groupRun,
		Short:   "List agents, bottles and the bottles at work",
		Long: "List agents, bottles, and the bottles at work or left behind by a crash. --all also lists those\n" +
			"that have ended, whose decision logs are still there.",
		Example: "  bottle list\n  bottle list active --format json\n  bottle list active --all",
		Args:    command.Words(0, 1), ValidArgsFunction: first("agents", "bottles", "active"),
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

// listing is what a list shows.
type listing struct {
	Agents  []manifest.Entry `json:"agents"`
	Bottles []manifest.Entry `json:"bottles"`
	Active  []store.Entry    `json:"active"`
}

func (d *deps) list(kind string, all, js bool) error {
	var l listing
	tree, err := d.tree()
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
	ui.Tell(d.Stderr, d.style(d.Stderr), problems)
	if js {
		return d.listJSON(kind, l)
	}
	d.listText(kind, l)
	return nil
}

// active are the identities that are at work or were left behind; all: also
// those that ended as they should.
func (d *deps) active(home string, all bool) ([]store.Entry, error) {
	s, err := store.Open(home)
	if err != nil {
		return nil, err
	}
	entries, err := s.List()
	if !all {
		entries = slices.DeleteFunc(entries, func(e store.Entry) bool { return !e.Live && !leftBehind(e) })
	}
	return entries, err
}

// leftBehind reports whether nobody took down what a start put up.
func leftBehind(e store.Entry) bool {
	ended := e.Metadata.Status == store.Stopped || e.Metadata.Status == store.Failed
	return !e.Live && (e.Problem != "" || !ended)
}

func (d *deps) listJSON(kind string, l listing) error {
	l.Agents = append([]manifest.Entry{}, l.Agents...) // [] in JSON, never null
	l.Bottles = append([]manifest.Entry{}, l.Bottles...)
	l.Active = append([]store.Entry{}, l.Active...)
	switch kind {
	case "agents":
		return ui.JSON(d.Stdout, l.Agents)
	case "bottles":
		return ui.JSON(d.Stdout, l.Bottles)
	case "active":
		return ui.JSON(d.Stdout, l.Active)
	}
	return ui.JSON(d.Stdout, l)
}

func (d *deps) listText(kind string, l listing) {
	style := d.style(d.Stdout)
	shown := 0
	section := func(title string, head []string, rows [][]ui.Cell, none string) {
		if kind != "" && kind != title {
			return
		}
		if shown++; shown > 1 {
			fmt.Fprintln(d.Stdout)
		}
		if kind == "" {
			fmt.Fprintln(d.Stdout, style(plan.Label, strings.ToUpper(title)))
		}
		if len(rows) == 0 {
			fmt.Fprintln(d.Stdout, none)
			return
		}
		ui.Table(d.Stdout, style, head, rows)
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

func (d *deps) activeRows(entries []store.Entry) [][]ui.Cell {
	var rows [][]ui.Cell
	for _, e := range entries {
		m := e.Metadata
		status := ui.As(plan.Plain, m.Status)
		switch {
		case e.Problem != "" && e.Live:
			status = ui.As(plan.Plain, store.Starting) // reserved, and not described yet
		case e.Problem != "":
			status = ui.As(plan.Shout, "unreadable: bottle cleanup")
		case leftBehind(e):
			status = ui.As(plan.Warn, "left behind: bottle cleanup")
		}
		since := ""
		if !m.Started.IsZero() {
			since = m.Started.Local().Format(time.DateTime)
		}
		rows = append(rows, []ui.Cell{
			ui.As(plan.Strong, string(m.Identity)), ui.As(plan.Plain, string(m.Bottle)), ui.As(plan.Plain, m.Backend),
			status, ui.As(plan.Faint, since), ui.As(plan.Faint, d.tilde(m.Workspace)),
		})
	}
	return rows
}
