package manual

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// No line of text in a man page is taken for a request of the formatter.
func TestRoffSpellsOutRequests(t *testing.T) {
	for in, want := range map[string]string{
		".so /etc/passwd": `\&.so /etc/passwd`, "a\n.bp": "a\n\\&.bp", "'br": `\&\(aqbr`, `a\fBb`: `a\efBb`, "--x": `\-\-x`,
	} {
		if got := roff(in); got != want {
			t.Errorf("roff(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestExitStatusIsSaidOnce: by a command that has codes of its own, or for all.
func TestExitStatusIsSaidOnce(t *testing.T) {
	own := Page(&cobra.Command{Use: "x", Short: "x", Long: "Look.\n\nExit code: 0 nothing, 1 something."})
	if strings.Contains(own, "answer is no") || strings.Contains(own, "Exit code") || !strings.Contains(own, ".SH EXIT STATUS\n0 nothing, 1 something.\n") {
		t.Error(own)
	}
	if other := Page(&cobra.Command{Use: "x", Short: "x"}); !strings.Contains(other, "answer is no") {
		t.Error(other)
	}
}

// What the help hides, a man page hides too.
func TestHiddenFlagsAreNotTold(t *testing.T) {
	c := &cobra.Command{Use: "x", Short: "x"}
	c.Flags().Bool("seen", false, "for people")
	c.Flags().Int("held", 0, "for itself")
	if err := c.Flags().MarkHidden("held"); err != nil {
		t.Fatal(err)
	}
	if page := Page(c); !strings.Contains(page, "seen") || strings.Contains(page, "held") {
		t.Error(page)
	}
}
