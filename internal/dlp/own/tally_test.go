package own

import (
	"testing"

	"pgregory.net/rapid"
)

// The table of turns says what this says in words.
func TestTallyCountsChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := []byte(rapid.StringMatching(`[0-9A-Za-z]{0,40}`).Draw(t, "piece"))
		changes, digits := 0, 0
		for i, c := range piece {
			if c <= '9' {
				digits++
			}
			if i == 0 || kindOf(c) == kindOf(piece[i-1]) {
				continue
			}
			word := kindOf(piece[i-1]) == "capital" && kindOf(c) == "small" && (i < 2 || kindOf(piece[i-2]) != "capital")
			if !word {
				changes++
			}
		}
		var got tally
		got.add(piece)
		if got.n != len(piece) || got.changes != changes || got.digits != digits {
			t.Fatalf("%s: %+v, not %d changes and %d digits", piece, got, changes, digits)
		}
	})
}

func kindOf(c byte) string {
	switch {
	case c <= '9':
		return "digit"
	case c <= 'Z':
		return "capital"
	}
	return "small"
}
