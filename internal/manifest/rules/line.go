package rules

import (
	"strings"

	"bottle/internal/bottle"
)

// OneLine is the first line of a text that says something, without Markdown's
// marks of a heading, at most 100 bytes long, safe to print.
func OneLine(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "#"))
		if line == "" {
			continue
		}
		if len(line) > 100 {
			line = strings.ToValidUTF8(line[:97], "") + "..."
		}
		return bottle.Printable(line)
	}
	return ""
}
