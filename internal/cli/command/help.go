package command

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/cli/ui"
)

// FitHelp has the help of all commands below root broken between words for a screen of
// width() cells; 0: as it was written.
func FitHelp(root *cobra.Command, width func() int) {
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprint(c.OutOrStdout(), narrowed(strings.TrimSpace(cmp.Or(c.Long, c.Short)), width())+"\n\n"+hung(c.UsageString(), width()))
	})
}

// narrowed is prose whose paragraphs are set anew where one of their lines is too wide.
func narrowed(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		if strings.Contains("\n"+p, "\n ") {
			paragraphs[i] = hung(p, width)
		} else if hung(p, width) != p {
			paragraphs[i] = strings.Join(ui.Lines(p, width), "\n")
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// described finds what stands in front of a description in a list: a flag, a command or an example.
const described = `^ +\S.*?\S {2,}`

// hung is a list whose lines go on below their descriptions. Examples stay whole: a command
// that is copied has to be one line.
func hung(text string, width int) string {
	before := regexp.MustCompile(described)
	lines := strings.Split(text, "\n")
	examples := false
	for i, l := range lines {
		if examples = l == "Examples:" || examples && l != ""; examples {
			continue
		}
		indent := len(before.FindString(l))
		if indent == 0 || indent > width/2 {
			indent = 6
		}
		lines[i] = ui.Hang(l, width, indent)
	}
	return strings.Join(lines, "\n")
}
