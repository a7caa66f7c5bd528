package own

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bottle/internal/dlp/rule"
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
				for pad := range 3 * seedStride {
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

// TestSamplesMissNoSeed: in a text of words of the list and others, in which valid phrases
// stand here and there, Scan finds what it would find if it looked at each place.
func TestSamplesMissNoSeed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	others := []string{"the", "of", "a", "internationally", "{", "0x41", "of_the", "42"}
	all, found := strings.Fields(wordList), 0
	for range 200 {
		var text []byte
		for len(text) < 3000 {
			switch n := r.IntN(40); {
			case n == 0:
				text = append(text, strings.Join(phraseOf(t, r, 3, 3+r.IntN(6)), " ")...)
			case n < 12:
				text = append(text, others[r.IntN(len(others))]...)
			default:
				text = append(text, all[r.IntN(len(all))]...)
			}
			text = append(text, " \n_,"[r.IntN(4)])
		}
		s := scan()
		want, seen := []rule.Match(nil), 0
		for i := range text {
			want, seen = s.judgeWord(want, text, i, seen)
		}
		got := s.seeds(nil, text)
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v in\n%s", got, want, text)
		}
		found += len(got)
	}
	if found < 200 {
		t.Errorf("only %d phrases were there", found)
	}
}
