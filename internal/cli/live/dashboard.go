package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/tui"
)

// Dashboard is the command `bottle dashboard`.
func (d Desk) Dashboard() *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use:     "dashboard [IDENTITY]",
		GroupID: d.Group,
		Short:   "Watch running bottles and answer what their agents ask for",
		Long: "Show the bottles that run, the decisions of one of them as they are made, and the proposals that wait,\n" +
			"each with what it would newly let through. One key approves, rejects or gives less; what it would come\n" +
			"to is shown once more before anything is given. A new proposal rings the bell, and tells the desktop\n" +
			"where the terminal can. The key ? lists the keys. Leaving it stops nothing.",
		Example: "  bottle dashboard\n" +
			"  bottle dashboard researcher\n" +
			"  bottle dashboard --once                       print it as text, and end\n" +
			"  bottle dashboard --once --format json | jq '.proposals[].id'",
		Args: command.Words(0, 1), ValidArgsFunction: d.running,
	}
	c.Flags().BoolVar(&once, "once", false, "print it as plain text, and end")
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		if js && !once {
			return ui.Usage(errors.New("--format json goes with --once: the dashboard itself is for a person"), "bottle dashboard --once --format json")
		}
		var of bottle.Identity
		if word := strings.Join(args, ""); word != "" {
			meta, _, err := d.find(word)
			if err != nil {
				return err
			}
			of = meta.Identity
		}
		h := &house{Desk: d, last: map[bottle.Identity]seen{}}
		if once {
			return h.once(c.Context(), of, js)
		}
		if !d.Terminal(d.In) || !d.Terminal(d.Out) {
			return ui.Usage(errors.New("the dashboard needs a terminal, for its keys and for its screen"), "bottle dashboard --once prints it")
		}
		lost, err := tui.Run(c.Context(), tui.Screen{In: d.In, Out: d.Out, Style: d.Style(d.Out)}, h, of)
		for _, text := range lost { // nobody put them away
			fmt.Fprintln(d.Err, text)
		}
		return err
	}
	return c
}

// once prints what there is, as text or for machines.
func (h *house) once(ctx context.Context, of bottle.Identity, js bool) error {
	if _, err := h.Store(); err != nil {
		return err
	}
	s := h.Look(ctx, of)
	if of == "" && len(s.Bottles) > 0 { // as the dashboard opens
		of = s.Bottles[0].Identity
		s.Log = h.tail(of)
	}
	if js {
		return ui.JSON(h.Out, s)
	}
	for _, p := range s.Problems {
		fmt.Fprintln(h.Err, bottle.Said(p))
	}
	return tui.Once(h.Out, h.Style(h.Out), s, of, time.Now())
}

// tail is the last decisions of a bottle; none where there is no log yet.
func (h *house) tail(id bottle.Identity) []audit.Record {
	list := []audit.Record{}
	if s, err := h.Store(); err == nil {
		if last, err := audit.Last(s.Layout(id).Audit, lastDecisions); err == nil {
			list = append(list, last...)
		}
	}
	return list
}
