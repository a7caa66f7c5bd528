// Package manual writes the manual pages of the commands.
package manual

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bottle/internal/bottle"
)

// Write writes the pages of root and its commands into folder, which it makes, and
// prints the name of each on out.
func Write(root *cobra.Command, folder string, out io.Writer) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	pages := []*cobra.Command{root}
	for i := 0; i < len(pages); i++ {
		p := pages[i]
		for _, sub := range p.Commands() {
			if sub.IsAvailableCommand() {
				pages = append(pages, sub)
			}
		}
		path := filepath.Join(folder, strings.ReplaceAll(p.CommandPath(), " ", "-")+".1")
		if err := os.WriteFile(path, []byte(Page(p)), 0o644); err != nil {
			return fmt.Errorf("write man page: %w", err)
		}
		fmt.Fprintln(out, path)
	}
	return nil
}

// Page is the page of one command in man(7) macros. The date is left out: the
// same source gives the same page.
func Page(c *cobra.Command) string {
	var b strings.Builder
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %q 1 %q %q %q\n", strings.ToUpper(name), "", "bottle "+bottle.Version, "bottle manual")
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	long, codes, _ := strings.Cut(c.Long, "Exit code: ") // a command's own; else those of all
	if long != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(strings.TrimSpace(long)))
	}
	if subs := c.Commands(); len(subs) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range subs {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s. See\n.BR %s (1).\n", roff(sub.Name()), roff(sub.Short), roff(name+"-"+sub.Name()))
			}
		}
	}
	options := false
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if !options {
			b.WriteString(".SH OPTIONS\n")
			options = true
		}
		value, about := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fR \\fI%s\\fR\n%s\n", roff(name), roff(value), roff(about))
	})
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(c.Example))
	}
	fmt.Fprintf(&b, ".SH EXIT STATUS\n%s\n", roff(cmp.Or(codes, "The agent's own code passes through. 0: done; 1: the answer is no; 2: a mistake on the command line; 125: the tool failed.")))
	if c.HasParent() {
		b.WriteString(".SH SEE ALSO\n.BR bottle (1)\n")
	}
	return b.String()
}

// roff spells text so that nothing in it is read as a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "…", "...").Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, `\(aq`) {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
