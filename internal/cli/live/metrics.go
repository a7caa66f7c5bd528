package live

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/metric"
	"bottle/internal/plan"
)

// Metrics is the command `bottle metrics`.
func (d Desk) Metrics() *cobra.Command {
	c := &cobra.Command{
		Use:     "metrics IDENTITY",
		GroupID: d.Group,
		Short:   "Show what a running bottle's gateway counted and timed",
		Long: "Show the numbers of one running bottle: decisions, connections, bytes by host, and how long each\n" +
			"step of a request takes. On a terminal it is a table; into a pipe or a file it is the text format\n" +
			"of Prometheus. An identity may be shortened as long as it means one bottle.",
		Example: "  bottle metrics researcher\n" +
			"  bottle metrics researcher-m3hxd > /var/lib/node_exporter/researcher.prom\n" +
			"  bottle metrics researcher --format json | jq '.[] | select(.name == \"bottle_decisions_total\")'",
		Args: command.Words(1, 1), ValidArgsFunction: d.running,
	}
	formats := []string{"text", "json", plan.FormatPrometheus}
	format := c.Flags().String("format", "", "text for people, json for machines, prometheus for it; absent: text on a terminal, else prometheus")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		if *format == "" {
			*format = plan.FormatPrometheus
			if d.Terminal(d.Out) {
				*format = "text"
			}
		}
		if !slices.Contains(formats, *format) {
			return ui.Usage(fmt.Errorf("there is no format %q", *format), "use --format text, json or prometheus")
		}
		_, socket, err := d.find(args[0])
		if err != nil {
			return err
		}
		var m plan.Metrics
		if err := ask(c.Context(), socket, plan.Control{Op: plan.OpMetrics}, &m); err != nil {
			return err
		}
		switch *format {
		case "json":
			return ui.JSON(d.Out, append([]metric.Family{}, m.Families...))
		case plan.FormatPrometheus:
			return metric.Write(d.Out, m.Families)
		}
		d.tell(m.Families)
		return nil
	}
	return c
}

// tell prints two tables: what was counted, and what was timed.
func (d Desk) tell(families []metric.Family) {
	style := d.Style(d.Out)
	var counts, times [][]ui.Cell
	for _, f := range families {
		for _, s := range f.Samples {
			about := about(s.Labels)
			switch {
			case f.Kind == metric.Histogram:
				name := strings.TrimSuffix(f.Name, "_duration_seconds")
				times = append(times, []ui.Cell{ui.As(plan.Strong, word(name)), ui.As(plan.Plain, about), ui.As(plan.Plain, strconv.FormatUint(s.Count(), 10)),
					ui.As(plan.Plain, took(s.Quantile(0.5))), ui.As(plan.Plain, took(s.Quantile(0.99)))})
			case f.Name == "bottle_info": // every label is a fact, and the number none
				for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
					counts = append(counts, []ui.Cell{ui.As(plan.Strong, k), ui.As(plan.Plain, ""), ui.As(plan.Plain, bottle.Printable(s.Labels[k]))})
				}
			default:
				counts = append(counts, []ui.Cell{ui.As(plan.Strong, word(f.Name)), ui.As(plan.Plain, about), ui.As(plan.Plain, number(f.Name, s.Value))})
			}
		}
	}
	ui.Table(d.Out, style, []string{"what", "which", "how much"}, counts)
	fmt.Fprintln(d.Out)
	ui.Table(d.Out, style, []string{"what took time", "which", "times", "median", "99 of 100 within"}, times)
}

// word is a family's name for people.
func word(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "bottle_"), "_total"), "_seconds")
	return strings.ReplaceAll(name, "_", " ")
}

// about is a sample's labels for people: the values, which an agent may have chosen.
func about(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, bottle.Printable(labels[k]))
	}
	return strings.Join(out, " ")
}

func number(name string, v float64) string {
	switch {
	case strings.HasSuffix(name, "_seconds"):
		return time.Duration(v * float64(time.Second)).Round(time.Second).String()
	case strings.Contains(name, "_bytes") && v >= 1<<20:
		return strconv.FormatFloat(v/(1<<20), 'f', 1, 64) + " MiB"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// took is a duration in seconds, with as many digits as it is worth: the buckets
// are powers of two.
func took(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 10).String()
		}
	}
	return d.String()
}
