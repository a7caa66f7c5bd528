package command

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelpFitsItsScreen: no word is cut by a narrow terminal, and a wide one, or a pipe, has
// the help as it was written.
func TestHelpFitsItsScreen(t *testing.T) {
	long := strings.Repeat("words that go on ", 5) + "words\nthat go on and on."
	for width, want := range map[int][]string{
		60: {"words that go on words\nthat go on", "on and on.\n\n", "--long string   what this flag does what this flag\n" + strings.Repeat(" ", 22) + "does"},
		0:  {long + "\n\n", "--long string   " + strings.Repeat("what this flag does ", 5)},
	} {
		root := &cobra.Command{Use: "top"}
		c := &cobra.Command{Use: "sub", Long: long, Example: "  top sub " + strings.Repeat("x ", 40) + "end", Run: func(*cobra.Command, []string) {}}
		c.Flags().String("long", "", strings.Repeat("what this flag does ", 6))
		root.AddCommand(c)
		FitHelp(root, func() int { return width })
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs([]string{"sub", "--help"})
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%d: %q is not in\n%s", width, w, out.String())
			}
		}
		for l := range strings.Lines(out.String()) {
			if width > 0 && len(l)-1 > width && !strings.HasSuffix(l, "x end\n") {
				t.Errorf("%d: %q", width, l)
			}
		}
	}
}
