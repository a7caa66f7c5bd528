package inspect

import (
	"fmt"
	"strings"
	"testing"
)

// The weakness: of a message over 64 KiB the strings were not joined, nor of what is
// JSON in them. The attack: three letters a string, before, behind and among words. This
// proves that they are joined however the message comes, and over messages.
func TestPiecesInALargeMessage(t *testing.T) {
	pieces := ""
	for i := 0; i < len(watched); i += 3 {
		pieces += fmt.Sprintf("%q,", watched[i:i+3])
	}
	long := `"` + strings.Repeat("word ", 30_000) + `",`
	for name, message := range map[string]string{
		"first":  "[" + pieces + long + "1]",
		"last":   "[" + long + pieces + "1]",
		"among":  "[" + long + pieces + long + "1]",
		"nested": `["[` + strings.ReplaceAll(pieces, `"`, `\"`) + `1]",` + long + "1]",
		"apart":  "[" + strings.ReplaceAll(pieces, ",", ", "+strings.Repeat(" ", 9_000)) + "1]",
	} {
		m, held, stopped := look(t).Messages(), "", false
		for at := 0; at < len(message) && !stopped; {
			next := min(len(message), at+blockOfRelay)
			data := held + message[at:next]
			hold, no := m.Next(at == 0, next == len(message), []byte(data))
			held, at, stopped = data[len(data)-hold:], next, no != nil
		}
		if !stopped {
			t.Errorf("%s: it went on", name)
		}
	}
	m := look(t).Messages()
	for i := 0; i < len(watched); i += 3 {
		if _, no := m.Next(true, true, []byte(`["`+watched[i:i+3]+`"]`)); no != nil {
			return
		}
	}
	t.Error("pieces over messages went on")
}
