package manual

import "testing"

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
