package own

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bottle/internal/dlp/rule"
)

// slow is Scan without its samples: it looks at every place.
func slow(text []byte) (all []rule.Match) {
	s := scan()
	seen := 0
	for i := range text {
		if i >= seen && s.group[text[i]] < 0x80 {
			var lo int
			lo, seen = s.region(text, seen, i)
			all = s.judgeRegion(all, text, lo, seen)
		}
	}
	run, phrase := 0, 0
	for i := range text {
		if i >= run && alphanumeric(text[i]) {
			all, run = s.judgeRun(all, text, i)
		}
		if i >= phrase && letter(text[i]) && (i == 0 || !letter(text[i-1])) && s.words.at(text, i) >= 0 {
			all, phrase = s.judgePhrase(all, text, i, phrase)
		}
	}
	return s.urls(all, text)
}

func ordered(all []rule.Match) []rule.Match {
	slices.SortFunc(all, func(a, b rule.Match) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), strings.Compare(a.Rule.ID, b.Rule.ID))
	})
	return all
}

// shortest is a phrase of twelve words of three letters.
func shortest(n int) string {
	var three []int
	list := strings.Fields(wordList)
	for i, w := range list {
		if len(w) == 3 {
			three = append(three, i)
		}
	}
	for state := uint64(n); ; {
		var phrase []uint16
		var words []string
		for range 12 {
			state = state*6364136223846793005 + 1442695040888963407
			i := three[(state>>33)%uint64(len(three))]
			phrase, words = append(phrase, uint16(i)), append(words, list[i])
		}
		if drawn(phrase) && checksum(phrase) {
			return strings.Join(words, " ")
		}
	}
}

// Scan looks at samples only. Whatever the text, it finds what a look at every place
// finds.
func TestScanFindsWhatASlowLookFinds(t *testing.T) {
	list := strings.Fields(wordList)
	gaps := strings.Split(" |\n|, |. |\",\"|_|  |\t| - |                |\r\n         10. ", "|")
	gaps = append(gaps, "|", "                ")
	var hits []string
	for _, r := range Scanned() {
		hits = append(hits, r.Hits...)
	}
	hits = append(hits, shortest(0), shortest(1), shortest(2))
	alphabets := []string{"0123456789 -", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "123456789abcdefghijkLMNPQR", "abc \n,", "~=(/{", "\x00\x7f\x80\xff@[_`"}
	rapid.Check(t, func(t *rapid.T) {
		var text []byte
		for range rapid.IntRange(1, 12).Draw(t, "pieces") {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0, 1:
				text = append(text, rapid.SampledFrom(hits).Draw(t, "hit")...)
			case 2:
				text = append(text, rapid.StringOfN(rapid.RuneFrom([]rune(rapid.SampledFrom(alphabets).Draw(t, "alphabet"))), 0, 70, -1).Draw(t, "noise")...)
			case 3: // words, each gap as it comes
				for range rapid.IntRange(1, 30).Draw(t, "words") {
					text = append(text, list[rapid.IntRange(0, len(list)-1).Draw(t, "word")]...)
					text = append(text, rapid.SampledFrom(gaps).Draw(t, "gap")...)
				}
			case 4: // a hit with other gaps
				gap := rapid.SampledFrom(gaps).Draw(t, "gap")
				odd := rapid.IntRange(0, 12).Draw(t, "odd")
				for i, w := range strings.Fields(rapid.SampledFrom(hits).Draw(t, "phrase")) {
					if i == odd {
						gap = rapid.SampledFrom(gaps).Draw(t, "odd gap")
					} else if i > odd {
						gap = " "
					}
					text = append(append(text, w...), gap...)
				}
			}
			text = append(text, pads(rapid.IntRange(0, 50).Draw(t, "pad"))...)
		}
		for cut := range min(44, len(text)) {
			if got, want := ordered(Scan(nil, text[cut:])), ordered(slow(text[cut:])); !slices.Equal(got, want) {
				t.Fatalf("%q\ngot  %v\nwant %v", text[cut:], got, want)
			}
		}
	})
}
