package own

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// phraseOf makes a valid phrase of twelve words of some length.
func phraseOf(t *testing.T, r *rand.Rand, shortest, longest int) []string {
	t.Helper()
	var of []int
	all := strings.Fields(wordList)
	for i, w := range all {
		if len(w) >= shortest && len(w) <= longest {
			of = append(of, i)
		}
	}
	for range 10_000 {
		var numbers []uint16
		var words []string
		for range 12 {
			i := of[r.IntN(len(of))]
			numbers, words = append(numbers, uint16(i)), append(words, all[i])
		}
		if drawn(numbers) && checksum(numbers) {
			return words
		}
	}
	t.Fatal("no phrase is valid")
	return nil
}

// TestSeedIsFoundInTheMiddle: of the shortest and the longest phrases, however their
// words are parted, far from the text's borders, where Scan looks at samples only.
func TestSeedIsFoundInTheMiddle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	gaps := []string{" ", "_", "|", "\n", ", ", `","`, ".\r\n    10. ", ",\n" + strings.Repeat(" ", maxGap-2)}
	sides := map[string]string{
		"marks":   string(pads(240)),
		"words":   strings.Repeat("the house of the able about zebra ", 8),
		"letters": strings.Repeat("x", 240) + " ",
	}
	for _, size := range [][2]int{{3, 3}, {8, 8}, {3, 8}} {
		phrase := phraseOf(t, r, size[0], size[1])
		for _, gap := range gaps {
			for name, side := range sides {
				for pad := range runStride {
					after := []byte(side)
					slices.Reverse(after)
					text := bytes.Join([][]byte{pads(pad), []byte(side), []byte("="), []byte(strings.Join(phrase, gap)), []byte("="), after}, nil)
					for _, text := range [][]byte{text, bytes.ToUpper(text)} {
						if !has(Scan(nil, text), &scan().seed) {
							t.Fatalf("%d bytes from the start, between %s, parted by %q: does not find\n%s", pad, name, gap, text)
						}
					}
				}
			}
		}
	}
}
